//! Items: the streams of calls, in both directions, on any thread.
//!
//! A stream has two halves at each end. One is the session's, which lives on its loop; the other belongs to the
//! program, on whatever thread it is used:
//!
//! ```text
//! ItemSender<T> → encode, credit → Line::push(Item) ⇒ … the wire … ⇒ Inflow::push → bytes → decode → ItemReceiver<T>
//!      Outflow::credit ⇐ … the wire … ⇐ Line::push(Credit) ←──────────── half the window was consumed ←──┘
//! ```
//!
//! What arrives is kept as bytes, and made an item of by whom it is for, on its thread. Items keep their order, and the
//! end comes after all of them.
//!
//! **Credit** is in bytes: an item costs its frame, header included. Who has any left may send one item, which may
//! take it below zero; the receiver gives back what was consumed whenever that is half of the window. So a stream
//! holds a window and one item at most, and a slow one never stalls its connection.
//!
//! **Locks**: each half has one of its own, held for a few instructions, under which nothing else is called: no line,
//! no waker, no codec. So the session may call its halves from wherever it holds no lock itself.

mod batch;
#[cfg(feature = "fiber")]
mod in_fiber;
mod inflow;
#[cfg(all(test, loom))]
mod loom_model;
mod outflow;
mod receiver;
mod scratch;
mod sender;
#[cfg(test)]
mod testing;
#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(feature = "fiber")]
pub(crate) use in_fiber::refusal;
pub(crate) use inflow::Inflow;
pub(crate) use outflow::Outflow;
pub(crate) use receiver::Decode;
pub use receiver::{ItemReceiver, Next};
pub(crate) use scratch::with_scratch;
pub(crate) use sender::Encode;
pub use sender::{ItemSender, Ready, SendItemError};

use super::CallError;
use super::frame::HEADER_BYTES;
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
use std::sync::{Arc, PoisonError};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// Which end of its call a half of the program's is.
pub(crate) enum Side {
    /// The handler's.
    Server,
    /// The caller's, who begins the call with the first use of any half.
    Client(Arc<dyn Starter>),
}

impl Side {
    /// The call begins, if this is the side that begins it.
    fn start(&self) -> Result<(), CallError> {
        match self {
            Self::Server => Ok(()),
            Self::Client(call) => call.start(),
        }
    }
}

/// A client's call, for the halves of its streams.
pub(crate) trait Starter: Send + Sync {
    /// Begins the call, unless it has begun.
    ///
    /// # Errors
    /// If it cannot: the client is closed, or too many calls wait.
    fn start(&self) -> Result<(), CallError>;

    /// Gives the call up, whether or not it has begun. If it is over, nothing happens.
    fn cancel(&self);

    /// Its deadline, from when it begins. Once it has, nothing happens.
    fn within(&self, duration: Duration);

    /// What goes along with it. Once it has begun, nothing happens.
    fn with_meta(&self, meta: &[u8]);
}

/// What an item costs of a window: its frame.
#[inline]
fn cost(body_bytes: usize) -> u64 {
    (HEADER_BYTES + body_bytes) as u64
}

#[inline]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user code runs under these locks, so a poisoned one still guards a whole state.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest body of an item in a stream with this window: so what a stream holds is bounded by its window alone.
#[inline]
fn longest_item(window_bytes: u32) -> usize {
    (window_bytes as usize).max(ITEM_BYTES_FLOOR)
}

/// An item so short is taken whatever the window: otherwise a small one would refuse all items.
const ITEM_BYTES_FLOOR: usize = 1 << 10;

//! `Inflow`: the session's half of a stream of items that arrives: their bytes, and the credit that the peer has left.
//!
//! Invariants: what waits here and what the receiver has taken and not consumed is at most a window and one item
//! (buffers double as they grow, so they may take twice that); the peer's credit, what waits, and what was consumed but
//! not yet given back are together the window; an end comes after all items that arrived before it.

use super::super::error::CallError;
use super::super::frame::{CallId, Header, Kind};
use super::super::line::Line;
use super::batch::Batch;
use super::outflow::wake;
use super::{Mutex, cost, lock, longest_item};
use std::sync::Arc;
use std::task::Waker;

/// What each of a stream's two buffers keeps while there is nothing to receive: a stream that idles after a burst holds
/// little, and one whose items come one by one allocates nothing.
const KEPT_BYTES_MAX: usize = 1 << 10;

/// Shared by a session and an [`ItemReceiver`](super::ItemReceiver). The session calls it without holding a lock of its
/// own.
pub(crate) struct Inflow {
    state: Mutex<State>,
    window_bytes: u32,
}

struct State {
    waiting: Batch,
    /// What the peer may still send. Below zero after an item that cost more than was left.
    credit_bytes: i64,
    /// Consumed, and not yet given back.
    consumed_bytes: u64,
    /// Where credit goes, while the stream lives.
    entrance: Option<(Arc<dyn Line>, CallId)>,
    version: usize,
    has_received: bool,
    end: End,
    /// Nobody receives any more: what comes is thrown away, and counts as consumed.
    is_deserted: bool,
    waiter: Option<Waker>,
}

/// How far the end is.
enum End {
    NotYet,
    /// It has come.
    Told(Result<(), CallError>),
    /// The receiver has it.
    Taken,
}

/// The peer sent an item without credit, or one that is too long for any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exceeded;

/// What there is for a receiver.
pub(super) enum Taken {
    /// Items of this version are in the batch.
    Items(usize),
    Nothing,
    End(Result<(), CallError>),
}

impl Inflow {
    /// The window is what the handshake told the peer. It is at least 1, or nothing could ever be sent.
    pub fn new(window_bytes: u32) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                waiting: Batch::default(),
                credit_bytes: i64::from(window_bytes),
                consumed_bytes: 0,
                entrance: None,
                version: 0,
                has_received: false,
                end: End::NotYet,
                is_deserted: false,
                waiter: None,
            }),
            window_bytes,
        })
    }

    /// The call was sent, or has arrived, in this version. A call of which nothing has come may be sent again, on
    /// another line.
    pub fn open(&self, line: Arc<dyn Line>, id: CallId, version: usize) {
        let mut state = lock(&self.state);
        if state.is_over() {
            return;
        }
        state.version = version;
        let before = state.entrance.replace((line, id));
        drop(state);
        drop(before);
    }

    /// An item has arrived. What comes after the end is thrown away.
    ///
    /// # Errors
    /// `Exceeded` if the peer had no credit, or the item is longer than a window. Nothing is kept then.
    pub fn push(&self, body: &[u8]) -> Result<(), Exceeded> {
        let mut state = lock(&self.state);
        if state.is_over() {
            return Ok(());
        }
        if state.credit_bytes <= 0 || body.len() > longest_item(self.window_bytes) {
            return Err(Exceeded);
        }
        state.has_received = true;
        state.credit_bytes -= cost(body.len()) as i64;
        if state.is_deserted {
            drop(state);
            self.consumed(cost(body.len()));
            return Ok(());
        }
        state.waiting.push(body);
        let waiter = state.waiter.take();
        drop(state);
        wake(waiter);
        Ok(())
    }

    /// Whether nothing has come, so that the call may be sent again.
    pub fn is_untouched(&self) -> bool {
        !lock(&self.state).has_received
    }

    /// No more items: all have come, or the call has failed. The first end counts.
    pub fn end(&self, result: Result<(), CallError>) {
        let mut state = lock(&self.state);
        if state.is_over() {
            return;
        }
        state.end = End::Told(result);
        let (waiter, entrance) = (state.waiter.take(), state.entrance.take());
        drop(state);
        drop(entrance);
        wake(waiter);
    }

    /// Items, if any wait: they are swapped for the batch, which must be empty. Otherwise the end, once, if it has come.
    pub(super) fn take(&self, batch: &mut Batch) -> Taken {
        let mut state = lock(&self.state);
        if !state.waiting.is_empty() {
            std::mem::swap(&mut state.waiting, batch);
            return Taken::Items(state.version);
        }
        if let End::Told(_) = state.end
            && let End::Told(result) = std::mem::replace(&mut state.end, End::Taken)
        {
            return Taken::End(result);
        }
        let spare = state.waiting.spare(KEPT_BYTES_MAX);
        drop(state);
        drop((spare, batch.spare(KEPT_BYTES_MAX)));
        Taken::Nothing
    }

    /// Whether [`take`](Self::take) would find something.
    pub(super) fn is_ready(&self) -> bool {
        let state = lock(&self.state);
        !state.waiting.is_empty() || matches!(state.end, End::Told(_))
    }

    /// Wakes this one when something comes, rather than whoever waited before. The caller looks again afterwards.
    pub(super) fn wait(&self, waker: Waker) {
        let before = lock(&self.state).waiter.replace(waker);
        drop(before);
    }

    /// Wakes who waits.
    pub(super) fn wake(&self) {
        let waiter = lock(&self.state).waiter.take();
        wake(waiter);
    }

    /// Consumed bytes after which to call [`consumed`](Self::consumed): half of the window.
    #[inline]
    pub(super) fn credit_due_bytes(&self) -> u64 {
        u64::from(self.window_bytes / 2).max(1)
    }

    /// So much was consumed: the peer gets credit for it, once that is worth a frame.
    pub(super) fn consumed(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.consumed_bytes += bytes;
        if state.consumed_bytes < self.credit_due_bytes() {
            return;
        }
        let Some((line, id)) = state.entrance.clone() else {
            return;
        };
        let given = u32::try_from(state.consumed_bytes).unwrap_or(u32::MAX);
        state.consumed_bytes -= u64::from(given);
        state.credit_bytes += i64::from(given);
        drop(state);
        line.push(Header::new(Kind::Credit, id), &given.to_le_bytes());
    }

    /// Nobody receives any more; so much was consumed before, what is in the batch included. Answers whether the end had
    /// come.
    pub(super) fn desert(&self, mut batch: Batch, consumed_bytes: u64) -> bool {
        let mut state = lock(&self.state);
        state.is_deserted = true;
        let (mut waiting, waiter) = (std::mem::take(&mut state.waiting), state.waiter.take());
        let has_ended = state.is_over();
        drop(state);
        drop(waiter);
        let mut bytes = consumed_bytes;
        for rest in [&mut batch, &mut waiting] {
            while let Some(item) = rest.pop() {
                bytes += cost(item.len());
            }
        }
        self.consumed(bytes);
        has_ended
    }
}

#[cfg(all(test, not(loom)))]
impl Inflow {
    /// What its buffer holds on to.
    pub fn buffered_bytes(&self) -> usize {
        lock(&self.state).waiting.capacity()
    }
}

impl State {
    fn is_over(&self) -> bool {
        !matches!(self.end, End::NotYet)
    }
}

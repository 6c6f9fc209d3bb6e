//! What happens to a machine's handles (`Io`), and the handle values that it owns.
//!
//! A handle value is an id and a share of its loop's close list. Dropping it is how one closes it, from anywhere; the
//! list is applied when the current dispatch ends. Nothing here knows which driver is below.

use crate::error::IoError;
use uv_sys_wrap::{Handle, HandleId, ReadBuf};

/// An event on one of a machine's handles.
#[non_exhaustive]
#[derive(Debug)]
pub enum Io<'a> {
    /// A listener took a connection. It closes when dropped; [`Scope::open`](crate::Scope::open) binds it to the machine
    /// that shall serve it.
    Incoming(Incoming),
    /// Connections wait at a listener opened with [`Scope::listen_on`](crate::Scope::listen_on). Who takes none of
    /// them hears no more of that listener until it takes one or resumes it.
    Waiting,
    /// A connection that was begun with [`Scope::connect`](crate::Scope::connect) stands. Reading has begun.
    Connected,
    /// Bytes arrived. They are gone when the handler returns, except for what it [keeps](ReadBuf::keep).
    Read(ReadBuf<'a>),
    /// The peer sends no more. Writing is still possible.
    Eof,
    /// Queued output has left: after a write that did not leave at once, or after the queue's length was
    /// [asked for](crate::Scope::queued) while something was in it.
    Flushed,
    /// The sending side is closed, as [`Scope::shutdown_write`](crate::Scope::shutdown_write) asked: all output was
    /// handed to the peer's kernel or is on its way.
    ShutDown,
    /// The connection could not be made, or reading or writing failed; [`IoError::op`] says which. After a failed write
    /// reading goes on, after the others nothing follows.
    Failed(IoError),
    /// The machine asked to go on with this stream in a later turn: [`Scope::again`](crate::Scope::again); or to have
    /// another turn at all: [`Scope::another_turn`](crate::Scope::another_turn), without a handle.
    Again,
    /// A job of [`Scope::work_io`](crate::Scope::work_io) is done. Carries no handle.
    Worked,
    /// A [`Waker`](crate::Waker) of this machine was used, once or more often since it was last told. Carries no handle.
    Woken,
    /// The signal of this number arrived.
    Signal(i32),
}

/// A stream: a TCP or Unix connection, or standard input. Closes when dropped.
#[derive(Debug)]
pub struct Socket(pub(crate) Handle);

/// A listening socket. Stops listening when dropped.
#[derive(Debug)]
pub struct Listener(pub(crate) Handle);

/// A watched signal. The signal has its usual effect again when this is dropped.
#[derive(Debug)]
pub struct SignalWatch(pub(crate) Handle);

/// An accepted connection that no machine has opened yet. Closes when dropped. Plain data: it fits into a seed.
#[derive(Debug)]
pub struct Incoming(pub(crate) Handle);

macro_rules! handle_id {
    ($($name:ident),*) => {$(
        impl $name {
            /// The id that this handle's events carry.
            #[inline]
            pub fn id(&self) -> HandleId {
                self.0.id()
            }
        }
    )*};
}

handle_id!(Socket, Listener, SignalWatch, Incoming);

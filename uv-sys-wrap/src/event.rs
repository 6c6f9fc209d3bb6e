//! What the loop tells its owner: the sink, the events, and the names of handles.
//!
//! Every libuv callback becomes exactly one call of [`Sink::event`], or none when its handle is already
//! dropped. Nothing here touches libuv.

use crate::error::{Error, Result};
use crate::pool::ReadBuf;
use crate::work::{Payload, WorkId};
use crate::write::WriteBufs;

/// The caller's own name for whoever owns a handle; handed back with each of its events.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Token(pub u64);

/// Which handle of a loop: a slot index and the slot's generation, so that a stale id never names a
/// later handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct HandleId {
    index: u32,
    generation: u32,
}

impl HandleId {
    /// The id of no handle: what [`Event::Worked`] carries, since work has none.
    pub const NONE: HandleId = HandleId::new(u32::MAX, u32::MAX);

    /// Makes an id. Loops make their own; other drivers (a simulator) make theirs with this.
    pub const fn new(index: u32, generation: u32) -> Self {
        HandleId { index, generation }
    }

    /// The slot's index.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How often the slot had been reused when this handle was made.
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

/// Where all events of a loop go.
///
/// Called on the loop's thread, from within `uv_run`, never recursively. A panic is caught at the
/// boundary to C: the loop stops, discards the remaining events of that run, and the panic resumes
/// from [`Loop::run`](crate::Loop::run) (for a guest it waits in
/// [`Guest::take_panic`](crate::Guest::take_panic)).
pub trait Sink {
    /// One event of one handle.
    fn event(&mut self, token: Token, handle: HandleId, event: Event<'_>);

    /// A panic got out of [`event`](Sink::event). `Ok` means that it was dealt with and the loop goes on; `Err`, the
    /// default, gives it back: delivery stops, and `run` resumes it (U6).
    fn panicked(&mut self, payload: Payload) -> std::result::Result<(), Payload> {
        Err(payload)
    }
}

/// What happened to a handle.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// At least one connection waits on a listener or an [`Acceptor`](crate::Acceptor): call `accept`.
    Incoming,
    /// A connect succeeded: the stream can be read and written.
    Connected,
    /// Bytes arrived (never none). What is not kept with [`ReadBuf::keep`] is gone after the event.
    Read(ReadBuf<'a>),
    /// The peer half-closed; reading has stopped. Writing may go on.
    Eof,
    /// A queued write ended; its buffers come back for reuse.
    Written {
        /// The buffers that were queued, unchanged.
        bufs: &'a mut WriteBufs,
        /// Whether all of them were handed to the kernel.
        result: Result<()>,
    },
    /// The write side was shut after the write queue drained.
    ShutDown(Result<()>),
    /// Connecting, reading or accepting failed ([`Error::op`] says which); reading has stopped.
    Failed(Error),
    /// A timer fired.
    Timer,
    /// A [`Waker`](crate::Waker) was used at least once since the last such event.
    Wake,
    /// This signal was delivered to the process.
    Signal(i32),
    /// The loop is about to wait for I/O.
    Prepare,
    /// The loop has just handled I/O.
    Check,
    /// The loop turns (and does not sleep as long as an idle handle is started).
    Idle,
    /// A thread-pool job ended. The event's handle is [`HandleId::NONE`].
    Worked {
        /// Which job.
        work: WorkId,
        /// `Ok`, or an error of kind `Cancelled` or `Panicked`; the payload of a panic can be had from
        /// [`Uv::take_work_panic`](crate::Uv::take_work_panic) until this event ends.
        result: Result<()>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_stay_small_enough_to_pass_by_value() {
        assert!(size_of::<Event<'_>>() <= 48, "{}", size_of::<Event<'_>>());
        assert_eq!(size_of::<HandleId>(), 8);
    }
}

//! `Streams`: what the streams of a loop share: their limits, their number, and spare buffers.

use crate::accept::Room;
use crate::feed::{Held, Spares};
use crate::stream::StreamSeed;
use crate::{Limits, Protocol};
use rotor_fsm::{Addr, Full, Incoming, Notifier};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Limits and their books, for any number of streams of one loop, of any protocol. Clones share.
///
/// It makes the seeds from which streams are spawned.
#[derive(Clone)]
pub struct Streams(Rc<Shared>);

struct Shared {
    limits: Limits,
    open: Cell<usize>,
    // Boxes, because boxes are handed out: a stream spends one pointer on its input.
    #[allow(clippy::vec_box)]
    spares: RefCell<Vec<Box<Held>>>,
    /// Listeners that wait for a stream to end.
    waiting: RefCell<Vec<Notifier<Room>>>,
}

/// Spare input buffers kept, and how large one may have grown to be kept.
const SPARES_MAX: usize = 64;
const SPARE_BYTES_MAX: usize = 64 << 10;

impl Streams {
    /// Books for streams with these limits. Watermarks that do not fit the output limit are lowered (see [`Limits`]).
    pub fn new(limits: Limits) -> Self {
        Self(Rc::new(Shared {
            limits: limits.fitted(),
            open: Cell::new(0),
            spares: RefCell::default(),
            waiting: RefCell::default(),
        }))
    }

    /// The limits in effect.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Streams now, lingering ones included.
    pub fn open(&self) -> usize {
        self.0.open.get()
    }

    /// The seed of a stream on a connection that was accepted. [`Accept`](crate::Accept) does this by itself.
    ///
    /// # Errors
    /// [`Full`] gives both back at the connection limit.
    pub fn accepted<P: Protocol>(
        &self,
        incoming: Incoming,
        seed: P::Seed,
    ) -> Result<StreamSeed<P>, Full<(Incoming, P::Seed)>> {
        match self.ticket() {
            Some(ticket) => Ok(StreamSeed::accepted(incoming, ticket, seed)),
            None => Err(Full((incoming, seed))),
        }
    }

    /// The seed of a stream that connects to `to` first, for at most `timeout`. If that fails,
    /// [`Protocol::unreachable`] is called, and otherwise [`Protocol::create`]. Messages that are sent meanwhile
    /// wait (up to [`Limits::early_messages_max`]).
    pub fn connect<P: Protocol>(
        &self,
        to: impl Into<Addr>,
        timeout: Duration,
        seed: P::Seed,
    ) -> StreamSeed<P> {
        StreamSeed::connect(to.into(), timeout, self.clone(), seed)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open() >= self.0.limits.connections
    }

    /// A place within the limit.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        if self.is_full() {
            return None;
        }
        self.0.open.set(self.open() + 1);
        Some(Ticket(self.clone()))
    }

    /// Tells this listener once when there is room.
    pub(crate) fn tell(&self, listener: Notifier<Room>) {
        self.0.waiting.borrow_mut().push(listener);
    }
}

impl Spares for Streams {
    fn take(&self) -> Box<Held> {
        self.0.spares.borrow_mut().pop().unwrap_or_default()
    }

    fn put_back(&self, mut held: Box<Held>) {
        let mut spares = self.0.spares.borrow_mut();
        if held.capacity() <= SPARE_BYTES_MAX && spares.len() < SPARES_MAX {
            held.clear();
            spares.push(held);
        }
    }
}

/// One stream's place within the limit; dropping it frees the place.
pub(crate) struct Ticket(Streams);

impl Ticket {
    #[inline]
    pub fn streams(&self) -> &Streams {
        &self.0
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let shared = &self.0.0;
        shared.open.set(shared.open.get() - 1);
        let mut waiting = shared.waiting.borrow_mut();
        // One that cannot be told, because the inbox is full, stays: it also looks by itself from time to time.
        waiting
            .retain(|listener| matches!(listener.send(Room(())), Err(error) if !error.is_closed()));
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Streams({} of {})",
            self.open(),
            self.0.limits.connections
        )
    }
}

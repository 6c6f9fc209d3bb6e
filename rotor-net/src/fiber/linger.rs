//! What becomes of a stream that its fiber drops (L4).
//!
//! What was written leaves, then our FIN; what the peer still sends is read and thrown away until it closes too. Closing
//! right away would discard output that the kernel did not take at once, and with unread input it would reset the
//! connection, so that the peer loses output that it has not read yet. A time and a byte limit end it in any case.
//! The fiber does not wait for it; its machine does, and ends when both are done.

use super::Ops;
use super::state::Core;
use super::wire::{CONNECTING, DROPPED, ENDED, EOF, FIN_SENT, LINGERING, READING, Wire};
use crate::feed::Spares;
use rotor_fsm::{Io, Time};
use std::rc::Rc;

impl Core {
    /// Has what the fiber dropped linger, or closes it. Called when the fiber does not run.
    #[cold]
    pub fn settle_dropped(&self, ops: &mut dyn Ops) {
        self.sift(|wire| !wire.is(DROPPED) || wire.is(LINGERING) || self.begin_linger(wire, ops));
    }

    /// False if there is nothing to linger for: a connection that is broken, or one whose both sides are done.
    fn begin_linger(&self, wire: &Wire, ops: &mut dyn Ops) -> bool {
        let failed = wire.input_error.get().is_some() || wire.output_error.get().is_some();
        if failed || wire.is(CONNECTING) {
            return false;
        }
        let is_read = wire.is(EOF);
        let begun = wire.with(|socket| {
            let has_output = ops.peek_queued(socket) > 0;
            if is_read && !has_output && !wire.is(ENDED) {
                return false;
            }
            if !wire.is(ENDED) && ops.shutdown_write(socket).is_err() {
                return false;
            }
            if !is_read && !wire.is(READING) {
                ops.set_reading(socket, true);
            }
            !(is_read && wire.is(FIN_SENT))
        });
        if begun != Some(true) {
            return false;
        }
        if let Some(held) = wire.take_held() {
            self.stacks.put_back(held);
        }
        wire.set(ENDED | READING | LINGERING, true);
        let limit = self.stacks.limits().linger;
        wire.linger_until.set(ops.fresh_now() + limit);
        true
    }

    /// Something happened to a stream that lingers.
    pub fn linger(&self, wire: Rc<Wire>, event: &Io<'_>) {
        let is_done = match event {
            Io::Eof => {
                wire.set(EOF, true);
                wire.is(FIN_SENT)
            }
            Io::ShutDown => {
                wire.set(FIN_SENT, true);
                wire.is(EOF)
            }
            // Whichever side failed: output goes nowhere, so there is no reason to stay.
            Io::Failed(_) => true,
            _ => false,
        };
        if is_done {
            self.let_go(wire);
        }
    }

    /// Something came on a stream that lingers.
    #[cold]
    pub fn discard(&self, wire: Rc<Wire>, bytes: usize) {
        let so_far = wire.discarded_bytes.get() + bytes;
        wire.discarded_bytes.set(so_far);
        if so_far > self.stacks.limits().linger_bytes_max {
            self.let_go(wire);
        }
    }

    fn let_go(&self, wire: Rc<Wire>) {
        let id = wire.id();
        // Only who has it alone can recycle it.
        drop(wire);
        self.sift(|wire| wire.id() != id);
    }

    /// Closes what has lingered for long enough.
    pub fn end_lingering(&self, now: Time) {
        self.sift(|wire| !wire.is(LINGERING) || wire.linger_until.get() > now);
    }

    /// When the next stream has lingered for long enough.
    pub fn lingers_until(&self) -> Time {
        let wires = self.wires.borrow();
        let lingering = wires.iter().filter(|wire| wire.is(LINGERING));
        let until = lingering.map(|wire| wire.linger_until.get()).min();
        until.unwrap_or(Time::NEVER)
    }

    /// Closes those streams for which `keeps` says no.
    fn sift(&self, mut keeps: impl FnMut(&Rc<Wire>) -> bool) {
        let mut at = 0;
        loop {
            let Some(wire) = self.wires.borrow().get(at).cloned() else {
                return;
            };
            if keeps(&wire) {
                at += 1;
                continue;
            }
            let listed = self.wires.borrow_mut().swap_remove(at);
            drop(wire);
            listed.close();
            self.stacks.recycle(listed);
        }
    }
}

//! The end of a loop: an orderly shutdown, and the teardown in its order (rule R7).

use super::{Engine, Outcome};
use crate::error::{Reason, Result};
use crate::work::Works;
use crate::{Machine, MachineId, Time};
use std::panic::resume_unwind;
use std::time::Duration;

/// A shutdown under way.
pub(super) struct Closing {
    pub until: Time,
    /// The next slot to be asked to finish.
    cursor: u32,
}

impl<R: Machine> Engine<R> {
    pub fn begin_shutdown(&mut self, grace: Duration) {
        let until = self.effects.fresh_now() + grace;
        self.nest.sealed.set(true);
        match &mut self.closing {
            Some(closing) => closing.until = closing.until.min(until),
            None => self.closing = Some(Closing { until, cursor: 0 }),
        }
        if self.nest.live() == 0 {
            self.stop(Outcome::Finished);
        }
    }

    pub(super) fn is_closing_busy(&self) -> bool {
        self.closing
            .as_ref()
            .is_some_and(|closing| closing.cursor < self.nest.ids.borrow().len())
    }

    /// Asks those machines to finish that were named by now, a bounded number.
    #[cold]
    pub(super) fn finish_some(&mut self) {
        let named = self.effects.to_finish.len();
        for _ in 0..named.min(self.bounds.creates) {
            let Some(&id) = self.effects.to_finish.front() else {
                return;
            };
            // Only now it has had its turn: a newborn before it may have panicked just then.
            let machine = self.take(id);
            self.effects.to_finish.pop_front();
            self.finish(id, machine);
        }
    }

    fn finish(&mut self, id: MachineId, machine: Option<R>) {
        if let Some(machine) = machine {
            let answer = self.call(id, |scope| machine.finish(scope));
            self.settle(id, answer);
        }
    }

    /// Asks some more machines to finish; at the deadline ends what is left.
    pub(super) fn go_on_closing(&mut self) {
        for _ in 0..self.bounds.creates {
            let Some(id) = self.next_to_finish() else {
                break;
            };
            // Only now it has had its turn: a newborn before it may have panicked just then.
            let machine = self.take(id);
            if let Some(closing) = &mut self.closing {
                closing.cursor += 1;
            }
            self.finish(id, machine);
        }
        let now = self.effects.fresh_now();
        if self
            .closing
            .as_ref()
            .is_some_and(|closing| now >= closing.until)
        {
            self.end_all();
        }
    }

    fn next_to_finish(&mut self) -> Option<MachineId> {
        let closing = self.closing.as_mut()?;
        let ids = self.nest.ids.borrow();
        while closing.cursor < ids.len() {
            if let Some(id) = ids.id_at(closing.cursor) {
                return Some(id);
            }
            closing.cursor += 1;
        }
        None
    }

    /// Ends every machine and seed.
    pub(super) fn end_all(&mut self) {
        let len = self.nest.ids.borrow().len();
        for index in 0..len {
            let id = self.nest.ids.borrow().id_at(index);
            if let Some(id) = id {
                let old = self.slots.take(id);
                self.discard(old);
                self.end(id, Reason::Shutdown);
            }
        }
        // Seeds that never became machines; their ids have ended above.
        let seeds = std::mem::take(&mut *self.nest.births.borrow_mut());
        self.discard_each(seeds);
        self.stop(Outcome::Finished);
    }

    /// The loop is over: machines, seeds and messages, the context, then (by the caller) handles. Sends are refused
    /// from here on.
    pub fn tear_down(&mut self) {
        self.nest.sealed.set(true);
        // Senders are refused before machines go, so that none can send to one that is half gone.
        let waiting = self.nest.inbox.close();
        self.on_end = None;
        self.end_all();
        let dropped = waiting.len() + self.batch.len();
        let batch = std::mem::take(&mut self.batch);
        self.discard_each(batch.into_iter().chain(waiting));
        self.dropped += dropped as u64;
        self.publish_counts();
        // Orders that wait and orders to come are answered with `Closed`.
        let orders = self.nest.control.close();
        self.discard_each(orders);
        let works = std::mem::replace(&mut *self.nest.works.borrow_mut(), Works::new(0));
        self.discard_each(works.into_finishes());
        let ctx = self.ctx.take();
        self.discard(ctx);
        self.termination.clear();
        self.effects.apply_closes();
        self.effects.tell_leases();
    }

    /// Why `run` returned, as its result. Resumes a panic that the end hook did not want to survive.
    pub fn take_outcome(&mut self) -> Result<()> {
        // No turn follows that would do it.
        self.publish_counts();
        match self.outcome.take() {
            Some(Outcome::Stopped(error)) => Err(error),
            Some(Outcome::Panicked(payload)) => resume_unwind(payload),
            Some(Outcome::Finished) | None => Ok(()),
        }
    }

    /// True if `run` has nothing to wait for: there were machines, and none is left.
    pub fn is_over(&self) -> bool {
        (self.had_machine || self.closing.is_some()) && self.nest.live() == 0
    }
}

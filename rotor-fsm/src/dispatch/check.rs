//! The check phase of a turn: all that does not come from a descriptor. Orders of other threads, what is owed, wakes,
//! and the inbox, a bounded batch of each.

use super::Engine;
use crate::effects::Owed;
use crate::inbox::Counts;
use crate::sync::Ordering;
use crate::{Io, Machine, MachineId};
use std::panic::{AssertUnwindSafe, catch_unwind};

impl<R: Machine> Engine<R> {
    #[inline(never)]
    pub fn check(&mut self) {
        if self.outcome.is_some() {
            return;
        }
        let taken = self.nest.inbox.take(&mut self.batch, &mut self.rung);
        if taken.nudged {
            self.follow_orders();
        }
        if let Some(grace) = taken.shutdown {
            self.begin_shutdown(grace);
        }
        if !self.effects.owed.is_empty() {
            self.pay_owed();
        }
        if !self.effects.to_finish.is_empty() {
            self.finish_some();
        }
        if !self.rung.is_empty() {
            self.active_at = self.effects.now();
            self.deliver_wakes();
        }
        if !self.batch.is_empty() {
            self.active_at = self.effects.now();
            self.deliver();
            if self.batch.is_empty() {
                // Begins at its beginning again: a ring that wanders touches all the memory that it could ever need.
                self.batch.clear();
            }
        }
        self.end_dispatch();
        if self.closing.is_some() {
            self.go_on_closing();
            self.end_dispatch();
        }
    }

    pub(super) fn follow_orders(&mut self) {
        let mut are_more = true;
        for _ in 0..self.bounds.creates {
            let Some((order, more)) = self.nest.control.take() else {
                return;
            };
            are_more = more;
            // The order makes a seed by user code.
            if catch_unwind(AssertUnwindSafe(|| order(&*self.nest))).is_err() {
                self.panics += 1;
            }
        }
        if are_more {
            self.nest.inbox.nudge();
        }
    }

    /// Delivers what is owed now; what these deliveries give rise to is for the next turn.
    pub(super) fn pay_owed(&mut self) {
        for _ in 0..self.effects.owed.len() {
            let Some((on, owed)) = self.effects.owed.pop_front() else {
                return;
            };
            if let Owed::Turn(id) = owed {
                if self.nest.ids.borrow().is_live(id) {
                    self.rare_io(id, on, Io::Again);
                }
                continue;
            }
            let Some(token) = self.effects.driver.token(on) else {
                continue;
            };
            let io = match owed {
                Owed::Flushed => Io::Flushed,
                Owed::Failed(error) => Io::Failed(error),
                Owed::Again | Owed::Turn(_) => Io::Again,
            };
            self.rare_io(MachineId::of(token), on, io);
        }
    }

    /// One drain: at most a turn's worth of messages, in order. A run of messages for one machine takes it out of its
    /// slot once (rule R14).
    pub(super) fn deliver(&mut self) {
        let mut left = self.bounds.messages;
        while left > 0 && self.outcome.is_none() {
            let Some(&(id, _)) = self.batch.front() else {
                break;
            };
            // The message stays in line meanwhile: a newborn that panics takes it with it only if it is its own.
            let machine = match self.slots.take(id) {
                Some(machine) => Some(machine),
                None if self.hatch_up_to(id) => continue,
                None => None,
            };
            let Some((_, message)) = self.batch.pop_front() else {
                break;
            };
            left -= 1;
            match machine {
                Some(machine) => self.deliver_run(id, machine, message, &mut left),
                None => {
                    self.dropped += 1;
                    self.discard(message);
                }
            }
        }
    }

    /// Delivers a message and those right behind it for the same machine.
    #[inline(always)]
    pub(super) fn deliver_run(
        &mut self,
        id: MachineId,
        mut machine: R,
        mut message: R::Message,
        left: &mut usize,
    ) {
        loop {
            self.delivered += 1;
            let answer = self.call(id, |scope| machine.wakeup(message, scope));
            machine = match self.absorb(id, answer) {
                Some(machine) => machine,
                None => return,
            };
            match self.batch.front() {
                Some((next, _)) if *next == id && *left > 0 => {}
                _ => return self.slots.put(id, machine),
            }
            match self.batch.pop_front() {
                Some((_, next)) => message = next,
                None => return self.slots.put(id, machine),
            }
            *left -= 1;
        }
    }

    /// Tells the world where messages went. Done per turn, because the counters are shared with other threads.
    pub(super) fn publish_counts(&mut self) {
        let machines = self.nest.live();
        if machines != self.machines_told {
            self.machines_told = machines;
            let told = &self.nest.inbox.counts.machines;
            told.store(machines as u64, Ordering::Relaxed);
        }
        if self.delivered | self.dropped == 0 {
            return;
        }
        let counts = &self.nest.inbox.counts;
        for (shared, own) in [
            (&counts.delivered, &mut self.delivered),
            (&counts.dropped, &mut self.dropped),
        ] {
            if *own > 0 {
                Counts::add(shared, std::mem::take(own));
            }
        }
    }
}

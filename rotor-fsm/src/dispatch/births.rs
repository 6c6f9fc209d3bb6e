//! Births: seeds become machines, first in first out, a bounded number at a time.

use super::Engine;
use crate::{Machine, MachineId};

impl<R: Machine> Engine<R> {
    /// Runs `create` for the oldest seeds, a bounded number.
    #[inline(never)]
    pub(super) fn create_some(&mut self) {
        for _ in 0..self.bounds.creates {
            let Some((id, seed)) = self.nest.next_birth() else {
                return;
            };
            self.create(id, seed);
            if self.outcome.is_some() {
                return;
            }
        }
    }

    pub(super) fn create(&mut self, id: MachineId, seed: R::Seed) {
        self.had_machine = true;
        // The slot's last machine has ended, so there is nothing to drop.
        self.slots.open(id);
        let answer = self.call(id, |scope| R::create(seed, scope));
        self.settle(id, answer);
    }

    /// The machine of this id, lent to a handler.
    #[inline(always)]
    pub(super) fn take(&mut self, id: MachineId) -> Option<R> {
        match self.slots.take(id) {
            Some(machine) => Some(machine),
            None => self.take_newborn(id),
        }
    }

    /// The same where the machine may still be a seed: then it is created first, and those before it.
    #[cold]
    pub(super) fn take_newborn(&mut self, id: MachineId) -> Option<R> {
        if !self.nest.has_births.get() || !self.nest.ids.borrow().is_live(id) {
            return None;
        }
        while let Some((newborn, seed)) = self.nest.next_birth() {
            self.create(newborn, seed);
            if newborn == id {
                return self.slots.take(id);
            }
        }
        None
    }
}

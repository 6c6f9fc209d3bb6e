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
        if self.hatch_up_to(id) {
            self.slots.take(id)
        } else {
            None
        }
    }

    /// Runs `create` up to the seed of this id; false if it is not the id of a seed. A panic of any of them unwinds from
    /// here, so a caller holds nothing that must not be lost.
    #[cold]
    pub(super) fn hatch_up_to(&mut self, id: MachineId) -> bool {
        if !self.nest.has_births.get() || !self.nest.ids.borrow().is_live(id) {
            return false;
        }
        while let Some((newborn, seed)) = self.nest.next_birth() {
            self.create(newborn, seed);
            if newborn == id {
                return true;
            }
        }
        false
    }
}

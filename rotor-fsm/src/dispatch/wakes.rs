//! Wakes: machines are told that a waker of theirs was used.

use super::Engine;
use crate::{Io, Machine};
use uv_sys_wrap::HandleId;

impl<R: Machine> Engine<R> {
    /// At most a turn's worth of wakes, in order. Those of machines that have ended are forgotten.
    #[inline(never)]
    pub(super) fn deliver_wakes(&mut self) {
        for _ in 0..self.bounds.messages {
            let Some(id) = self.rung.front().map(|bell| bell.to()) else {
                return;
            };
            // It stays in line meanwhile: a newborn before its machine may panic.
            let machine = self.take(id);
            if let Some(bell) = self.rung.pop_front() {
                bell.answer();
            }
            if let Some(machine) = machine {
                self.woken += 1;
                let answer = self.call(id, |scope| machine.io(Io::Woken, HandleId::NONE, scope));
                self.settle(id, answer);
            }
            if self.outcome.is_some() {
                return;
            }
        }
    }
}

//! Thread-pool work of machines: results become messages, and jobs end with their machine.

use super::Engine;
use crate::error::ErrorKind;
use crate::work::Tell;
use crate::{Io, Machine, MachineId};
use uv_sys_wrap::{HandleId, WorkId};

impl<R: Machine> Engine<R> {
    #[inline(never)]
    pub(super) fn worked(&mut self, work: WorkId) {
        let found = {
            let mut works = self.nest.works.borrow_mut();
            works
                .number_of(work)
                .and_then(|number| works.remove(number))
        };
        let Some((id, finish)) = found else { return };
        let Some(machine) = self.take(id) else {
            return self.discard(finish);
        };
        let answer = self.call(id, |scope| match finish() {
            Some(Tell::Message(message)) => machine.wakeup(message, scope),
            Some(Tell::Event) => machine.io(Io::Worked, HandleId::NONE, scope),
            None => Err(ErrorKind::WorkPanicked.into()),
        });
        self.settle(id, answer);
    }

    /// The machine's jobs that have not started are not wanted any more.
    pub(super) fn cancel_work(&mut self, id: MachineId) {
        let works = self.nest.works.borrow();
        if works.is_empty() {
            return;
        }
        for work in works.of(id) {
            self.effects.driver.cancel_work(work);
        }
    }
}

//! Time: passes over due deadlines, and the preparation of sleep with the loop's one alarm.

use super::Engine;
use crate::{Machine, Time};

impl<R: Machine> Engine<R> {
    /// A pass over due deadlines: one dispatch, bounded. Each is checked when it is reached.
    #[inline(never)]
    pub fn expire(&mut self) {
        self.alarm = None;
        let now = self.effects.fresh_now();
        for _ in 0..self.bounds.timeouts {
            if self.outcome.is_some() {
                break;
            }
            let Some(index) = self.deadlines.pop(now.tick_down()) else {
                break;
            };
            self.active_at = now;
            self.time_out(index);
        }
        if now >= self.effects.retry_at {
            self.effects.retry_at = Time::NEVER;
            self.effects.resume_listeners();
        }
        self.end_dispatch();
        if self.closing.is_some() {
            self.go_on_closing();
        }
    }

    pub(super) fn time_out(&mut self, index: u32) {
        let id = self.nest.ids.borrow().id_at(index);
        let Some(id) = id else { return };
        if let Some(machine) = self.take(id) {
            let answer = self.call(id, |scope| machine.timeout(scope));
            self.settle(id, answer);
        }
    }

    /// Before the loop polls: set the alarm, and decide whether it may sleep.
    #[inline(never)]
    pub fn prepare(&mut self) {
        self.effects.end_dispatch();
        self.publish_counts();
        self.set_alarm();
        let busy = self.outcome.is_some()
            || !self.batch.is_empty()
            || !self.rung.is_empty()
            || !self.effects.owed.is_empty()
            || !self.effects.to_finish.is_empty()
            || self.nest.has_births.get()
            || self.is_closing_busy()
            || self.polls_busily()
            || !self.nest.inbox.try_sleep();
        self.effects.driver.set_busy(busy);
        self.effects.new_turn();
    }

    /// An alarm that is too early only costs a wake-up; moving it for every change would cost more. So while one is set,
    /// only what was armed since can make it earlier.
    pub(super) fn set_alarm(&mut self) {
        let mut next = match self.alarm {
            Some(_) => self.soonest,
            None => self.deadlines.next().unwrap_or(u64::MAX),
        };
        self.soonest = u64::MAX;
        next = next.min(self.effects.retry_at.tick_up());
        if let Some(closing) = &self.closing {
            next = next.min(closing.until.tick_up());
        }
        if next != u64::MAX && self.alarm.is_none_or(|alarm| next < alarm) {
            self.alarm = Some(next);
            self.effects.driver.set_alarm(Some(Time::from_tick(next)));
        }
    }

    pub(super) fn polls_busily(&mut self) -> bool {
        !self.bounds.busy_poll.is_zero() && {
            let now = self.effects.fresh_now();
            now.since(self.active_at) < self.bounds.busy_poll
        }
    }
}

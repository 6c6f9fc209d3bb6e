//! Deadlines of a loop's machines: a hierarchical timing wheel whose entries move lazily.
//!
//! `dispatch` arms, moves and cancels by machine slot; once a turn it asks [`Deadlines::next`] how long the loop's
//! one timer may sleep, and after I/O and messages it takes what is due with [`Deadlines::pop`].
//!
//! Almost every deadline is an idle timeout: moved later on every message, and hardly ever reached. So an entry
//! stays where it is filed as long as that is not too late: moving it later (or earlier, within its slot) rewrites one
//! field, and cancelling it does too. The wheel puts it right when it comes to its slot.
//!
//! Invariant: an armed entry is filed in a slot that starts no later than it is due, or than the position if it was
//! overdue when armed. A cancelled entry may still be filed; it is dropped when its slot comes up or it is armed again,
//! so that each key is filed at most once and nothing piles up.

mod wheel;

#[cfg(test)]
mod tests;

use wheel::{NEVER, Slot, Wheel};

/// Most entries that one call of [`Deadlines::pop`] puts right: a slot filled by a million idle timeouts is worked
/// off over many turns, a few tens of microseconds each, and I/O goes on between them.
const STEPS_MAX: usize = 1024;

/// [`Deadlines::next`] looks into a list this long to name the exact tick. A loop with few deadlines, where
/// waking up for nothing costs most, then seldom does.
const PEEK_MAX: usize = 4;

/// Deadlines by key, a small integer (the index of a machine's slot; not `u32::MAX`). At most one per key.
///
/// Ticks are a monotonic clock in any unit; the loop counts milliseconds. Memory is 20 bytes for every key up
/// to the largest ever armed, reused for good, so nothing allocates once that key has been seen.
pub(crate) struct Deadlines {
    wheel: Wheel,
    /// The slot above level 0 that is being emptied, if any. It starts at the position and comes first.
    emptying: Slot,
    armed: usize,
}

impl Deadlines {
    /// No deadlines, at the tick `now`.
    pub(crate) fn new(now: u64) -> Deadlines {
        Deadlines {
            wheel: Wheel::new(now),
            emptying: Slot::NONE,
            armed: 0,
        }
    }

    /// Sets memory aside for this many keys.
    pub(crate) fn set_aside(&mut self, keys: usize) {
        self.wheel.set_aside(keys);
    }

    /// Sets the deadline of `key`, or moves it. `u64::MAX` is never, and cancels. A tick that has passed is due now.
    ///
    /// O(1). Moving later touches nothing but the key's own entry; moving earlier may refile it.
    #[inline]
    pub(crate) fn arm(&mut self, key: u32, due: u64) {
        if due == NEVER {
            return self.cancel(key);
        }
        let entry = self.wheel.reserve(key);
        self.armed += usize::from(entry.due == NEVER);
        entry.due = due;
        let slot = entry.slot;
        if slot != Slot::NONE {
            if self.wheel.start(slot) <= due {
                return;
            }
            self.wheel.unfile(key);
        }
        self.wheel.file(key, due);
    }

    /// Disarms `key`; nothing happens if it is not armed. O(1), touches nothing but the key's own entry.
    #[inline]
    pub(crate) fn cancel(&mut self, key: u32) {
        if let Some(entry) = self.wheel.entry_mut(key) {
            self.armed -= usize::from(entry.due != NEVER);
            entry.due = NEVER;
        }
    }

    /// The tick at which `key` is due, as it was armed, or `None` if it is not.
    #[cfg(test)]
    pub(crate) fn due(&self, key: u32) -> Option<u64> {
        self.wheel
            .entry(key)
            .map(|entry| entry.due)
            .filter(|&due| due != NEVER)
    }

    /// A tick before which no deadline is due (those already overdue aside), or `None` when none is armed.
    ///
    /// It may be early, never late. A loop that sleeps until it and then calls [`pop`](Self::pop) until `None`
    /// makes progress at each wake-up: something fires, or the bound is then after now, or (when it is not) a long
    /// slot is shorter by a bounded batch. Arming a deadline `d` ticks ahead of the last `pop` causes at most
    /// 1 + log64(d) wake-ups for nothing, 3 within four minutes of milliseconds and 10 at the very most, however
    /// it is moved or cancelled later (a move counts as another arming). When the earliest slot holds no more than
    /// four entries, as in a loop with few deadlines, there are fewer: the bound is the exact tick of the first of
    /// them, or the start of the slot after.
    ///
    /// O(1).
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        if self.armed == 0 {
            return None;
        }
        if self.is_emptying() {
            return Some(self.wheel.position());
        }
        let earliest = self.wheel.earliest()?;
        let mut bound = self
            .wheel
            .after(earliest)
            .map_or(NEVER, |slot| self.wheel.start(slot));
        for (seen, entry) in self.wheel.list(earliest).enumerate() {
            if seen == PEEK_MAX {
                return Some(self.wheel.start(earliest));
            }
            bound = bound.min(entry.due);
        }
        Some(bound)
    }

    /// Takes the earliest deadline that is due at `now`: its key, which is then no longer armed.
    ///
    /// Never early, and in the order of due ticks; keys of the same tick come in any order, and so do those that
    /// were overdue when they were armed, which count as due at that moment. The caller may arm, move and
    /// cancel between calls, and may stop before `None` and go on later. A `now` before an earlier one fires nothing.
    ///
    /// A call costs O(1) amortised and handles a bounded number of entries. When there is more than that to put right
    /// it answers `None` although deadlines may be due; if any is, [`next`](Self::next) is not after `now`, so that
    /// the loop comes back without sleeping.
    #[inline]
    pub(crate) fn pop(&mut self, now: u64) -> Option<u32> {
        if now < self.wheel.position() {
            return None;
        }
        for _ in 0..STEPS_MAX {
            let slot = self.reach(now)?;
            let key = self.wheel.take_first(slot);
            let position = self.wheel.position();
            let entry = self.wheel.entry_mut(key)?;
            let due = entry.due;
            if due == NEVER {
                continue;
            }
            if due <= position {
                entry.due = NEVER;
                self.armed -= 1;
                return Some(key);
            }
            self.wheel.file(key, due);
        }
        None
    }

    /// How many deadlines are armed.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.armed
    }

    /// Moves on to the first filled slot that starts by `now`; without one, to `now`.
    #[inline]
    fn reach(&mut self, now: u64) -> Option<Slot> {
        if self.is_emptying() {
            return Some(self.emptying);
        }
        // Forget it before the position moves: the same slot comes round again, filled anew.
        self.emptying = Slot::NONE;
        let earliest = self
            .wheel
            .earliest()
            .map(|slot| (slot, self.wheel.start(slot)));
        let Some((slot, start)) = earliest.filter(|&(_, start)| start <= now) else {
            self.wheel.advance(now);
            return None;
        };
        self.wheel.advance(start);
        if slot.level() > 0 {
            self.emptying = slot;
        }
        Some(slot)
    }

    #[inline]
    fn is_emptying(&self) -> bool {
        self.emptying != Slot::NONE && self.wheel.is_filled(self.emptying)
    }
}

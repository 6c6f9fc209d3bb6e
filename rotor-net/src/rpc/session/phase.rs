//! `Phase`: what a session does at this moment, for those who answer its calls from other threads.
//!
//! Only the session's thread changes it. It comes to rest under the lock of what it shares, so whoever has that lock and
//! finds it busy knows that it will look at what waits. It becomes busy without: whoever misses that wakes it for nothing.
//! A reply of a call that is at hand came from there, and so did what made it reach another thread.

use super::super::frame::CallId;
#[cfg(loom)]
use loom::sync::atomic::{AtomicU64, Ordering::Relaxed};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// At rest, busy, or busy with calls that may be at hand: those from this number on.
pub(super) struct Phase(AtomicU64);

const REST: u64 = 0;
const BUSY: u64 = 1 << 32;
const AT_HAND: u64 = 2 << 32;

impl Phase {
    pub fn rest() -> Self {
        Self(AtomicU64::new(REST))
    }

    /// The session is in a handler, and will come to rest.
    #[inline]
    pub fn begin(&self, may_have_at_hand: bool, next_sequence: u32) {
        let phase = match may_have_at_hand {
            true => AT_HAND | u64::from(next_sequence),
            false => BUSY,
        };
        self.0.store(phase, Relaxed);
    }

    /// No calls are at hand from now on. Whether they might have been.
    #[inline]
    pub fn has_desk_left(&self) -> bool {
        let had_desk = self.0.load(Relaxed) >= AT_HAND;
        if had_desk {
            self.0.store(BUSY, Relaxed);
        }
        had_desk
    }

    /// The session waits. Under the lock.
    #[inline]
    pub fn end(&self) {
        self.0.store(REST, Relaxed);
    }

    /// Whether the session will look at what waits, if asked under the lock.
    #[inline]
    pub fn is_busy(&self) -> bool {
        self.0.load(Relaxed) != REST
    }

    /// Whether this may be a call whose handler runs at this moment: then it is not in the table, and may never be.
    pub fn may_be_at_hand(&self, id: CallId) -> bool {
        let phase = self.0.load(Relaxed);
        phase >= AT_HAND && id.sequence.wrapping_sub(phase as u32) < u32::MAX / 2
    }
}

//! `Gauge`: how much waits for the server, and whether somebody was told that it is too much.
//!
//! Nobody waits for room in vain: who finds too much says so and looks again; the machine says how much there is and
//! looks then whether anybody has said so. Each has a fence between the two, so one of them sees the other.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

pub(super) struct Gauge {
    bytes: AtomicUsize,
    was_full: AtomicBool,
    bytes_max: usize,
}

impl Gauge {
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes: AtomicUsize::new(0),
            was_full: AtomicBool::new(false),
            bytes_max: bytes_max.max(1),
        }
    }

    /// So much more waits.
    pub fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So much waits in all.
    pub fn set(&self, bytes: usize) {
        self.bytes.store(bytes, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Whether so much waits in all.
    #[inline]
    pub fn shows(&self, bytes: usize) -> bool {
        self.bytes.load(Ordering::Relaxed) == bytes
    }

    /// Whether it is too much. Who hears so is told when it is no longer.
    pub fn is_full(&self) -> bool {
        if !self.is_over() {
            return false;
        }
        self.was_full.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.is_over()
    }

    /// Whether somebody was told that it is too much, and it is not any more.
    pub fn has_room_again(&self) -> bool {
        !self.is_over()
            && self.was_full.load(Ordering::Relaxed)
            && self.was_full.swap(false, Ordering::Relaxed)
    }

    fn is_over(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.bytes_max
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn room_is_told_once_to_who_found_none() {
        let gauge = Gauge::new(10);
        gauge.add(9);
        assert!(!gauge.is_full() && !gauge.has_room_again());
        gauge.add(1);
        assert!(gauge.is_full() && !gauge.has_room_again());
        gauge.set(0);
        assert!(gauge.has_room_again() && !gauge.has_room_again());
        assert!(
            Gauge::new(0).bytes_max == 1,
            "or nothing could ever be sent"
        );
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;

    #[test]
    fn loom_who_waits_for_room_is_told() {
        loom::model(|| {
            let gauge = Arc::new(Gauge::new(10));
            gauge.add(10);
            let sender = gauge.clone();
            let thread = loom::thread::spawn(move || sender.is_full());
            gauge.set(0);
            let is_told = gauge.has_room_again();
            if thread.join().unwrap() {
                assert!(is_told, "it waits for ever");
            }
        });
    }
}

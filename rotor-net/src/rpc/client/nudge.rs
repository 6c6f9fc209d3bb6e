//! `Nudge`: how whoever has left something for the connection's machine sees to it that the machine looks.
//!
//! The machine looks at the end of everything that it does, so while it is busy nobody need wake it. No news is missed:
//! who leaves some does so first and asks then whether the machine is busy; the machine says first that it is not and
//! looks then. (What is left is under a lock, which both take: if the machine does not see it, its lock was given back
//! before, and with it the word that the machine is not busy any more.)

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

use std::sync::OnceLock;

pub(crate) struct Nudge<W = rotor_fsm::Waker> {
    is_busy: AtomicBool,
    /// None before the machine is there.
    waker: OnceLock<W>,
}

/// What wakes a machine.
pub(crate) trait Wakes {
    fn wake(&self);
}

impl Wakes for rotor_fsm::Waker {
    fn wake(&self) {
        rotor_fsm::Waker::wake(self);
    }
}

impl<W: Wakes> Nudge<W> {
    pub fn new() -> Self {
        Self {
            is_busy: AtomicBool::new(false),
            waker: OnceLock::new(),
        }
    }

    /// The machine is there. It looks after this.
    pub fn arm(&self, waker: W) {
        // There is one machine.
        let _ = self.waker.set(waker);
    }

    /// Something was left for the machine.
    #[inline]
    pub fn wake(&self) {
        if !self.is_busy.load(Ordering::Acquire) {
            self.wake_anyway();
        }
    }

    /// The machine looks again in a later turn.
    pub fn wake_anyway(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// The machine's: it will look before it is no longer busy.
    pub fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Release);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::atomic::AtomicUsize;
    use loom::sync::{Arc, Mutex};

    struct Counting(Arc<AtomicUsize>);

    impl Wakes for Counting {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn loom_what_is_left_is_seen_or_wakes_the_machine() {
        loom::model(|| {
            let woken = Arc::new(AtomicUsize::new(0));
            let shared = Arc::new((Nudge::new(), Mutex::new(0)));
            shared.0.arm(Counting(woken.clone()));
            let others = shared.clone();
            let thread = loom::thread::spawn(move || {
                for _ in 0..2 {
                    *others.1.lock().unwrap() += 1;
                    others.0.wake();
                }
            });
            // One dispatch, as the machine's.
            let (nudge, left) = &*shared;
            let mut taken = 0;
            loop {
                nudge.set_busy(true);
                taken += std::mem::take(&mut *left.lock().unwrap());
                nudge.set_busy(false);
                if *left.lock().unwrap() == 0 {
                    break;
                }
            }
            thread.join().unwrap();
            let is_left = *left.lock().unwrap();
            assert_eq!(taken + is_left, 2);
            assert!(
                is_left == 0 || woken.load(Ordering::SeqCst) > 0,
                "news were missed"
            );
        });
    }
}

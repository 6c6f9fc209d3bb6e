//! `Nudge`: how whoever has left something for the connection's machine sees to it that the machine looks.
//!
//! The machine looks at the end of everything that it does, so while it is busy nobody need wake it. No news is missed:
//! who leaves some says so ([`Left`]) and asks then whether the machine is busy; the machine says that it is not and
//! looks then. Each has a fence between the two, so one of them sees the other. What is left is under a lock, which the
//! machine takes only when something was.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering, fence};

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
        fence(Ordering::SeqCst);
    }

    /// Something was [left](Left::leave) for the machine.
    #[inline]
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if !self.is_busy.load(Ordering::Relaxed) {
            self.wake_anyway();
        }
    }

    /// The machine looks again in a later turn.
    pub fn wake_anyway(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    /// The machine's: it will look before it rests.
    #[inline]
    pub fn work(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
    }

    /// The machine's: it looks after this, and unless it finds something it looks no more until it is woken.
    #[inline]
    pub fn rest(&self) {
        self.is_busy.store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}

/// Whether something was left in a place. Changed under the place's lock, looked at without.
pub(super) struct Left(AtomicBool);

impl Left {
    pub fn nothing() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Something was left. Whether nothing was there before: then, without the lock, the machine is to be
    /// [woken](Nudge::wake).
    #[inline]
    pub fn leave(&self) -> bool {
        let was_there = self.0.load(Ordering::Relaxed);
        if !was_there {
            self.0.store(true, Ordering::Relaxed);
        }
        !was_there
    }

    /// It is taken.
    #[inline]
    pub fn taken(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    #[inline]
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
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
            let shared = Arc::new((Nudge::new(), Left::nothing(), Mutex::new(0)));
            shared.0.arm(Counting(woken.clone()));
            let others = shared.clone();
            let thread = loom::thread::spawn(move || {
                for _ in 0..2 {
                    let (nudge, left, place) = &*others;
                    let mut place = place.lock().unwrap();
                    *place += 1;
                    let is_first = left.leave();
                    drop(place);
                    if is_first {
                        nudge.wake();
                    }
                }
            });
            // One dispatch, as the machine's.
            let (nudge, left, place) = &*shared;
            let mut taken = 0;
            loop {
                nudge.work();
                if left.is_there() {
                    let mut place = place.lock().unwrap();
                    left.taken();
                    taken += std::mem::take(&mut *place);
                }
                nudge.rest();
                if !left.is_there() {
                    break;
                }
            }
            thread.join().unwrap();
            let is_left = *place.lock().unwrap();
            assert_eq!(taken + is_left, 2);
            assert!(
                is_left == 0 || woken.load(Ordering::SeqCst) > 0,
                "news were missed"
            );
        });
    }
}

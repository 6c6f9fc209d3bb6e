//! Places: how many connections there are, how many there may be, and who waits for that to change.
//!
//! Taken and freed on any thread, without a lock as long as nobody waits. Invariant: who waits for room is told once
//! there is some, and who waits for the last place to be freed is told once it is, whichever came first: the waiting, or
//! what is waited for.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
#[cfg(loom)]
use loom::sync::{Mutex, MutexGuard};
use std::sync::PoisonError;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
#[cfg(not(loom))]
use std::sync::{Mutex, MutexGuard};

/// Someone who can be told.
pub(super) trait Tell {
    /// Tells, without waiting; false if that has to be tried again later.
    fn tell(&self) -> bool;
}

pub(super) struct Places<W> {
    max: usize,
    taken: AtomicUsize,
    waiters: Mutex<Vec<(Change, W)>>,
    /// Whether there are any: looked at whenever a place is freed.
    is_awaited: AtomicBool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A free place.
    Room,
    /// No place taken at all.
    Empty,
}

impl<W: Tell> Places<W> {
    pub fn new(max: usize) -> Self {
        Self {
            max,
            taken: AtomicUsize::new(0),
            waiters: Mutex::new(Vec::new()),
            is_awaited: AtomicBool::new(false),
        }
    }

    pub fn max(&self) -> usize {
        self.max
    }

    pub fn taken(&self) -> usize {
        self.taken.load(Ordering::Acquire)
    }

    /// Takes a place, if there is one; it is freed with [`leave`](Self::leave).
    pub fn enter(&self) -> bool {
        let one_more = |taken| (taken < self.max).then_some(taken + 1);
        self.taken
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more)
            .is_ok()
    }

    /// Frees a place.
    pub fn leave(&self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
        // Either this sees that someone waits, or who begins to wait sees that the place is free.
        fence(Ordering::SeqCst);
        if self.is_awaited.load(Ordering::Relaxed) {
            self.tell();
        }
    }

    /// Tells this one once, when the change has come; at once if it has come already.
    pub fn wait(&self, change: Change, waiter: W) {
        self.waiters().push((change, waiter));
        self.is_awaited.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.tell();
    }

    /// Tells whom it concerns. Whoever cannot be told now stays, until the next place is freed.
    #[cold]
    fn tell(&self) {
        let mut waiters = self.waiters();
        let taken = self.taken();
        waiters.retain(|(change, waiter)| {
            let has_come = match change {
                Change::Room => taken < self.max,
                Change::Empty => taken == 0,
            };
            !(has_come && waiter.tell())
        });
        self.is_awaited
            .store(!waiters.is_empty(), Ordering::Relaxed);
    }

    fn waiters(&self) -> MutexGuard<'_, Vec<(Change, W)>> {
        // Nothing under the lock panics.
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;
    use std::rc::Rc;

    /// Counts how often it was told; may refuse at first.
    #[derive(Clone, Default)]
    struct Ear {
        told: Rc<Cell<usize>>,
        refusals: Rc<Cell<usize>>,
    }

    impl Tell for Ear {
        fn tell(&self) -> bool {
            if self.refusals.get() > 0 {
                self.refusals.set(self.refusals.get() - 1);
                return false;
            }
            self.told.set(self.told.get() + 1);
            true
        }
    }

    proptest! {
        /// Against a model that looks at everyone after every step.
        #[test]
        fn whoever_waits_is_told_once_as_soon_as_it_has_come(
            max in 1usize..4,
            steps in proptest::collection::vec(0u8..4, 1..60),
        ) {
            let places = Places::new(max);
            let mut taken = 0;
            let mut waiting: Vec<(Change, Ear, bool)> = Vec::new();
            for step in steps {
                match step {
                    0 => {
                        prop_assert_eq!(places.enter(), taken < max);
                        taken = (taken + 1).min(max);
                    }
                    1 if taken > 0 => {
                        places.leave();
                        taken -= 1;
                    }
                    2 | 3 => {
                        let change = if step == 2 { Change::Room } else { Change::Empty };
                        let ear = Ear::default();
                        places.wait(change, ear.clone());
                        waiting.push((change, ear, false));
                    }
                    _ => {}
                }
                prop_assert_eq!(places.taken(), taken);
                for (change, ear, has_come) in &mut waiting {
                    *has_come |= match change {
                        Change::Room => taken < max,
                        Change::Empty => taken == 0,
                    };
                    prop_assert_eq!(ear.told.get(), usize::from(*has_come));
                }
            }
        }
    }

    #[test]
    fn who_cannot_be_told_is_told_when_the_next_place_is_freed() {
        let places = Places::new(2);
        assert!(places.enter() && places.enter() && !places.enter());
        let ear = Ear::default();
        ear.refusals.set(1);
        places.wait(Change::Room, ear.clone());
        places.leave();
        assert_eq!(ear.told.get(), 0);
        places.leave();
        assert_eq!(ear.told.get(), 1);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    struct Bell(Arc<AtomicUsize>);

    impl Tell for Bell {
        fn tell(&self) -> bool {
            self.0.fetch_add(1, Ordering::SeqCst);
            true
        }
    }

    /// One begins to wait while another makes what it waits for come true.
    #[test]
    fn loom_no_waiter_sleeps_on_what_has_come() {
        for change in [Change::Room, Change::Empty] {
            loom::model(move || {
                let places = Arc::new(Places::new(1));
                assert!(places.enter());
                let leaving = thread::spawn({
                    let places = places.clone();
                    move || places.leave()
                });
                let told = Arc::new(AtomicUsize::new(0));
                places.wait(change, Bell(told.clone()));
                leaving.join().unwrap();
                assert_eq!(told.load(Ordering::SeqCst), 1);
                assert_eq!(places.taken(), 0);
            });
        }
    }

    /// Two that want the last place, and one that leaves it.
    #[test]
    fn loom_the_limit_is_never_exceeded() {
        loom::model(|| {
            let places = Arc::new(Places::<Bell>::new(1));
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let places = places.clone();
                    thread::spawn(move || {
                        let entered = places.enter();
                        assert!(places.taken() <= 1);
                        if entered {
                            places.leave();
                        }
                    })
                })
                .collect();
            for other in others {
                other.join().unwrap();
            }
            assert_eq!(places.taken(), 0);
            assert!(places.enter());
        });
    }
}

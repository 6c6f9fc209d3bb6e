//! `Waker`: wakes one machine from any thread, without a message.
//!
//! For who shares the news by other means (a queue, a slot that another thread fills, a future) and only has to say
//! that there are some. It cannot be refused: a waker waits in the inbox's lane of wakes at most once, so the lane is
//! bounded by the wakers there are, and a full inbox does not matter to it.
//!
//! Invariant: `is_rung` is set exactly while the bell is in the lane, taken out of it but not told yet, or about to be
//! put there by the thread that set it. The loop clears it right before it tells the machine, so whatever was written
//! before a wake is seen by the event that follows it, and a wake that comes later makes another event.

use crate::MachineId;
use crate::inbox::Inbox;
use crate::sync::{self, AtomicBool, Ordering};
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Wake;

/// Wakes one machine, from any thread: it gets [`Io::Woken`](crate::Io::Woken), without a handle, in a later turn of
/// its loop. Made by [`Scope::waker`](crate::Scope::waker).
///
/// Clones share one flag, and wakes are coalesced: any number of them before the machine is told cost one event, and
/// all but the first of them one atomic operation. A wake while the event is handled makes another event. What was
/// written to shared memory before a wake is visible in the event that follows it. Nothing is said about the order of
/// wakes and messages.
///
/// It also is what a [`std::task::Waker`] can be made of, without allocating: so a machine can poll futures.
#[derive(Clone)]
pub struct Waker(Arc<Bell>);

impl Waker {
    /// Wakes the machine. Never fails, never waits for room, works from the loop's own thread too, and allocates
    /// nothing once as many wakers have waited at once as ever will. If the machine or its loop has ended, nothing
    /// happens.
    #[inline]
    pub fn wake(&self) {
        self.0.ring();
    }

    /// The machine it wakes.
    pub fn id(&self) -> MachineId {
        self.0.to
    }

    pub(crate) fn new(to: MachineId, bells: Arc<dyn Bells>) -> Self {
        Self(Arc::new(Bell {
            to,
            is_rung: AtomicBool::new(false),
            bells,
        }))
    }
}

impl From<Waker> for std::task::Waker {
    /// The same waker under its standard name: neither this nor its clones allocate.
    fn from(waker: Waker) -> Self {
        Self::from(waker.0)
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waker").field(&self.0.to).finish()
    }
}

/// Wakers that wait for the loop, in the order in which they came.
pub(crate) type Rung = VecDeque<Arc<Bell>>;

/// What the clones of a waker share.
pub(crate) struct Bell {
    to: MachineId,
    is_rung: AtomicBool,
    bells: Arc<dyn Bells>,
}

/// A way into a loop's lane of wakes, whatever its messages are.
pub(crate) trait Bells: Send + Sync {
    fn ring(&self, bell: Arc<Bell>);
}

impl Bell {
    pub fn to(&self) -> MachineId {
        self.to
    }

    /// The loop is about to tell the machine: from here on a wake is another one.
    ///
    /// A read-modify-write, as a store would not see what was written before the wakes that found the flag set.
    pub fn answer(&self) {
        self.is_rung.swap(false, Ordering::Acquire);
    }

    #[inline]
    fn ring(self: &Arc<Self>) {
        if !self.is_rung.swap(true, Ordering::Release) {
            self.bells.ring(self.clone());
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

impl<T: Send> Bells for Inbox<T> {
    fn ring(&self, bell: Arc<Bell>) {
        Inbox::ring(self, bell);
    }
}

/// The inbox as a lane of wakes.
#[cfg(not(loom))]
pub(crate) fn bells_of<T: Send + 'static>(inbox: &sync::Arc<Inbox<T>>) -> Arc<dyn Bells> {
    inbox.clone()
}

/// loom's `Arc` cannot hold a trait object itself.
#[cfg(loom)]
pub(crate) fn bells_of<T: Send + 'static>(inbox: &sync::Arc<Inbox<T>>) -> Arc<dyn Bells> {
    struct Held<T>(sync::Arc<Inbox<T>>);
    impl<T: Send> Bells for Held<T> {
        fn ring(&self, bell: Arc<Bell>) {
            self.0.ring(bell);
        }
    }
    Arc::new(Held(inbox.clone()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::inbox::Mail;
    use std::sync::atomic::AtomicU32;

    const ID: MachineId = MachineId::new(0, 1);

    /// An inbox of one place, a waker of its machine, and how often the loop was woken.
    fn inbox() -> (Arc<Inbox<u32>>, Waker, Arc<AtomicU32>) {
        let wakes = Arc::new(AtomicU32::new(0));
        let count = wakes.clone();
        let rope = move || {
            count.fetch_add(1, Ordering::Relaxed);
        };
        let inbox = Inbox::new(1, Box::new(rope));
        inbox.generations.publish(0, 1);
        let waker = Waker::new(ID, bells_of(&inbox));
        (inbox, waker, wakes)
    }

    fn take(inbox: &Inbox<u32>) -> Rung {
        let mut rung = Rung::new();
        inbox.take(&mut Mail::new(), &mut rung);
        rung
    }

    #[test]
    fn r4_any_number_of_wakes_are_one_until_they_are_answered() {
        let (inbox, waker, wakes) = inbox();
        assert!(inbox.try_sleep());
        let clone = waker.clone();
        for _ in 0..10 {
            waker.wake();
            clone.wake();
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert!(!inbox.try_sleep(), "a wake waits");
        let rung = take(&inbox);
        assert_eq!((rung.len(), rung[0].to()), (1, ID));
        // Taken, but not answered yet: it is the same wake still.
        waker.wake();
        assert!(take(&inbox).is_empty());
        rung[0].answer();
        waker.wake();
        assert_eq!(take(&inbox).len(), 1);
        assert!(inbox.try_sleep());
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn r4_a_full_inbox_does_not_block_wakes_and_wakes_take_no_place_in_it() {
        let (inbox, waker, _) = inbox();
        let other = Waker::new(ID, bells_of(&inbox));
        other.wake();
        inbox.send(ID, 1).unwrap();
        assert!(inbox.send(ID, 2).is_err());
        waker.wake();
        assert_eq!(take(&inbox).len(), 2, "wakers that are no clones");
    }

    #[test]
    fn r4_what_is_not_drained_keeps_its_order() {
        let (inbox, first, _) = inbox();
        first.wake();
        let mut rung = take(&inbox);
        let second = Waker::new(ID, bells_of(&inbox));
        second.wake();
        inbox.take(&mut Mail::new(), &mut rung);
        assert_eq!(rung.len(), 1);
        assert!(Arc::ptr_eq(&rung[0], &first.0));
        assert!(!inbox.try_sleep(), "the second waits in the lane");
        // What waits there holds the inbox, until the loop ends.
        assert!(inbox.close().is_empty());
    }

    #[test]
    fn r2_wakes_of_a_machine_or_loop_that_has_ended_are_nothing() {
        let (inbox, waker, wakes) = inbox();
        let late = Waker::new(ID, bells_of(&inbox));
        waker.wake();
        inbox.generations.publish(0, 2);
        assert_eq!(take(&inbox).len(), 1, "accepted before its end");
        assert!(inbox.try_sleep());
        late.wake();
        assert_eq!(wakes.load(Ordering::Relaxed), 0);
        assert!(take(&inbox).is_empty());
        let successor = Waker::new(MachineId::new(0, 2), bells_of(&inbox));
        successor.wake();
        assert!(inbox.close().is_empty());
        Waker::new(MachineId::new(0, 2), bells_of(&inbox)).wake();
        assert!(take(&inbox).is_empty());
        drop((waker, late, successor));
        assert_eq!(Arc::strong_count(&inbox), 1, "held by its own lane");
    }

    #[test]
    fn a_task_waker_is_the_same_waker() {
        let (inbox, waker, _) = inbox();
        let task = std::task::Waker::from(waker.clone());
        let clone = task.clone();
        assert!(task.will_wake(&clone));
        clone.wake();
        task.wake_by_ref();
        waker.wake();
        assert_eq!(take(&inbox).len(), 1);
    }
}

/// Every interleaving of wakes with the loop's sleep and with its end. Run with
/// `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`.
#[cfg(all(test, loom))]
mod loom_model {
    use super::*;
    use crate::inbox::Mail;
    use crate::sync::AtomicU32;
    use loom::sync::Notify;
    use loom::thread;

    const ID: MachineId = MachineId::new(0, 1);

    type Shared = sync::Arc<Inbox<u32>>;

    fn inbox() -> (Shared, sync::Arc<Notify>) {
        let bell = sync::Arc::new(Notify::new());
        let rope = bell.clone();
        let inbox = Inbox::new(1, Box::new(move || rope.notify()));
        inbox.generations.publish(0, 1);
        (inbox, bell)
    }

    /// Takes the wakes that are there and answers them, as the loop does.
    fn drain(inbox: &Shared) -> usize {
        let mut rung = Rung::new();
        inbox.take(&mut Mail::new(), &mut rung);
        for bell in &rung {
            bell.answer();
        }
        rung.len()
    }

    /// Two threads write, without any ordering of their own, and use clones of one waker. The loop sees both writes,
    /// sleeping whenever it may, and hears of at most one event a wake.
    #[test]
    fn loom_no_wake_is_lost_and_none_is_told_twice() {
        loom::model(|| {
            let (inbox, rope) = inbox();
            let waker = Waker::new(ID, bells_of(&inbox));
            let slots = sync::Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
            let threads: Vec<_> = (0..2)
                .map(|n| {
                    let (waker, slots) = (waker.clone(), slots.clone());
                    thread::spawn(move || {
                        slots[n].store(1, Ordering::Relaxed);
                        waker.wake();
                    })
                })
                .collect();
            let (mut seen, mut events) = (0, 0);
            while seen < 2 {
                if inbox.try_sleep() {
                    rope.wait(); // loom reports a deadlock if nobody rings
                }
                let told = drain(&inbox);
                assert!(told <= 1, "one waker, twice in the lane");
                events += told;
                if told > 0 {
                    // Only what an event tells of is looked at.
                    seen = slots.iter().map(|slot| slot.load(Ordering::Relaxed)).sum();
                }
            }
            for thread in threads {
                thread.join().unwrap();
            }
            events += drain(&inbox);
            assert!(events <= 2, "more events than wakes");
            assert_eq!(drain(&inbox), 0);
            assert!(inbox.try_sleep());
            drop(inbox.close());
        });
    }

    /// A wake, a message and the sleep of the loop: whoever comes first wakes it, once.
    #[test]
    fn loom_a_sleeping_loop_is_woken_once_by_a_wake_and_a_message() {
        loom::model(|| {
            let rings = sync::Arc::new(AtomicU32::new(0));
            let count = rings.clone();
            let rope = move || {
                count.fetch_add(1, Ordering::Relaxed);
            };
            let inbox = Inbox::new(1, Box::new(rope));
            inbox.generations.publish(0, 1);
            let waker = Waker::new(ID, bells_of(&inbox));
            let waking = thread::spawn(move || waker.wake());
            let sending = thread::spawn({
                let inbox = inbox.clone();
                move || inbox.send(ID, 1).unwrap()
            });
            let slept = inbox.try_sleep();
            waking.join().unwrap();
            sending.join().unwrap();
            assert_eq!(rings.load(Ordering::Relaxed), u32::from(slept));
            let (mut mail, mut rung) = (Mail::new(), Rung::new());
            inbox.take(&mut mail, &mut rung);
            assert_eq!((mail.len(), rung.len()), (1, 1));
        });
    }

    /// Wakes race with the end of their machine and of the loop: no more is told than was rung, and nothing is left
    /// that would keep the inbox alive (loom reports what is leaked).
    #[test]
    fn loom_a_wake_that_meets_the_end_leaves_nothing_behind() {
        loom::model(|| {
            let (inbox, _rope) = inbox();
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let waker = Waker::new(ID, bells_of(&inbox));
                    thread::spawn(move || waker.wake())
                })
                .collect();
            let before = drain(&inbox);
            inbox.generations.publish(0, 2); // the machine ends
            assert!(before + drain(&inbox) <= 2);
            inbox.close(); // the loop ends
            assert_eq!(drain(&inbox), 0, "nothing gets in after the end");
            for thread in threads {
                thread.join().unwrap();
            }
            assert_eq!(drain(&inbox), 0, "nothing gets in after the end");
        });
    }
}

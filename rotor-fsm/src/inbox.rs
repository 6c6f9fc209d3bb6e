//! The inbox: where messages of all threads wait for the loop.
//!
//! One mutex guards one queue, and the loop takes the whole queue by swapping it for an empty one. A send is one lock,
//! held for a few nanoseconds, and delivering touches nothing that senders touch; `bench/run.sh messages` compares it
//! with other channels. The lock makes the accounting exact: whether a message is accepted, refused because the inbox is
//! full, or refused because the loop has ended, is decided under the same lock under which the loop ends.
//!
//! Beside the queue is the lane of wakes (see `Waker`), which a full queue does not block: each waker is in it at most
//! once.
//!
//! Waking the loop: it says under the lock that it is about to sleep; the first sender that finds it asleep clears
//! that and wakes it. A busy loop costs its senders no system call at all, a sleeping one a single eventfd write.
//!
//! Invariant: `sleeping` implies that the queue and the lane of wakes are empty and that no nudge is pending.

use crate::MachineId;
use crate::error::SendError;
use crate::generations::Generations;
use crate::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::waker::{Bell, Rung};
use std::collections::VecDeque;
use std::time::Duration;

/// What waits: whose it is, and the message.
pub(crate) type Mail<T> = VecDeque<(MachineId, T)>;

/// Wakes the loop out of its sleep; called outside the lock, at most once per sleep.
pub(crate) type WakeFn = Box<dyn Fn() + Send + Sync>;

pub(crate) struct Inbox<T> {
    state: Mutex<State<T>>,
    capacity: usize,
    wake: WakeFn,
    pub generations: Generations,
    pub counts: Counts,
}

struct State<T> {
    queue: Mail<T>,
    /// Places promised to messages to come: those being mapped, and permits.
    reserved: usize,
    /// Wakers that were used, and whose machines were not told yet.
    rung: Rung,
    sleeping: bool,
    closed: bool,
    /// The control lane has something, or a shutdown was asked for.
    nudged: bool,
    shutdown: Option<Duration>,
}

/// Where accepted messages went; written by the loop, read by anyone.
#[derive(Default)]
pub(crate) struct Counts {
    pub delivered: AtomicU64,
    pub dropped: AtomicU64,
    pub wakes: AtomicU64,
    pub machines: AtomicU64,
}

impl Counts {
    pub fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Ordering::Relaxed);
    }
}

/// Why a message found no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Closed,
}

impl Refusal {
    pub fn of<T>(self, message: T) -> SendError<T> {
        match self {
            Self::Full => SendError::Full(message),
            Self::Closed => SendError::Closed(message),
        }
    }
}

/// What the loop finds when it looks.
#[derive(Default)]
pub(crate) struct Taken {
    /// The control lane wants to be looked at.
    pub nudged: bool,
    /// A shutdown was asked for, with this grace.
    pub shutdown: Option<Duration>,
}

impl<T> Inbox<T> {
    /// `capacity` places, all allocated now (their pages are touched when first used).
    pub fn new(capacity: usize, wake: WakeFn) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                queue: VecDeque::with_capacity(capacity),
                reserved: 0,
                rung: Rung::new(),
                sleeping: false,
                closed: false,
                nudged: false,
                shutdown: None,
            }),
            capacity,
            wake,
            generations: Generations::new(),
            counts: Counts::default(),
        })
    }

    /// Queues a message for a machine. Never waits for capacity.
    pub fn send(&self, to: MachineId, message: T) -> Result<(), SendError<T>> {
        if !self.generations.is_live(to) {
            return Err(SendError::Closed(message));
        }
        let mut state = self.lock();
        if let Err(refusal) = self.admits(&state) {
            drop(state);
            return Err(refusal.of(message));
        }
        state.queue.push_back((to, message));
        self.unlock_and_wake(state);
        Ok(())
    }

    /// Promises a place. It must be filled or given back.
    pub fn reserve(&self, to: MachineId) -> Result<(), Refusal> {
        if !self.generations.is_live(to) {
            return Err(Refusal::Closed);
        }
        let mut state = self.lock();
        self.admits(&state)?;
        state.reserved += 1;
        Ok(())
    }

    /// Puts a message into a promised place. If the loop has ended since, the message is dropped and counted.
    pub fn fill(&self, to: MachineId, message: T) {
        let mut state = self.lock();
        state.reserved -= 1;
        if state.closed {
            drop(state);
            Counts::add(&self.counts.dropped, 1);
            return;
        }
        state.queue.push_back((to, message));
        self.unlock_and_wake(state);
    }

    /// Gives a promised place back.
    pub fn release(&self) {
        self.lock().reserved -= 1;
    }

    /// Puts a waker in line, unless its machine or the loop has ended. The caller has set its flag.
    pub fn ring(&self, bell: std::sync::Arc<Bell>) {
        if !self.generations.is_live(bell.to()) {
            return;
        }
        let mut state = self.lock();
        if !state.closed {
            state.rung.push_back(bell);
            self.unlock_and_wake(state);
        }
    }

    /// Tells the loop to look at its control lane.
    pub fn nudge(&self) {
        let mut state = self.lock();
        state.nudged = true;
        self.unlock_and_wake(state);
    }

    /// Asks for a shutdown; the shortest grace asked for wins.
    pub fn shutdown(&self, grace: Duration) {
        let mut state = self.lock();
        state.shutdown = Some(state.shutdown.map_or(grace, |other| other.min(grace)));
        self.unlock_and_wake(state);
    }

    /// The loop is about to sleep: false if something has come, and then it must not.
    pub fn try_sleep(&self) -> bool {
        let mut state = self.lock();
        let has_mail = !state.queue.is_empty() || !state.rung.is_empty();
        state.sleeping = !has_mail && !state.nudged && state.shutdown.is_none();
        state.sleeping
    }

    /// The loop is awake: takes what has come. Only what is empty is swapped in, so that order is kept.
    pub fn take(&self, batch: &mut Mail<T>, rung: &mut Rung) -> Taken {
        let mut state = self.lock();
        state.sleeping = false;
        if batch.is_empty() {
            std::mem::swap(&mut state.queue, batch);
        }
        if rung.is_empty() {
            std::mem::swap(&mut state.rung, rung);
        }
        Taken {
            nudged: std::mem::take(&mut state.nudged),
            shutdown: state.shutdown.take(),
        }
    }

    /// Refuses everything from now on, and hands out what was accepted but not yet taken. Drops the wakers in line, which
    /// hold the inbox that holds them.
    pub fn close(&self) -> Mail<T> {
        let mut state = self.lock();
        state.closed = true;
        state.sleeping = false;
        let rung = std::mem::take(&mut state.rung);
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        drop(rung);
        queue
    }

    #[inline]
    fn admits(&self, state: &State<T>) -> Result<(), Refusal> {
        if state.closed {
            Err(Refusal::Closed)
        } else if state.queue.len() + state.reserved >= self.capacity {
            Err(Refusal::Full)
        } else {
            Ok(())
        }
    }

    #[inline]
    fn unlock_and_wake(&self, mut state: MutexGuard<'_, State<T>>) {
        let was_sleeping = std::mem::replace(&mut state.sleeping, false);
        drop(state);
        if was_sleeping {
            (self.wake)();
        }
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No user code runs under the lock, so a poisoned one still guards a whole state.
        self.state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sync::AtomicU32;

    fn inbox(capacity: usize) -> (Arc<Inbox<u32>>, Arc<AtomicU32>) {
        let wakes = Arc::new(AtomicU32::new(0));
        let count = wakes.clone();
        let inbox = Inbox::new(
            capacity,
            Box::new(move || {
                count.fetch_add(1, Ordering::Relaxed);
            }),
        );
        inbox.generations.publish(0, 1);
        (inbox, wakes)
    }

    const ID: MachineId = MachineId::new(0, 1);

    #[test]
    fn r4_a_sleeping_loop_is_woken_once_and_a_busy_one_never() {
        let (inbox, wakes) = inbox(100);
        inbox.send(ID, 1).unwrap();
        assert!(!inbox.try_sleep(), "mail waits");
        let mut batch = Mail::new();
        inbox.take(&mut batch, &mut Rung::new());
        assert!(inbox.try_sleep());
        for n in 0..10 {
            inbox.send(ID, n).unwrap();
        }
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
        assert!(!inbox.try_sleep());
        inbox.nudge();
        assert_eq!(wakes.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn r4_refusals_give_the_message_back() {
        let (inbox, _) = inbox(2);
        inbox.reserve(ID).unwrap();
        inbox.send(ID, 1).unwrap();
        assert_eq!(inbox.send(ID, 2), Err(SendError::Full(2)));
        assert_eq!(inbox.reserve(ID), Err(Refusal::Full));
        inbox.release();
        inbox.send(ID, 3).unwrap();
        inbox.generations.publish(0, 2);
        assert_eq!(inbox.send(ID, 4), Err(SendError::Closed(4)));
        assert_eq!(inbox.close().len(), 2);
        assert_eq!(
            inbox.send(MachineId::new(0, 2), 5),
            Err(SendError::Closed(5))
        );
    }

    #[test]
    fn r4_a_promised_place_filled_after_the_end_is_counted_as_dropped() {
        let (inbox, _) = inbox(2);
        inbox.reserve(ID).unwrap();
        assert!(inbox.close().is_empty());
        inbox.fill(ID, 1);
        assert_eq!(inbox.counts.dropped.load(Ordering::Relaxed), 1);
    }
}

/// Every interleaving of senders with the end of a machine and of the loop. Run with
/// `RUSTFLAGS="--cfg loom" cargo test --release --lib loom`.
#[cfg(all(test, loom))]
mod loom_model {
    use super::*;
    use loom::sync::Notify;
    use loom::thread;

    const ID: MachineId = MachineId::new(0, 1);

    fn inbox(capacity: usize) -> (Arc<Inbox<u32>>, Arc<Notify>) {
        let bell = Arc::new(Notify::new());
        let rope = bell.clone();
        let inbox = Inbox::new(capacity, Box::new(move || rope.notify()));
        inbox.generations.publish(0, 1);
        (inbox, bell)
    }

    /// A sender's account: (accepted, returned).
    fn send(inbox: &Inbox<u32>, n: u32) -> (u64, u64) {
        match inbox.send(ID, n) {
            Ok(()) => (1, 0),
            Err(_) => (0, 1),
        }
    }

    /// The same by way of a promised place, as mapped notifiers do.
    fn send_mapped(inbox: &Inbox<u32>, n: u32) -> (u64, u64) {
        match inbox.reserve(ID) {
            Ok(()) => {
                inbox.fill(ID, n);
                (1, 0)
            }
            Err(_) => (0, 1),
        }
    }

    #[test]
    fn loom_accepted_is_delivered_plus_dropped_whoever_ends_when() {
        loom::model(|| {
            let (inbox, _bell) = inbox(2);
            let plain = thread::spawn({
                let inbox = inbox.clone();
                move || send(&inbox, 1)
            });
            let mapped = thread::spawn({
                let inbox = inbox.clone();
                move || send_mapped(&inbox, 2)
            });
            let mut batch = Mail::new();
            inbox.take(&mut batch, &mut Rung::new());
            let delivered = batch.drain(..).count() as u64;
            inbox.generations.publish(0, 2); // the machine ends
            inbox.take(&mut batch, &mut Rung::new());
            let stale = batch.drain(..).count() as u64;
            let unread = inbox.close().len() as u64; // the loop ends
            let (a, b) = (plain.join().unwrap(), mapped.join().unwrap());
            let late = inbox.counts.dropped.load(Ordering::Relaxed);
            assert_eq!(a.0 + b.0, delivered + stale + unread + late);
            assert_eq!(a.0 + a.1 + b.0 + b.1, 2);
            assert_eq!(inbox.close().len(), 0, "nothing gets in after the end");
        });
    }

    #[test]
    fn loom_no_wakeup_is_lost() {
        loom::model(|| {
            let (inbox, bell) = inbox(2);
            let senders: Vec<_> = (0..2)
                .map(|n| {
                    let inbox = inbox.clone();
                    thread::spawn(move || inbox.send(ID, n).unwrap())
                })
                .collect();
            let mut got = 0;
            let mut batch = Mail::new();
            while got < 2 {
                if inbox.try_sleep() {
                    bell.wait(); // loom reports a deadlock if nobody rings
                }
                inbox.take(&mut batch, &mut Rung::new());
                got += batch.drain(..).count();
            }
            for sender in senders {
                sender.join().unwrap();
            }
        });
    }
}

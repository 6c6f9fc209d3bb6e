//! The control lane: spawns from other threads. It is apart from the inbox, so that a full inbox does not block it (nor
//! a shutdown, which has a place of its own there). And `LoopHandle`, its sending side.
//!
//! Invariant: an order that was accepted is either followed, or dropped when the lane closes, which answers who waits
//! for it. So the lane closes under the lock under which orders enter.

use crate::error::SpawnError;
use crate::host::Host;
use crate::host::PartHost;
use crate::inbox::Inbox;
use crate::machine::{Hosts, Machine};
use crate::notifier::Notifier;
use crate::sync::{Arc, Ordering};
use crossbeam_channel::{Receiver, TryRecvError, bounded};
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Makes a machine on the loop's thread and reports to who asked.
type Order<R> = Box<dyn FnOnce(&dyn Host<R>) + Send>;

/// Where orders wait for the loop. Few come, so a lock is good enough.
pub(crate) struct Lane<R: Machine> {
    state: Mutex<LaneState<R>>,
    orders_max: usize,
}

struct LaneState<R: Machine> {
    orders: VecDeque<Order<R>>,
    closed: bool,
}

impl<R: Machine> Lane<R> {
    pub fn new(orders_max: usize) -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self {
            state: Mutex::new(LaneState {
                orders: VecDeque::new(),
                closed: false,
            }),
            orders_max,
        })
    }

    /// The oldest order, and whether there are more.
    pub fn take(&self) -> Option<(Order<R>, bool)> {
        let mut state = self.lock();
        let order = state.orders.pop_front()?;
        Some((order, !state.orders.is_empty()))
    }

    /// Refuses orders from now on, and hands out those that wait.
    pub fn close(&self) -> VecDeque<Order<R>> {
        let mut state = self.lock();
        state.closed = true;
        std::mem::take(&mut state.orders)
    }

    /// Queues an order. A refused one is dropped outside the lock, as it holds user data.
    fn push(&self, order: Order<R>) -> Result<(), SpawnError> {
        let mut state = self.lock();
        let refusal = if state.closed {
            SpawnError::Closed
        } else if state.orders.len() >= self.orders_max {
            SpawnError::Full
        } else {
            state.orders.push_back(order);
            return Ok(());
        };
        drop(state);
        Err(refusal)
    }

    fn lock(&self) -> MutexGuard<'_, LaneState<R>> {
        // No user code runs under the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the messages of a loop went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Handed to a machine.
    pub delivered: u64,
    /// Accepted, but their machine or the loop ended before.
    pub dropped: u64,
    /// Times the loop's async callback ran: a storm of sends costs few.
    pub wakes: u64,
}

/// A loop as other threads see it: spawns machines on it and shuts it down. `Clone + Send + Sync`.
pub struct LoopHandle<R: Machine> {
    inbox: Arc<Inbox<R::Message>>,
    control: std::sync::Arc<Lane<R>>,
}

impl<R: Machine> LoopHandle<R> {
    pub(crate) fn new(inbox: Arc<Inbox<R::Message>>, control: std::sync::Arc<Lane<R>>) -> Self {
        Self { inbox, control }
    }

    /// Makes a machine of the loop's own type, or of one of its parts. Does not wait; allocates.
    pub fn spawn<M>(&self, seed: M::Seed) -> Spawning<M::Message>
    where
        M: Machine<Context = R::Context>,
        M::Seed: Send,
        R: Hosts<M>,
    {
        self.spawn_with::<M>(move || seed)
    }

    /// The same where the seed cannot travel between threads but what makes it can: `seed` runs on the loop's thread.
    pub fn spawn_with<M>(
        &self,
        seed: impl FnOnce() -> M::Seed + Send + 'static,
    ) -> Spawning<M::Message>
    where
        M: Machine<Context = R::Context>,
        R: Hosts<M>,
    {
        let (answer, wait) = bounded(1);
        let order: Order<R> = Box::new(move |whole| {
            let part = PartHost::<R, M>::new(whole);
            // User code first: a promised place must be filled.
            let seed = seed();
            let made = match part.reserve() {
                Some(id) => {
                    part.plant(id, seed);
                    Ok(Notifier::new(id, part.post()))
                }
                None => Err(SpawnError::Full),
            };
            // Nobody need wait for it.
            let _ = answer.try_send(made);
        });
        let accepted = self.control.push(order);
        if accepted.is_ok() {
            self.inbox.nudge();
        }
        Spawning {
            wait: accepted.map(|()| wait),
        }
    }

    /// Asks every machine to finish, goes on delivering messages meanwhile, refuses spawns, and ends what is left
    /// after `grace`. Does not wait. The shortest grace asked for wins.
    pub fn shutdown(&self, grace: Duration) {
        self.inbox.shutdown(grace);
    }

    /// Machines on the loop when it last went to sleep, seeds included.
    pub fn machines(&self) -> u64 {
        self.inbox.counts.machines.load(Ordering::Relaxed)
    }

    /// Where messages went so far. Counters of a running loop are read one by one.
    pub fn messages(&self) -> MessageCounts {
        let counts = &self.inbox.counts;
        MessageCounts {
            delivered: counts.delivered.load(Ordering::Relaxed),
            dropped: counts.dropped.load(Ordering::Relaxed),
            wakes: counts.wakes.load(Ordering::Relaxed),
        }
    }
}

impl<R: Machine> Clone for LoopHandle<R> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            control: self.control.clone(),
        }
    }
}

impl<R: Machine> std::fmt::Debug for LoopHandle<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LoopHandle<{}>", std::any::type_name::<R>())
    }
}

/// A machine being made on another thread's loop.
#[must_use = "`wait` gives the new machine's notifier, or says why there is none"]
pub struct Spawning<T> {
    wait: Result<Receiver<Result<Notifier<T>, SpawnError>>, SpawnError>,
}

impl<T> Spawning<T> {
    /// Waits until the loop has made a place for the machine; its `create` runs soon after.
    ///
    /// Never call it on the loop's own thread: it would wait for itself. A machine spawns with
    /// [`Scope::spawn`](crate::Scope::spawn) or a [`Spawner`](crate::Spawner).
    ///
    /// # Errors
    /// `Full` if the machine table or the control lane is full or the loop refuses new machines, `Closed` if it ended.
    pub fn wait(self) -> Result<Notifier<T>, SpawnError> {
        self.wait?.recv().unwrap_or(Err(SpawnError::Closed))
    }

    /// The same without waiting: `None` if it is not decided yet.
    pub fn try_wait(&self) -> Option<Result<Notifier<T>, SpawnError>> {
        match &self.wait {
            Err(error) => Some(Err(*error)),
            Ok(wait) => match wait.try_recv() {
                Ok(made) => Some(made),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => Some(Err(SpawnError::Closed)),
            },
        }
    }
}

impl<T> std::fmt::Debug for Spawning<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Spawning(..)")
    }
}

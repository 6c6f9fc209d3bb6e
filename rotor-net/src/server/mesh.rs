//! `Mesh`: how the workers of a server send messages to each other.
//!
//! It has a place for each worker's notifier. A worker that starts puts its own there, and so does one that starts
//! again after it had died; who sends needs to know nothing but the worker's number. Until then, and while a worker is
//! down, a message comes back as [`SendError::Closed`].
//!
//! A notifier leads into one loop's inbox, and a message that was accepted is gone if its loop dies before it is
//! delivered. Who waits for an answer therefore notes the worker's [`epoch`](Mesh::epoch) before it sends: once that
//! has changed, the answer will not come.

use rotor_fsm::{Notifier, SendError};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// One notifier per worker, each replaceable. Clones share; usable from every thread.
///
/// Sending takes a read lock that nobody contends for but a worker that starts or ends, and then costs what
/// [`Notifier::send`] costs.
pub struct Mesh<T> {
    places: Arc<[Place<T>]>,
}

/// A worker's place: a cache line or two of its own, so that sending to one does not slow down sending to its neighbour.
#[repr(align(64))]
struct Place<T> {
    notifier: RwLock<Option<Notifier<T>>>,
    /// How often the notifier was set or cleared.
    epoch: AtomicU64,
}

impl<T> Mesh<T> {
    /// Places for workers 0 to `workers` - 1, all of them down.
    pub fn new(workers: usize) -> Self {
        let place = || Place {
            notifier: RwLock::new(None),
            epoch: AtomicU64::new(0),
        };
        Self {
            places: std::iter::repeat_with(place).take(workers).collect(),
        }
    }

    /// How many places there are, of workers that are down too.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is no place at all.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The worker is up: from now on messages for it go here. A number that is not a worker's is ignored.
    pub fn set(&self, worker: usize, notifier: Notifier<T>) {
        self.replace(worker, Some(notifier));
    }

    /// The worker is down: from now on its messages come back.
    pub fn clear(&self, worker: usize) {
        self.replace(worker, None);
    }

    /// Sends to one worker. Never waits for room.
    ///
    /// # Errors
    /// [`SendError::Full`] if that worker's inbox is full; [`SendError::Closed`] if it is down, or no worker has this
    /// number. Both give the message back.
    #[inline]
    pub fn send(&self, worker: usize, message: T) -> Result<(), SendError<T>> {
        let Some(place) = self.places.get(worker) else {
            return Err(SendError::Closed(message));
        };
        // What is under the lock is whole whoever panicked.
        let notifier = place.notifier.read();
        match &*notifier.unwrap_or_else(PoisonError::into_inner) {
            Some(notifier) => notifier.send(message),
            None => Err(SendError::Closed(message)),
        }
    }

    /// Sends a clone to every worker, the sender's own included, and says how many accepted it.
    pub fn broadcast(&self, message: T) -> usize
    where
        T: Clone,
    {
        (0..self.len())
            .filter(|worker| self.send(*worker, message.clone()).is_ok())
            .count()
    }

    /// A number that changes whenever the worker is [`set`](Self::set) or [`clear`](Self::clear)ed: messages that were
    /// accepted before may be lost. Costs one load.
    #[inline]
    pub fn epoch(&self, worker: usize) -> u64 {
        self.places
            .get(worker)
            .map_or(0, |place| place.epoch.load(Ordering::Acquire))
    }

    fn replace(&self, worker: usize, notifier: Option<Notifier<T>>) {
        let Some(place) = self.places.get(worker) else {
            return;
        };
        let mut held = place
            .notifier
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *held, notifier);
        place.epoch.fetch_add(1, Ordering::Release);
        drop(held);
        // Outside the lock: a mapped notifier holds user data.
        drop(old);
    }
}

impl<T> Clone for Mesh<T> {
    fn clone(&self) -> Self {
        Self {
            places: self.places.clone(),
        }
    }
}

impl<T> fmt::Debug for Mesh<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mesh of {} workers", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotor_fsm::prelude::*;
    use rotor_fsm::sim::{Sim, SimLoop};
    use std::time::Duration;

    /// Keeps what it hears in the context.
    struct Ear;

    impl Machine for Ear {
        type Context = Vec<u32>;
        type Message = u32;
        type Seed = ();

        fn create((): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
            Ok(Response::of(Ear))
        }

        fn wakeup(self, message: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
            scope.ctx.push(message);
            Ok(Response::of(self))
        }
    }

    fn worker(sim: &mut Sim, mesh: &Mesh<u32>, index: usize, inbox: usize) -> SimLoop<Ear> {
        let config = Config {
            inbox_messages_max: inbox,
            ..Config::default()
        };
        let mesh = mesh.clone();
        sim.add::<Ear>(config, move |setup| {
            mesh.set(index, setup.add::<Ear>(())?);
            Ok(Vec::new())
        })
        .unwrap()
    }

    fn heard(sim: &mut Sim, on: &SimLoop<Ear>) -> Vec<u32> {
        sim.run_for(Duration::from_millis(1));
        sim.context(on, |heard| heard.clone()).unwrap()
    }

    #[test]
    fn each_message_reaches_its_worker_in_order() {
        let mut sim = Sim::new(1);
        let mesh = Mesh::new(2);
        let workers = [0, 1].map(|index| worker(&mut sim, &mesh, index, 100));
        for n in 0..10 {
            mesh.clone().send((n % 2) as usize, n).unwrap();
        }
        assert_eq!(mesh.broadcast(99), 2);
        assert_eq!(heard(&mut sim, &workers[0]), [0, 2, 4, 6, 8, 99]);
        assert_eq!(heard(&mut sim, &workers[1]), [1, 3, 5, 7, 9, 99]);
    }

    #[test]
    fn a_refused_message_comes_back() {
        let mut sim = Sim::new(1);
        let mesh = Mesh::new(2);
        assert_eq!(mesh.send(0, 1), Err(SendError::Closed(1)), "not up yet");
        assert_eq!(mesh.send(2, 1), Err(SendError::Closed(1)), "no such worker");
        let only = worker(&mut sim, &mesh, 0, 2);
        assert_eq!(mesh.broadcast(7), 1, "the other is down");
        mesh.send(0, 8).unwrap();
        assert_eq!(mesh.send(0, 9), Err(SendError::Full(9)));
        assert_eq!(heard(&mut sim, &only), [7, 8]);
        mesh.clear(0);
        assert_eq!(mesh.send(0, 1), Err(SendError::Closed(1)));
    }

    #[test]
    fn a_worker_that_starts_again_takes_its_place() {
        let mut sim = Sim::new(1);
        let mesh = Mesh::new(1);
        assert_eq!(mesh.epoch(0), 0);
        let first = worker(&mut sim, &mesh, 0, 10);
        let epoch = mesh.epoch(0);
        mesh.send(0, 1).unwrap();
        assert_eq!(mesh.epoch(0), epoch, "sending changes nothing");
        sim.close_loop(&first);
        assert_eq!(
            mesh.send(0, 2),
            Err(SendError::Closed(2)),
            "nobody cleared it"
        );
        let second = worker(&mut sim, &mesh, 0, 10);
        assert_ne!(mesh.epoch(0), epoch, "what was sent before may be lost");
        mesh.send(0, 3).unwrap();
        assert_eq!(heard(&mut sim, &second), [3]);
        let epoch = mesh.epoch(0);
        mesh.clear(0);
        assert_ne!(mesh.epoch(0), epoch);
        mesh.clear(7);
        assert_eq!(mesh.epoch(7), 0, "no such worker");
    }

    #[test]
    fn senders_on_many_threads_and_a_worker_that_comes_and_goes() {
        const SENDERS: u32 = 4;
        const EACH: u32 = 500;
        let mesh = Mesh::new(1);
        let send_all = &|sender: u32| {
            for n in 0..EACH {
                while mesh.send(0, sender * EACH + n).is_err() {
                    std::thread::yield_now();
                }
            }
        };
        let mut heard = Vec::new();
        std::thread::scope(|threads| {
            let senders: Vec<_> = (0..SENDERS)
                .map(|sender| threads.spawn(move || send_all(sender)))
                .collect();
            while !senders.iter().all(|sender| sender.is_finished()) {
                let mut sim = Sim::new(1);
                let one = worker(&mut sim, &mesh, 0, 64);
                std::thread::yield_now();
                // Waits for who is sending: whatever was accepted is in the inbox then.
                mesh.clear(0);
                heard.extend(self::heard(&mut sim, &one));
            }
        });
        for sender in 0..SENDERS {
            let of_one = heard.iter().filter(|n| *n / EACH == sender);
            assert!(of_one.copied().eq(sender * EACH..(sender + 1) * EACH));
        }
        assert_eq!(heard.len(), (SENDERS * EACH) as usize);
    }
}

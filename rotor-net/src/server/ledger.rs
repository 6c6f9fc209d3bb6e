//! The books of a server: how many connections there are, and whose. Shared by the acceptor and all workers.
//!
//! A connection is entered when it is accepted and released when it closes, on whatever thread that happens, by the
//! lease that it carries. So the numbers are exact: what is open is what was entered and not released, and the loads of
//! the workers add up to it.

use super::connection::Arrival;
use super::places::{Places, Tell};
use super::report::{WorkerState, WorkerStats};
use super::table::{ConnectionId, Table};
use rotor_fsm::{Detached, Lease, Lessor, Notifier};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;
use std::time::Instant;

pub(super) struct Ledger {
    pub table: Table,
    pub workers: Box<[Tally]>,
    /// Taken by connections, and by those that are being accepted.
    pub places: Places<Notifier<Room>>,
    /// Connections that are entered: not more than places are taken, and as many as the loads add up to.
    open: AtomicUsize,
    started: Instant,
    pub accepted: AtomicU64,
    pub shed: AtomicU64,
    pub pauses: AtomicU64,
    pub returned: AtomicU64,
    /// The server's own threads, which must not wait for its end.
    threads: Mutex<Vec<ThreadId>>,
}

/// What is known of one worker.
#[derive(Default)]
pub(super) struct Tally {
    /// Connections that are its own now, on their way to it or open.
    pub load: AtomicUsize,
    /// Connections that were given to it.
    pub given: AtomicU64,
    /// Connections that its seed function, or a full loop, refused.
    pub refused: AtomicU64,
    /// Times its loop was made.
    pub lives: AtomicU64,
    /// Its door takes nothing any more but what it is handed.
    pub is_finishing: AtomicBool,
    state: AtomicU8,
    /// Where it is pinned: a core's number and one, or 0.
    core: AtomicU32,
    /// Asks the worker's loop how many machines it has.
    machines: Mutex<Option<MachinesFn>>,
}

type MachinesFn = Box<dyn Fn() -> u64 + Send>;

impl Tally {
    pub fn set_state(&self, state: WorkerState) {
        self.state.store(state as u8, Ordering::Relaxed);
    }

    pub fn set_core(&self, core: usize) {
        let number = u32::try_from(core + 1).unwrap_or(0);
        self.core.store(number, Ordering::Relaxed);
    }

    /// The loop that runs now; `None` when it has ended.
    pub fn set_machines(&self, machines: Option<MachinesFn>) {
        *self.machines() = machines;
    }

    fn machines(&self) -> MutexGuard<'_, Option<MachinesFn>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stats(&self) -> WorkerStats {
        let state = match self.state.load(Ordering::Relaxed) {
            up if up == WorkerState::Up as u8 => WorkerState::Up,
            gone if gone == WorkerState::Gone as u8 => WorkerState::Gone,
            _ => WorkerState::Starting,
        };
        let core = self.core.load(Ordering::Relaxed);
        WorkerStats {
            state,
            core: core.checked_sub(1).map(|core| core as usize),
            connections: self.load.load(Ordering::SeqCst),
            given: self.given.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            lives: self.lives.load(Ordering::Relaxed),
            machines: self.machines().as_ref().map_or(0, |machines| machines()),
        }
    }
}

/// Says that there may be room, or that there are no connections any more.
#[derive(Clone, Copy, Debug)]
pub struct Room;

impl Tell for Notifier<Room> {
    fn tell(&self) -> bool {
        // One that has ended needs not be told; one whose inbox is full does, later.
        !matches!(self.send(Room), Err(error) if !error.is_closed())
    }
}

impl Ledger {
    pub fn new(table: Table, workers: usize, connections_max: usize) -> Self {
        Self {
            table,
            workers: (0..workers).map(|_| Tally::default()).collect(),
            places: Places::new(connections_max),
            open: AtomicUsize::new(0),
            started: Instant::now(),
            accepted: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            pauses: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            threads: Mutex::new(Vec::new()),
        }
    }

    /// The calling thread is the server's.
    pub fn enlist_thread(&self) {
        self.threads().push(std::thread::current().id());
    }

    /// Whether the calling thread is the server's.
    pub fn is_own_thread(&self) -> bool {
        self.threads().contains(&std::thread::current().id())
    }

    fn threads(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Connections of a worker now.
    pub fn load(&self, worker: usize) -> usize {
        self.workers[worker].load.load(Ordering::SeqCst)
    }

    /// A place for one more connection, or `None` at the limit. It is filled or given back.
    pub fn reserve(self: &Arc<Self>) -> Option<Place> {
        self.places.enter().then(|| Place(Some(self.clone())))
    }

    /// Books a connection in, whose place is taken already. `None` if its descriptor is beyond the table.
    fn enter(&self, fd: RawFd, worker: usize) -> Option<ConnectionId> {
        // Leases are told before descriptors close. Should one not have been, its connection is gone all the same, or
        // its number would not be this one's.
        if let Some(gone) = self.table.occupant(fd) {
            self.closed(gone.to_bits());
        }
        let id = self.table.enter(fd, worker as u16, self.now_nanos())?;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::SeqCst);
        let tally = &self.workers[worker];
        tally.load.fetch_add(1, Ordering::SeqCst);
        tally.given.fetch_add(1, Ordering::Relaxed);
        Some(id)
    }

    /// Moves a connection that nobody has opened to another worker.
    pub fn assign(&self, id: ConnectionId, worker: usize) {
        if let Some(old) = self.table.worker_of(id)
            && self.table.assign(id, worker as u16)
        {
            self.workers[usize::from(old)]
                .load
                .fetch_sub(1, Ordering::SeqCst);
            self.workers[worker].load.fetch_add(1, Ordering::SeqCst);
            self.workers[worker].given.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The clock of the table's entries.
    pub fn now_nanos(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Lessor for Ledger {
    fn closed(&self, number: u64) {
        let id = ConnectionId::from_bits(number);
        // First the worker, since a released slot has none.
        let worker = self.table.worker_of(id);
        if let Some(worker) = worker
            && self.table.release(id)
        {
            self.workers[usize::from(worker)]
                .load
                .fetch_sub(1, Ordering::SeqCst);
            self.open.fetch_sub(1, Ordering::SeqCst);
            self.places.leave();
        }
    }
}

/// A place within the connection limit.
pub(super) struct Place(Option<Arc<Ledger>>);

impl Place {
    /// Enters a connection as this worker's. One whose number is beyond the table (the process's limit was raised
    /// behind our back) is closed.
    pub fn fill(mut self, connection: Detached, worker: usize, listener: usize) -> Option<Arrival> {
        let ledger = self.0.take()?;
        let Some(id) = ledger.enter(connection.fd(), worker) else {
            self.0 = Some(ledger);
            return None;
        };
        Some(Arrival {
            connection: connection.with_lease(Lease::new(ledger, id.to_bits())),
            id,
            listener,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(ledger) = self.0.take() {
            ledger.places.leave();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn numbers(ledger: &Ledger) -> (usize, usize, usize, usize) {
        let taken = ledger.places.taken();
        (ledger.open(), taken, ledger.load(0), ledger.load(1))
    }

    #[test]
    fn a_connection_is_booked_in_moved_and_booked_out_once() {
        let ledger = Ledger::new(Table::new(1000).unwrap(), 2, 10);
        assert!(ledger.places.enter());
        let id = ledger.enter(7, 0).unwrap();
        assert_eq!(numbers(&ledger), (1, 1, 1, 0));
        ledger.assign(id, 1);
        assert_eq!(numbers(&ledger), (1, 1, 0, 1));
        ledger.closed(id.to_bits());
        ledger.closed(id.to_bits());
        ledger.assign(id, 0);
        assert_eq!(numbers(&ledger), (0, 0, 0, 0));
        assert!(ledger.enter(1000, 0).is_none(), "beyond the table");
        assert_eq!(numbers(&ledger), (0, 0, 0, 0));
    }

    #[test]
    fn one_whose_lease_was_not_told_is_booked_out_by_the_next_on_its_descriptor() {
        let ledger = Ledger::new(Table::new(1000).unwrap(), 2, 10);
        assert!(ledger.places.enter() && ledger.places.enter());
        let gone = ledger.enter(7, 0).unwrap();
        let next = ledger.enter(7, 1).unwrap();
        assert_eq!(numbers(&ledger), (1, 1, 0, 1));
        ledger.closed(gone.to_bits());
        assert_eq!(numbers(&ledger), (1, 1, 0, 1));
        ledger.closed(next.to_bits());
        assert_eq!(numbers(&ledger), (0, 0, 0, 0));
    }
}

//! What a server says of itself: notices while it runs, numbers when asked, and how its drain went.

use super::ledger::Ledger;
use rotor_fsm::FdLimit;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Something that whoever operates the server should know.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A thread runs on whatever core the system gives it, because it could not be pinned.
    NotPinned {
        /// The worker, or `None` for the acceptor.
        worker: Option<usize>,
        /// Why.
        why: String,
    },
    /// A worker's loop ended by a panic or an error outside its machines. Its connections are closed.
    WorkerDown {
        /// The worker.
        worker: usize,
        /// What ended it.
        why: String,
        /// When it will be started again; `None` if it has failed too often.
        restart_in: Option<Duration>,
    },
    /// A worker that was down serves again.
    WorkerUp {
        /// The worker.
        worker: usize,
    },
    /// The server stops listening and lets its connections finish.
    Draining {
        /// Connections at that moment.
        connections: usize,
        /// How long they may take.
        grace: Duration,
    },
    /// Another process has taken over the listening sockets.
    HandedOver,
    /// Another process wanted to take over and did not get to serve; this one goes on.
    TakeoverFailed {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPinned {
                worker: Some(worker),
                why,
            } => write!(f, "worker {worker} is not pinned: {why}"),
            Self::NotPinned { worker: None, why } => {
                write!(f, "the acceptor is not pinned: {why}")
            }
            Self::WorkerDown {
                worker,
                why,
                restart_in: Some(after),
            } => write!(f, "worker {worker} failed ({why}); restart in {after:?}"),
            Self::WorkerDown { worker, why, .. } => {
                write!(
                    f,
                    "worker {worker} failed ({why}), too often to be restarted"
                )
            }
            Self::WorkerUp { worker } => write!(f, "worker {worker} serves again"),
            Self::Draining { connections, grace } => {
                write!(
                    f,
                    "draining {connections} connections for at most {grace:?}"
                )
            }
            Self::HandedOver => f.write_str("another process has taken over"),
            Self::TakeoverFailed { why } => write!(f, "a takeover failed: {why}"),
        }
    }
}

/// Hears notices, on whatever thread they arise.
pub(super) type Watch = Arc<dyn Fn(&Notice) + Send + Sync>;

/// The program's hook, whose panics go no further: a notice that is not heard shall cost no thread. (Standard error may be
/// closed, and then printing panics.)
pub(super) fn guarded(watch: impl Fn(&Notice) + Send + Sync + 'static) -> Watch {
    Arc::new(move |notice| {
        let _ = catch_unwind(AssertUnwindSafe(|| watch(notice)));
    })
}

/// How a server ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DrainReport {
    /// Connections that ended by themselves after the drain began.
    pub ended: usize,
    /// Connections that were still there at the deadline, and were closed.
    pub cut: usize,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ended, cut, took } = self;
        write!(
            f,
            "{ended} connections ended by themselves, {cut} were cut, in {took:.1?}"
        )
    }
}

/// Whether a worker serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WorkerState {
    /// Its loop is being made, for the first time or again.
    #[default]
    Starting,
    /// It takes connections.
    Up,
    /// It has ended, or failed too often.
    Gone,
}

/// One worker's numbers.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Whether it serves.
    pub state: WorkerState,
    /// The core it is pinned to.
    pub core: Option<usize>,
    /// Connections now, those on their way to it included.
    pub connections: usize,
    /// Connections that were given to it.
    pub given: u64,
    /// Connections closed at once because the seed function said so or panicked, or the loop was full.
    pub refused: u64,
    /// Times its loop was made: 1 if it never failed.
    pub lives: u64,
    /// Machines on its loop when that last went to sleep, the server's own (one) included.
    pub machines: u64,
}

/// A server's numbers. They are read one by one while it runs.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Stats {
    /// Connections now.
    pub connections: usize,
    /// How many there may be: what was asked for, or what the descriptor limit leaves.
    pub connections_max: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Connections taken and closed at once because the process was out of descriptors.
    pub shed: u64,
    /// Times a listener had to wait, for room or for descriptors.
    pub pauses: u64,
    /// Connections that came back from a worker that ended before it had opened them.
    pub returned: u64,
    /// Each worker's.
    pub workers: Vec<WorkerStats>,
    /// Slots of the connection table.
    pub table_slots: usize,
    /// Address space that the connection table is reserved.
    pub table_reserved_bytes: usize,
    /// Memory that it occupies, if the system tells.
    pub table_resident_bytes: Option<usize>,
    /// What became of the limit on descriptors.
    pub fd_limit: FdLimit,
}

impl Stats {
    pub(super) fn of(ledger: &Ledger, fd_limit: &FdLimit) -> Self {
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        Self {
            connections: ledger.open(),
            connections_max: ledger.places.max(),
            accepted: count(&ledger.accepted),
            shed: count(&ledger.shed),
            pauses: count(&ledger.pauses),
            returned: count(&ledger.returned),
            workers: ledger
                .workers
                .iter()
                .map(super::ledger::Tally::stats)
                .collect(),
            table_slots: ledger.table.len(),
            table_reserved_bytes: ledger.table.reserved_bytes(),
            table_resident_bytes: ledger.table.resident_bytes(),
            fd_limit: *fd_limit,
        }
    }
}

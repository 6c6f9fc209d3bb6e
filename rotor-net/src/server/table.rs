//! The connection table: which connection a descriptor stands for, and which worker has it.
//!
//! The acceptor enters a descriptor when it has accepted it, workers release it, and anyone may ask; nobody waits for
//! anybody. The table is indexed by descriptor, so it is as long as the process's limit on them. All of it is reserved
//! at once and committed by the page as descriptors are used: entering a connection allocates nothing.
//!
//! Descriptors are reused at once, names of connections never: each slot counts generations. Invariant: a slot's state
//! is one word, so whether a release, a move or an overtaking comes first is decided by one compare-exchange, and each
//! connection leaves the table exactly once.

mod mapping;

use mapping::Mapping;
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use sync::{AtomicU64, AtomicUsize, Ordering};

/// The atomics, so that `loom` can take their place in its model.
mod sync {
    #[cfg(loom)]
    pub use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    #[cfg(not(loom))]
    pub use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}

/// Names one connection of a server: its descriptor and the generation of that descriptor's slot.
///
/// A later connection on the same descriptor has another generation, for the next four thousand million of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    fd: u32,
    generation: u32,
}

impl ConnectionId {
    /// The descriptor that the connection has while it lives.
    pub const fn fd(self) -> u32 {
        self.fd
    }

    /// Which of that descriptor's connections it is. Never 0.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// Both in one number, for who carries ids about.
    pub(super) const fn to_bits(self) -> u64 {
        (self.fd as u64) << 32 | self.generation as u64
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self {
            fd: (bits >> 32) as u32,
            generation: bits as u32,
        }
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.fd, self.generation)
    }
}

/// The table. Shared by reference between the acceptor and all workers.
pub struct Table {
    slots: Mapping,
    live: AtomicUsize,
    overtaken: AtomicUsize,
    /// One more than the highest descriptor ever entered: where a scan ends.
    scan_len: AtomicUsize,
}

impl Table {
    /// A table for descriptors below `len`, 16 bytes of address space each.
    ///
    /// # Errors
    /// `InvalidInput` if `len` is 0 or beyond what a descriptor can be; otherwise what the system says when it has no
    /// such range of addresses.
    pub fn new(len: usize) -> io::Result<Table> {
        if len == 0 || len > RawFd::MAX as usize {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a connection table of {len} slots; 1 to {} are possible",
                    RawFd::MAX
                ),
            ));
        }
        Ok(Table {
            slots: Mapping::new(len)?,
            live: AtomicUsize::new(0),
            overtaken: AtomicUsize::new(0),
            scan_len: AtomicUsize::new(0),
        })
    }

    /// Names the connection that `fd` has just become, and gives it to a worker. `None` if `fd` is beyond the table.
    ///
    /// If the slot is still taken, its connection's descriptor has been closed (the kernel would not have given the
    /// number out again) but its release has not been noted: it is overtaken. It is gone from now on, counted by
    /// [`overtaken`](Self::overtaken), and its release will answer false. Who releases before closing is never overtaken.
    pub fn enter(&self, fd: RawFd, worker: u16, now_ns: u64) -> Option<ConnectionId> {
        let fd = u32::try_from(fd).ok()?;
        let slot = self.slots.get(fd as usize)?;
        self.reach(fd as usize + 1);
        loop {
            let found = State(slot.state.load(Ordering::Acquire));
            if found.is_taken() {
                if slot.change(found, found.freed()) {
                    self.live.fetch_sub(1, Ordering::Relaxed);
                    self.overtaken.fetch_add(1, Ordering::Relaxed);
                }
                continue;
            }
            // Between two free states, so that whoever reads it for the connection before finds that gone.
            slot.since_ns.store(now_ns, Ordering::Release);
            let next = State::of(found.next_generation(), Some(worker));
            // Counted first: a release that follows at once must not count below zero.
            self.live.fetch_add(1, Ordering::Relaxed);
            if slot.change(found, next) {
                return Some(ConnectionId {
                    fd,
                    generation: next.generation(),
                });
            }
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The connection that the table knows under this descriptor.
    pub fn occupant(&self, fd: RawFd) -> Option<ConnectionId> {
        let fd = u32::try_from(fd).ok()?;
        let state = State(self.slots.get(fd as usize)?.state.load(Ordering::Acquire));
        state.is_taken().then(|| ConnectionId {
            fd,
            generation: state.generation(),
        })
    }

    /// Moves a connection to another worker. False, and no change, if it is gone.
    pub fn assign(&self, id: ConnectionId, worker: u16) -> bool {
        self.change(id, State::of(id.generation, Some(worker)))
    }

    /// Notes that a connection is gone. True exactly once for each that was entered, unless it was overtaken; else
    /// nothing changes.
    pub fn release(&self, id: ConnectionId) -> bool {
        let released = self.change(id, State::of(id.generation, None));
        if released {
            self.live.fetch_sub(1, Ordering::Relaxed);
        }
        released
    }

    /// The worker that has the connection; `None` if it is gone.
    pub fn worker_of(&self, id: ConnectionId) -> Option<u16> {
        self.state(id)?.worker()
    }

    /// When the connection was entered, in the caller's nanoseconds; `None` if it is gone.
    pub fn since_ns(&self, id: ConnectionId) -> Option<u64> {
        self.state(id)?;
        let since_ns = self.slot(id)?.since_ns.load(Ordering::Acquire);
        // It may be the next connection's already. Then this one is seen to be gone.
        self.state(id).map(|_| since_ns)
    }

    /// Whether the connection is in the table.
    pub fn is_live(&self, id: ConnectionId) -> bool {
        self.state(id).is_some()
    }

    /// How many connections are in the table. One that is being entered may count already.
    pub fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// How many connections were overtaken since the beginning.
    pub fn overtaken(&self) -> usize {
        self.overtaken.load(Ordering::Relaxed)
    }

    /// The connections of one worker, by descriptor. Looks at every slot up to the highest descriptor ever entered;
    /// what enters, moves or leaves meanwhile may or may not be among them.
    pub fn for_worker(&self, worker: u16) -> impl Iterator<Item = ConnectionId> + '_ {
        let len = self.scan_len.load(Ordering::Acquire);
        self.slots[..len]
            .iter()
            .zip(0..)
            .filter_map(move |(slot, fd)| {
                let state = State(slot.state.load(Ordering::Acquire));
                (state.worker() == Some(worker)).then(|| ConnectionId {
                    fd,
                    generation: state.generation(),
                })
            })
    }

    /// The number of slots: descriptors below it can be entered.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// The address space that is set aside.
    pub fn reserved_bytes(&self) -> usize {
        self.slots.reserved_bytes()
    }

    /// The memory that is in use for it: whole pages. `None` where the system does not tell. Asks it about every page.
    pub fn resident_bytes(&self) -> Option<usize> {
        self.slots.resident_bytes()
    }

    fn reach(&self, len: usize) {
        // Mostly it is reached already, and then the line stays shared between the processors.
        if self.scan_len.load(Ordering::Relaxed) < len {
            self.scan_len.fetch_max(len, Ordering::AcqRel);
        }
    }

    fn slot(&self, id: ConnectionId) -> Option<&Slot> {
        self.slots.get(id.fd as usize)
    }

    /// The state of a connection's slot, if it is still that connection's.
    fn state(&self, id: ConnectionId) -> Option<State> {
        let state = State(self.slot(id)?.state.load(Ordering::Acquire));
        (state.is_taken() && state.generation() == id.generation).then_some(state)
    }

    /// Changes the state of a live connection; false if it is gone.
    fn change(&self, id: ConnectionId, to: State) -> bool {
        let Some(slot) = self.slot(id) else {
            return false;
        };
        while let Some(found) = self.state(id) {
            if slot.change(found, to) {
                return true;
            }
        }
        false
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len())
            .field("live", &self.live())
            .field("overtaken", &self.overtaken())
            .finish_non_exhaustive()
    }
}

/// What the table knows of one descriptor. All bits zero: free, and never entered.
#[derive(Default)]
#[repr(C)]
struct Slot {
    state: AtomicU64,
    since_ns: AtomicU64,
}

impl Slot {
    fn change(&self, from: State, to: State) -> bool {
        self.state
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

/// A slot's state as one word: the generation above, below it the worker's number and one, or 0 if the slot is free.
#[derive(Clone, Copy)]
struct State(u64);

impl State {
    const fn of(generation: u32, worker: Option<u16>) -> State {
        let owner = match worker {
            Some(worker) => worker as u64 + 1,
            None => 0,
        };
        State((generation as u64) << 32 | owner)
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    const fn is_taken(self) -> bool {
        self.0 as u32 != 0
    }

    fn worker(self) -> Option<u16> {
        let owner = self.0 as u32;
        owner.checked_sub(1).map(|worker| worker as u16)
    }

    const fn freed(self) -> State {
        State::of(self.generation(), None)
    }

    /// 0 is for slots that were never entered, and stays theirs.
    const fn next_generation(self) -> u32 {
        match self.generation().wrapping_add(1) {
            0 => 1,
            next => next,
        }
    }
}

#[cfg(all(test, loom))]
mod loom_model;
#[cfg(all(test, not(loom)))]
mod tests;

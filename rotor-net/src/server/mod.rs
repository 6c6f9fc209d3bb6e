//! The server: connections accepted by a main loop and served by workers, each a thread with a loop of its own.
//!
//! ```text
//! acceptor's loop: Gate ── Order::Connection ──→ worker's loop: Door ── seed ──→ the connection's machine
//!       │    └ Intakes (limits, shedding)              │
//!       └──────────────── Ledger ──────────────────────┘   connection table, loads, what is open
//! ```
//!
//! ```no_run
//! use rotor_net::prelude::*;
//! use rotor_net::server::Server;
//! use std::time::Duration;
//! # struct Echo;
//! # impl Protocol for Echo { type Context = (); type Message = Never; type Seed = ();
//! #     fn create(_: (), _: &mut Conn<'_, Self>) -> Result<Intent<Self>> { Ok(Intent::of(Echo)) }
//! #     fn received(self, _: Input<'_>, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> { Ok(Intent::of(self)) } }
//!
//! let server = Server::<Stream<Echo>>::builder()
//!     .listen("127.0.0.1:6000")
//!     .drain_on_signals(Duration::from_secs(10))
//!     .start(|_worker| Ok(()), |connection, _context| connection.stream(()))?;
//! println!("listening at {}", server.addresses()[0]);
//! println!("{}", server.join()?);
//! # Ok::<(), rotor_fsm::Error>(())
//! ```
//!
//! # What happens when
//!
//! - **The connection limit is reached:** accepting pauses; connections wait in the kernel's queue. **The process is
//!   out of descriptors:** connections that wait are taken with a spare descriptor and closed, counted as shed.
//! - **A worker fails** outside its machines (a panic of an end hook or of who hears a broadcast, an error of libuv, a
//!   program that shuts the worker's loop down): its connections are closed, those it had not opened yet go to the other
//!   workers, and so does its share; it is started again, see [`Restarts`]. A machine that panics ends alone.
//! - **A drain:** listeners close, every connection is asked to [finish](crate::Protocol::finish); when none is left, or
//!   at the deadline, all other machines are, and what is left then is closed. The report says how many connections
//!   ended by themselves and how many were cut.
//!
//! The server's own machines use descriptors of the real world and do not run in the simulator; connections' machines
//! do, on loops of their own.

mod bind;
mod builder;
mod connection;
mod cores;
mod door;
mod gate;
mod handoff;
mod inherited;
mod intake;
mod ledger;
mod mesh;
mod picker;
mod places;
mod report;
mod roles;
mod start;
mod table;
mod usher;
mod worker;

pub use bind::ListenError;
pub use builder::{Builder, Workers};
pub use connection::Connection;
pub use cores::Pin;
pub use mesh::Mesh;
pub use picker::Dispatch;
pub use report::{DrainReport, Notice, Stats, WorkerState, WorkerStats};
pub use table::ConnectionId;
pub use worker::{Restarts, Worker};

use self::door::DoorMessage;
use self::gate::{Ending, Gate, GateMessage};
use self::ledger::Ledger;
use self::usher::Usher;
use rotor_fsm::{Addr, Error, ErrorKind, FdLimit, LoopThread, Machine, Never, Notifier, Result};
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

rotor_fsm::compose! {
    /// The machines of the acceptor's loop.
    pub(crate) enum Main(()) { Gate(Gate), Usher(Usher) }
}

/// A running server: an acceptor and workers, on threads of their own.
///
/// Connections are served by machines of type `M`, on loops of `C`; workers hear messages of type `T`. Dropping it stops
/// it at once, and waits for its threads, unless it is dropped on one of them.
pub struct Server<M: Machine, C = M, T: Send + 'static = Never> {
    gate: Notifier<GateMessage>,
    main: Option<LoopThread<Main>>,
    threads: Vec<JoinHandle<()>>,
    ledger: Arc<Ledger>,
    doors: Mesh<DoorMessage<T>>,
    addresses: Vec<Addr>,
    fd_limit: FdLimit,
    ending: Arc<Ending>,
    kind: PhantomData<fn() -> (M, C)>,
}

impl<M: Machine, C, T: Send + 'static> Server<M, C, T> {
    /// Where it listens; tells the ports that `:0` became. An address that several workers listen at is one.
    pub fn addresses(&self) -> &[Addr] {
        &self.addresses
    }

    /// The numbers now.
    pub fn stats(&self) -> Stats {
        Stats::of(&self.ledger, &self.fd_limit)
    }

    /// The connections that are open now, as the connection table has them: looked up one by one while it changes.
    pub fn connections(&self) -> impl Iterator<Item = OpenConnection> + '_ {
        let table = &self.ledger.table;
        let now = self.ledger.now_nanos();
        (0..self.ledger.workers.len()).flat_map(move |worker| {
            table.for_worker(worker as u16).filter_map(move |id| {
                let age = now.saturating_sub(table.since_ns(id)?);
                Some(OpenConnection {
                    id,
                    worker,
                    age: Duration::from_nanos(age),
                })
            })
        })
    }

    /// Whether this connection is open.
    pub fn is_open(&self, connection: ConnectionId) -> bool {
        self.ledger.table.is_live(connection)
    }

    /// Sends a message to every worker, and says how many accepted it: not one that is down, or whose inbox is full. See
    /// [`Builder::on_message`].
    pub fn broadcast(&self, message: T) -> usize
    where
        T: Clone,
    {
        (0..self.doors.len())
            .filter(|&worker| {
                let message = DoorMessage::Message(message.clone());
                self.doors.send(worker, message).is_ok()
            })
            .count()
    }

    /// How others, on any thread, end this server.
    pub fn stopper(&self) -> Stopper {
        Stopper {
            gate: self.gate.clone(),
        }
    }

    /// Stops listening, lets connections finish for at most `grace`, ends, and says how that went. Handlers and jobs that
    /// run at the end are waited for, however long they take.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn drain(self, grace: Duration) -> Result<DrainReport> {
        self.stopper().drain(grace);
        self.join()
    }

    /// Closes everything now.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn stop(self) -> Result<DrainReport> {
        self.drain(Duration::ZERO)
    }

    /// Waits until the server has ended, by a signal, a successor or a [`Stopper`].
    ///
    /// # Errors
    /// If every worker has failed too often to be restarted, or the acceptor failed. On one of the server's own threads,
    /// which would wait for itself: then the server stops at once, and nobody waits.
    pub fn join(mut self) -> Result<DrainReport> {
        self.wait()?;
        Ok(self.ending.report())
    }

    fn wait(&mut self) -> Result<()> {
        if self.ledger.is_own_thread() {
            self.stopper().drain(Duration::ZERO);
            // They end by themselves; to wait for them here would be for ever.
            std::mem::forget(self.main.take());
            self.threads.clear();
            return Err(Error::msg(
                "a server was waited for on one of its own threads; it stops unattended",
            ));
        }
        let ended = self.main.take().map_or(Ok(()), LoopThread::join);
        let mut panicked = false;
        for thread in self.threads.drain(..) {
            panicked |= thread.join().is_err();
        }
        ended?;
        match panicked {
            true => Err(ErrorKind::LoopPanicked.into()),
            false => Ok(()),
        }
    }
}

impl<M: Machine, C, T: Send + 'static> Drop for Server<M, C, T> {
    fn drop(&mut self) {
        if self.main.is_some() {
            self.stopper().drain(Duration::ZERO);
            // Nobody is there to hear of a failure.
            let _ = self.wait();
        }
    }
}

impl<M: Machine, C, T: Send + 'static> std::fmt::Debug for Server<M, C, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("addresses", &self.addresses)
            .field("workers", &self.threads.len())
            .finish_non_exhaustive()
    }
}

/// A connection that is open.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenConnection {
    /// Its name.
    pub id: ConnectionId,
    /// Who serves it, or will.
    pub worker: usize,
    /// How long ago it was accepted.
    pub age: Duration,
}

/// Ends a server from anywhere. `Clone + Send + Sync`.
#[derive(Clone, Debug)]
pub struct Stopper {
    gate: Notifier<GateMessage>,
}

impl Stopper {
    /// Begins a drain, or shortens the one under way; zero stops at once. Does not wait, and does nothing once the
    /// server has ended.
    pub fn drain(&self, grace: Duration) {
        // The acceptor's inbox has room beyond that for all connections.
        let _ = self.gate.send(GateMessage::Drain(grace));
    }
}

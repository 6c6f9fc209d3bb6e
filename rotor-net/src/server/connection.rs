//! A connection on its way from the acceptor to the machine that serves it.

use super::gate::GateMessage;
use super::ledger::Ledger;
use super::table::ConnectionId;
use crate::{Protocol, StreamSeed, Streams};
use rotor_fsm::{Detached, Incoming, Notifier, Result};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A connection that a worker's machine shall serve, as the seed function sees it. Closes when dropped.
#[derive(Debug)]
pub struct Connection<'a> {
    pub(super) incoming: Incoming,
    pub(super) id: ConnectionId,
    pub(super) listener: usize,
    pub(super) worker: usize,
    pub(super) streams: &'a Streams,
}

impl Connection<'_> {
    /// Its name in the connection table: unique among all connections of the server, now and before.
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// Which of the server's addresses it came to, in the order of [`Server::addresses`](super::Server::addresses).
    pub fn listener(&self) -> usize {
        self.listener
    }

    /// The worker that serves it.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// The seed of a stream that speaks a protocol on it.
    ///
    /// # Errors
    /// If there are more streams than the server's [limits](super::Builder::limits) allow, others that the program
    /// made included.
    pub fn stream<P: Protocol>(self, seed: P::Seed) -> Result<StreamSeed<P>> {
        let full = |_| rotor_fsm::Error::msg("more streams than the limits of the server allow");
        self.streams
            .accepted::<P>(self.incoming, seed)
            .map_err(full)
    }

    /// The connection itself, for a machine that opens it with [`Scope::open`](rotor_fsm::Scope::open).
    pub fn into_incoming(self) -> Incoming {
        self.incoming
    }
}

/// An accepted connection, entered in the ledger, that nobody has opened.
pub struct Arrival {
    pub(super) connection: Detached,
    pub(super) id: ConnectionId,
    /// The position of its listener.
    pub(super) listener: usize,
}

/// A connection in a worker's inbox. If the worker ends before it has opened it, it goes back to the acceptor, which
/// gives it to another: it is never lost.
pub struct Handed {
    arrival: Option<Arrival>,
    home: Notifier<GateMessage>,
    ledger: Arc<Ledger>,
}

impl Handed {
    pub fn new(arrival: Arrival, home: &Notifier<GateMessage>, ledger: &Arc<Ledger>) -> Self {
        Self {
            arrival: Some(arrival),
            home: home.clone(),
            ledger: ledger.clone(),
        }
    }

    /// The connection; it is the caller's now.
    pub fn take(mut self) -> Option<Arrival> {
        self.arrival.take()
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        if let Some(arrival) = self.arrival.take() {
            self.ledger.returned.fetch_add(1, Ordering::Relaxed);
            // If the server ends it closes here, and its lease is told.
            let _ = self.home.send(GateMessage::Returned(arrival));
        }
    }
}

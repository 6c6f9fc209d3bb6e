//! What commands work on: the server that all connections of a loop share, and the session
//! that each connection has.

use super::limits::Limits;
use super::store::Store;

/// Shared by all connections of a loop.
pub struct Server {
    /// The data: all of it, or this worker's shard.
    pub store: Store,
    /// Counters for `INFO`.
    pub stats: Stats,
    /// Those of the whole server.
    pub(super) limits: Limits,
    pub(super) shard: Shard,
}

/// Which part of the keys a server holds.
#[derive(Clone, Copy, Debug)]
pub struct Shard {
    /// From 0.
    pub index: u64,
    /// At least 1.
    pub count: u64,
}

impl Server {
    /// An empty server for all keys. `hash_key` must be random and secret where peers choose the keys.
    pub fn new(limits: &Limits, hash_key: [u64; 2]) -> Self {
        Self::shard(limits, hash_key, Shard { index: 0, count: 1 })
    }

    /// An empty server for a part of the keys, with as large a part of the memory.
    pub fn shard(limits: &Limits, hash_key: [u64; 2], shard: Shard) -> Self {
        let bytes_max = match limits.store_bytes_max {
            u64::MAX => u64::MAX,
            all => all / shard.count,
        };
        Server {
            store: Store::new(bytes_max, hash_key),
            stats: Stats::default(),
            limits: limits.clone(),
            shard,
        }
    }

    /// The limit on memory as Redis says it: 0 for none.
    pub(super) fn maxmemory(&self) -> u64 {
        match self.limits.store_bytes_max {
            u64::MAX => 0,
            bytes => bytes,
        }
    }

    /// What `INFO` tells.
    pub(super) fn totals(&self, now_ms: u64) -> Totals {
        let (store, stats) = (&self.store, &self.stats);
        Totals {
            uptime_s: now_ms.saturating_sub(stats.started_ms) / 1000,
            clients: stats.clients,
            maxmemory: self.maxmemory(),
            used_bytes: store.used_bytes(),
            keys: store.len() as u64,
            expiring: store.expiring() as u64,
            expired: store.expired(),
            connections: stats.connections,
            commands: stats.commands,
            rejected: stats.rejected,
            cut: stats.cut,
        }
    }
}

/// What `INFO` tells, of one worker or of all.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Totals {
    pub uptime_s: u64,
    pub clients: u64,
    pub maxmemory: u64,
    pub used_bytes: u64,
    pub keys: u64,
    pub expiring: u64,
    pub expired: u64,
    pub connections: u64,
    pub commands: u64,
    pub rejected: u64,
    pub cut: u64,
}

impl Totals {
    /// Adds another worker's. What each worker knows of the whole server is not added up.
    pub fn add(&mut self, other: &Totals) {
        self.uptime_s = self.uptime_s.max(other.uptime_s);
        self.clients = self.clients.max(other.clients);
        self.maxmemory = self.maxmemory.max(other.maxmemory);
        self.used_bytes += other.used_bytes;
        self.keys += other.keys;
        self.expiring += other.expiring;
        self.expired += other.expired;
        self.connections += other.connections;
        self.commands += other.commands;
        self.rejected += other.rejected;
        self.cut += other.cut;
    }
}

/// Counters for `INFO`; the connection machines keep all but `commands`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    /// Unix milliseconds at which the server started.
    pub started_ms: u64,
    /// Connections now, of all workers.
    pub clients: u64,
    /// Connections accepted so far.
    pub connections: u64,
    /// Connections refused because there were too many clients.
    pub rejected: u64,
    /// Subscribers cut because they read too slowly.
    pub cut: u64,
    /// Commands executed so far; kept by [`execute`](super::command::execute).
    pub commands: u64,
}

/// One connection's state, as far as commands see it.
pub struct Session {
    /// What `CLIENT ID` answers; unique within the server.
    pub id: u64,
    /// Channels and patterns this connection is subscribed to; its machine keeps this. While
    /// it is above zero only a few commands are allowed.
    pub subscriptions: usize,
    /// `CLIENT SETNAME`.
    pub(super) name: Option<Box<[u8]>>,
}

impl Session {
    /// A fresh connection.
    pub fn new(id: u64) -> Self {
        Session {
            id,
            subscriptions: 0,
            name: None,
        }
    }

    /// The name that `CLIENT SETNAME` gave.
    pub fn name(&self) -> &[u8] {
        self.name.as_deref().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_small() {
        assert_eq!(size_of::<Session>(), 32);
    }
}

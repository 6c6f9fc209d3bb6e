//! What commands work on: the server that all connections of a loop share, and the session
//! that each connection has.

use super::limits::Limits;
use super::store::Store;

/// Shared by all connections of a loop.
pub struct Server {
    /// The data.
    pub store: Store,
    /// Counters for `INFO`.
    pub stats: Stats,
    pub(super) limits: Limits,
}

impl Server {
    /// An empty server. `hash_key` must be random and secret where peers choose the keys.
    pub fn new(limits: &Limits, hash_key: [u64; 2]) -> Self {
        Server {
            store: Store::new(limits.store_bytes_max, hash_key),
            stats: Stats::default(),
            limits: limits.clone(),
        }
    }
}

/// Counters for `INFO`; the connection machines keep all but `commands`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    /// Unix milliseconds at which the server started.
    pub started_ms: u64,
    /// Connections now.
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

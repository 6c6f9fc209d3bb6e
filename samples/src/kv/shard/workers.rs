//! `Workers`: what the workers of one server have in common.

use super::{Envelope, Sharding};
use rotor_net::server::Mesh;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What the workers of one server have in common. Clones share; one goes to each worker.
#[derive(Clone)]
pub struct Workers {
    pub(super) mesh: Mesh<Box<Envelope>>,
    pub(super) sharding: Sharding,
    hash_key: [u64; 2],
    common: Arc<Common>,
}

#[derive(Default)]
struct Common {
    clients: AtomicUsize,
    clients_ever: AtomicU64,
}

impl Workers {
    /// For so many workers, at least 1. `hash_key` must be random and secret.
    pub fn new(workers: usize, hash_key: [u64; 2]) -> Self {
        Self {
            mesh: Mesh::new(workers.max(1)),
            sharding: Sharding::new(workers, hash_key),
            hash_key,
            common: Arc::default(),
        }
    }

    /// How many workers there are.
    pub fn count(&self) -> usize {
        self.sharding.workers()
    }

    /// By which the workers' shards reach each other.
    pub fn mesh(&self) -> &Mesh<Box<Envelope>> {
        &self.mesh
    }

    /// The secret of their stores.
    pub(in super::super) fn hash_key(&self) -> [u64; 2] {
        self.hash_key
    }

    /// The worker that holds this key.
    pub fn holder(&self, key: &[u8]) -> usize {
        self.sharding.of(key)
    }

    /// Clients of all workers now.
    #[inline]
    pub(in super::super) fn clients(&self) -> usize {
        self.common.clients.load(Ordering::Relaxed)
    }

    /// A client's place among them, unless there are so many already.
    pub(in super::super) fn place(&self, clients_max: usize) -> Option<Place> {
        let clients = &self.common.clients;
        let more = |clients| (clients < clients_max).then_some(clients + 1);
        clients
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Place(self.common.clone()))
    }

    /// A number that no client had before.
    pub(in super::super) fn next_id(&self) -> u64 {
        self.common.clients_ever.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// A client's place among the clients of all workers; dropping it frees the place.
pub(in super::super) struct Place(Arc<Common>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.clients.fetch_sub(1, Ordering::Relaxed);
    }
}

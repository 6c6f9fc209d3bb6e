//! Connections that belong to no loop: how one loop accepts for others.
//!
//! A listener that was opened with [`Scope::listen_on`](crate::Scope::listen_on) takes nothing by itself: its machine
//! is told that connections wait ([`Io::Waiting`](crate::Io::Waiting)), takes them one by one
//! ([`Scope::accept`](crate::Scope::accept)), and may send them to another loop, whose machine adopts them
//! ([`Scope::adopt`](crate::Scope::adopt)). Invariant: a connection is closed exactly once, by whoever holds it last,
//! and its lease is told right before that, so that
//! the descriptor's number is not another connection's yet.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

/// An accepted connection that no loop has yet. `Send`; closes when dropped.
#[derive(Debug)]
pub struct Detached {
    // In this order: the lease is told before the number of the descriptor can be used again.
    pub(crate) lease: Option<Lease>,
    pub(crate) fd: OwnedFd,
    pub(crate) is_unix: bool,
}

impl Detached {
    /// The descriptor's number.
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether it came through a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.is_unix
    }

    /// The same with a guard that stays with the connection, through all loops and machines, until it is closed.
    pub fn with_lease(self, lease: Lease) -> Self {
        Self {
            lease: Some(lease),
            ..self
        }
    }
}

impl AsFd for Detached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Hears that connections close: who keeps count of them.
pub trait Lessor: Send + Sync {
    /// The connection of this number closes now. Called once per lease, on the thread that closes it. Must not panic.
    fn closed(&self, number: u64);
}

/// Tells its [`Lessor`] when the connection it was given to closes.
pub struct Lease {
    lessor: Arc<dyn Lessor>,
    number: u64,
}

impl Lease {
    /// `number` is for the lessor to tell its leases apart. Allocates nothing.
    pub fn new(lessor: Arc<dyn Lessor>, number: u64) -> Self {
        Self { lessor, number }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.lessor.closed(self.number);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.number)
    }
}

/// The leases of the streams of a loop, by the index of their handle.
#[derive(Default)]
pub(crate) struct Leases(Vec<Option<Lease>>);

impl Leases {
    pub fn reserve(&mut self, streams: usize) {
        self.0.reserve(streams);
    }

    pub fn put(&mut self, index: u32, lease: Lease) {
        let index = index as usize;
        if self.0.len() <= index {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(lease);
    }

    /// The lease of a stream that closes.
    #[inline]
    pub fn take(&mut self, index: u32) -> Option<Lease> {
        self.0.get_mut(index as usize)?.take()
    }

    /// All streams close.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

//! What a connector is made from, and what becomes of calls where it ends before its time.

use super::super::shared::Shared;
use rotor_fsm::Addr;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

/// What a [`Connector`](super::Connector) is made from: by [`Channel::new`](crate::rpc::Channel::new). Dropped before
/// that, it fails what was called.
pub struct ConnectorSeed<C> {
    to: Addr,
    guard: Guard,
    context: PhantomData<fn(C)>,
}

impl<C> ConnectorSeed<C> {
    pub(crate) fn new(to: Addr, shared: Arc<Shared>) -> Self {
        Self {
            to,
            guard: Guard { shared },
            context: PhantomData,
        }
    }

    pub(super) fn into_parts(self) -> (Guard, Addr) {
        (self.guard, self.to)
    }
}

impl<C> fmt::Debug for ConnectorSeed<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectorSeed({})", self.to)
    }
}

/// Why calls fail then.
pub(super) const ENDED: &str = "the loop of the client has ended";

/// The machine's share in what the handles have. When it is dropped, nobody is left to carry out orders.
pub(super) struct Guard {
    pub shared: Arc<Shared>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.shared.give_up(ENDED);
    }
}

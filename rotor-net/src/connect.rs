//! Clients: the error of a connection that could not be made, and what a stream keeps while it is being made.

use crate::Protocol;
use rotor_fsm::{Addr, IoError};
use std::fmt;

/// A connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// Where to.
    pub to: Addr,
    /// Why not: refused, unreachable, timed out, or a limit.
    pub error: IoError,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.to, self.error)
    }
}

impl std::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A protocol that waits for its connection. Boxed: it is large, and soon over.
pub(crate) struct Connecting<P: Protocol> {
    pub to: Addr,
    pub seed: P::Seed,
    /// Messages that came before the protocol did.
    pub early: Vec<P::Message>,
}

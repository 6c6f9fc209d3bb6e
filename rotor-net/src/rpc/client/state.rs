//! What a channel tells of its connection.

use crate::rpc::Menu;
use std::fmt;
use std::time::Duration;

/// How a channel's connection is.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// There is none, and there was none: nothing was called yet.
    Idle,
    /// One is being made: the so manieth attempt since the last that was of use.
    Connecting {
        /// From 1.
        attempt: u32,
    },
    /// It stands, and the server has said what it offers.
    Open,
    /// It could not be made, or was lost.
    Lost {
        /// What happened.
        why: Box<str>,
        /// After how long the next attempt begins. `None`: it does not, or not before something is called.
        again_in: Option<Duration>,
    },
    /// The server takes no more calls on this connection. Those in flight go on; further ones get the next connection.
    Draining,
    /// For good: the client was closed, or has no connection and makes none.
    Closed,
}

impl fmt::Display for ChannelState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("not connected"),
            Self::Connecting { attempt } => write!(f, "connecting, attempt {attempt}"),
            Self::Open => f.write_str("connected"),
            Self::Lost {
                why,
                again_in: Some(wait),
            } => write!(f, "{why}; trying again in {wait:?}"),
            Self::Lost { why, .. } => f.write_str(why),
            Self::Draining => f.write_str("the server drains"),
            Self::Closed => f.write_str("closed"),
        }
    }
}

/// What a server said of itself in its handshake.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerInfo {
    /// The version of the protocol that is spoken with it.
    pub protocol_version: u8,
    /// The longest body of a frame that it takes.
    pub frame_bytes_max: usize,
    /// Bytes of items that it takes on a stream before it gives more credit.
    pub window_bytes: u32,
    /// Calls in flight that it takes on one connection.
    pub in_flight_max: usize,
    /// Bytes of metadata that it takes with a call.
    pub meta_bytes_max: usize,
    /// Whether it takes calls by name that are not on its menu.
    pub takes_unknown: bool,
    /// What it offers.
    pub menu: Menu,
}

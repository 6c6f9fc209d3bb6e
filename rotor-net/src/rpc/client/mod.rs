//! The client's side of typed calls.
//!
//! ```text
//! Channel ── unary, … ──→ a call ──→ Shared (orders) ⇒ wakes ⇒ Connector ──→ Session ──→ frames ──→ the server
//!    any thread                                      its loop ↑ └ connects, waits, connects again
//! Pending ←── Promise ←──────────────────────────────────────── replies ←──┘
//! ```
//!
//! A call is one allocation, which holds its request, and its answer when that has come. It waits in a queue until there
//! is a connection with room for it, gets a slot there, and is encoded straight into the output, in the version that the
//! server speaks.

mod ask;
mod call;
mod channel;
mod connector;
mod gauge;
mod line;
mod link;
mod nudge;
mod promise;
mod session;
mod shared;
mod slots;
mod starting;
mod state;
mod thread;

pub(super) use call::{ClientCall, Promised};
pub use channel::Channel;
pub use connector::{Connector, ConnectorSeed};
pub use state::{ChannelState, ServerInfo};

//! Protocols on streams, as state machines on a libuv loop.
//!
//! A [`Protocol`] is a state type with one handler per kind of event. It says what it waits for (an [`Intent`]), and
//! gets exactly that: a line, so many bytes, or whatever arrives. [`Stream`] is the machine that runs a protocol on a
//! connection; [`Accept`] makes one for every connection that is taken; [`Streams`] holds what they share.
//!
//! ```text
//! Io::Read → Feed (frames) → protocol.received(self, data, conn) → Intent → Response
//!                                                └ conn.out → the stream's output, one write a dispatch
//! ```
//!
//! ```no_run
//! use rotor_net::prelude::*;
//!
//! struct Echo;
//!
//! impl Protocol for Echo {
//!     type Context = ();
//!     type Message = Never;
//!     type Seed = ();
//!
//!     fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
//!         conn.out.write(b"say something\n")?;
//!         Ok(Intent::of(Echo).line(512))
//!     }
//!
//!     fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
//!         conn.out.write(&line)?;
//!         conn.out.write(b"\n")?;
//!         Ok(Intent::of(self))
//!     }
//! }
//!
//! rotor_net::serve::<Echo>("127.0.0.1:6000", Limits::default(), ())?;
//! # Ok::<(), rotor_fsm::Error>(())
//! ```
//!
//! # Features
//!
//! | feature | module | what it is |
//! |---|---|---|
//! | `server` (default) | `server` | an acceptor and workers on threads of their own: limits, dispatch, drains, hot restarts |
//! | `fiber` (default) | `fiber` | machines whose state is a stack |
//! | `rpc` | `rpc` | typed calls between programs |

#![deny(unsafe_code)]

mod accept;
mod conn;
mod connect;
mod feed;
#[cfg(feature = "fiber")]
pub mod fiber;
mod input;
mod intent;
mod limits;
mod linger;
mod link;
mod protocol;
#[cfg(feature = "rpc")]
pub mod rpc;
mod run;
mod serve;
#[cfg(feature = "server")]
pub mod server;
mod stream;
mod streams;
mod switch;
mod until;

pub use accept::{Accept, AcceptSeed, Room};
pub use conn::{Conn, Out};
pub use connect::ConnectError;
pub use input::Input;
pub use intent::Intent;
pub use limits::Limits;
pub use protocol::{Failure, Protocol};
pub use serve::{Service, serve, serve_with};
pub use stream::{Stream, StreamSeed};
pub use streams::Streams;
pub use until::Until;

/// What a program of protocols needs, with what it needs of `rotor_fsm`: `use rotor_net::prelude::*`.
pub mod prelude {
    pub use crate::{
        Accept, Conn, ConnectError, Failure, Input, Intent, Limits, Protocol, Stream, Streams,
        Until, serve, serve_with,
    };
    pub use rotor_fsm::prelude::*;
}

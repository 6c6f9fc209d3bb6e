//! Typed calls between programs: the type of a reply belongs to the type of its request.
//!
//! A service is declared once ([`service!`](service)), and both programs are written against what comes of it. A server
//! implements a trait; a handler answers at once, or keeps its [`Reply`] and answers later, from wherever. A client calls
//! methods; each gives a [`Pending`] of just the right type, for which a machine, a fiber, a thread or a future waits.
//!
//! ```
//! use rotor_net::prelude::*;
//! use rotor_net::rpc::{self, CallScope, ItemSender, Reply, Shape};
//! use rotor_net::server::Server;
//! use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize, Shape)]
//! pub enum Problem {
//!     DividedByZero,
//! }
//!
//! rpc::service! {
//!     pub mod numbers {
//!         fn divide(number: i64, by: i64) -> Result<i64, Problem>;
//!         fn count(to: u32) -> stream u32;
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Numbers;
//!
//! impl numbers::Service for Numbers {
//!     type Context = (); // shared by the connections of one loop
//!
//!     fn divide(&mut self, number: i64, by: i64, reply: Reply<Result<i64, Problem>>, _: &mut CallScope<'_, ()>) {
//!         reply.ok(number.checked_div(by).ok_or(Problem::DividedByZero));
//!     }
//!
//!     fn count(&mut self, to: u32, mut items: ItemSender<u32>, _: &mut CallScope<'_, ()>) {
//!         for n in 1..=to.min(100) {
//!             let _ = items.send(n);
//!         }
//!         let _ = items.end();
//!     }
//! }
//!
//! # fn main() -> Result<()> {
//! let server = Server::<Stream<numbers::Session<Numbers>>>::builder()
//!     .listen("127.0.0.1:0")
//! #   .workers(1).pin(false)
//!     .start(|_worker| Ok(()), |connection, _| connection.stream(Default::default()))?;
//!
//! let numbers = numbers::Client::connect(&server.addresses()[0].to_string())?;
//! assert_eq!(numbers.divide(42, 6).within(Duration::from_secs(5)).wait()?, Ok(7));
//! assert_eq!(numbers.divide(42, 0).wait()?, Err(Problem::DividedByZero));
//! let mut counted = numbers.count(3);
//! while let Some(n) = counted.next_blocking() {
//!     println!("{}", n?);
//! }
//! server.stop()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Who waits how
//!
//! | where | how |
//! |---|---|
//! | in a machine | `files.get(path).then(scope, Msg::Got)?`: the reply is a message of its own type, whose place in the inbox is kept from the beginning. Dropping the [`Call`] that this gives cancels |
//! | in a fiber | `cx.call(files.get(path))?`, or `.join(cx)?` at the end of a chain |
//! | on a thread | `files.get(path).wait()?` |
//! | in `async` code | `files.get(path).await?`, under any executor |
//!
//! Streams of items work alike: [`ItemSender`], [`ItemReceiver`].
//!
//! A client's connection is a machine as well, a [`Connector`]: on a loop of your own ([`Channel::new`]) or on a thread that
//! [`Channel::connect`] starts. It connects again when it must.
//!
//! # What is promised
//!
//! - **Identity** is name and version. The handshake brings the server's [`Menu`] with a digest of the [`Shape`] of every
//!   type; a call that differs is unavailable by a [`Mismatch`] that says which, and the others work. Of the versions that
//!   both sides have the highest is used; [`Older`] bridges to a handler or caller that is newer.
//! - **Deadlines** ([`Pending::within`]) travel and are kept on both sides. Dropping what waits for a reply cancels the
//!   call, and its handler can see that ([`Reply::is_cancelled`]). A reply that is dropped fails the call at once; so does
//!   a handler that panics, and the connection lives.
//! - **Flow control**: streams have credit in bytes, each its own, so one that is read slowly holds up nobody else. Calls in
//!   flight, calls that wait, and bytes queued have limits on both sides: [`SessionConfig`], [`ClientConfig`].
//! - **Peers that are gone** are noticed by heartbeats, which are counted and for which any frame counts.
//! - **Draining**: a server that [finishes](crate::Protocol::finish) says so, completes what is in flight, and refuses what
//!   is not begun, which the client then sends to the next connection.
//! - **Hostile peers**: a fault of the protocol ends the session by a named [`SessionError`], which is told the peer. Bytes
//!   become values inside a budget ([`codec`]).
//!
//! At-most-once: a call that was sent and lost with its connection may have been done; it fails with
//! [`CallError::Disconnected`], unless the client says that calls may be done twice ([`InFlight::Resend`]).
//!
//! # How it is made
//!
//! ```text
//! client                                                   server
//! Pending ─→ Shared (what waits) ─ waker ─→ Connector      Stream → Session::received → Serve::dispatch → handler
//!                                    │ frames ───────────────→          │                                    │
//!                                    │ ←────────────── frames ── Outbox ←┴── Reply, ItemSender, from anywhere ┘
//! message, fiber, thread, future ←───┘
//! ```
//!
//! `frame` says what travels, `handshake` how it begins, `call` what a call is, `session` has the server's side, `client`
//! the other one, `items` the streams of both. `service!` and `#[derive(Shape)]` are in the crate `rotor-net-macros`.

mod call;
mod client;
pub mod codec;
mod config;
mod error;
mod frame;
mod guard;
mod handshake;
mod items;
mod line;
mod pending;
mod plain;
#[doc(hidden)]
pub mod private;
mod reply;
mod scope;
mod serve;
mod session;
mod shape;
mod wait;

pub use call::{
    CallInfo, CallKind, Method, NoItems, Older, ServiceInfo, TypeInfo, VersionInfo, Wire,
};
pub use client::{Channel, ChannelState, Connector, ConnectorSeed, ServerInfo};
pub use config::{ClientConfig, InFlight, Reconnect, SessionConfig, Unknown};
pub use error::{CallError, Mismatch, SessionError};
pub use handshake::{Menu, MenuEntry};
pub use items::{ItemReceiver, ItemSender, Next, Ready, SendItemError};
pub use pending::{Call, Hears, Pending};
pub use plain::{Plain, PlainClient, PlainServer, PlainService};
pub use reply::{RawReply, Reply};
#[doc = include_str!("service.md")]
pub use rotor_net_macros::service;
pub use scope::CallScope;
pub use serve::{Greeting, Refusal, Serve, UnknownCall};
pub use session::{Arrived, Session, SessionMessage, SessionSeed, session};
pub use shape::{Form, Shape};

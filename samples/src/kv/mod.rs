//! `kv`: an in-memory key-value server that speaks RESP2, so that `redis-cli` and
//! `redis-benchmark` work with it.
//!
//! Commands are plain synchronous logic: bytes and a time come in, bytes and an
//! [`Effect`](command::Effect) come out. No I/O, no clock, no thread, no randomness; the
//! connection machine ([`Client`]) supplies those. So every rule of the protocol can be tested
//! without a socket. The machines are put together in [`serve`], and the same code runs on
//! libuv and in the simulator.
//!
//! ```text
//! input bytes -> resp::Parser -> Args -> command::execute -> Out (replies)
//!                                            |       \-----> Effect (subscribe, publish, close)
//!                                            v
//!                                          Store (hash index, slots, expiry heap) <- Expirer
//! ```
//!
//! With several workers each holds a part of the keys, and what concerns another's travels to it: see [`shard`], which
//! also says what is atomic then, and what is not.
//!
//! Whatever a peer sends is answered by an error at most; the only lasting memory a peer can
//! cause is counted by the store and bounded by [`Limits::store_bytes_max`].

mod channels;
mod client;
mod clock;
pub mod command;
mod expirer;
pub mod glob;
mod hash;
mod heap;
mod index;
mod inline;
mod limits;
mod number;
pub mod reply;
pub mod resp;
pub mod serve;
mod server;
mod settings;
pub mod shard;
mod slab;
pub mod store;
mod subscriptions;
mod text;

pub use channels::Push;
pub use client::{Client, Message};
pub use expirer::{Expirer, Sooner};
pub use limits::Limits;
pub use server::{Server, Session, Stats};
pub use settings::{Settings, USAGE};
pub use shard::{Envelope, Shard, Workers};

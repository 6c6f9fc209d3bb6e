//! `kv`: an in-memory key-value server that speaks RESP2, so that `redis-cli` and
//! `redis-benchmark` work with it.
//!
//! Everything here is plain synchronous logic: bytes and a time come in, bytes and an
//! [`Effect`](command::Effect) come out. No I/O, no clock, no thread, no randomness; the
//! connection machine supplies those. So every rule of the protocol can be tested without a
//! socket, and the same code runs in the simulator.
//!
//! ```text
//! input bytes -> resp::Parser -> Args -> command::execute -> Out (replies)
//!                                            |       \-----> Effect (subscribe, publish, close)
//!                                            v
//!                                          Store (hash index, slots, expiry heap)
//! ```
//!
//! Whatever a peer sends is answered by an error at most; the only lasting memory a peer can
//! cause is counted by the store and bounded by [`Limits::store_bytes_max`].

pub mod command;
pub mod glob;
mod hash;
mod heap;
mod index;
mod inline;
mod limits;
mod number;
pub mod reply;
pub mod resp;
mod server;
mod slab;
pub mod store;
mod text;

pub use limits::Limits;
pub use server::{Server, Session, Stats};

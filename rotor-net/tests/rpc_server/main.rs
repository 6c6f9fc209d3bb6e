//! The server's side of a session, met by peers that speak raw bytes: what they get for good ones and for bad ones.
#![cfg(feature = "rpc")]
#![allow(clippy::field_reassign_with_default)] // the other way is not open to us: it is non-exhaustive

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/counting.rs"]
mod counting;

mod allocations;
mod answers;
mod any_bytes;
mod bench;
mod drain;
mod greeting;
mod hostile;
mod loads;
mod one_input;
mod policies;
mod service;
mod streams;
mod time;
mod wire;

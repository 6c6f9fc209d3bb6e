//! The server on real sockets: dispatch, limits, failing workers, drains and successors.

#![allow(clippy::field_reassign_with_default)] // the other way is not open to us: it is non-exhaustive

#[path = "../common/mod.rs"]
mod common;

mod basics;
mod corners;
mod dispatch;
mod drain;
mod failures;
mod limits;
mod takeover;
mod talk;

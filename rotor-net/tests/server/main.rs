//! The server on real sockets: dispatch, limits, failing workers, drains and successors.

#[path = "../common/mod.rs"]
mod common;

mod basics;
mod dispatch;
mod drain;
mod failures;
mod limits;
mod takeover;
mod talk;

//! What the macros of typed RPC emit: shapes, services and clients, over real connections.

#![cfg(feature = "rpc")]

#[path = "../common/mod.rs"]
mod common;
mod depot;
mod emitted;
mod kinds;
mod plain;
mod shapes;
mod users;
mod versions;

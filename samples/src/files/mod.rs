//! A file service over typed RPC: one directory, served by pinned workers, to which any number of clients list, get, put,
//! remove and watch files.
//!
//! ```text
//! client ─ files::Client ── frames ──→ Stream<Session<Disk>> ─→ thread pool ─→ Root (confined)
//!                                          └─→ Fiber: list, get, put ─→ Walk, File, Upload
//! ```
//!
//! - Nothing outside of the directory is served, whatever names and links say: `root`.
//! - No loop's thread touches the disk; each operation is a job on libuv's thread pool: `serve`, `transfer`. (Only what is
//!   cut off when the server ends is closed and removed by the loop that ends.)
//! - A file is stored whole or not at all: `upload`.
//! - Whatever its size, a file or a listing takes a few pieces of memory on both sides (clients keep a listing to sort
//!   it): each stream has a window of bytes.
//!
//! The command line is in `command`, `client` and `progress`; `demo` shows all of it in one process.

pub mod client;
pub mod command;
pub mod demo;
pub mod name;
pub mod progress;
pub mod refusal;
pub mod root;
pub mod serve;
pub mod service;
#[cfg(test)]
mod testing;
pub mod transfer;
pub mod upload;
pub mod walk;
pub mod watch;

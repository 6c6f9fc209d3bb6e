//! The sample `files`, run as its users run it: a server process and client processes.

#[path = "../common/mod.rs"]
mod common;

mod commands;
mod ends;
mod limits;
mod names;
mod silent;
mod support;
mod terminal;
#[cfg(target_os = "linux")]
mod threads;
mod transfers;
mod watching;

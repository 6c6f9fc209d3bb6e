//! What the samples share: their command line, and the parts of `kv` that need no sockets.

#![forbid(unsafe_code)]

pub mod calc;
pub mod cli;
pub mod files;
pub mod files_plain;
pub mod kv;

/// The README's program, compiled and run as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

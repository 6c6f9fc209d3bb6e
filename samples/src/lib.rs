//! What the samples share: their command line, and the parts of `kv` that need no sockets.

#![forbid(unsafe_code)]

pub mod cli;
pub mod kv;

//! The command line of the server samples: `--listen ADDR`, and for clients one address.

use lexopt::prelude::*;
use rotor_fsm::{Addr, Error, Result};

/// The address after `--listen`, or `default`.
///
/// # Errors
/// An argument that is not known, or an address that cannot be read; the message says what was expected.
pub fn listen_addr(default: &str) -> Result<Addr> {
    let mut parser = lexopt::Parser::from_env();
    let mut addr = default.parse()?;
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => addr = parser.value()?.string()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(addr)
}

/// The one address that a client is given.
///
/// # Errors
/// If there is none, or more than one argument, or it cannot be read.
pub fn peer_addr(usage: &str) -> Result<Addr> {
    let mut parser = lexopt::Parser::from_env();
    let mut addr = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Value(text) if addr.is_none() => addr = Some(text.string()?.parse()?),
            other => return Err(other.unexpected().into()),
        }
    }
    addr.ok_or_else(|| Error::msg(format!("no address given; usage: {usage}")))
}

/// Says where a server listens: always its first line of output.
pub fn announce(addr: &Addr) {
    println!("listening on {addr}");
}

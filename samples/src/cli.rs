//! The command line of the server samples: `--listen ADDR`, and for clients one address. And what others say, as it may be
//! printed.

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

/// A number of bytes: plain, or with a unit, as Redis writes them (`1kb` is 1024, `1k` is 1000).
///
/// # Errors
/// If it is neither, or too large.
pub fn byte_count(text: &str) -> Result<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" => Some(1000),
        "kb" => Some(1 << 10),
        "m" => Some(1_000_000),
        "mb" => Some(1 << 20),
        "g" => Some(1_000_000_000),
        "gb" => Some(1 << 30),
        _ => None,
    };
    let count = unit.zip(digits.parse::<u64>().ok());
    count
        .and_then(|(unit, count)| count.checked_mul(unit))
        .ok_or_else(|| {
            Error::msg(format!(
                "{text:?} is not a size: expected bytes, or a number with kb, mb or gb"
            ))
        })
}

/// Says where a server listens: always its first line of output.
pub fn announce(addr: &Addr) {
    println!("listening on {addr}");
}

/// What a peer says, as it may be printed: characters that move a terminal, or print nothing or something else, are escaped.
/// What has been escaped stays as it is.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\\' | '\'' | '"' => shown.push(char),
            // `Debug` knows which characters those are.
            _ => shown.extend(char.escape_debug()),
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_does_not_move_the_terminal() {
        for (said, shown) in [
            ("get(name: \"größe\")", "get(name: \"größe\")"),
            ("a\x1b[2J\nb\u{9b}1m\r", "a\\u{1b}[2J\\nb\\u{9b}1m\\r"),
            ("right\u{202e}left\0", "right\\u{202e}left\\0"),
            ("it's a back\\slash", "it's a back\\slash"),
        ] {
            assert_eq!(plain(said), shown);
            assert_eq!(plain(&plain(said)), shown);
        }
    }
}

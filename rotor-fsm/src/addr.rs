//! `Addr`: where to listen or to connect: a TCP address or the path of a Unix socket.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// An address of a stream socket. Parses from `127.0.0.1:80`, `[::1]:80`, `unix:/path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Addr {
    /// An IP address and port.
    Tcp(SocketAddr),
    /// The path of a Unix socket; one that begins with a NUL byte names Linux's abstract namespace.
    Unix(PathBuf),
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Tcp(addr)
    }
}

impl From<PathBuf> for Addr {
    fn from(path: PathBuf) -> Self {
        Self::Unix(path)
    }
}

/// An address that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddrError(String);

impl fmt::Display for AddrError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is not an address: expected IP:PORT, [IPv6]:PORT or unix:PATH",
            self.0
        )
    }
}

impl std::error::Error for AddrError {}

impl FromStr for Addr {
    type Err = AddrError;

    fn from_str(text: &str) -> Result<Self, AddrError> {
        match text.strip_prefix("unix:") {
            Some("") => Err(AddrError(text.to_owned())),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text
                .parse()
                .map(Self::Tcp)
                .map_err(|_| AddrError(text.to_owned())),
        }
    }
}

impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_parse_and_print_the_same_and_bad_ones_say_what_was_expected() {
        for text in ["127.0.0.1:80", "[::1]:8080", "unix:/tmp/x"] {
            assert_eq!(text.parse::<Addr>().unwrap().to_string(), text);
        }
        let error = "localhost".parse::<Addr>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"localhost\" is not an address: expected IP:PORT, [IPv6]:PORT or unix:PATH"
        );
        assert!("unix:".parse::<Addr>().is_err() && "1.2.3.4:99999".parse::<Addr>().is_err());
    }
}

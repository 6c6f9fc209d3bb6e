//! `Refusal`: why the service does not do what it was asked to, in words and for programs.

use crate::cli::plain;
use rotor_net::rpc::Shape;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io::{self, ErrorKind};

/// Why something was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Refusal {
    /// There is no such file.
    NotFound,
    /// There is something of this name, but not a regular file: a directory, a pipe, a device.
    NotAFile,
    /// No file can have this name: it is empty, ends in a slash or dots, is too long, or is reserved for uploads.
    NotAName,
    /// The name leads out of the served directory: by `..`, a leading slash or a symbolic link.
    Outside,
    /// The server's user may not.
    Permission,
    /// There is a file of this name, and it was not to be replaced.
    Exists,
    /// The server's file system cannot store a file without replacing what may be there.
    CannotSpare,
    /// More than the server takes.
    TooLarge {
        /// The limit.
        bytes_max: u64,
    },
    /// The server's disk is full.
    NoSpace,
    /// The file became shorter while it was sent.
    Changed,
    /// The server does as much at once as it may.
    Busy,
    /// What else the system said.
    Io(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A file in the place of a directory: there is nothing below it.
            ErrorKind::NotFound | ErrorKind::NotADirectory => Self::NotFound,
            ErrorKind::IsADirectory => Self::NotAFile,
            ErrorKind::InvalidInput | ErrorKind::InvalidFilename => Self::NotAName,
            // The confinement speaks by itself, and not as the system does.
            ErrorKind::PermissionDenied if error.raw_os_error().is_none() => Self::Outside,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Self::Permission,
            ErrorKind::AlreadyExists => Self::Exists,
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::NoSpace,
            _ => Self::Io(error.to_string()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("no such file"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::NotAName => f.write_str("no file can have this name"),
            Self::Outside => f.write_str("the name leads out of the served directory"),
            Self::Permission => f.write_str("the server may not do that (permission denied)"),
            Self::Exists => f.write_str("there is a file of this name already"),
            Self::CannotSpare => f.write_str(
                "the server's file system cannot store it without replacing what may be there (see --replace)",
            ),
            Self::TooLarge { bytes_max } => {
                write!(f, "the server takes no more than {bytes_max} bytes")
            }
            Self::NoSpace => f.write_str("the server's disk is full"),
            Self::Changed => f.write_str("the file became shorter while it was sent"),
            Self::Busy => f.write_str("the server does as much as it may; try again later"),
            Self::Io(words) => f.write_str(&plain(words)),
        }
    }
}

impl std::error::Error for Refusal {}

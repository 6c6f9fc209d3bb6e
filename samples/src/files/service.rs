//! The service itself: its calls and the types that travel.

use super::name::Name;
use super::refusal::Refusal;
use super::walk::Entry;
use bytes::Bytes;
use rotor_net::rpc::{Shape, service};
use serde::{Deserialize, Serialize};

service! {
    /// Files of one directory of the server's.
    pub mod files {
        /// All files, in batches and in no order.
        fn list_all() -> stream Result<Vec<Entry>, Refusal>;
        /// The length of a file in bytes.
        fn size(name: Name) -> Result<u64, Refusal>;
        /// A file from an offset on: first its length, then its bytes in pieces.
        fn get(name: Name, offset: u64) -> stream Result<Piece, Refusal>;
        /// Stores what comes as a file, all of it or nothing, and answers its length.
        fn put(name: Name, may_replace: bool, chunks: stream Bytes) -> Result<u64, Refusal>;
        /// Whether there is such a file.
        fn exists(name: Name) -> Result<bool, Refusal>;
        /// Removes a file.
        fn del(name: Name) -> Result<(), Refusal>;
        /// What changes from now on, whoever changes it.
        fn watch() -> stream Result<Change, Refusal>;
    }
}

/// A part of a file on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Piece {
    /// How long the file is: comes first, and once.
    Size(u64),
    /// Its next bytes.
    Bytes(Bytes),
}

/// What happened in the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub enum Change {
    /// Nothing yet; whatever changes from here on is told. Comes first, and once.
    Watching,
    /// There is something new of this name, a file or a directory. It may be still empty, or complete and in the place of
    /// another. Files that are in a directory when it appears are told one by one, some of them perhaps twice.
    Created(Name),
    /// A file of this name was written, and is closed now.
    Written(Name),
    /// There is nothing of this name any more.
    Removed(Name),
    /// Some changes were not told, because there were too many, or were not read soon enough: list again.
    Lost,
}

impl Change {
    /// What happened, in a word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Created(_) => "created",
            Self::Written(_) => "written",
            Self::Removed(_) => "removed",
            Self::Lost => "lost",
        }
    }

    /// To what, if it is told.
    pub fn name(&self) -> Option<&Name> {
        match self {
            Self::Created(name) | Self::Written(name) | Self::Removed(name) => Some(name),
            Self::Watching | Self::Lost => None,
        }
    }
}

//! `Name`: what a file is called on the wire. Bytes, because that is what a file system takes: a name that is not UTF-8
//! comes back as it went.

use crate::cli::plain;
use bytes::Bytes;
use rotor_net::rpc::Shape;
use serde::{Deserialize, Serialize};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The name of a file, relative to the served directory; in sub-directories with `/` between. Whether there can be such
/// a file is for the server to say.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Shape)]
pub struct Name(Bytes);

/// What the last part of a name must not begin with: uploads that are under way have such names, and nobody else shall
/// read or remove them.
pub const UPLOAD_PREFIX: &str = ".upload-";

impl Name {
    /// As file systems take it.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The directory that it is in, empty for the served one, and the last part: `None` if that cannot be a file's, or is
    /// reserved.
    pub fn split(&self) -> Option<(&Path, &OsStr)> {
        let (parent, last) = match self.0.iter().rposition(|&byte| byte == b'/') {
            // With its slash, so that the parent of an absolute name is not the served directory.
            Some(at) => (&self.0[..=at], &self.0[at + 1..]),
            None => (&self.0[..0], &self.0[..]),
        };
        let is_reserved = last.starts_with(UPLOAD_PREFIX.as_bytes());
        if matches!(last, b"" | b"." | b"..") || is_reserved || self.0.contains(&0) {
            return None;
        }
        Some((
            Path::new(OsStr::from_bytes(parent)),
            OsStr::from_bytes(last),
        ))
    }
}

impl From<OsString> for Name {
    fn from(name: OsString) -> Self {
        Self(name.into_vec().into())
    }
}

impl From<&Path> for Name {
    fn from(path: &Path) -> Self {
        Self(Bytes::copy_from_slice(path.as_os_str().as_bytes()))
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self(Bytes::copy_from_slice(name.as_bytes()))
    }
}

/// For people and terminals: control characters, backslashes and what is not UTF-8 are escaped, so a name cannot move the
/// cursor or pass for two lines.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(&plain(&chunk.valid().replace('\\', r"\\")))?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_split_into_a_directory_and_what_can_be_a_file() {
        let split = |name: &'static str| {
            let name = Name::from(name);
            let parts = name.split()?;
            Some((
                parts.0.to_str().unwrap().to_owned(),
                parts.1.to_str().unwrap().to_owned(),
            ))
        };
        let some = |parent: &str, last: &str| Some((parent.to_owned(), last.to_owned()));
        assert_eq!(split("a"), some("", "a"));
        assert_eq!(split("sub/b c"), some("sub/", "b c"));
        assert_eq!(split("/etc/passwd"), some("/etc/", "passwd"));
        assert_eq!(split("/a"), some("/", "a"));
        assert_eq!(split("../a"), some("../", "a"));
        for none in [
            "",
            ".",
            "..",
            "a/",
            "a/.",
            "a/..",
            "/",
            ".upload-1",
            "sub/.upload-",
            "a\0",
        ] {
            assert_eq!(split(none), None, "{none:?}");
        }
        assert_eq!(split(".upload"), some("", ".upload"));
    }

    #[test]
    fn names_are_shown_so_that_a_terminal_is_not_moved() {
        for (bytes, shown) in [
            (&b"plain name.txt"[..], "plain name.txt"),
            ("grüße 'x' \"y\"".as_bytes(), "grüße 'x' \"y\""),
            (b"a\nb\tc\x1b[2J", "a\\nb\\tc\\u{1b}[2J"),
            (b"back\\slash", "back\\\\slash"),
            (b"\xff\xfe.txt", "\\xff\\xfe.txt"),
            ("right\u{202e}left".as_bytes(), "right\\u{202e}left"),
        ] {
            let name = Name::from(OsString::from_vec(bytes.to_vec()));
            assert_eq!(name.to_string(), shown);
        }
    }
}

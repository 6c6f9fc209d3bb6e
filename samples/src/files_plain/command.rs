//! Commands and answers: bytes in, bytes out.

use super::dir::Entry;
use std::io;

/// A command, its name as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// All files.
    List,
    /// A file's length.
    Size(&'a [u8]),
    /// A file.
    Get(&'a [u8]),
    /// The end.
    Quit,
}

impl<'a> Command<'a> {
    /// Reads a line without its end.
    ///
    /// # Errors
    /// The answer to a line that is no command.
    pub fn parse(line: &'a [u8]) -> Result<Self, &'static [u8]> {
        let space = line.iter().position(|&byte| byte == b' ');
        let (word, name) = match space {
            Some(at) => (&line[..at], Some(&line[at + 1..])),
            None => (line, None),
        };
        match (word, name) {
            (b"LIST", None) => Ok(Self::List),
            (b"QUIT", None) => Ok(Self::Quit),
            (b"SIZE", Some(name)) => Ok(Self::Size(name)),
            (b"GET", Some(name)) => Ok(Self::Get(name)),
            _ => Err(b"ERR expected LIST, SIZE NAME, GET NAME or QUIT\n"),
        }
    }
}

/// The first line of an answer that has a number.
pub fn ok(number: u64) -> Vec<u8> {
    format!("OK {number}\n").into_bytes()
}

/// The answer to `LIST`.
pub fn listing(entries: &[Entry]) -> Vec<u8> {
    let mut answer = ok(entries.len() as u64);
    for entry in entries {
        answer.extend_from_slice(format!("{} ", entry.size).as_bytes());
        answer.extend_from_slice(&entry.name);
        answer.push(b'\n');
    }
    answer
}

/// The answer to what the system refuses.
pub fn refusal(error: &io::Error) -> Vec<u8> {
    format!("ERR {error}\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_with_whatever_names() {
        assert_eq!(Command::parse(b"LIST"), Ok(Command::List));
        assert_eq!(Command::parse(b"QUIT"), Ok(Command::Quit));
        assert_eq!(Command::parse(b"GET a b\xff"), Ok(Command::Get(b"a b\xff")));
        assert_eq!(Command::parse(b"SIZE "), Ok(Command::Size(b"")));
        for wrong in [&b""[..], b"list", b"LIST x", b"GET", b"SIZE", b" GET x"] {
            assert!(Command::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_listing_counts_its_lines() {
        let entries = [
            Entry {
                name: b"a".to_vec(),
                size: 3,
            },
            Entry {
                name: b"b c".to_vec(),
                size: 0,
            },
        ];
        assert_eq!(listing(&entries), b"OK 2\n3 a\n0 b c\n");
        assert_eq!(listing(&[]), b"OK 0\n");
    }
}

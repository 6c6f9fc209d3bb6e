//! The trace: what happened, in order. Entries are plain numbers, so that recording one costs a few nanoseconds;
//! they become text when somebody asks. The hash covers every entry ever recorded, the text the latest ones.
//!
//! Invariant: nothing in an entry depends on an address in memory, a real clock or the order of a hash table.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use uv_sys_wrap::HandleId;

/// Whom an entry is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    World,
    Loop(u32),
    Handle(u32, HandleId),
    Peer(u32),
    /// A listening peer.
    Door(u32),
}

struct Entry {
    at: u64,
    who: Who,
    what: &'static str,
    a: u64,
    b: u64,
    text: Option<Box<str>>,
}

pub(super) struct Trace {
    entries: VecDeque<Entry>,
    kept_max: usize,
    count: u64,
    hash: u64,
}

impl Trace {
    pub fn new(kept_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            kept_max,
            count: 0,
            hash: FNV_OFFSET,
        }
    }

    /// Records what happened, with two numbers of which only the verb knows the meaning.
    #[inline]
    pub fn record(&mut self, at: u64, who: Who, what: &'static str, a: u64, b: u64) {
        self.push(Entry {
            at,
            who,
            what,
            a,
            b,
            text: None,
        });
    }

    pub fn note(&mut self, at: u64, who: Who, what: &'static str, text: String) {
        self.push(Entry {
            at,
            who,
            what,
            a: 0,
            b: 0,
            text: Some(text.into_boxed_str()),
        });
    }

    fn push(&mut self, entry: Entry) {
        let (kind, x, y) = match entry.who {
            Who::World => (0, 0, 0),
            Who::Loop(n) => (1, n, 0),
            Who::Handle(n, id) => (2 + u64::from(n) * 8, id.index(), id.generation()),
            Who::Peer(n) => (3, n, 0),
            Who::Door(n) => (4, n, 0),
        };
        for number in [
            entry.at,
            kind,
            u64::from(x) << 32 | u64::from(y),
            entry.a,
            entry.b,
        ] {
            self.hash = mix(self.hash, number);
        }
        self.hash = digest(self.hash, entry.what.as_bytes());
        if let Some(text) = &entry.text {
            self.hash = digest(self.hash, text.as_bytes());
        }
        self.count += 1;
        if self.entries.len() >= self.kept_max {
            self.entries.pop_front();
        }
        if self.kept_max > 0 {
            self.entries.push_back(entry);
        }
    }

    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last `n` entries as text, one a line.
    pub fn tail(&self, n: usize) -> String {
        let skipped = self.entries.len().saturating_sub(n);
        let mut text = String::new();
        for entry in self.entries.iter().skip(skipped) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{entry}");
        }
        text
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.at / 1_000_000_000, self.at % 1_000_000_000);
        write!(f, "{seconds:>4}.{nanos:09} ")?;
        match self.who {
            Who::World => f.write_str("world")?,
            Who::Loop(n) => write!(f, "loop{n}")?,
            Who::Handle(n, id) => write!(f, "loop{n} #{}.{}", id.index(), id.generation())?,
            Who::Peer(n) => write!(f, "peer{n}")?,
            Who::Door(n) => write!(f, "door{n}")?,
        }
        write!(f, " {}", self.what)?;
        match &self.text {
            Some(text) => write!(f, " {text}"),
            None if self.b != 0 => write!(f, " {} {:x}", self.a, self.b),
            None if self.a != 0 => write!(f, " {}", self.a),
            None => Ok(()),
        }
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[inline]
fn mix(hash: u64, number: u64) -> u64 {
    // One multiplication a word, and a shift because a product's low bits depend on low bits only.
    let hash = (hash ^ number).wrapping_mul(FNV_PRIME);
    hash ^ (hash >> 29)
}

/// A digest of bytes, eight at a time: what a traced read contained.
pub(super) fn digest(hash: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let hash = words
        .iter()
        .fold(hash, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let hash = rest
        .iter()
        .fold(hash, |hash, byte| mix(hash, u64::from(*byte)));
    mix(hash, bytes.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_tail_and_the_hash_covers_all() {
        let mut trace = Trace::new(2);
        let empty = trace.hash();
        trace.record(5, Who::Loop(0), "turn", 0, 0);
        trace.record(
            1_000_000_007,
            Who::Handle(1, HandleId::new(2, 3)),
            "read",
            17,
            255,
        );
        trace.note(2_000_000_000, Who::World, "note", "hello".to_owned());
        assert_eq!(
            trace.tail(9),
            "   1.000000007 loop1 #2.3 read 17 ff\n   2.000000000 world note hello\n"
        );
        assert_eq!(trace.tail(1).lines().count(), 1);
        assert_eq!(trace.count(), 3);
        let mut other = Trace::new(2);
        other.record(6, Who::Loop(0), "turn", 0, 0);
        assert!(trace.hash() != empty && other.hash() != empty && other.hash() != trace.hash());
    }

    #[test]
    fn a_digest_sees_every_byte_and_the_length() {
        let bytes: Vec<u8> = (0..20).collect();
        let whole = digest(1, &bytes);
        for i in 0..20 {
            let mut other = bytes.clone();
            other[i] ^= 1;
            assert_ne!(digest(1, &other), whole);
            assert_ne!(digest(1, &bytes[..i]), whole);
        }
    }
}

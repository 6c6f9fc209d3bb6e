//! What a queued write owns: one to four buffers inline, more on the heap.
//!
//! Buffers move into the request and come back with [`Event::Written`](crate::Event::Written), so that
//! their storage is reused rather than freed. Moving a `WriteBufs` never moves the bytes themselves,
//! which is what libuv's pointers rely on until its callback.

use crate::error::Error;
use crate::pool::Chunk;
use bytes::{Buf, Bytes};
use std::fmt;

/// How many buffers a request holds without allocating, in libuv and here.
pub(crate) const INLINE: usize = 4;

/// One owned buffer.
#[derive(Debug)]
pub enum WriteBuf {
    /// A vector, from `start` on. A `start` past the end means no bytes.
    Vec {
        /// The storage.
        bytes: Vec<u8>,
        /// How many bytes at its front are not to be written.
        start: usize,
    },
    /// Shared bytes.
    Bytes(Bytes),
    /// A counted range of a pool block.
    Chunk(Chunk),
}

impl WriteBuf {
    /// The bytes to write.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            WriteBuf::Vec { bytes, start } => bytes.get(*start..).unwrap_or(&[]),
            WriteBuf::Bytes(bytes) => bytes,
            WriteBuf::Chunk(chunk) => chunk,
        }
    }

    /// How many bytes there are to write.
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the first `count` bytes (all, if there are fewer) from what is to be written.
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.len());
        match self {
            WriteBuf::Vec { start, .. } => *start += count,
            WriteBuf::Bytes(bytes) => bytes.advance(count),
            WriteBuf::Chunk(chunk) => *chunk = chunk.slice(count..chunk.len()),
        }
    }
}

impl From<Vec<u8>> for WriteBuf {
    fn from(bytes: Vec<u8>) -> Self {
        WriteBuf::Vec { bytes, start: 0 }
    }
}

impl From<Bytes> for WriteBuf {
    fn from(bytes: Bytes) -> Self {
        WriteBuf::Bytes(bytes)
    }
}

impl From<Chunk> for WriteBuf {
    fn from(chunk: Chunk) -> Self {
        WriteBuf::Chunk(chunk)
    }
}

/// The buffers of one queued write, in order. Up to four need no allocation.
#[derive(Default)]
pub struct WriteBufs {
    inline: [Option<WriteBuf>; INLINE],
    more: Vec<WriteBuf>,
}

impl WriteBufs {
    /// No buffers.
    pub const fn new() -> Self {
        WriteBufs {
            inline: [const { None }; INLINE],
            more: Vec::new(),
        }
    }

    /// Adds a buffer at the end. The fifth and later ones live on the heap.
    pub fn push(&mut self, buf: impl Into<WriteBuf>) {
        match self.inline.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(buf.into()),
            None => self.more.push(buf.into()),
        }
    }

    /// The buffers in order.
    pub fn iter(&self) -> impl Iterator<Item = &WriteBuf> {
        self.inline.iter().flatten().chain(&self.more)
    }

    /// How many buffers there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no buffer.
    pub fn is_empty(&self) -> bool {
        self.inline[0].is_none()
    }

    /// How many bytes all buffers have together.
    pub fn len_bytes(&self) -> usize {
        self.iter().map(WriteBuf::len).sum()
    }
}

impl fmt::Debug for WriteBufs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteBufs")
            .field("len", &self.len())
            .field("bytes", &self.len_bytes())
            .finish()
    }
}

impl From<WriteBuf> for WriteBufs {
    fn from(buf: WriteBuf) -> Self {
        let mut bufs = WriteBufs::new();
        bufs.inline[0] = Some(buf);
        bufs
    }
}

impl From<Vec<u8>> for WriteBufs {
    fn from(bytes: Vec<u8>) -> Self {
        WriteBuf::from(bytes).into()
    }
}

impl From<Bytes> for WriteBufs {
    fn from(bytes: Bytes) -> Self {
        WriteBuf::from(bytes).into()
    }
}

impl From<Chunk> for WriteBufs {
    fn from(chunk: Chunk) -> Self {
        WriteBuf::from(chunk).into()
    }
}

impl FromIterator<WriteBuf> for WriteBufs {
    fn from_iter<I: IntoIterator<Item = WriteBuf>>(iter: I) -> Self {
        let mut bufs = WriteBufs::new();
        iter.into_iter().for_each(|buf| bufs.push(buf));
        bufs
    }
}

impl IntoIterator for WriteBufs {
    type Item = WriteBuf;
    type IntoIter = WriteBufsIter;

    fn into_iter(self) -> WriteBufsIter {
        WriteBufsIter {
            inline: self.inline.into_iter(),
            more: self.more.into_iter(),
        }
    }
}

/// The buffers of a [`WriteBufs`], in order, by value.
pub struct WriteBufsIter {
    inline: std::array::IntoIter<Option<WriteBuf>, INLINE>,
    more: std::vec::IntoIter<WriteBuf>,
}

impl Iterator for WriteBufsIter {
    type Item = WriteBuf;

    fn next(&mut self) -> Option<WriteBuf> {
        // The inline places fill from the front, so the first empty one ends them.
        self.inline.next().flatten().or_else(|| self.more.next())
    }
}

/// A write that was not queued: why, and the buffers back.
#[derive(Debug)]
pub struct WriteError {
    /// Why.
    pub error: Error,
    /// What was to be written, unchanged.
    pub bufs: WriteBufs,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for WriteError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<WriteError> for Error {
    fn from(refused: WriteError) -> Self {
        refused.error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_survives_the_spill_to_the_heap() {
        let mut bufs = WriteBufs::new();
        assert!(bufs.is_empty());
        for n in 0..7_u8 {
            bufs.push(vec![n; usize::from(n) + 1]);
        }
        assert_eq!((bufs.len(), bufs.len_bytes()), (7, 28));
        let firsts: Vec<u8> = bufs.into_iter().map(|buf| buf.as_slice()[0]).collect();
        assert_eq!(firsts, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn advancing_never_passes_the_end() {
        let mut buf = WriteBuf::Vec {
            bytes: vec![1, 2, 3],
            start: 1,
        };
        assert_eq!(buf.as_slice(), [2, 3]);
        buf.advance(9);
        assert!(buf.is_empty());
        assert!(
            WriteBuf::Vec {
                bytes: vec![1],
                start: 5
            }
            .is_empty()
        );
        let mut buf = WriteBuf::from(Bytes::from_static(b"abc"));
        buf.advance(2);
        assert_eq!(buf.as_slice(), b"c");
    }

    #[test]
    fn a_request_with_four_buffers_stays_small() {
        assert!(size_of::<WriteBuf>() <= 40, "{}", size_of::<WriteBuf>());
        assert!(size_of::<WriteBufs>() <= 192, "{}", size_of::<WriteBufs>());
    }
}

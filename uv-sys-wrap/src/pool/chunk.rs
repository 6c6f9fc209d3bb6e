//! A kept range of bytes: read-only, counted, and free to go to any thread.
//!
//! The counted reference keeps the block (or the heap copy) alive and its bytes unchanged; pointer and length
//! say which part this is. An empty chunk refers to nothing.

use super::block::Ref;
use super::range_within;
use bytes::Bytes;
use std::fmt;
use std::ops::{Deref, RangeBounds};
use std::ptr::NonNull;

/// Bytes kept from a [`ReadBuf`](super::ReadBuf). `Clone` and `slice` share the memory and cost one atomic
/// addition, dropping one subtraction (and one exchange if it was the last of its block). It may outlive the
/// loop and the pool, and be dropped on any thread: the block goes back by itself.
///
/// A small chunk shares its block with others, and a block is reused only when all of them are gone: copy what
/// you mean to keep for hours.
#[derive(Default)]
pub struct Chunk {
    block: Option<Ref>,
    at: Start,
    len: usize,
}

/// Where the bytes begin.
#[derive(Clone, Copy)]
struct Start(NonNull<u8>);

impl Default for Start {
    fn default() -> Self {
        Start(NonNull::dangling())
    }
}

// SAFETY: the bytes are only read, and the `Ref` beside the pointer keeps them; see there.
unsafe impl Send for Start {}
// SAFETY: as above.
unsafe impl Sync for Start {}

impl Chunk {
    /// # Safety
    /// The `len` bytes at `at` are initialised, belong to the block, and are not written while it is referred to.
    #[inline]
    pub(super) unsafe fn new(block: Ref, at: NonNull<u8>, len: usize) -> Chunk {
        Chunk {
            block: Some(block),
            at: Start(at),
            len,
        }
    }

    /// A part of the chunk, sharing its memory. An empty part holds none.
    ///
    /// # Panics
    /// If the range is not inside, as indexing does; see [`Chunk::try_slice`] for lengths that a peer sent.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Chunk {
        match self.try_slice(range) {
            Some(part) => part,
            None => panic!("range outside of a chunk of {} bytes", self.len),
        }
    }

    /// A part of the chunk, sharing its memory, or `None` if the range is not inside.
    pub fn try_slice(&self, range: impl RangeBounds<usize>) -> Option<Chunk> {
        let range = range_within(range, self.len)?;
        if range.is_empty() {
            return Some(Chunk::default());
        }
        Some(Chunk {
            block: self.block.clone(),
            // SAFETY: the range is inside.
            at: Start(unsafe { self.at.0.add(range.start) }),
            len: range.len(),
        })
    }

    /// Forgets the first `count` bytes, or all if there are fewer. Costs nothing; holds the memory as before.
    #[inline]
    pub fn advance(&mut self, count: usize) {
        let count = count.min(self.len);
        // SAFETY: at most to the end of the chunk.
        self.at = Start(unsafe { self.at.0.add(count) });
        self.len -= count;
    }
}

impl Clone for Chunk {
    #[inline]
    fn clone(&self) -> Chunk {
        Chunk {
            block: self.block.clone(),
            at: self.at,
            len: self.len,
        }
    }
}

impl Deref for Chunk {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        if let Some(block) = &self.block {
            block.header().on_read(self.at.0.as_ptr(), self.len);
        }
        // SAFETY: as promised to `new`, and `block` holds it as long as `self` lives. An empty chunk may dangle.
        unsafe { std::slice::from_raw_parts(self.at.0.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for Chunk {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// Equal bytes, wherever they are.
impl PartialEq for Chunk {
    fn eq(&self, other: &Chunk) -> bool {
        **self == **other
    }
}

impl Eq for Chunk {}

/// The length only: the bytes are a peer's, and many.
impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chunk({} bytes)", self.len)
    }
}

/// One small allocation; the bytes stay where they are.
impl From<Chunk> for Bytes {
    fn from(chunk: Chunk) -> Bytes {
        Bytes::from_owner(chunk)
    }
}

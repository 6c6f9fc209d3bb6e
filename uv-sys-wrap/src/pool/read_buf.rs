//! Bytes just read, still in the hot block, and how a part of them is kept.
//!
//! While a `ReadBuf` lives, the pool's tail is behind it, so that nothing overwrites it; when the last one goes,
//! the tail falls back to the end of what was kept. Keeping therefore only raises that mark, unless it would
//! waste much of the block (then a small range is copied next to others) or use up the block with no other to
//! follow (then it is copied to the heap).

use super::block::{Header, Ref};
use super::{Chunk, Pool, PoolError, heap, range_within, round_up};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, RangeBounds};
use std::ptr::NonNull;

/// A range is kept in place if it takes at most this many times its own length from the hot block; otherwise it
/// is copied. So a block given away is filled to a good part, and ten bytes never hold 64 KiB for themselves.
const WASTE_MAX: usize = 4;

/// What was read. The bytes are gone when this is dropped, but for what was kept.
pub struct ReadBuf<'a> {
    pool: &'a Pool,
    /// The block it lies in: it was the hot one, and the pool holds it as long as this lives.
    block: NonNull<Header>,
    at: NonNull<u8>,
    len: usize,
    _bytes: PhantomData<&'a [u8]>,
}

impl<'a> ReadBuf<'a> {
    /// # Safety
    /// The pool counted this buffer as living in its hot block `block`; the `len` bytes at `at` lie between the
    /// former tail and the new one, are initialised, and nobody writes them before this is dropped.
    #[inline(always)]
    pub(super) unsafe fn new(
        pool: &'a Pool,
        block: NonNull<Header>,
        at: NonNull<u8>,
        len: usize,
    ) -> Self {
        ReadBuf {
            pool,
            block,
            at,
            len,
            _bytes: PhantomData,
        }
    }

    /// Keeps a range beyond the handler, usually without copying and without any atomic operation; any number
    /// of ranges may be kept, and they may overlap. A small range that lies far inside is copied (up to a
    /// quarter of a block), as is everything when no block is free; only the latter allocates.
    ///
    /// # Errors
    /// [`PoolError::OutOfRange`]: the range is not inside. [`PoolError::Limit`]: no block is free and the heap
    /// overflow is at its limit; the program keeps too much, so end or delay the connection.
    #[inline]
    pub fn keep(&self, range: impl RangeBounds<usize>) -> Result<Chunk, PoolError> {
        let range = range_within(range, self.len).ok_or(PoolError::OutOfRange)?;
        if range.is_empty() {
            return Ok(Chunk::default());
        }
        // SAFETY: the range is inside.
        let at = unsafe { self.at.add(range.start) };
        if self.block == self.pool.hot.block() {
            self.pool.keep_hot(at, range.len())
        } else {
            Ok(self.keep_retired(at, range.len()))
        }
    }

    /// Keeps from a block that other reads have replaced meanwhile: nobody writes to it any more.
    #[cold]
    fn keep_retired(&self, at: NonNull<u8>, len: usize) -> Chunk {
        self.pool
            .counts
            .shared
            .set(self.pool.counts.shared.get() + 1);
        // SAFETY: the pool's hold on the retired block covers the addition, made for this reference alone; the
        // bytes are ours, and not written before all references are gone.
        unsafe { Chunk::new(Ref::add(self.block), at, len) }
    }
}

impl Pool {
    /// Keeps `len` bytes at `at`, which lie in a living buffer in the hot block.
    fn keep_hot(&self, at: NonNull<u8>, len: usize) -> Result<Chunk, PoolError> {
        let end = at.as_ptr() as usize + len - self.base.get().as_ptr() as usize;
        let floor = round_up(end);
        let taken = floor.saturating_sub(self.floor.get());
        if taken > WASTE_MAX * round_up(len) {
            return self.keep_copy(at, len);
        }
        if floor > self.soft_bytes && !self.has_spare() {
            return self.keep_copy(at, len);
        }
        self.floor.set(floor.max(self.floor.get()));
        self.counts.shared.set(self.counts.shared.get() + 1);
        // SAFETY: the bytes are below the floor now, where nothing is written before the hold is alone.
        Ok(unsafe { Chunk::new(self.hot.share(), at, len) })
    }

    /// Copies them next to other small ones, or to the heap.
    #[cold]
    fn keep_copy(&self, at: NonNull<u8>, len: usize) -> Result<Chunk, PoolError> {
        // SAFETY: the bytes belong to a living buffer, so nobody writes them meanwhile.
        let bytes = unsafe { std::slice::from_raw_parts(at.as_ptr(), len) };
        if len <= self.block_bytes - self.soft_bytes
            && let Some(chunk) = self.nook.copy(bytes, self.block_bytes, &self.blocks)
        {
            self.counts.copied.set(self.counts.copied.get() + 1);
            return Ok(chunk);
        }
        let counts = &self.counts;
        let copy = heap::copy(bytes, &self.overflow);
        let counter = match copy {
            Ok(_) => &counts.overflowed,
            Err(_) => &counts.refused,
        };
        counter.set(counter.get() + 1);
        // SAFETY: the copy is as long, and never written again.
        copy.map(|(block, at)| unsafe { Chunk::new(block, at, len) })
    }
}

impl Deref for ReadBuf<'_> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: as promised to `new`.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.len) }
    }
}

impl Drop for ReadBuf<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.block == self.pool.hot.block() {
            self.pool.end_read();
        } else {
            self.pool.end_retired_read(self.block);
        }
    }
}

/// The length only: the bytes are a peer's, and many.
impl fmt::Debug for ReadBuf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBuf({} bytes)", self.len)
    }
}

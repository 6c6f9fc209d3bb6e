//! What a pool is made from, what it counts, and how it fails.
//!
//! Plain data: nothing here owns memory. [`PoolConfig::check`] is the only gate, so the rest of the pool may
//! rely on sizes that multiply without overflow and blocks that are whole granules.

use super::block::GRANULE;
use std::fmt;

/// How a pool is laid out and how far it may grow. Every field has a default with a reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Bytes in one block: a multiple of 64, from 256 to 1 GiB.
    /// Default 64 KiB: what libuv suggests for a read, and enough that one read empties a usual socket buffer.
    pub block_bytes: usize,
    /// Most blocks the pool ever maps, at least 1; each takes `block_bytes` once it has been used.
    /// Default 1024 (64 MiB): what a loop may hold in half-received frames before it falls back to the heap.
    pub blocks_max: usize,
    /// Blocks mapped at a time, at least 1. Default 32: with 64 KiB blocks exactly one huge page of 2 MiB.
    pub chunk_blocks: usize,
    /// Map all `blocks_max` blocks at once and lock them into RAM, so that no read ever faults or swaps.
    /// Default off: the usual RLIMIT_MEMLOCK is 8 MiB. A refusal makes [`Pool::new`](super::Pool::new) fail.
    pub lock_memory: bool,
    /// Ask for reserved huge pages, and where there are none for transparent ones. A refusal is not an error but
    /// is counted in [`PoolStats::huge_refused`]. Default off: it commits 2 MiB at a time.
    pub huge_pages: bool,
    /// Most heap bytes (bookkeeping included) that kept ranges may take when no block is free; beyond it keeping
    /// fails with [`PoolError::Limit`]. Default 16 MiB: a quarter of the blocks, to ride out a burst.
    pub overflow_bytes_max: usize,
}

impl Default for PoolConfig {
    fn default() -> Self {
        PoolConfig {
            block_bytes: 64 << 10,
            blocks_max: 1024,
            chunk_blocks: 32,
            lock_memory: false,
            huge_pages: false,
            overflow_bytes_max: 16 << 20,
        }
    }
}

/// The largest block: offsets fit `u32` with room to spare.
const BLOCK_BYTES_MAX: usize = 1 << 30;
/// The smallest block: below four granules the quarter that stays free for reading would be less than one.
const BLOCK_BYTES_MIN: usize = 4 * GRANULE;

impl PoolConfig {
    /// Says what is wrong with the numbers, if anything.
    pub(super) fn check(&self) -> Result<(), PoolError> {
        let block_is_sound = (BLOCK_BYTES_MIN..=BLOCK_BYTES_MAX).contains(&self.block_bytes)
            && self.block_bytes.is_multiple_of(GRANULE);
        if !block_is_sound {
            return Err(PoolError::Invalid(
                "block_bytes must be a multiple of 64 from 256 to 1 GiB",
            ));
        }
        if self.blocks_max == 0 {
            return Err(PoolError::Invalid("blocks_max must be at least 1"));
        }
        if self.chunk_blocks == 0 {
            return Err(PoolError::Invalid("chunk_blocks must be at least 1"));
        }
        // A quarter of the address space leaves room for rounding up to pages.
        match self.blocks_max.checked_mul(self.block_bytes) {
            Some(bytes) if bytes <= usize::MAX / 4 => Ok(()),
            _ => Err(PoolError::Invalid("blocks_max * block_bytes is too large")),
        }
    }
}

/// Why the pool could not be made or a range could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PoolError {
    /// No block is free and the heap overflow is at `overflow_bytes_max` (or the allocator refused).
    Limit,
    /// The kernel refused to lock the memory (errno inside): raise RLIMIT_MEMLOCK, grant CAP_IPC_LOCK, or lower
    /// `blocks_max`.
    LockRefused(i32),
    /// The kernel refused to map memory; the errno.
    Map(i32),
    /// The configuration cannot work; says which field and why.
    Invalid(&'static str),
    /// The range to keep does not lie within the bytes read.
    OutOfRange,
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PoolError::Limit => {
                f.write_str("buffer pool: no block is free and the heap overflow is at its limit")
            }
            PoolError::LockRefused(errno) => write!(
                f,
                "buffer pool: locking memory was refused (RLIMIT_MEMLOCK too low?): {}",
                std::io::Error::from_raw_os_error(*errno)
            ),
            PoolError::Map(errno) => write!(
                f,
                "buffer pool: mapping memory failed: {}",
                std::io::Error::from_raw_os_error(*errno)
            ),
            PoolError::Invalid(what) => write!(f, "buffer pool: invalid configuration: {what}"),
            PoolError::OutOfRange => {
                f.write_str("buffer pool: the range to keep lies outside of what was read")
            }
        }
    }
}

impl std::error::Error for PoolError {}

/// What a pool holds now and what it has done so far. See [`Pool::stats`](super::Pool::stats).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Blocks mapped so far; never more than `blocks_max`.
    pub blocks_reserved: usize,
    /// Mapped blocks that nobody holds.
    pub blocks_free: usize,
    /// Mapped blocks that are not free: `blocks_kept` and the loop's own.
    pub blocks_in_use: usize,
    /// Blocks that only kept [`Chunk`](super::Chunk)s hold. When every chunk should be gone and this is not
    /// zero, that many blocks have leaked.
    pub blocks_kept: usize,
    /// Heap bytes that kept ranges take now because no block was free for them.
    pub overflow_bytes: usize,
    /// Ranges kept in place, by a reference into the block they were read to.
    pub keeps_shared: u64,
    /// Small ranges kept by copying them next to others, so that they do not hold a block for themselves.
    pub keeps_copied: u64,
    /// Ranges copied to the heap because no block was free.
    pub keeps_overflowed: u64,
    /// Ranges refused with [`PoolError::Limit`].
    pub keeps_refused: u64,
    /// Mappings that got reserved huge pages.
    pub huge_mappings: usize,
    /// Mappings that asked for reserved huge pages and got normal ones (with the advice to make them huge).
    pub huge_refused: usize,
    /// Times the pool wanted to grow and the kernel refused; it fell back to the heap.
    pub map_refused: u64,
}

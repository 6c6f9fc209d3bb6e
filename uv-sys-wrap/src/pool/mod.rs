//! The buffer pool: memory that libuv reads into and that handlers may keep without copying.
//!
//! The loop has one **hot block**. Its unused tail is lent to libuv when a connection is readable, so an idle
//! connection owns no buffer; what was read is shown as a [`ReadBuf`], and a range of it that is kept becomes a
//! [`Chunk`], a counted reference into the block. What is not kept is overwritten by the next read.
//!
//! Layout of the hot block, all offsets multiples of a cache line:
//!
//! ```text
//!   0 ........ floor ............ tail ......... block_bytes
//!   | kept, and | living ReadBufs | lent to the   |
//!   | gaps      |                 | next read     |
//! ```
//!
//! Invariants:
//! - Nothing below `tail` is written. `tail` falls to `floor` when no `ReadBuf` lives, and both to 0 when no chunk
//!   of the block is left.
//! - While no `ReadBuf` lives, a quarter of the block is free behind the floor, or another block is at hand
//!   (`spare`). So reading never waits for a block, and libuv never gets an empty buffer.
//!
//! Files: `config` (sizes, counts, errors) · `mapping` (memory from the kernel) · `block` (counting) · `home`
//! (coming back from any thread) · `blocks` (the supply) · `heap` (the overflow) · `nook` (small copies) ·
//! `read_buf` (keeping) · `chunk` (what is kept) · `leaks` (what never came back) · `sync` (std or loom).

mod block;
mod blocks;
mod chunk;
mod config;
mod heap;
mod home;
mod leaks;
mod mapping;
mod nook;
mod read_buf;
mod sync;

#[cfg(all(loom, test))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod model_tests;
#[cfg(all(test, not(loom)))]
mod tests;

pub use chunk::Chunk;
pub use config::{PoolConfig, PoolError, PoolStats};
pub use leaks::blocks_orphaned;
pub use read_buf::ReadBuf;

use block::{GRANULE, Header, Hold};
use blocks::Blocks;
use nook::Nook;
use std::cell::{Cell, RefCell};
use std::ops::{Bound, Range, RangeBounds};
use std::ptr::NonNull;

/// The loop's side of the buffer pool. It stays on the loop's thread; the [`Chunk`]s may go anywhere, also after
/// the pool is gone (its memory then lives until the last of them is dropped).
///
/// A `ReadBuf` that is forgotten instead of dropped costs one block for the pool's life, no more.
pub struct Pool {
    // The hot path first.
    /// First unused byte of the hot block.
    tail: Cell<usize>,
    block_bytes: usize,
    /// The hot block's memory.
    base: Cell<NonNull<u8>>,
    /// `ReadBuf`s living in the hot block.
    live: Cell<usize>,
    /// End of what was kept in the hot block since it was last empty.
    floor: Cell<usize>,
    hot: Hold,
    /// Keeping beyond this offset needs a spare.
    soft_bytes: usize,
    /// Follows the hot block when that is used up.
    spare: Cell<Option<Hold>>,
    nook: Nook,
    /// Former hot blocks in which `ReadBuf`s still live. Empty unless reads nest.
    retired: RefCell<Vec<Retired>>,
    counts: Counts,
    overflow: sync::Arc<heap::Overflow>,
    // Dropped last: the holds above return to it.
    blocks: Blocks,
}

/// A block that was hot, and how many `ReadBuf`s live in it.
struct Retired {
    hold: Hold,
    live: usize,
}

/// What `PoolStats` says about keeping.
#[derive(Default)]
struct Counts {
    shared: Cell<u64>,
    copied: Cell<u64>,
    overflowed: Cell<u64>,
    refused: Cell<u64>,
}

impl Pool {
    /// Makes a pool and maps its first blocks (all of them if memory is to be locked).
    ///
    /// # Errors
    /// [`PoolError::Invalid`] says what is wrong with `config`; [`PoolError::Map`] and
    /// [`PoolError::LockRefused`] what the kernel refused. Huge pages that are refused are not an error.
    pub fn new(config: PoolConfig) -> Result<Pool, PoolError> {
        let block_bytes = config.block_bytes;
        let overflow = heap::Overflow::new(config.overflow_bytes_max);
        let blocks = Blocks::new(config)?;
        // The first blocks are mapped, so there is one.
        let hot = blocks.take().ok_or(PoolError::Limit)?;
        Ok(Pool {
            tail: Cell::new(0),
            block_bytes,
            base: Cell::new(hot.header().data()),
            live: Cell::new(0),
            floor: Cell::new(0),
            hot,
            soft_bytes: round_up(block_bytes - block_bytes / 4),
            spare: Cell::new(None),
            nook: Nook::default(),
            retired: RefCell::new(Vec::new()),
            counts: Counts::default(),
            overflow,
            blocks,
        })
    }

    /// Where the next read goes: address and room. Runs no user code. The room is never zero unless `ReadBuf`s
    /// of this pool live and fill the hot block, with no other block free: a loop never reads then.
    #[inline]
    pub(crate) fn lend(&self) -> (*mut u8, usize) {
        if self.tail.get() == 0 {
            (self.base.get().as_ptr(), self.block_bytes)
        } else {
            self.lend_rest()
        }
    }

    /// The first `len` bytes at the address last lent, which were just written there.
    ///
    /// # Safety
    /// `len` is at most the room of the last [`Pool::lend`], so many bytes were written at its address, nobody
    /// writes there any more, and neither `lend` nor `fill` was called since.
    #[inline]
    pub(crate) unsafe fn filled(&self, len: usize) -> ReadBuf<'_> {
        let start = self.tail.get();
        debug_assert!(len <= self.block_bytes - start);
        self.tail.set(start + round_up(len));
        self.live.set(self.live.get() + 1);
        // SAFETY: `start` is inside the block. The bytes lie between the former tail and the new one, and are
        // initialised: by the caller, as are all bytes of a mapping.
        unsafe { ReadBuf::new(self, self.hot.block(), self.base.get().add(start), len) }
    }

    /// Copies bytes in as if they had been read: for drivers other than libuv. Takes as many as fit, at most
    /// `block_bytes` and usually that many: [`ReadBuf`]'s length says how many. It takes at least one byte
    /// unless other `ReadBuf`s of this pool are alive, fill the hot block, and no block is free.
    pub fn fill(&self, bytes: &[u8]) -> ReadBuf<'_> {
        let (at, room) = self.lend();
        let len = bytes.len().min(room);
        self.hot.header().on_write(at, len);
        // SAFETY: `room` bytes at `at` are behind the tail, where nobody reads or writes; `bytes`, even when kept
        // in this pool, are before it. Then they have been written, and nothing was lent since.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), at, len);
            self.filled(len)
        }
    }

    /// What the pool holds now and has done so far. Costs a walk over the blocks that came back lately.
    pub fn stats(&self) -> PoolStats {
        let reserved = self.blocks.reserved();
        let in_use = self.blocks.in_use();
        let retired = self.retired.borrow();
        let spares = self.spares();
        let (nooks, nooks_kept) = self.nook.count();
        let own = 1 + retired.len() + spares + nooks;
        let own_kept = retired
            .iter()
            .filter(|block| !block.hold.is_alone())
            .count()
            + usize::from(!self.hot.is_alone())
            + nooks_kept;
        PoolStats {
            blocks_reserved: reserved,
            blocks_free: reserved - in_use,
            blocks_in_use: in_use,
            blocks_kept: in_use - own + own_kept,
            overflow_bytes: self.overflow.bytes(),
            keeps_shared: self.counts.shared.get(),
            keeps_copied: self.counts.copied.get(),
            keeps_overflowed: self.counts.overflowed.get(),
            keeps_refused: self.counts.refused.get(),
            huge_mappings: self.blocks.huge_mappings(),
            huge_refused: self.blocks.huge_refused(),
            map_refused: self.blocks.map_refused(),
        }
    }

    /// Lends when something was kept in the hot block, or reads nest: starts over or moves on if it can.
    #[cold]
    fn lend_rest(&self) -> (*mut u8, usize) {
        if self.live.get() == 0 && self.hot.is_alone() {
            self.floor.set(0);
            self.tail.set(0);
        } else if self.tail.get() > self.soft_bytes && self.has_spare() {
            self.move_on();
        }
        let tail = self.tail.get();
        // SAFETY: the tail is inside the block or at its end.
        let at = unsafe { self.base.get().add(tail) };
        (at.as_ptr(), self.block_bytes - tail)
    }

    /// Makes the spare the hot block.
    fn move_on(&self) {
        let Some(spare) = self.spare.take() else {
            return;
        };
        self.base.set(spare.header().data());
        let hold = self.hot.replace(spare);
        let live = self.live.replace(0);
        self.floor.set(0);
        self.tail.set(0);
        if live > 0 {
            self.retired.borrow_mut().push(Retired { hold, live });
        }
    }

    /// Whether there is a spare, after trying to get one: from the supply, or else the nook if it is idle.
    fn has_spare(&self) -> bool {
        let spare = self
            .spare
            .take()
            .or_else(|| self.blocks.take())
            .or_else(|| self.nook.take_idle());
        let is_there = spare.is_some();
        self.spare.set(spare);
        is_there
    }

    fn spares(&self) -> usize {
        let spare = self.spare.take();
        let count = usize::from(spare.is_some());
        self.spare.set(spare);
        count
    }

    /// A `ReadBuf` in the hot block is dropped.
    #[inline]
    fn end_read(&self) {
        let live = self.live.get() - 1;
        self.live.set(live);
        if live == 0 {
            self.tail.set(self.floor.get());
        }
    }

    /// A `ReadBuf` in a former hot block is dropped.
    #[cold]
    fn end_retired_read(&self, block: NonNull<Header>) {
        let mut retired = self.retired.borrow_mut();
        let Some(index) = retired.iter().position(|r| r.hold.block() == block) else {
            return;
        };
        retired[index].live -= 1;
        if retired[index].live == 0 {
            retired.swap_remove(index);
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pool").field(&self.stats()).finish()
    }
}

/// Up to the next granule. Callers pass offsets within a block, so it cannot overflow.
#[inline(always)]
const fn round_up(bytes: usize) -> usize {
    (bytes + (GRANULE - 1)) & !(GRANULE - 1)
}

/// The range as offsets if it lies within `len` bytes.
#[inline]
fn range_within(range: impl RangeBounds<usize>, len: usize) -> Option<Range<usize>> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.checked_add(1)?,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.checked_add(1)?,
        Bound::Excluded(&end) => end,
        Bound::Unbounded => len,
    };
    (start <= end && end <= len).then_some(start..end)
}

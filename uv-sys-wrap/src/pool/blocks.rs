//! The loop's supply of free blocks: where the next one comes from.
//!
//! First those that just came back (their memory is warm), then those that came back earlier, then ones never
//! used, and at last a new mapping, up to the limit. Nothing is unmapped before the pool and all its blocks are
//! gone: addresses stay valid. Only the loop's thread has this; the shared part is [`Home`].

use super::block::{Header, Hold, Origin};
use super::config::{PoolConfig, PoolError};
use super::home::Home;
use super::leaks;
use super::mapping::Mapping;
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// After the kernel refused to map more, this many wishes are turned down before it is asked again: a system
/// call per kept range would only make a bad situation worse.
const REFUSALS_BETWEEN_TRIES: u32 = 1024;

/// The supply of one pool.
pub(super) struct Blocks {
    home: NonNull<Home>,
    config: PoolConfig,
    /// Free blocks that have been used before.
    free: Cell<*mut Header>,
    free_count: Cell<usize>,
    /// Blocks mapped.
    reserved: Cell<usize>,
    /// Blocks used at least once: they were carved off the mappings in order.
    carved: Cell<usize>,
    /// Wishes to turn down before the next try to grow.
    backoff: Cell<u32>,
    map_refused: Cell<u64>,
    huge_mappings: Cell<usize>,
    huge_refused: Cell<usize>,
}

impl Blocks {
    /// Maps the first blocks, or all if they are to be locked: then nothing can be refused later.
    pub(super) fn new(config: PoolConfig) -> Result<Blocks, PoolError> {
        config.check()?;
        let blocks = Blocks {
            home: Home::new(),
            free: Cell::new(ptr::null_mut()),
            free_count: Cell::new(0),
            reserved: Cell::new(0),
            carved: Cell::new(0),
            backoff: Cell::new(0),
            map_refused: Cell::new(0),
            huge_mappings: Cell::new(0),
            huge_refused: Cell::new(0),
            config,
        };
        blocks.grow()?;
        while blocks.config.lock_memory && blocks.reserved.get() < blocks.config.blocks_max {
            blocks.grow()?;
        }
        Ok(blocks)
    }

    /// A free block, if there is or may be one. Allocates only when it maps more.
    pub(super) fn take(&self) -> Option<Hold> {
        self.collect();
        let block = match NonNull::new(self.free.get()) {
            Some(block) => {
                // SAFETY: the list and all in it are ours.
                self.free.set(unsafe { block.as_ref().next() });
                self.free_count.set(self.free_count.get() - 1);
                block
            }
            None => self.carve()?,
        };
        // SAFETY: a free block is ours alone. The home lives until we close it, and `Pool` drops its holds first.
        Some(unsafe { Hold::new(block) })
    }

    /// Blocks mapped.
    pub(super) fn reserved(&self) -> usize {
        self.reserved.get()
    }

    /// Blocks that somebody has; exact at this moment. Costs a walk over those that came back since last time.
    pub(super) fn in_use(&self) -> usize {
        self.collect();
        self.carved.get() - self.free_count.get()
    }

    pub(super) fn map_refused(&self) -> u64 {
        self.map_refused.get()
    }

    pub(super) fn huge_mappings(&self) -> usize {
        self.huge_mappings.get()
    }

    pub(super) fn huge_refused(&self) -> usize {
        self.huge_refused.get()
    }

    fn home(&self) -> &Home {
        // SAFETY: the home lives until `drop` settles with it.
        unsafe { self.home.as_ref() }
    }

    /// Moves what came back to the front of our own list.
    fn collect(&self) {
        self.adopt(self.home().returned());
    }

    fn adopt(&self, list: *mut Header) {
        let Some(mut last) = NonNull::new(list) else {
            return;
        };
        let mut count = 1;
        // SAFETY: the list was handed to us whole; its blocks are free and in mappings that live.
        unsafe {
            while let Some(next) = NonNull::new(last.as_ref().next()) {
                last = next;
                count += 1;
            }
            last.as_ref().set_next(self.free.get());
        }
        self.free.set(list);
        self.free_count.set(self.free_count.get() + count);
    }

    /// A block that was never used.
    fn carve(&self) -> Option<NonNull<Header>> {
        let index = self.carved.get();
        if index == self.reserved.get() && !self.may_grow() {
            return None;
        }
        self.carved.set(index + 1);
        let (mapping, block) = (
            index / self.config.chunk_blocks,
            index % self.config.chunk_blocks,
        );
        // SAFETY: only this thread touches the mappings while the pool lives; `index` is below `reserved`.
        Some(
            self.home()
                .mappings
                .with(|all| unsafe { (&(*all))[mapping].header(block) }),
        )
    }

    /// Tries to have one more block mapped.
    fn may_grow(&self) -> bool {
        if self.reserved.get() == self.config.blocks_max {
            return false;
        }
        if self.backoff.get() > 0 {
            self.backoff.set(self.backoff.get() - 1);
            return false;
        }
        if self.grow().is_err() {
            self.backoff.set(REFUSALS_BETWEEN_TRIES);
            self.map_refused.set(self.map_refused.get() + 1);
            return false;
        }
        true
    }

    /// Maps `chunk_blocks` more, or what is left to the limit. All mappings but the last are of full size.
    fn grow(&self) -> Result<(), PoolError> {
        let config = &self.config;
        let count = config
            .chunk_blocks
            .min(config.blocks_max - self.reserved.get());
        let carved = Carved::new(count, config, self.home)?;
        if config.huge_pages {
            let counter = match carved.mapping.is_reserved_huge() {
                true => &self.huge_mappings,
                false => &self.huge_refused,
            };
            counter.set(counter.get() + 1);
        }
        // SAFETY: only this thread touches the mappings while the pool lives, and keeps no reference to them.
        self.home()
            .mappings
            .with_mut(|all| unsafe { (*all).push(carved) });
        self.reserved.set(self.reserved.get() + count);
        Ok(())
    }
}

impl Drop for Blocks {
    /// What is still out when the pool goes away frees the home when it comes back.
    fn drop(&mut self) {
        self.adopt(self.home().close());
        let out = self.carved.get() - self.free_count.get();
        leaks::left_out(out);
        // SAFETY: closed above; called once; the home is not used any more.
        unsafe { Home::settle(self.home, out as isize) };
    }
}

/// A mapping with the headers of its blocks.
pub(super) struct Carved {
    mapping: Mapping,
    /// Owned. Not a `Box`: moving one would claim that nobody else points into it.
    headers: NonNull<[Header]>,
}

impl Carved {
    fn new(count: usize, config: &PoolConfig, home: NonNull<Home>) -> Result<Carved, PoolError> {
        // The configuration was checked: the product is far from overflowing.
        let mapping = Mapping::new(
            count * config.block_bytes,
            config.huge_pages,
            config.lock_memory,
        )?;
        let headers: Box<[Header]> = (0..count)
            .map(|index| {
                // SAFETY: `index < count` blocks lie in the mapping.
                let data = unsafe { mapping.base().add(index * config.block_bytes) };
                Header::new(data, config.block_bytes, Origin::Pool(home))
            })
            .collect();
        Ok(Carved {
            mapping,
            headers: NonNull::from(Box::leak(headers)),
        })
    }

    fn header(&self, index: usize) -> NonNull<Header> {
        assert!(index < self.headers.len());
        // SAFETY: the index is inside.
        unsafe { self.headers.cast::<Header>().add(index) }
    }
}

impl Drop for Carved {
    fn drop(&mut self) {
        // SAFETY: leaked from a box in `new`; all blocks are back, so nobody points at them.
        drop(unsafe { Box::from_raw(self.headers.as_ptr()) });
    }
}

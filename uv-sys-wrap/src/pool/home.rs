//! Where the blocks of a pool belong: the list that they rejoin from any thread, and who frees the memory.
//!
//! The list of returned blocks has many pushers and one taker, who only ever takes all of it: there is no ABA
//! problem. When the pool goes away it closes the list; a block that comes back later is only counted, and the
//! last one frees everything.

use super::block::Header;
use super::blocks::Carved;
use super::leaks;
use super::sync::{AtomicIsize, AtomicPtr, Ordering, UnsafeCell};
use std::ptr::{self, NonNull};

/// Owns the mappings, and takes blocks back from any thread. It is freed when
/// the pool is gone and every block is back.
pub(super) struct Home {
    /// Blocks on their way back, last one first, or [`CLOSED`].
    returned: AtomicPtr<Header>,
    /// Zero while the pool lives. Then: blocks still out, less those that came back before they were counted.
    outstanding: AtomicIsize,
    /// Touched by the loop while the pool lives and by whoever frees the home.
    pub(super) mappings: UnsafeCell<Vec<Carved>>,
    #[cfg(all(loom, test))]
    _leak_check: loom::sync::Arc<()>,
}

/// In place of the list's head: the pool is gone.
const CLOSED: *mut Header = ptr::without_provenance_mut(1);

impl Home {
    pub(super) fn new() -> NonNull<Home> {
        NonNull::from(Box::leak(Box::new(Home {
            returned: AtomicPtr::new(ptr::null_mut()),
            outstanding: AtomicIsize::new(0),
            mappings: UnsafeCell::new(Vec::new()),
            #[cfg(all(loom, test))]
            _leak_check: loom::sync::Arc::new(()),
        })))
    }

    /// # Safety
    /// The block is a free one of this home and the caller's alone.
    pub(super) unsafe fn take_back(home: NonNull<Home>, block: NonNull<Header>) {
        // SAFETY: the home lives as long as a block is out. After the exchange below it may be gone: the block
        // is back then, and neither is touched.
        let returned = unsafe { &(*home.as_ptr()).returned };
        let mut head = returned.load(Ordering::Relaxed);
        while head != CLOSED {
            // SAFETY: the block is still ours.
            unsafe { block.as_ref().set_next(head) };
            // Release: the taker sees the block as we leave it.
            match returned.compare_exchange_weak(
                head,
                block.as_ptr(),
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
        leaks::came_back();
        // SAFETY: this block is among those that were or will be counted as outstanding.
        unsafe { Home::settle(home, -1) };
    }

    /// All blocks that came back since the last time, as a list that is the caller's. Loop's thread only.
    #[inline]
    pub(super) fn returned(&self) -> *mut Header {
        // The swap is much dearer than a look, and mostly there is nothing.
        if self.returned.load(Ordering::Relaxed).is_null() {
            return ptr::null_mut();
        }
        self.returned.swap(ptr::null_mut(), Ordering::Acquire)
    }

    /// Closes the list and returns what was in it.
    pub(super) fn close(&self) -> *mut Header {
        self.returned.swap(CLOSED, Ordering::AcqRel)
    }

    /// Adds to the blocks still out, and frees the home if that makes none.
    ///
    /// # Safety
    /// The list is closed. The pool calls once, with the number of blocks not back; each of them calls once
    /// with -1. Nobody uses the home after its call. (Before the pool's call the sum is negative, so it comes
    /// to zero only once all have called.)
    pub(super) unsafe fn settle(home: NonNull<Home>, blocks: isize) {
        // SAFETY: our call has not been counted yet, so the home lives. AcqRel: everything that the others did
        // happens before the one who frees.
        let before = unsafe { home.as_ref() }
            .outstanding
            .fetch_add(blocks, Ordering::AcqRel);
        if before + blocks == 0 {
            // SAFETY: made by `new`, and we are the last.
            drop(unsafe { Box::from_raw(home.as_ptr()) });
        }
    }
}

//! A counted block of memory.
//!
//! The count of a block is what the loop holds in reserve plus one for each [`Ref`] (each kept chunk). The loop
//! takes a large reserve at once ([`Hold`]) and hands out references from it without touching the count, so
//! keeping costs no atomic operation. Invariants:
//! - A `Hold`'s reserve is at least 1: a block that the loop holds never becomes free.
//! - Whoever brings the count to zero owns the block alone, and gives it back exactly once: to the list of
//!   returned blocks of its [`Home`], or, if it came from the heap, to the allocator.
//! - Bytes that a `Ref` covers are not written as long as it lives. The counts are released by each drop and
//!   acquired before the memory is used again.

use super::heap;
use super::home::Home;
use super::sync::{Arc, AtomicUsize, Ordering, UnsafeCell};
use std::cell::Cell;
use std::ptr::{self, NonNull};

/// Ranges begin on multiples of this: one cache line, so that the kernel writes to no line that another thread
/// reads kept bytes from.
pub(super) const GRANULE: usize = 64;

/// References taken from the count at once. Small in tests, so that they come to the point of taking more.
const RESERVE: usize = if cfg!(all(loom, test)) {
    2
} else if cfg!(test) {
    16
} else {
    1 << 20
};

/// Book-keeping of one block. In a table beside the memory, a cache line each: blocks keep their alignment, and
/// those not used yet are not touched.
#[repr(C, align(64))]
pub(super) struct Header {
    count: AtomicUsize,
    /// The next block in whatever list this one is in.
    next: UnsafeCell<*mut Header>,
    data: NonNull<u8>,
    origin: Origin,
    #[cfg(all(loom, test))]
    witness: super::loom_tests::Witness,
}

/// Where a block goes when it is free.
pub(super) enum Origin {
    Pool(NonNull<Home>),
    Heap {
        limit: Arc<heap::Overflow>,
        bytes: usize,
    },
}

impl Header {
    /// A header counted once. `bytes` is the size of the memory at `data`.
    pub(super) fn new(data: NonNull<u8>, bytes: usize, origin: Origin) -> Header {
        #[cfg(not(all(loom, test)))]
        let _ = bytes;
        Header {
            count: AtomicUsize::new(1),
            next: UnsafeCell::new(ptr::null_mut()),
            data,
            origin,
            #[cfg(all(loom, test))]
            witness: super::loom_tests::Witness::new(bytes),
        }
    }

    #[inline]
    pub(super) fn data(&self) -> NonNull<u8> {
        self.data
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Tells loom (and nobody else) that a range is written now.
    #[inline(always)]
    pub(super) fn on_write(&self, _at: *const u8, _len: usize) {
        #[cfg(all(loom, test))]
        self.witness
            .write(_at as usize - self.data.as_ptr() as usize, _len);
    }

    /// Tells loom (and nobody else) that a range is read now.
    #[inline(always)]
    pub(super) fn on_read(&self, _at: *const u8, _len: usize) {
        #[cfg(all(loom, test))]
        self.witness
            .read(_at as usize - self.data.as_ptr() as usize, _len);
    }

    /// The block behind this one in its list.
    ///
    /// # Safety
    /// The caller owns that list.
    pub(super) unsafe fn next(&self) -> *mut Header {
        // SAFETY: only the list's owner writes the field.
        self.next.with(|next| unsafe { *next })
    }

    /// # Safety
    /// The caller owns this block.
    pub(super) unsafe fn set_next(&self, to: *mut Header) {
        // SAFETY: only the owner of a free block touches the field.
        self.next.with_mut(|next| unsafe { *next = to });
    }
}

/// One counted reference: its block stays, and the bytes it stands for do not change.
pub(super) struct Ref(NonNull<Header>);

// SAFETY: a Ref only reaches atomics and fields that are written before it is made; the memory behind it is
// read-only while it lives (see `Hold::share`).
unsafe impl Send for Ref {}
// SAFETY: as above; `clone` only adds to an atomic.
unsafe impl Sync for Ref {}
// No panic can happen between two steps that belong together.
impl std::panic::UnwindSafe for Ref {}
impl std::panic::RefUnwindSafe for Ref {}

impl Ref {
    /// Adopts one count.
    ///
    /// # Safety
    /// The count was added for this reference alone, and the bytes it is to cover are never written again
    /// before the count falls.
    pub(super) unsafe fn adopt(block: NonNull<Header>) -> Ref {
        Ref(block)
    }

    /// Adds one to the count and adopts it.
    ///
    /// # Safety
    /// The caller has a hold on the block; the bytes as for [`Ref::adopt`].
    pub(super) unsafe fn add(block: NonNull<Header>) -> Ref {
        // SAFETY: the caller's hold keeps the header alive. Relaxed, as in `clone`.
        unsafe { block.as_ref() }
            .count
            .fetch_add(1, Ordering::Relaxed);
        Ref(block)
    }

    #[inline(always)]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: the count we stand for keeps the header alive.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for Ref {
    #[inline]
    fn clone(&self) -> Ref {
        // Relaxed: we have a reference, so the count cannot reach zero meanwhile.
        let before = self.header().count.fetch_add(1, Ordering::Relaxed);
        if before > isize::MAX as usize {
            // Only reachable by forgetting references on purpose; going on would free memory in use.
            std::process::abort();
        }
        Ref(self.0)
    }
}

impl Drop for Ref {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: our count is part of the header's, and is given up here.
        unsafe { give_up(self.0, 1) };
    }
}

/// Takes `count` away, and gives the block back if none is left.
///
/// # Safety
/// The caller owns `count` of the block's count and does not use the block afterwards.
#[inline]
unsafe fn give_up(block: NonNull<Header>, count: usize) {
    // SAFETY: until this subtraction our share keeps the header alive. Release: what we did to the block
    // happens before its next use.
    let before = unsafe { block.as_ref() }
        .count
        .fetch_sub(count, Ordering::Release);
    if before == count {
        // SAFETY: the count is zero now, so the block is ours alone.
        unsafe { recycle(block) };
    }
}

/// # Safety
/// The block's count is zero and the caller brought it there.
#[cold]
unsafe fn recycle(block: NonNull<Header>) {
    // SAFETY: the block is ours alone, and lives until it is given back below.
    let header = unsafe { block.as_ref() };
    // Acquire: all uses by the others who dropped theirs happen before what follows.
    header.count.load(Ordering::Acquire);
    match header.origin {
        // SAFETY: a block that has not come back keeps its home alive.
        Origin::Pool(home) => unsafe { Home::take_back(home, block) },
        // SAFETY: it came from the heap and nobody else refers to it.
        Origin::Heap { .. } => unsafe { heap::free(block) },
    }
}

/// The loop's hold on a block. Only the loop's thread has these. Dropping it leaves the block to its references.
pub(super) struct Hold {
    block: Cell<NonNull<Header>>,
    /// Our part of the block's count; at least 1.
    reserve: Cell<usize>,
}

impl Hold {
    /// Takes a free block.
    ///
    /// # Safety
    /// The caller owns the block alone; its home lives until the hold is dropped.
    pub(super) unsafe fn new(block: NonNull<Header>) -> Hold {
        // SAFETY: the caller's. Relaxed: others see the block only through references made later.
        unsafe { block.as_ref() }
            .count
            .store(RESERVE, Ordering::Relaxed);
        Hold {
            block: Cell::new(block),
            reserve: Cell::new(RESERVE),
        }
    }

    #[inline(always)]
    pub(super) fn block(&self) -> NonNull<Header> {
        self.block.get()
    }

    #[inline(always)]
    pub(super) fn header(&self) -> &Header {
        // SAFETY: what we hold keeps the header alive, and `replace` needs the hold to be returned and dropped
        // before that ends; this crate's callers use the result at once.
        unsafe { self.block.get().as_ref() }
    }

    /// A reference from the reserve.
    ///
    /// # Safety
    /// The bytes it is to cover are not written any more until [`Hold::is_alone`] says so.
    #[inline]
    pub(super) unsafe fn share(&self) -> Ref {
        let reserve = self.reserve.get();
        if reserve == 1 {
            self.refill();
        }
        self.reserve.set(self.reserve.get() - 1);
        Ref(self.block.get())
    }

    #[cold]
    fn refill(&self) {
        self.header().count.fetch_add(RESERVE, Ordering::Relaxed);
        self.reserve.set(self.reserve.get() + RESERVE);
    }

    /// Whether no reference is left. Then all uses of them are over, and none can arise but through `share`.
    pub(super) fn is_alone(&self) -> bool {
        self.header().count.load(Ordering::Acquire) == self.reserve.get()
    }

    /// Makes this the hold on `other`'s block and returns the hold on the former one.
    pub(super) fn replace(&self, other: Hold) -> Hold {
        self.block.swap(&other.block);
        self.reserve.swap(&other.reserve);
        other
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // SAFETY: the reserve is our part of the count.
        unsafe { give_up(self.block.get(), self.reserve.get()) };
    }
}

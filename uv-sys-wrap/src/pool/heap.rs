//! Kept bytes on the heap, for when no block is free: counted, and limited.
//!
//! One allocation holds a block's [`Header`] and the bytes behind it, so that a chunk need not know the
//! difference. The limit is shared by the pool and all such allocations, and outlives the pool with them.

use super::block::{Header, Origin, Ref};
use super::config::PoolError;
use super::sync::{Arc, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc, dealloc};
use std::ptr::NonNull;

/// How many heap bytes kept ranges take now, and may.
pub(super) struct Overflow {
    bytes: AtomicUsize,
    bytes_max: usize,
}

impl Overflow {
    pub(super) fn new(bytes_max: usize) -> Arc<Overflow> {
        Arc::new(Overflow {
            bytes: AtomicUsize::new(0),
            bytes_max,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Only the loop's thread adds, so that looking first is enough: meanwhile the sum can only fall.
    fn charge(&self, bytes: usize) -> Result<(), PoolError> {
        if bytes > self.bytes_max.saturating_sub(self.bytes()) {
            return Err(PoolError::Limit);
        }
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    fn discharge(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Copies `bytes` to the heap. Returns the only reference, and where they are. Loop's thread only.
pub(super) fn copy(bytes: &[u8], limit: &Arc<Overflow>) -> Result<(Ref, NonNull<u8>), PoolError> {
    let layout = layout(bytes.len()).ok_or(PoolError::Limit)?;
    limit.charge(layout.size())?;
    // SAFETY: the layout is not empty, it has a header in it.
    let Some(block) = NonNull::new(unsafe { alloc(layout) }.cast::<Header>()) else {
        limit.discharge(layout.size());
        return Err(PoolError::Limit);
    };
    let origin = Origin::Heap {
        limit: limit.clone(),
        bytes: layout.size(),
    };
    // SAFETY: the allocation has room for a header and, behind it, for `bytes`; it overlaps nothing. The header
    // counts one reference, which is this one; nobody writes the bytes again.
    unsafe {
        let data = block.add(1).cast::<u8>();
        block.write(Header::new(data, bytes.len(), origin));
        data.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len());
        Ok((Ref::adopt(block), data))
    }
}

/// Frees what [`copy`] made.
///
/// # Safety
/// The block came from `copy` and nobody else uses it.
pub(super) unsafe fn free(block: NonNull<Header>) {
    // SAFETY: the header is ours, and read out before its memory goes.
    let header = unsafe { block.read() };
    if let Origin::Heap { limit, bytes } = header.origin() {
        limit.discharge(*bytes);
        // SAFETY: allocated with a layout of this size and alignment.
        unsafe {
            let layout = Layout::from_size_align_unchecked(*bytes, align_of::<Header>());
            dealloc(block.as_ptr().cast(), layout);
        }
    }
}

fn layout(len: usize) -> Option<Layout> {
    let bytes = size_of::<Header>().checked_add(len)?;
    Layout::from_size_align(bytes, align_of::<Header>()).ok()
}

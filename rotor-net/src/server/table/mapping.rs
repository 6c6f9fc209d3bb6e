//! The memory of the connection table: one range of addresses, zeroed, and committed when first written.
//!
//! This is the only unsafe code of the server. Invariant: `start` is a private anonymous mapping of at least `len`
//! slots, readable and writable, from `new` until `drop`.
#![allow(unsafe_code, reason = "maps memory and looks at it as slots")]

use super::Slot;
use std::io;
use std::ops::Deref;

/// The slots of a table. Under loom, whose atomics are more than their bits, a plain vector.
#[cfg(loom)]
pub(super) struct Mapping(Vec<Slot>);

#[cfg(loom)]
impl Mapping {
    pub fn new(len: usize) -> io::Result<Mapping> {
        Ok(Mapping((0..len).map(|_| Slot::default()).collect()))
    }

    pub fn reserved_bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }

    pub fn resident_bytes(&self) -> Option<usize> {
        None
    }
}

#[cfg(loom)]
impl Deref for Mapping {
    type Target = [Slot];

    fn deref(&self) -> &[Slot] {
        &self.0
    }
}

#[cfg(not(loom))]
pub(super) use mapped::Mapping;

#[cfg(not(loom))]
mod mapped {
    use super::*;
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
    use std::ptr::NonNull;

    pub(in crate::server::table) struct Mapping {
        start: NonNull<Slot>,
        len: usize,
    }

    // SAFETY: the mapping belongs to the process, not to a thread, and is unmapped once, by its owner's drop.
    unsafe impl Send for Mapping {}
    // SAFETY: shared access gives out `&[Slot]` alone, and slots are atomics.
    unsafe impl Sync for Mapping {}

    impl Mapping {
        /// Reserves `len` slots, at least one.
        pub fn new(len: usize) -> io::Result<Mapping> {
            let bytes = len
                .checked_mul(size_of::<Slot>())
                .ok_or(io::ErrorKind::OutOfMemory)?;
            let flags = MapFlags::PRIVATE | NO_RESERVE;
            // SAFETY: a new mapping wherever the system finds room; it replaces nothing.
            let start = unsafe {
                mmap_anonymous(
                    std::ptr::null_mut(),
                    bytes,
                    ProtFlags::READ | ProtFlags::WRITE,
                    flags,
                )
            }?;
            let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            let mapping = Mapping { start, len };
            mapping.commit_by_small_pages();
            Ok(mapping)
        }

        pub fn reserved_bytes(&self) -> usize {
            self.len * size_of::<Slot>()
        }

        /// Bytes of the pages that memory stands behind.
        #[cfg(any(target_os = "linux", target_os = "macos"))]
        pub fn resident_bytes(&self) -> Option<usize> {
            let page = rustix::param::page_size();
            let mut resident = [0; PAGES_ASKED_AT_ONCE];
            let mut pages = 0;
            let end = self.reserved_bytes();
            for offset in (0..end).step_by(page * resident.len()) {
                let bytes = (end - offset).min(page * resident.len());
                // SAFETY: the range lies inside the mapping and begins at a page; the buffer has a byte for each of
                // its pages.
                let code = unsafe {
                    libc::mincore(
                        self.start.as_ptr().byte_add(offset).cast(),
                        bytes,
                        resident.as_mut_ptr().cast(),
                    )
                };
                if code != 0 {
                    return None;
                }
                let asked: &[u8] = &resident[..bytes.div_ceil(page)];
                pages += asked.iter().filter(|&&byte| byte & 1 != 0).count();
            }
            Some(pages * page)
        }

        /// Bytes of the pages that memory stands behind: not told here.
        #[cfg(not(any(target_os = "linux", target_os = "macos")))]
        pub fn resident_bytes(&self) -> Option<usize> {
            None
        }

        /// A huge page would commit the slots of 131,072 descriptors for the first of them. Only advice: a kernel
        /// without huge pages refuses it.
        #[cfg(target_os = "linux")]
        fn commit_by_small_pages(&self) {
            use rustix::mm::{Advice, madvise};
            let (start, bytes) = (self.start.as_ptr().cast(), self.reserved_bytes());
            // SAFETY: the range is the mapping; the advice changes no byte of it.
            let _ = unsafe { madvise(start, bytes, Advice::LinuxNoHugepage) };
        }

        #[cfg(not(target_os = "linux"))]
        fn commit_by_small_pages(&self) {}
    }

    impl Deref for Mapping {
        type Target = [Slot];

        fn deref(&self) -> &[Slot] {
            // SAFETY: `len` slots are mapped, aligned to a page, until `drop`; zeroes are a valid `Slot`, and what is
            // written later is written through these same atomics.
            unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
        }
    }

    impl Drop for Mapping {
        fn drop(&mut self) {
            // SAFETY: mapped by `new` with these bounds, and no reference outlives `self`.
            let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.reserved_bytes()) };
            debug_assert!(unmapped.is_ok(), "{unmapped:?}");
        }
    }

    /// Untouched pages shall not count against what the system promises to others.
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    const NO_RESERVE: MapFlags = MapFlags::NORESERVE;
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    const NO_RESERVE: MapFlags = MapFlags::empty();

    /// A buffer that is good for 64 MiB of table with the usual pages; longer ones take several calls.
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    const PAGES_ASKED_AT_ONCE: usize = 16 << 10;
}

//! The memory of stacks: one reservation, cut into slots of a guard page and a stack above it.
//!
//! Nothing is committed before it is touched, and no slot is handed out before its guard is in place. Guards are
//! regions of the page table (`MADV_GUARD_INSTALL`) where the kernel has them: those do not split the mapping, of
//! which a process may have only 65,530 by default. Elsewhere they are protected pages, and fewer.

#![allow(unsafe_code)]

use crate::fiber::config::Guards;
use crate::fiber::error::NoStack;
use crate::fiber::overflow::Watch;
use std::io;
use std::ptr::{self, NonNull};

/// A reservation of stacks. Unmapped when dropped, so its owner drops it when no stack is in use.
pub(super) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    slots: usize,
    slot_bytes: usize,
    guard_bytes: usize,
    guards: Guards,
    /// The overflow handler knows this range.
    _watch: Watch,
}

/// `MADV_GUARD_INSTALL`, which `libc` does not name yet.
#[cfg(target_os = "linux")]
const GUARD_INSTALL: libc::c_int = 102;

/// Mappings left to everything that is not a stack.
const MAPPINGS_KEPT: usize = 2048;

impl Mapping {
    /// Reserves up to `slots` stacks of `stack_bytes`, a whole number of pages.
    pub fn reserve(slots: usize, stack_bytes: usize, guards: Guards) -> Result<Self, NoStack> {
        let guard_bytes = page_bytes();
        let slot_bytes = guard_bytes + stack_bytes;
        let bytes = slots
            .checked_mul(slot_bytes)
            .filter(|&bytes| bytes > 0 && isize::try_from(bytes).is_ok());
        let Some(bytes) = bytes else {
            return Err(NoStack::Config(
                "`stacks_max` stacks of `stack_bytes` must be at least one and fit into the address space",
            ));
        };
        let base = map(bytes).map_err(|error| NoStack::System {
            what: "reserving address space for fibers' stacks",
            error,
        })?;
        let watch = Watch::over(base.as_ptr() as usize, bytes, slot_bytes, guard_bytes);
        let mut mapping = Self {
            base,
            bytes,
            slots,
            slot_bytes,
            guard_bytes,
            guards,
            _watch: watch,
        };
        // The first guard tells what this kernel can do.
        if guards == Guards::Auto && mapping.guard(0).is_err() {
            mapping.guards = Guards::Protected;
        }
        if mapping.guards == Guards::Protected {
            mapping.slots = slots.min(protected_max());
        }
        Ok(mapping)
    }

    /// How many stacks there are: fewer than asked for if guards are protected pages and there may not be so many.
    pub fn slots(&self) -> usize {
        self.slots
    }

    pub fn reserved_bytes(&self) -> usize {
        self.bytes
    }

    /// Puts a slot's guard in place. Once in a slot's life, before it is used.
    pub fn open(&self, index: u32) -> Result<(), NoStack> {
        self.guard(index).map_err(|error| NoStack::System {
            what: "guarding a fiber's stack",
            error,
        })
    }

    /// Where a slot begins, with its guard, and where it ends: stacks grow down from there.
    #[inline]
    pub fn slot(&self, index: u32) -> (NonNull<u8>, NonNull<u8>) {
        assert!((index as usize) < self.slots);
        let start = index as usize * self.slot_bytes;
        // SAFETY: the slot is inside the mapping, as was just checked.
        unsafe { (self.base.add(start), self.base.add(start + self.slot_bytes)) }
    }

    /// Gives a free stack's memory back to the system; it reads as zeroes from then on.
    ///
    /// # Safety
    /// Nothing lives in this slot.
    pub unsafe fn discard(&self, index: u32) {
        let (start, _) = self.slot(index);
        // SAFETY: the range is the slot without its guard, whole pages of our private anonymous mapping, in which
        // nothing lives, as the caller promised. If it fails the memory stays, which is no harm.
        unsafe {
            let stack = start.add(self.guard_bytes);
            let bytes = self.slot_bytes - self.guard_bytes;
            libc::madvise(stack.as_ptr().cast(), bytes, libc::MADV_DONTNEED);
        }
    }

    fn guard(&self, index: u32) -> io::Result<()> {
        let (start, _) = self.slot(index);
        let at = start.as_ptr().cast();
        // SAFETY: the range is the guard of a slot that is not in use: whole pages of our own mapping, which nobody
        // reads or writes before or after.
        let failed = unsafe {
            match self.guards {
                #[cfg(target_os = "linux")]
                Guards::Auto => libc::madvise(at, self.guard_bytes, GUARD_INSTALL),
                _ => libc::mprotect(at, self.guard_bytes, libc::PROT_NONE),
            }
        };
        match failed {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the whole mapping is ours, and its owner drops it when no stack is in use.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // A huge page under the first byte of a stack would commit those of many.
    #[cfg(target_os = "linux")]
    // SAFETY: the range was mapped just now; the advice changes no content. Kernels without huge pages refuse it.
    unsafe {
        libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE);
    }
    NonNull::new(base.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// The size of a page.
pub(super) fn page_bytes() -> usize {
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// How many protected guards a process may have: each makes two mappings of one.
fn protected_max() -> usize {
    let mappings = std::fs::read_to_string("/proc/sys/vm/max_map_count")
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok());
    match mappings {
        Some(mappings) => (mappings.saturating_sub(MAPPINGS_KEPT) / 2).max(1),
        // No such limit here.
        None => usize::MAX,
    }
}

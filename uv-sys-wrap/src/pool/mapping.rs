//! One large piece of anonymous memory, with huge pages or locked if asked for.
//!
//! A mapping never moves and goes back to the kernel when dropped, on whatever thread that happens. Its pages
//! are zero and committed when first touched (unless locked). [`Blocks`](super::blocks::Blocks) carves it up.

use super::config::PoolError;
use std::ptr::{self, NonNull};

/// The huge page size asked for.
const HUGE_BYTES: usize = 2 << 20;

/// An owned mapping, readable and writable.
pub(super) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    reserved_huge: bool,
}

impl Mapping {
    /// Maps at least `bytes` (not zero). `huge` is a wish, `lock` a demand.
    pub(super) fn new(bytes: usize, huge: bool, lock: bool) -> Result<Mapping, PoolError> {
        let mapping = if huge {
            Mapping::huge(bytes.next_multiple_of(HUGE_BYTES))
        } else {
            Mapping::plain(bytes)
        }
        .map_err(PoolError::Map)?;
        if lock {
            mapping.lock().map_err(PoolError::LockRefused)?;
        }
        Ok(mapping)
    }

    /// The first byte.
    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Whether the kernel gave pages from its reserve of huge ones.
    pub(super) fn is_reserved_huge(&self) -> bool {
        self.reserved_huge
    }

    fn plain(bytes: usize) -> Result<Mapping, i32> {
        Ok(Mapping {
            base: map(bytes, 0)?,
            bytes,
            reserved_huge: false,
        })
    }

    /// Reserved huge pages, else normal memory that is aligned so that the kernel may make its pages huge.
    #[cfg(target_os = "linux")]
    fn huge(bytes: usize) -> Result<Mapping, i32> {
        if let Ok(base) = map(bytes, libc::MAP_HUGETLB | libc::MAP_HUGE_2MB) {
            return Ok(Mapping {
                base,
                bytes,
                reserved_huge: true,
            });
        }
        let mapping = Mapping::plain(bytes + HUGE_BYTES)?.trimmed(bytes);
        // SAFETY: the range is ours; the advice changes no content. A refusal leaves normal pages, as wanted.
        unsafe { libc::madvise(mapping.base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        Ok(mapping)
    }

    #[cfg(not(target_os = "linux"))]
    fn huge(bytes: usize) -> Result<Mapping, i32> {
        Mapping::plain(bytes)
    }

    /// Gives back what lies before the first huge page boundary and behind `bytes` from there.
    #[cfg(target_os = "linux")]
    fn trimmed(self, bytes: usize) -> Mapping {
        let whole = std::mem::ManuallyDrop::new(self);
        let before = whole.base.align_offset(HUGE_BYTES);
        let behind = whole.bytes - before - bytes;
        // SAFETY: `before` is at most HUGE_BYTES, by which the mapping is longer than `bytes`.
        let base = unsafe { whole.base.add(before) };
        // SAFETY: both ranges are whole pages of our mapping that nobody has seen; a length of zero is skipped.
        unsafe {
            unmap(whole.base, before);
            unmap(base.add(bytes), behind);
        }
        Mapping {
            base,
            bytes,
            reserved_huge: false,
        }
    }

    fn lock(&self) -> Result<(), i32> {
        // SAFETY: the range is ours; locking changes no content. Unmapping unlocks.
        match unsafe { libc::mlock(self.base.as_ptr().cast(), self.bytes) } {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the owner drops a mapping only when no pointer into it is used any more.
        unsafe { unmap(self.base, self.bytes) };
    }
}

fn map(bytes: usize, flags: i32) -> Result<NonNull<u8>, i32> {
    // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
    let base = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags,
            -1,
            0,
        )
    };
    if base == libc::MAP_FAILED {
        return Err(last_errno());
    }
    NonNull::new(base.cast()).ok_or(libc::ENOMEM)
}

/// # Safety
/// The range is (part of) a mapping of ours, on page boundaries, and unused from now on.
unsafe fn unmap(base: NonNull<u8>, bytes: usize) {
    if bytes > 0 {
        // SAFETY: as the caller promised. It cannot fail for such a range, and nothing could be done if it did.
        unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
    }
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

//! The stack on which a signal handler runs, for threads that have none.
//!
//! The standard library gives its own threads one. A thread of a host (one that C made) may lack it, and could not
//! report an overflow: the handler would need the very stack that is full.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ptr;

/// Enough for the largest register sets there are, and a handler that was there before.
const BYTES: usize = 64 << 10;

thread_local! {
    static OURS: RefCell<Option<Alternate>> = const { RefCell::new(None) };
}

/// An alternate stack that this thread got from us. Taken away when the thread ends.
struct Alternate(*mut libc::c_void);

/// Sees to it that this thread has an alternate signal stack. Where the system refuses, an overflow still ends the
/// process, but without a message.
pub(super) fn ensure() {
    if current().is_some_and(|stack| stack.ss_flags & libc::SS_DISABLE != 0) {
        let made = Alternate::new();
        // A thread that is ending keeps what it has.
        let _ = OURS.try_with(|ours| ours.replace(made));
    }
}

fn current() -> Option<libc::stack_t> {
    let mut now = MaybeUninit::uninit();
    // SAFETY: only asks; there is room for the answer.
    let failed = unsafe { libc::sigaltstack(ptr::null(), now.as_mut_ptr()) };
    // SAFETY: the call filled it if it succeeded.
    (failed == 0).then(|| unsafe { now.assume_init() })
}

impl Alternate {
    fn new() -> Option<Self> {
        // SAFETY: an anonymous private mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return None;
        }
        let made = Self(base);
        let stack = libc::stack_t {
            ss_sp: base,
            ss_flags: 0,
            ss_size: BYTES,
        };
        // SAFETY: the memory is ours and stays until `drop`, which takes it away again.
        let failed = unsafe { libc::sigaltstack(&stack, ptr::null_mut()) };
        (failed == 0).then_some(made)
    }
}

impl Drop for Alternate {
    fn drop(&mut self) {
        if current().is_some_and(|stack| stack.ss_sp == self.0) {
            let none = libc::stack_t {
                ss_sp: ptr::null_mut(),
                ss_flags: libc::SS_DISABLE,
                ss_size: BYTES,
            };
            // SAFETY: this thread is not on it: a handler does not end its thread.
            unsafe { libc::sigaltstack(&none, ptr::null_mut()) };
        }
        // SAFETY: mapped by `new`, and no longer anybody's stack.
        unsafe { libc::munmap(self.0, BYTES) };
    }
}

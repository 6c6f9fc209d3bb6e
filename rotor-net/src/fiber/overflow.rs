//! What happens when a fiber's stack overflows: the process aborts, and says which fiber it was.
//!
//! A stack that grows beyond its end touches its guard, and the kernel raises SIGSEGV (SIGBUS on macOS). The handler
//! runs on an alternate stack, looks the address up among the pools' reservations, writes one line and aborts. Any
//! other fault goes on to the handler that was there before, so that the standard library's own message for a
//! thread's stack still appears.
//!
//! The handler calls only what a signal handler may: it reads atomics and memory that is never freed while it could
//! be looked at, and calls `write`, `sigaction`, `raise` and `abort`. Reservations are listed in entries that are
//! never freed, only used again.

#![allow(unsafe_code)]

use libc::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Once, OnceLock};

mod alternate;

/// What stands at the upper end of every stack in use: whose it is.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Plate {
    name: *const u8,
    name_bytes: usize,
}

impl Plate {
    pub fn of(name: &'static str) -> Self {
        Self {
            name: name.as_ptr(),
            name_bytes: name.len(),
        }
    }
}

/// A reservation that the handler knows, for as long as this lives.
pub(super) struct Watch(&'static Entry);

struct Entry {
    is_taken: AtomicBool,
    /// 0 while the rest means nothing.
    base: AtomicUsize,
    bytes: AtomicUsize,
    slot_bytes: AtomicUsize,
    guard_bytes: AtomicUsize,
    next: AtomicPtr<Entry>,
}

/// The newest entry; each names the one before.
static ENTRIES: AtomicPtr<Entry> = AtomicPtr::new(ptr::null_mut());

impl Watch {
    /// Makes the range known, and sees to it that the handler is installed and can run on this thread.
    pub fn over(base: usize, bytes: usize, slot_bytes: usize, guard_bytes: usize) -> Self {
        install();
        alternate::ensure();
        let entry = spare().unwrap_or_else(add);
        entry.bytes.store(bytes, Ordering::Relaxed);
        entry.slot_bytes.store(slot_bytes, Ordering::Relaxed);
        entry.guard_bytes.store(guard_bytes, Ordering::Relaxed);
        entry.base.store(base, Ordering::Release);
        Self(entry)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.base.store(0, Ordering::Release);
        self.0.is_taken.store(false, Ordering::Release);
    }
}

fn entries() -> impl Iterator<Item = &'static Entry> {
    let mut at = ENTRIES.load(Ordering::Acquire);
    std::iter::from_fn(move || {
        // SAFETY: what is in the list was leaked on purpose, and is complete before it is listed.
        let entry: &'static Entry = unsafe { NonNull::new(at)?.as_ref() };
        at = entry.next.load(Ordering::Acquire);
        Some(entry)
    })
}

/// How much is left of the fiber's stack that has this address. `None` if no fiber's has.
#[cfg(feature = "rpc")]
pub(crate) fn stack_left(at: usize) -> Option<usize> {
    entries().find_map(|entry| {
        let base = entry.base.load(Ordering::Acquire);
        let bytes = entry.bytes.load(Ordering::Relaxed);
        if base == 0 || at < base || at - base >= bytes {
            return None;
        }
        let above_slot = (at - base) % entry.slot_bytes.load(Ordering::Relaxed);
        Some(above_slot.saturating_sub(entry.guard_bytes.load(Ordering::Relaxed)))
    })
}

fn spare() -> Option<&'static Entry> {
    entries().find(|entry| !entry.is_taken.swap(true, Ordering::AcqRel))
}

fn add() -> &'static Entry {
    let entry: &'static Entry = Box::leak(Box::new(Entry {
        is_taken: AtomicBool::new(true),
        base: AtomicUsize::new(0),
        bytes: AtomicUsize::new(0),
        slot_bytes: AtomicUsize::new(0),
        guard_bytes: AtomicUsize::new(0),
        next: AtomicPtr::new(ptr::null_mut()),
    }));
    let listed = ptr::from_ref(entry).cast_mut();
    let mut newest = ENTRIES.load(Ordering::Acquire);
    loop {
        entry.next.store(newest, Ordering::Release);
        match ENTRIES.compare_exchange_weak(newest, listed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return entry,
            Err(other) => newest = other,
        }
    }
}

const SIGNALS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// What was installed before, in the order of `SIGNALS`.
static BEFORE: [OnceLock<libc::sigaction>; 2] = [const { OnceLock::new() }; 2];

fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        for (signum, before) in SIGNALS.into_iter().zip(&BEFORE) {
            if let Some(old) = action(signum, None) {
                // Known before the handler can run.
                let _ = before.set(old);
                // SAFETY: a `sigaction` of zeroes is one without flags, mask and handler.
                let mut new: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
                new.sa_sigaction = on_fault as *const () as usize;
                new.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                action(signum, Some(&new));
            }
        }
    });
}

/// Reads a signal's action, after setting a new one if there is one. `None` if the system refuses.
fn action(signum: c_int, new: Option<&libc::sigaction>) -> Option<libc::sigaction> {
    let mut old = MaybeUninit::uninit();
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: `new` is null or complete, with a handler of the signature that its flags promise; `old` has room.
    let failed = unsafe { libc::sigaction(signum, new, old.as_mut_ptr()) };
    // SAFETY: the call filled it if it succeeded.
    (failed == 0).then(|| unsafe { old.assume_init() })
}

extern "C" fn on_fault(signum: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the information that SA_SIGINFO asks for; for these signals it has an address.
    let at = unsafe { (*info).si_addr() } as usize;
    if let Some((plate, stack_bytes)) = guarded(at) {
        report(plate, stack_bytes);
        // SAFETY: ends the process.
        unsafe { libc::abort() };
    }
    hand_on(signum, info, context);
}

/// The fiber whose guard was touched, and the size of its stack.
fn guarded(at: usize) -> Option<(Plate, usize)> {
    for entry in entries() {
        let base = entry.base.load(Ordering::Acquire);
        let bytes = entry.bytes.load(Ordering::Relaxed);
        if base == 0 || at < base || at - base >= bytes {
            continue;
        }
        let slot_bytes = entry.slot_bytes.load(Ordering::Relaxed);
        let guard_bytes = entry.guard_bytes.load(Ordering::Relaxed);
        let start = (at - base) / slot_bytes * slot_bytes;
        if at - base - start >= guard_bytes {
            return None;
        }
        let plate = base + start + slot_bytes - size_of::<Plate>();
        // SAFETY: the upper end of a slot whose guard is in place: mapped, and either a fiber's plate or zeroes.
        let plate = unsafe { ptr::read(plate as *const Plate) };
        return Some((plate, slot_bytes - guard_bytes));
    }
    None
}

fn report(plate: Plate, stack_bytes: usize) {
    let name: &[u8] = if plate.name.is_null() {
        b"?"
    } else {
        // SAFETY: a plate holds a `&'static str`.
        unsafe { std::slice::from_raw_parts(plate.name, plate.name_bytes) }
    };
    let mut digits = [0; 20];
    let pieces: [&[u8]; 5] = [
        b"\nfiber '",
        name,
        b"' overflowed its stack of ",
        decimal(stack_bytes, &mut digits),
        b" bytes\n",
    ];
    for piece in pieces {
        // SAFETY: the bytes are there. Nothing can be done if they cannot be written.
        unsafe { libc::write(libc::STDERR_FILENO, piece.as_ptr().cast(), piece.len()) };
    }
}

fn decimal(mut n: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            return &digits[at..];
        }
    }
}

/// Lets the handler that was there before have the fault, or the system's default action.
fn hand_on(signum: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let which = SIGNALS.iter().position(|&one| one == signum).unwrap_or(0);
    // SAFETY: as in `on_fault`. What the kernel did not find itself was sent by somebody.
    let was_sent = unsafe { (*info).si_code } <= 0;
    match BEFORE[which].get() {
        Some(old) if old.sa_sigaction == libc::SIG_IGN && was_sent => {}
        Some(old) if old.sa_sigaction != libc::SIG_DFL && old.sa_sigaction != libc::SIG_IGN => {
            // SAFETY: it was installed as a handler of this signature.
            unsafe {
                if old.sa_flags & libc::SA_SIGINFO != 0 {
                    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                        std::mem::transmute(old.sa_sigaction);
                    handler(signum, info, context);
                } else {
                    let handler: extern "C" fn(c_int) = std::mem::transmute(old.sa_sigaction);
                    handler(signum);
                }
            }
        }
        _ => {
            // The instruction faults again when this returns, and then the default action is taken.
            // SAFETY: a `sigaction` of zeroes is the default action.
            let default: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
            action(signum, Some(&default));
            if was_sent {
                // SAFETY: it waits until this handler returns.
                unsafe { libc::raise(signum) };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_guards_are_recognised_and_entries_are_used_again() {
        // A range that is only looked at at its slots' upper ends, where it has plates.
        let name = "tester";
        let mut memory = vec![0u64; 3 * 64].into_boxed_slice();
        let base = memory.as_mut_ptr() as usize;
        for slot in 1..=3 {
            let at = base + slot * 512 - size_of::<Plate>();
            // SAFETY: inside the memory above.
            unsafe { ptr::write(at as *mut Plate, Plate::of(name)) };
        }
        let watch = Watch::over(base, 3 * 512, 512, 64);
        for slot in 0..3 {
            let (plate, bytes) = guarded(base + slot * 512 + 63).expect("in a guard");
            assert_eq!((plate.name, plate.name_bytes), (name.as_ptr(), 6));
            assert_eq!(bytes, 448);
            assert!(guarded(base + slot * 512 + 64).is_none(), "in a stack");
            #[cfg(feature = "rpc")]
            assert_eq!(stack_left(base + slot * 512 + 164), Some(100));
        }
        assert!(guarded(base - 1).is_none() && guarded(base + 3 * 512).is_none());
        #[cfg(feature = "rpc")]
        assert_eq!(stack_left(base + 3 * 512), None);
        drop(watch);
        assert!(guarded(base).is_none());
        // Other tests make pools at the same time, so only much more growth than theirs would show a leak.
        let before = entries().count();
        for _ in 0..1000 {
            drop(Watch::over(base, 3 * 512, 512, 64));
        }
        assert!(entries().count() < before + 100);
    }

    #[test]
    fn numbers_are_written_in_full() {
        for n in [0, 7, 10, 131_072, usize::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string().as_bytes());
        }
    }
}

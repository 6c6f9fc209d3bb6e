//! An allocator that counts, for programs that test what is not allocated. To be included once in a program, by
//! `#[path]`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

static COUNT: AtomicUsize = AtomicUsize::new(0);
/// Whether threads count that have not said.
static BY_DEFAULT: AtomicBool = AtomicBool::new(false);

thread_local! {
    static IS_COUNTED: Cell<Option<bool>> = const { Cell::new(None) };
    /// Bytes that the thread has allocated and not freed, and the most that these were.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// Allocations so far, on threads that count.
pub fn allocations() -> usize {
    COUNT.load(SeqCst)
}

/// Whether this thread counts from now on.
pub fn count_here(is_counted: bool) {
    IS_COUNTED.set(Some(is_counted));
}

/// Every thread counts that has not said otherwise.
#[allow(dead_code)] // some programs only count where they say so
pub fn count_by_default() {
    BY_DEFAULT.store(true, SeqCst);
}

/// The most bytes that this thread held meanwhile, beyond what it held before.
#[allow(dead_code)] // few programs ask
pub fn peak_bytes_of<T>(job: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let done = job();
    ((PEAK.get() - before) as usize, done)
}

struct Counting;

fn hold(bytes: isize) {
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

fn count() {
    // A thread that is ending has no flag any more, and is not counted.
    let Ok(is_counted) = IS_COUNTED.try_with(Cell::get) else {
        return;
    };
    if is_counted.unwrap_or_else(|| BY_DEFAULT.load(SeqCst)) {
        COUNT.fetch_add(1, SeqCst);
    }
}

// SAFETY: every method hands its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        hold(layout.size() as isize);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        hold(-(layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // Both may be there while it copies.
        hold(size as isize);
        hold(-(layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

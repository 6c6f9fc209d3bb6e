//! Blocks whose pool is gone: counted for the whole process, and reported at its end in debug builds.
//!
//! A kept chunk may outlive its pool, so a block that is still out when the pool is dropped has not leaked. It
//! has when nobody can drop it any more, and the first moment at which that is certain is the end of the
//! process. While a pool lives, [`PoolStats::blocks_kept`](super::PoolStats::blocks_kept) is the thing to check.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Plain std, also under loom: it only counts.
static ORPHANED: AtomicUsize = AtomicUsize::new(0);

/// Blocks of all pools dropped so far that kept chunks still hold: zero in a process that leaks none. (While a
/// pool is being dropped on another thread the count may be off by its blocks.) For tests and diagnostics.
pub fn blocks_orphaned() -> usize {
    // A block may come back before its pool has counted it.
    (ORPHANED.load(Ordering::Relaxed) as isize).max(0) as usize
}

/// A pool went away with `blocks` still out.
pub(super) fn left_out(blocks: usize) {
    if blocks > 0 {
        ORPHANED.fetch_add(blocks, Ordering::Relaxed);
        #[cfg(all(debug_assertions, not(loom)))]
        report_at_exit();
    }
}

/// One of them was freed after all.
pub(super) fn came_back() {
    ORPHANED.fetch_sub(1, Ordering::Relaxed);
}

/// Once per process; only processes in which a block outlived its pool get here.
#[cfg(all(debug_assertions, not(loom)))]
fn report_at_exit() {
    extern "C" fn report() {
        let blocks = blocks_orphaned();
        if blocks > 0 {
            use std::io::Write;
            // Not eprintln: it panics when stderr is closed.
            let _ = writeln!(
                std::io::stderr(),
                "uv-sys-wrap: leaked: {blocks} buffer pool block(s) still kept at exit, their pools long gone"
            );
        }
    }
    static ONCE: std::sync::Once = std::sync::Once::new();
    // SAFETY: the handler does not unwind. If it cannot be registered there is no report, that is all.
    ONCE.call_once(|| unsafe {
        libc::atexit(report);
    });
}

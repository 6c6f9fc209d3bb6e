//! `guarded`: code of the program, run where its panic shall go no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`; `None` if it panics. The panic ends here; the hook has printed it.
#[inline]
pub(crate) fn guarded<R>(f: impl FnOnce() -> R) -> Option<R> {
    catch_unwind(AssertUnwindSafe(f)).map_err(bury).ok()
}

/// What a panic has thrown may panic when it is dropped.
#[cold]
fn bury(payload: Box<dyn Any + Send>) {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::panic::resume_unwind;

    struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            resume_unwind(Box::new("again"));
        }
    }

    #[test]
    fn a_panic_ends_here_whatever_it_threw() {
        assert_eq!(guarded(|| 7), Some(7));
        assert!(guarded(|| resume_unwind(Box::new("words"))).is_none());
        assert!(guarded(|| resume_unwind(Box::new(Bomb))).is_none());
    }
}

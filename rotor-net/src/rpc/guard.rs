//! `guarded`: code of the program, run where its panic shall go no further.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `f`. If it panics, the panic ends here; the hook has printed it.
///
/// # Errors
/// That it has panicked.
#[inline]
pub(crate) fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, Panicked> {
    catch_unwind(AssertUnwindSafe(f)).map_err(bury)
}

/// The code has panicked.
#[derive(Debug)]
pub(crate) struct Panicked;

/// What a panic has thrown may panic when it is dropped.
#[cold]
fn bury(payload: Box<dyn Any + Send>) -> Panicked {
    let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
    Panicked
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
        assert!(matches!(guarded(|| 7), Ok(7)));
        assert!(guarded(|| resume_unwind(Box::new("words"))).is_err());
        assert!(guarded(|| resume_unwind(Box::new(Bomb))).is_err());
    }
}

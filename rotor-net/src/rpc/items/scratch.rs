//! A buffer per thread in which values are encoded, before a lock is taken for their bytes.

use std::cell::Cell;

/// A larger buffer is given back: one large value should not cost its thread memory for ever.
const KEPT_BYTES_MAX: usize = 64 << 10;

thread_local! {
    static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `f` with an empty buffer. Within `f` it is called with another one; if `f` panics, the buffer is lost. Allocates
/// nothing once the thread's buffer has grown to what is usual.
#[inline]
pub(crate) fn with_scratch<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    // While a thread ends there is none any more.
    let mut bytes = SCRATCH.try_with(Cell::take).unwrap_or_default();
    bytes.clear();
    let result = f(&mut bytes);
    if bytes.capacity() <= KEPT_BYTES_MAX {
        // Dropping a refused buffer is all that is to be done about it.
        let _ = SCRATCH.try_with(|scratch| scratch.set(bytes));
    }
    result
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn capacity() -> usize {
        with_scratch(|bytes| bytes.capacity())
    }

    #[test]
    fn the_buffer_is_empty_used_again_and_not_kept_large() {
        with_scratch(|bytes| bytes.extend_from_slice(&[1; 1000]));
        with_scratch(|bytes| assert!(bytes.is_empty() && bytes.capacity() >= 1000));
        with_scratch(|outer| {
            outer.push(1);
            with_scratch(|inner| assert!(inner.is_empty() && inner.capacity() == 0));
            assert_eq!(outer[..], [1]);
        });
        assert!(capacity() >= 1000);
        with_scratch(|bytes| bytes.resize(KEPT_BYTES_MAX + 1, 0));
        assert_eq!(capacity(), 0);
    }
}

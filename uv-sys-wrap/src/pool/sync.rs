//! The few synchronisation types the pool uses, swapped for loom's when its model is checked.
//!
//! Only unit tests built with `--cfg loom` swap them: everything else, also under that flag, uses std. The cell
//! has loom's closure interface, because loom has to see where an access begins and ends.

#[cfg(all(loom, test))]
pub(super) use loom::{
    cell::UnsafeCell,
    sync::Arc,
    sync::atomic::{AtomicIsize, AtomicPtr, AtomicUsize, Ordering},
};

#[cfg(not(all(loom, test)))]
pub(super) use std::sync::{
    Arc,
    atomic::{AtomicIsize, AtomicPtr, AtomicUsize, Ordering},
};

/// `std::cell::UnsafeCell` with loom's interface.
#[cfg(not(all(loom, test)))]
pub(super) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

#[cfg(not(all(loom, test)))]
impl<T> UnsafeCell<T> {
    pub(super) const fn new(value: T) -> Self {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    #[inline(always)]
    pub(super) fn with<R>(&self, read: impl FnOnce(*const T) -> R) -> R {
        read(self.0.get())
    }

    #[inline(always)]
    pub(super) fn with_mut<R>(&self, write: impl FnOnce(*mut T) -> R) -> R {
        write(self.0.get())
    }
}

//! `Seat`: a value that lives at the upper end of a stack, above the fiber that runs on the rest of it.
//!
//! So a fiber and all that its machine keeps for it are in one page, making one allocates nothing, and the machine is
//! one pointer. From the top: the plate that the overflow handler reads, the value, the stack.

#![allow(unsafe_code)]

use super::error::NoStack;
use super::overflow::Plate;
use super::stacks::Slot;
use corosensei::stack::{STACK_ALIGNMENT, Stack, StackPointer};
use std::ops::Deref;
use std::ptr::{self, NonNull};

/// Owns the value and the stack below it. What must happen before the value is dropped happens in
/// [`leave`](Lodger::leave).
pub(super) struct Seat<T: Lodger> {
    at: NonNull<Lodging<T>>,
}

/// What lives on a stack.
pub(super) trait Lodger {
    /// It shall be dropped: ends what runs on the stack. The value is shared until this returns or unwinds.
    fn leave(&self);
}

struct Lodging<T> {
    value: T,
    slot: Slot,
}

/// The part of a slot that is a fiber's stack. Only good while its seat lives.
pub(super) struct Span {
    base: StackPointer,
    limit: StackPointer,
}

// SAFETY: a slot has a guard at its lower end and, as `take` checks, far more than the least size above it; nobody else
// uses it while its seat lives.
unsafe impl Stack for Span {
    #[inline]
    fn base(&self) -> StackPointer {
        self.base
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.limit
    }
}

impl<T: Lodger> Seat<T> {
    /// Puts a value on a stack, under this name.
    ///
    /// # Errors
    /// If the value takes more than a quarter of the stack.
    pub fn take(slot: Slot, name: &'static str, value: T) -> Result<Self, NoStack> {
        let (start, end) = slot.range();
        let bytes = size_of::<Lodging<T>>();
        let bytes_max = (end.as_ptr() as usize - start.as_ptr() as usize) / 4;
        if bytes > bytes_max {
            return Err(NoStack::ClosureTooLarge { bytes, bytes_max });
        }
        let align = align_of::<Lodging<T>>().max(STACK_ALIGNMENT);
        let from_end = (size_of::<Plate>() + bytes).next_multiple_of(align);
        // SAFETY: the slot is this much longer, is ours, and nothing else lives in it. Its end is the end of a page, so
        // that a multiple of the alignment before it is aligned. The plate is behind the lodging.
        unsafe {
            end.sub(size_of::<Plate>()).cast().write(Plate::of(name));
            let at: NonNull<Lodging<T>> = end.sub(from_end).cast();
            at.write(Lodging { value, slot });
            Ok(Self { at })
        }
    }

    /// The stack below the value.
    pub fn span(&self) -> Span {
        // SAFETY: alive as long as `self`.
        let (start, _) = unsafe { self.at.as_ref() }.slot.range();
        Span {
            base: self.at.addr(),
            limit: start.addr(),
        }
    }

    /// The value, for the fiber that runs below it: not counted.
    pub fn guest(&self) -> Guest<T> {
        Guest(self.at)
    }
}

impl<T: Lodger> Deref for Seat<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: alive as long as `self`, and only shared until `drop`.
        unsafe { &self.at.as_ref().value }
    }
}

impl<T: Lodger> Drop for Seat<T> {
    fn drop(&mut self) {
        /// Drops the value and then gives the stack back, also when `leave` or the value's drop panics.
        struct Clear<T>(NonNull<Lodging<T>>);
        impl<T> Drop for Clear<T> {
            fn drop(&mut self) {
                // SAFETY: the seat is going, so nobody else drops these; nothing runs on the stack any more, or if
                // `leave` panicked, nothing that will be resumed. The slot is given back last.
                unsafe {
                    let at = self.0.as_ptr();
                    let _slot = ptr::read(&raw const (*at).slot);
                    ptr::drop_in_place(&raw mut (*at).value);
                }
            }
        }
        let _clear = Clear(self.at);
        // Through a shared reference: what is unwound uses the value.
        (**self).leave();
    }
}

/// The way from a fiber to the value above its stack.
pub(super) struct Guest<T>(NonNull<Lodging<T>>);

impl<T> Guest<T> {
    /// # Safety
    /// Called on the stack below the value, which lives until everything on that stack is gone.
    pub unsafe fn host<'a>(&self) -> &'a T {
        // SAFETY: as promised.
        unsafe { &self.0.as_ref().value }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fiber::{StackConfig, Stacks};
    use std::cell::Cell;
    use std::rc::Rc;

    #[repr(align(64))]
    struct Aligned(u8, Rc<Cell<u32>>);

    impl Lodger for Aligned {
        fn leave(&self) {
            assert_eq!(self.0, 7);
            self.1.set(self.1.get() + 1);
        }
    }

    impl Drop for Aligned {
        fn drop(&mut self) {
            assert_eq!(self.1.get(), 1, "left before it is dropped");
            self.1.set(2);
        }
    }

    #[test]
    fn a_value_is_aligned_dropped_once_and_its_stack_given_back() {
        let stacks = Stacks::new(StackConfig::default()).unwrap();
        let ends = Rc::new(Cell::new(0));
        let seat = Seat::take(stacks.take().unwrap(), "x", Aligned(7, ends.clone())).unwrap();
        assert_eq!(ptr::from_ref(&*seat) as usize % 64, 0);
        let span = seat.span();
        assert_eq!(span.base.get() % STACK_ALIGNMENT, 0);
        assert!(span.base.get() <= ptr::from_ref(&*seat) as usize);
        assert!(span.base.get() - span.limit.get() > 60_000);
        assert_eq!(stacks.stats().in_use, 1);
        drop(seat);
        assert_eq!((ends.get(), stacks.stats().in_use), (2, 0));
    }

    struct Huge(#[allow(dead_code)] [u8; 40_000]);

    impl Lodger for Huge {
        fn leave(&self) {}
    }

    #[test]
    fn what_takes_too_much_of_a_stack_is_refused() {
        let stacks = Stacks::new(StackConfig::default()).unwrap();
        let refused = Seat::take(stacks.take().unwrap(), "x", Huge([0; 40_000]));
        assert!(matches!(
            refused.err(),
            Some(NoStack::ClosureTooLarge { .. })
        ));
        assert_eq!(stacks.stats().in_use, 0);
    }
}

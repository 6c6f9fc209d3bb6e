//! `Budget`: what is left of the limits while one value is encoded or decoded.
//!
//! Invariant: whoever goes down a level asks [`enter`](Budget::enter) first and [`leave`](Budget::leave)s after it,
//! and memory is charged before it is allocated.

use super::error::Fault;
use super::{CodecError, Limits};
use std::hint;

/// What is left.
pub(super) struct Budget<'a> {
    limits: &'a Limits,
    levels_left: u16,
    bytes_left: usize,
    /// The stack may grow for so many bytes from where this began, which is down to there.
    stack_bytes: usize,
    stack_floor: usize,
}

/// What stays free of a fiber's stack: a panic that prints a full backtrace takes most of it.
#[cfg(feature = "fiber")]
const STACK_RESERVE_BYTES: usize = 24 << 10;

impl<'a> Budget<'a> {
    #[inline]
    pub(super) fn new(limits: &'a Limits) -> Self {
        let here = stack_position();
        let stack_bytes = limits.stack_bytes_max.min(stack_bytes_free(here));
        Self {
            limits,
            levels_left: limits.depth_max,
            bytes_left: limits.decoded_bytes_max,
            stack_bytes,
            stack_floor: here.saturating_sub(stack_bytes),
        }
    }

    /// Goes down a level.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), Fault> {
        if self.levels_left == 0 {
            return Err(self.too_deep());
        }
        if stack_position() < self.stack_floor {
            return Err(self.stack_used());
        }
        self.levels_left -= 1;
        Ok(())
    }

    /// Comes up again.
    #[inline]
    pub(super) fn leave(&mut self) {
        self.levels_left += 1;
    }

    /// Pays for so many bytes of memory.
    #[inline]
    pub(super) fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        match self.bytes_left.checked_sub(bytes) {
            Some(left) => {
                self.bytes_left = left;
                Ok(())
            }
            None => Err(self.too_large()),
        }
    }

    /// Pays for elements of so many bytes each: at least 1, so that those of no size are not endless.
    #[inline]
    pub(super) fn charge_each(&mut self, count: usize, bytes: usize) -> Result<(), Fault> {
        self.charge(count.saturating_mul(bytes.max(1)))
    }

    #[inline]
    pub(super) fn bytes_left(&self) -> usize {
        self.bytes_left
    }

    #[cold]
    fn too_deep(&self) -> Fault {
        CodecError::TooDeep {
            depth_max: self.limits.depth_max,
        }
        .into()
    }

    #[cold]
    fn stack_used(&self) -> Fault {
        CodecError::StackUsed {
            stack_bytes_max: self.stack_bytes,
        }
        .into()
    }

    #[cold]
    fn too_large(&self) -> Fault {
        CodecError::TooLarge {
            decoded_bytes_max: self.limits.decoded_bytes_max,
        }
        .into()
    }
}

/// How far a fiber's stack can grow from there. Of a thread's that is not known, and taken to be enough.
fn stack_bytes_free(_here: usize) -> usize {
    #[cfg(feature = "fiber")]
    if let Some(left) = crate::fiber::stack_left(_here) {
        return left.saturating_sub(STACK_RESERVE_BYTES);
    }
    usize::MAX
}

/// An address in the current stack frame. Stacks grow down on every system that this library runs on.
#[inline(always)]
fn stack_position() -> usize {
    let here = 0u8;
    hint::black_box(&raw const here).addr()
}

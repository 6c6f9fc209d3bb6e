//! What a machine lends to its fiber while the fiber runs: its scope, and the bytes that have just been read.
//!
//! A handler gets its scope by reference, and must not keep it; a fiber's calls need it, and are many frames away. So
//! the handler puts a pointer into a cell before it switches to the fiber's stack, and the cell is empty again when
//! the fiber suspends, returns or panics: no scope is held across a suspension. Calls reach the scope through a
//! closure, which takes the pointer out of the cell for its time: whoever asks again meanwhile is refused.
//!
//! Beside it, a thread knows which fiber it runs. A fiber's streams ask that before they touch anything, so that a
//! stream in the wrong hands is an error.

#![allow(unsafe_code)]

use super::error::FiberError;
use super::state::Core;
use super::{Fiber, Ops};
use corosensei::Yielder;
use rotor_fsm::Scope;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::NonNull;

thread_local! {
    /// The fiber that this thread runs: the innermost, if it runs a loop inside a fiber of another loop.
    static RUNNING: Cell<Option<NonNull<Core>>> = const { Cell::new(None) };
    static NEXT_KEY: Cell<u64> = const { Cell::new(1) };
}

/// A number that no other fiber of this thread has, ever.
pub(super) fn new_key() -> u64 {
    NEXT_KEY.replace(NEXT_KEY.get() + 1)
}

/// Calls `f` with the fiber of this key, if that is the one that runs.
#[inline]
pub(super) fn running<R>(key: u64, f: impl FnOnce(&Core) -> R) -> Result<R, FiberError> {
    // Streams may be dropped when the thread's variables are gone already.
    let core = RUNNING.try_with(Cell::get).ok().flatten();
    match core {
        // SAFETY: `lend` put it there, and takes it out before it returns; until then its `&Core` is alive.
        Some(core) if unsafe { core.as_ref() }.key == key => Ok(f(unsafe { core.as_ref() })),
        // Its own fiber, most likely, that is being ended.
        _ if std::thread::panicking() => Err(FiberError::Unwinding),
        _ => Err(FiberError::OtherFiber),
    }
}

/// The cells of one fiber. `C` and `M` are those of the only machine that lends to it.
pub(super) struct Loan {
    scope: Cell<Option<NonNull<dyn Ops>>>,
    /// What is left of what was just read.
    fresh: Cell<Option<NonNull<[u8]>>>,
    yielder: Cell<Option<NonNull<Yielder<(), ()>>>>,
    /// Stays on the thread whose loop it belongs to.
    local: PhantomData<*mut ()>,
}

impl Loan {
    pub fn new() -> Self {
        Self {
            scope: Cell::new(None),
            fresh: Cell::new(None),
            yielder: Cell::new(None),
            local: PhantomData,
        }
    }

    /// The fiber has begun, and this is its way out.
    pub fn begin(&self, yielder: &Yielder<(), ()>) {
        self.yielder.set(Some(NonNull::from(yielder)));
    }

    /// Whether there is a scope to be had.
    #[inline]
    pub fn is_lent(&self) -> bool {
        self.scope.get().is_some()
    }

    /// Calls `f` with the scope; `None` if there is none: it is lent to somebody further up, or the fiber does not run.
    #[inline]
    pub fn ops<R>(&self, f: impl FnOnce(&mut dyn Ops) -> R) -> Option<R> {
        let mut scope = self.scope.take()?;
        let _back = PutBack(&self.scope, scope);
        // SAFETY: `lend` has the only reference to the scope and does not use it while the cell holds this; the cell
        // is empty during `f`, so this is the only one made from it.
        Some(f(unsafe { scope.as_mut() }))
    }

    /// The same with the scope's own type.
    ///
    /// # Safety
    /// What was lent is a scope of `Fiber<C, M>`.
    #[inline]
    pub unsafe fn scope<C: 'static, M: Send + 'static, R>(
        &self,
        f: impl FnOnce(&mut Scope<'_, Fiber<C, M>>) -> R,
    ) -> Option<R> {
        let scope = self.scope.take()?;
        let _back = PutBack(&self.scope, scope);
        // SAFETY: as in `ops`; its type is what the caller promised. `f` takes a scope of any lifetime, so nothing of
        // it gets out.
        Some(f(unsafe {
            scope.cast::<Scope<'_, Fiber<C, M>>>().as_mut()
        }))
    }

    /// Shows `f` the bytes just read that are left; it answers how many of them it took.
    #[inline]
    pub fn fresh(&self, f: impl FnOnce(&[u8]) -> usize) -> usize {
        let Some(fresh) = self.fresh.get() else {
            return f(&[]);
        };
        // SAFETY: `lend` holds a reference to these bytes as long as they are in the cell, and only shared ones exist.
        let bytes = unsafe { fresh.as_ref() };
        let taken = f(bytes).min(bytes.len());
        self.fresh.set(Some(NonNull::from(&bytes[taken..])));
        taken
    }

    /// Suspends the fiber, which is the one that runs.
    ///
    /// # Safety
    /// The caller runs on this fiber's stack.
    pub unsafe fn suspend(&self) {
        if let Some(yielder) = self.yielder.get() {
            // SAFETY: the yielder lives in the first frame of the fiber's stack, below which the caller is.
            unsafe { yielder.as_ref() }.suspend(());
        }
    }
}

impl Core {
    /// Lends `scope` and the bytes just read for the time of `run`. Answers also how many bytes are left.
    #[inline]
    pub(super) fn lend<R>(
        &self,
        scope: &mut (dyn Ops + '_),
        fresh: &[u8],
        run: impl FnOnce() -> R,
    ) -> (R, usize) {
        let scope: NonNull<dyn Ops + '_> = NonNull::from(scope);
        // SAFETY: only the lifetime is forgotten; the pointer is out of its cell before this function returns.
        let scope = unsafe {
            std::mem::transmute::<NonNull<dyn Ops + '_>, NonNull<dyn Ops + 'static>>(scope)
        };
        self.loan.scope.set(Some(scope));
        self.loan.fresh.set(Some(NonNull::from(fresh)));
        let back = TakeBack(&self.loan, RUNNING.replace(Some(NonNull::from(self))));
        let result = run();
        let left = self.loan.fresh.get().map_or(0, NonNull::len);
        drop(back);
        (result, left)
    }
}

/// Ends a lending, also when the fiber panics.
struct TakeBack<'a>(&'a Loan, Option<NonNull<Core>>);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        self.0.scope.set(None);
        self.0.fresh.set(None);
        RUNNING.set(self.1);
    }
}

/// Ends a borrowing, also when the borrower panics.
struct PutBack<'a>(&'a Cell<Option<NonNull<dyn Ops>>>, NonNull<dyn Ops>);

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        self.0.set(Some(self.1));
    }
}

//! `Core`: what fiber and machine both know: what the fiber waits for, why it goes on, and what it owns.
//!
//! Invariant: while the fiber is suspended, `wait` says what for; while it runs it is `Nothing`. The machine resumes
//! it only for what it waits for, its deadline, or to finish, and a resumed call looks itself whether it has got what
//! it wanted.

use super::Ops;
use super::error::FiberError;
use super::lend::{Loan, new_key};
use super::listener::Door;
use super::stacks::{Stacks, Wires};
use super::wire::Wire;
use rotor_fsm::{Error, HandleId, Time};
use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// What a suspended fiber waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// It runs, has not begun, or is over.
    Nothing,
    /// Input of a stream.
    Input(HandleId),
    /// Output of a stream to leave.
    Output(HandleId),
    /// A connection that is being made.
    Connection(HandleId),
    /// A connection at a listener.
    Caller(HandleId),
    Message,
    Work,
    /// Its waker to be used.
    Woken,
    /// Its next turn.
    Turn,
    /// Only its deadline.
    Time,
}

/// Why a suspended fiber goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Woke {
    /// What it waited for may be there.
    Perhaps,
    TimedOut,
    Cancelled,
}

pub(super) struct Core {
    /// No other fiber of this thread has it.
    pub key: u64,
    pub name: &'static str,
    pub stacks: Stacks,
    pub loan: Loan,
    /// The stream on which the bytes that are lent were read.
    pub fresh_on: Cell<HandleId>,
    wait: Cell<Wait>,
    /// When the wait is over in any case.
    until: Cell<Time>,
    woke: Cell<Woke>,
    /// When the machine's deadline is set to; it may be earlier than `until` and is moved when it fires.
    pub armed: Cell<Time>,
    /// For the futures that it polls; made when first needed.
    pub waker: OnceCell<Waker>,
    /// Times that the waker's use was told of: who polls sees whether it was while it did so.
    pub wakes: Cell<u64>,
    pub is_cancelled: Cell<bool>,
    /// The machine is being dropped: the body is unwound, and has nothing any more.
    pub is_leaving: Cell<bool>,
    /// The body has returned. What it returned waits while streams linger.
    pub is_over: Cell<bool>,
    pub error: Cell<Option<Error>>,
    pub wires: RefCell<Wires>,
    /// Streams that the fiber has dropped and that may have to linger.
    pub has_dropped: Cell<bool>,
    pub doors: RefCell<Vec<Rc<Door>>>,
}

impl Core {
    pub fn new(name: &'static str, stacks: &Stacks) -> Self {
        Self {
            key: new_key(),
            name,
            stacks: stacks.clone(),
            loan: Loan::new(),
            wait: Cell::new(Wait::Nothing),
            until: Cell::new(Time::NEVER),
            woke: Cell::new(Woke::Perhaps),
            armed: Cell::new(Time::NEVER),
            waker: OnceCell::new(),
            wakes: Cell::new(0),
            is_cancelled: Cell::new(false),
            is_leaving: Cell::new(false),
            fresh_on: Cell::new(HandleId::NONE),
            is_over: Cell::new(false),
            error: Cell::new(None),
            wires: RefCell::new(stacks.list()),
            has_dropped: Cell::new(false),
            doors: RefCell::default(),
        }
    }

    /// What the fiber waits for.
    #[inline]
    pub fn wait(&self) -> Wait {
        self.wait.get()
    }

    /// The deadline of what it waits for.
    #[inline]
    pub fn until(&self) -> Time {
        match self.wait.get() {
            Wait::Nothing => Time::NEVER,
            _ => self.until.get(),
        }
    }

    /// Says why the fiber will go on, right before it does.
    #[inline]
    pub fn set_woke(&self, woke: Woke) {
        self.woke.set(woke);
        self.wait.set(Wait::Nothing);
    }

    /// Calls `f` with the loop's side, if the fiber has it now.
    #[inline]
    pub fn ops<R>(&self, f: impl FnOnce(&mut dyn Ops) -> R) -> Result<R, FiberError> {
        self.loan.ops(f).ok_or_else(|| self.refusal())
    }

    /// Why there is nothing lent.
    #[cold]
    pub fn refusal(&self) -> FiberError {
        if std::thread::panicking() || self.is_leaving.get() {
            FiberError::Unwinding
        } else {
            FiberError::InContext
        }
    }

    /// Waits for something to come, which a fiber that was asked to finish does not.
    #[inline]
    pub fn wait_for(&self, wait: Wait, until: Time) -> Result<(), FiberError> {
        if self.is_cancelled.get() {
            return Err(FiberError::Cancelled);
        }
        self.suspend(wait, until)
    }

    /// Suspends the fiber; it goes on when the wait may be over.
    #[inline]
    pub fn suspend(&self, wait: Wait, until: Time) -> Result<(), FiberError> {
        // Without a scope it is inside of `with_context`, or its machine is being dropped.
        if !self.loan.is_lent() || std::thread::panicking() {
            return Err(self.refusal());
        }
        self.wait.set(wait);
        self.until.set(until);
        self.switch();
        match self.woke.get() {
            Woke::Perhaps => Ok(()),
            Woke::TimedOut => Err(FiberError::TimedOut),
            Woke::Cancelled => Err(FiberError::Cancelled),
        }
    }

    #[inline]
    #[allow(unsafe_code)]
    fn switch(&self) {
        // SAFETY: the scope is lent to this fiber, and every way here but through its own `Cx`, which does not leave
        // its stack, has asked `running` whether this is the innermost fiber that runs.
        unsafe { self.loan.suspend() };
    }

    /// The stream of a handle.
    #[inline]
    pub fn wire(&self, on: HandleId) -> Option<Rc<Wire>> {
        let wires = self.wires.borrow();
        wires.iter().find(|wire| wire.id() == on).cloned()
    }

    pub fn door(&self, on: HandleId) -> Option<Rc<Door>> {
        let doors = self.doors.borrow();
        doors.iter().find(|door| door.id == on).cloned()
    }
}

impl Drop for Core {
    /// Closes what the fiber has left open, or what has been taken away from it.
    fn drop(&mut self) {
        let mut wires = self.wires.take();
        for wire in wires.drain(..) {
            wire.close();
            self.stacks.recycle(wire);
        }
        self.stacks.recycle_list(wires);
        for door in self.doors.take() {
            door.close();
        }
    }
}

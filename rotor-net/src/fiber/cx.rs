//! `Cx`: what a fiber does, but for I/O: time, messages, other machines, the shared context, blocking work.

use super::error::FiberError;
use super::machine::Room;
use super::state::{Core, Wait};
use super::{Fiber, FiberSeed, Stacks};
use rotor_fsm::{MachineId, Never, Notifier, Scope, Time};
use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// A fiber's way to its loop: all that its body can wait for and ask. The calls look as if they blocked; what they do
/// is to suspend the fiber, and the loop goes on with others meanwhile.
///
/// [`within`](Self::within) gives one on which every waiting call has a deadline.
pub struct Cx<'f, C: 'static, M: Send + 'static = Never> {
    room: &'f Room<C, M>,
    /// Every waiting call is over then.
    pub(super) until: Time,
}

impl<'f, C: 'static, M: Send + 'static> Cx<'f, C, M> {
    pub(super) fn new(room: &'f Room<C, M>) -> Self {
        Self {
            room,
            until: Time::NEVER,
        }
    }

    #[inline]
    pub(super) fn core(&self) -> &'f Core {
        &self.room.core
    }

    /// Calls `f` with the machine's scope.
    #[inline]
    pub(super) fn scope<R>(
        &self,
        f: impl FnOnce(&mut Scope<'_, Fiber<C, M>>) -> R,
    ) -> Result<R, FiberError> {
        let core = self.core();
        #[allow(unsafe_code)]
        // SAFETY: the room belongs to a machine of this type, and only that machine lends to it.
        let result = unsafe { core.loan.scope::<C, M, R>(f) };
        result.ok_or_else(|| core.refusal())
    }
}

/// Time and turns.
impl<'f, C: 'static, M: Send + 'static> Cx<'f, C, M> {
    /// The same fiber with a deadline: a call on it that still waits this long from now answers
    /// [`FiberError::TimedOut`]. One within another keeps to the earlier of both. Costs one reading of the clock.
    ///
    /// A deadline bounds waiting: what can be had without waiting is had also when it has passed.
    pub fn within(&self, duration: Duration) -> Cx<'f, C, M> {
        // Where there is no scope, every call is refused anyway.
        let now = self.scope(|scope| scope.fresh_now());
        self.until(now.map_or(Time::NEVER, |now| now + duration))
    }

    /// The same with the deadline as an instant.
    pub fn until(&self, time: Time) -> Cx<'f, C, M> {
        Cx {
            room: self.room,
            until: self.until.min(time),
        }
    }

    /// The time, read at most once a turn of the loop.
    ///
    /// # Errors
    /// [`FiberError::InContext`], [`FiberError::Unwinding`].
    pub fn now(&self) -> Result<Time, FiberError> {
        self.scope(|scope| scope.now())
    }

    /// 64 random bits; in the simulator they follow from the seed.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub fn random(&self) -> Result<u64, FiberError> {
        self.scope(|scope| scope.random())
    }

    /// Waits this long, and not shorter.
    ///
    /// # Errors
    /// `TimedOut` if an earlier deadline passed, `Cancelled`, and the misuses.
    pub fn sleep(&self, duration: Duration) -> Result<(), FiberError> {
        let end = self.scope(|scope| scope.fresh_now())? + duration;
        match self.core().wait_for(Wait::Time, end.min(self.until)) {
            Err(FiberError::TimedOut) if end <= self.until => Ok(()),
            other => other,
        }
    }

    /// Lets the loop do what else there is, and goes on in its next turn: for long computations.
    ///
    /// # Errors
    /// `Cancelled`, and the misuses.
    pub fn yield_now(&self) -> Result<(), FiberError> {
        let core = self.core();
        if core.is_cancelled.get() {
            return Err(FiberError::Cancelled);
        }
        self.scope(|scope| scope.another_turn())?;
        core.wait_for(Wait::Turn, self.until)
    }
}

/// Messages and machines.
impl<C: 'static, M: Send + 'static> Cx<'_, C, M> {
    /// The fiber's name.
    pub fn name(&self) -> &'static str {
        self.core().name
    }

    /// The id of the fiber's machine.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub fn id(&self) -> Result<MachineId, FiberError> {
        self.room.id.get().ok_or(FiberError::Unwinding)
    }

    /// Sends messages to this fiber. Allocates only where the fiber is a part of a composed machine.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub fn notifier(&self) -> Result<Notifier<M>, FiberError> {
        self.scope(|scope| scope.notifier())
    }

    /// Waits for a message. Those that came meanwhile have waited, in order, up to
    /// [`messages_max`](super::FiberLimits::messages_max).
    ///
    /// # Errors
    /// `TimedOut`, `Cancelled` (once no message waits), and the misuses.
    #[inline]
    pub fn recv(&self) -> Result<M, FiberError> {
        loop {
            if let Some(message) = self.try_recv() {
                return Ok(message);
            }
            self.core().wait_for(Wait::Message, self.until)?;
        }
    }

    /// A message that waits already. Never waits itself.
    #[inline]
    pub fn try_recv(&self) -> Option<M> {
        self.room.mailbox.borrow_mut().pop()
    }

    /// The pool from which this fiber has its stack, for further ones.
    pub fn stacks(&self) -> &Stacks {
        &self.core().stacks
    }

    /// Makes another fiber of the same type. It begins when this one waits. Fibers of other types, and other machines,
    /// are made through a [`Spawner`](rotor_fsm::Spawner) in the context.
    ///
    /// # Errors
    /// `NoRoom` if the machine table is full or the loop shuts down: the seed is dropped then. And the misuses.
    pub fn spawn(&self, seed: FiberSeed<C, M>) -> Result<Notifier<M>, FiberError> {
        self.scope(|scope| {
            let spawned = scope.spawn(seed)?;
            Ok(scope.notifier_of(spawned))
        })?
    }

    /// Asks a machine of this loop to finish. A fiber's waiting calls then answer [`FiberError::Cancelled`], as they do
    /// when the loop shuts down; see the [module](super#being-asked-to-finish).
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub fn cancel(&self, machine: MachineId) -> Result<(), FiberError> {
        let asked = self.scope(|scope| scope.ask_to_finish(machine))?;
        asked.map_err(|_| FiberError::NoRoom)
    }

    /// Whether this fiber was asked to finish.
    pub fn is_cancelled(&self) -> bool {
        self.core().is_cancelled.get()
    }

    /// From here on calls wait again though the fiber was asked to finish: it takes it on itself to end in time. Where
    /// the loop shuts down, its deadline still ends the fiber. Answers whether it was asked.
    pub fn carry_on(&self) -> bool {
        self.core().is_cancelled.replace(false)
    }

    /// Shuts the loop down, with this much time for all to finish.
    ///
    /// # Errors
    /// As [`now`](Self::now).
    pub fn shutdown(&self, grace: Duration) -> Result<(), FiberError> {
        self.scope(|scope| scope.shutdown(grace))
    }
}

/// Shared state and blocking work.
impl<C: 'static, M: Send + 'static> Cx<'_, C, M> {
    /// Gives `f` what all machines of the loop share. Nothing can be waited for inside, so the context is as `f` leaves
    /// it, and nobody changes it meanwhile.
    ///
    /// # Errors
    /// [`FiberError::InContext`] inside of another `with_context`, [`FiberError::Unwinding`].
    #[inline]
    pub fn with_context<R>(&self, f: impl FnOnce(&mut C) -> R) -> Result<R, FiberError> {
        self.scope(|scope| f(scope.ctx))
    }

    /// Runs `job` on the thread pool and waits for its result. If the call is over before the job is, the job's result
    /// is dropped; a job that panics ends the fiber with [`WorkPanicked`](rotor_fsm::ErrorKind::WorkPanicked).
    /// Allocates.
    ///
    /// # Errors
    /// `Io` with a limit if too many jobs are out, `TimedOut`, `Cancelled`, and the misuses.
    pub fn work<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, FiberError> {
        if self.is_cancelled() {
            return Err(FiberError::Cancelled);
        }
        let result = Rc::new(Cell::new(None));
        let place = result.clone();
        self.scope(|scope| scope.work_io(job, move |value| place.set(Some(value))))??;
        loop {
            // It may be another job that has ended, one whose call was over before.
            self.core().wait_for(Wait::Work, self.until)?;
            if let Some(value) = result.take() {
                return Ok(value);
            }
        }
    }
}

impl<C: 'static, M: Send + 'static> fmt::Debug for Cx<'_, C, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cx of fiber '{}'", self.name())
    }
}

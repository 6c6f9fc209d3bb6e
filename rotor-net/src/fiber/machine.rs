//! `Fiber`: the machine whose state is a stack. It turns events into resumptions of the body.
//!
//! An event is noted where the fiber will look for it (the stream's state, the mailbox), and if the fiber waits for just
//! that, it runs until it waits again. Then the machine does what remains: keeps what was read and not taken, begins
//! to linger on what was dropped, and sets its deadline.

use super::error::{FiberError, NoStack};
use super::mailbox::Mailbox;
use super::seat::{Lodger, Seat, Span};
use super::stacks::Stacks;
use super::state::{Core, Wait, Woke};
use super::wire::{CONNECTING, EOF, FIN_SENT, LINGERING, READING, Wire};
use super::{Cx, Ops};
use corosensei::{Coroutine, CoroutineResult};
use rotor_fsm::{
    Error, HandleId, Incoming, Io, Machine, MachineId, Never, Op, Response, Result, Scope, Time,
};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;

/// A machine whose state is a stack, made from a closure: see the [module](super).
///
/// One pointer; everything else is on the stack that it owns.
pub struct Fiber<C: 'static, M: Send + 'static = Never> {
    seat: Seat<Room<C, M>>,
}

/// What a fiber is made from: [`Stacks::fiber`]. It has its stack already; dropping it gives that back, and drops the
/// closure.
pub struct FiberSeed<C: 'static, M: Send + 'static = Never> {
    fiber: Fiber<C, M>,
}

type Body = Coroutine<(), (), Result<()>, Span>;

/// What lives above a fiber's stack.
pub(super) struct Room<C: 'static, M: Send + 'static> {
    pub core: Core,
    pub id: Cell<Option<MachineId>>,
    pub mailbox: RefCell<Mailbox<M>>,
    /// Borrowed while it runs.
    body: RefCell<Option<Body>>,
    kind: PhantomData<fn(C)>,
}

impl<C: 'static, M: Send + 'static> Lodger for Room<C, M> {
    /// Unwinds what is on the stack, so that destructors run; or drops the closure, if it has never run.
    fn leave(&self) {
        self.core.is_leaving.set(true);
        if let Some(body) = &mut *self.body.borrow_mut() {
            body.force_unwind();
        }
    }
}

impl Stacks {
    /// Makes a fiber that runs `body`: to be spawned like any machine. `name` is for humans, who read it if the stack
    /// overflows. The closure is moved onto the stack; in the steady state nothing is allocated.
    ///
    /// # Errors
    /// [`NoStack::Limit`] if all stacks are in use; [`NoStack::ClosureTooLarge`] if the closure owns more than a quarter
    /// of a stack; [`NoStack::System`].
    pub fn fiber<C, M, F>(&self, name: &'static str, body: F) -> Result<FiberSeed<C, M>, NoStack>
    where
        C: 'static,
        M: Send + 'static,
        F: FnOnce(&Cx<'_, C, M>) -> Result<()> + 'static,
    {
        let (bytes, bytes_max) = (size_of::<F>(), self.stack_bytes() / 4);
        if bytes > bytes_max {
            return Err(NoStack::ClosureTooLarge { bytes, bytes_max });
        }
        let room = Room {
            core: Core::new(name, self),
            id: Cell::new(None),
            mailbox: RefCell::default(),
            body: RefCell::new(None),
            kind: PhantomData,
        };
        let seat = Seat::take(self.take()?, name, room)?;
        let guest = seat.guest();
        let coroutine = Body::with_stack(seat.span(), move |yielder, ()| {
            #[allow(unsafe_code)]
            // SAFETY: this runs on the stack below the room, and the seat unwinds all of it before it drops the room.
            let room: &Room<C, M> = unsafe { guest.host() };
            room.core.loan.begin(yielder);
            body(&Cx::new(room))
        });
        seat.body.replace(Some(coroutine));
        Ok(FiberSeed {
            fiber: Fiber { seat },
        })
    }
}

impl<C: 'static, M: Send + 'static> Machine for Fiber<C, M> {
    type Context = C;
    type Message = M;
    type Seed = FiberSeed<C, M>;

    fn create(seed: FiberSeed<C, M>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        seed.fiber.seat.id.set(Some(scope.id()));
        seed.fiber.resume(Woke::Perhaps, scope)
    }

    #[inline]
    fn io(
        self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match event {
            Io::Read(bytes) => self.received(&bytes, on, scope),
            Io::Incoming(incoming) => self.incoming(incoming, on, scope),
            Io::Worked => self.go_on_if(Wait::Work, scope),
            Io::Again => self.go_on_if(Wait::Turn, scope),
            Io::Woken => self.woken(scope),
            other => self.note(&other, on, scope),
        }
    }

    #[inline]
    fn wakeup(self, message: M, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let messages_max = self.core().stacks.limits().messages_max;
        if self.core().is_over.get() {
            // The body has ended, and the message with it.
            return Ok(self.rest());
        }
        if self.seat.mailbox.borrow().len() >= messages_max {
            return Err(FiberError::MailboxFull { messages_max }.into());
        }
        self.seat.mailbox.borrow_mut().push(message);
        self.go_on_if(Wait::Message, scope)
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let core = self.core();
        core.armed.set(Time::NEVER);
        let now = scope.now();
        core.end_lingering(now);
        if core.until() <= now {
            self.resume(Woke::TimedOut, scope)
        } else {
            self.end_or_rest()
        }
    }

    fn finish(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let core = self.core();
        core.is_cancelled.set(true);
        match core.wait() {
            Wait::Nothing | Wait::Output(_) => Ok(self.rest()),
            _ => self.resume(Woke::Cancelled, scope),
        }
    }
}

/// Events.
impl<C: 'static, M: Send + 'static> Fiber<C, M> {
    #[inline]
    fn core(&self) -> &Core {
        &self.seat.core
    }

    /// Bytes arrived.
    #[inline]
    fn received(
        self,
        bytes: &[u8],
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let core = self.core();
        let Some(wire) = core.wire(on) else {
            return Ok(self.rest());
        };
        if wire.is(LINGERING) {
            core.discard(wire, bytes.len());
            return self.end_or_rest();
        }
        if core.wait() != Wait::Input(on) {
            self.keep(&wire, bytes, scope);
            return Ok(self.rest());
        }
        core.fresh_on.set(on);
        let (outcome, left) = self.switch(Woke::Perhaps, bytes, scope);
        if left > 0 {
            self.keep(&wire, &bytes[bytes.len() - left..], scope);
        }
        // Only who has it alone can recycle it.
        drop(wire);
        self.after(outcome, scope)
    }

    /// Keeps what the fiber does not take now, and pauses if that is too much and the fiber waits for something else.
    #[cold]
    fn keep(&self, wire: &Wire, bytes: &[u8], scope: &mut Scope<'_, Self>) {
        let core = self.core();
        let kept = wire.keep(core, bytes);
        let is_enough = kept >= core.stacks.limits().input_bytes_max;
        if is_enough && wire.is(READING) && core.wait() != Wait::Input(wire.id()) {
            wire.set(READING, false);
            wire.with(|socket| scope.pause(socket));
        }
    }

    fn incoming(
        self,
        incoming: Incoming,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let Some(door) = self.core().door(on) else {
            return Ok(self.rest());
        };
        door.waiting.borrow_mut().push_back(incoming);
        if self.core().wait() == Wait::Caller(on) {
            return self.resume(Woke::Perhaps, scope);
        }
        door.is_paused.set(true);
        if let Some(listener) = &*door.listener.borrow() {
            scope.pause_listener(listener);
        }
        Ok(self.rest())
    }

    /// Its waker was used. Counted, because it may be for a future whose `poll` waits for something else just now.
    fn woken(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let wakes = &self.core().wakes;
        wakes.set(wakes.get().wrapping_add(1));
        self.go_on_if(Wait::Woken, scope)
    }

    /// What happens once in a stream's life, or seldom.
    #[cold]
    fn note(
        self,
        event: &Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let core = self.core();
        let Some(wire) = core.wire(on) else {
            // A listener's failure concerns a connection that was gone before it was taken.
            return Ok(self.rest());
        };
        if wire.is(LINGERING) {
            core.linger(wire, event);
            return self.end_or_rest();
        }
        match event {
            Io::Connected => wire.set(CONNECTING, false),
            Io::Eof => wire.set(EOF, true),
            Io::ShutDown => wire.set(FIN_SENT, true),
            Io::Failed(error) => {
                let first = wire.output_error.get().unwrap_or(*error);
                wire.output_error.set(Some(first));
                if !matches!(error.op(), Op::Write | Op::Shutdown) {
                    wire.input_error.set(Some(*error));
                }
            }
            // `Flushed` is only a reason to look.
            _ => {}
        }
        drop(wire);
        match core.wait() {
            Wait::Input(id) | Wait::Output(id) | Wait::Connection(id) if id == on => {
                self.resume(Woke::Perhaps, scope)
            }
            _ => Ok(self.rest()),
        }
    }

    /// Runs the fiber if this is what it waits for.
    #[inline]
    fn go_on_if(self, wait: Wait, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if self.core().wait() == wait {
            self.resume(Woke::Perhaps, scope)
        } else {
            Ok(self.rest())
        }
    }
}

type Outcome = CoroutineResult<(), Result<()>>;

/// Running, and what follows.
impl<C: 'static, M: Send + 'static> Fiber<C, M> {
    /// Runs the fiber until it waits or ends.
    #[inline]
    fn resume(self, woke: Woke, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let (outcome, _) = self.switch(woke, &[], scope);
        self.after(outcome, scope)
    }

    /// Switches to the fiber's stack and back. Answers also how many of the bytes it did not take.
    #[inline]
    fn switch(&self, woke: Woke, fresh: &[u8], scope: &mut Scope<'_, Self>) -> (Outcome, usize) {
        let core = self.core();
        core.set_woke(woke);
        core.lend(scope, fresh, || match &mut *self.seat.body.borrow_mut() {
            Some(body) => body.resume(()),
            None => CoroutineResult::Return(Ok(())),
        })
    }

    #[inline]
    fn after(self, outcome: Outcome, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let core = self.core();
        if core.has_dropped.take() {
            core.settle_dropped(scope as &mut dyn Ops);
        }
        match outcome {
            CoroutineResult::Yield(()) => Ok(self.rest()),
            CoroutineResult::Return(result) => self.over(result),
        }
    }

    /// The body has returned. The machine ends when nothing lingers any more.
    #[cold]
    fn over(self, result: Result<()>) -> Result<Response<Self>> {
        let core = self.core();
        core.is_over.set(true);
        core.error.set(result.err().filter(|error| {
            // To end when asked to is no failure.
            !(core.is_cancelled.get() && FiberError::is_cancelled(error))
        }));
        self.end_or_rest()
    }

    fn end_or_rest(self) -> Result<Response<Self>> {
        let core = self.core();
        if !core.is_over.get() || core.lingers_until() != Time::NEVER {
            return Ok(self.rest());
        }
        match core.error.take() {
            Some(error) => Err::<_, Error>(error),
            None => Ok(Response::done()),
        }
    }

    /// Waits. The machine's deadline is moved only to be earlier: one that fires too early is set anew then, which
    /// costs less than moving it at each wait.
    #[inline]
    fn rest(self) -> Response<Self> {
        let core = self.core();
        let next = core.until().min(core.lingers_until());
        if next >= core.armed.get() {
            return Response::of(self);
        }
        core.armed.set(next);
        Response::of(self).deadline(next)
    }
}

impl<C: 'static, M: Send + 'static> std::fmt::Debug for Fiber<C, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fiber '{}': {:?}", self.core().name, self.core().wait())
    }
}

impl<C: 'static, M: Send + 'static> std::fmt::Debug for FiberSeed<C, M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FiberSeed '{}'", self.fiber.core().name)
    }
}

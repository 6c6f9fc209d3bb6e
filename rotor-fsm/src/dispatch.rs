//! The middle of everything: event → machine → response → effects.
//!
//! An event's token is the id of the machine it is for. The machine is taken out of its slot, its handler runs under
//! `catch_unwind`, its answer is applied, and at the end of the dispatch the effects take place (see `Effects`). A
//! **dispatch** is one I/O event, one drain of the inbox, or one pass over due deadlines.
//!
//! One turn of the loop (rule R16): I/O events, each a dispatch; then, in the check phase, what is owed, orders from
//! other threads, the inbox, a shutdown's progress; then due deadlines. Before it sleeps the loop sets its one alarm,
//! and stays awake if a bound left something over.

mod births;
mod check;
mod clock;
mod closing;
mod jobs;
mod stats;
mod wakes;

pub use self::stats::Stats;

use self::closing::Closing;
use crate::config::{Config, EndHook, Verdict};
use crate::deadline::Deadlines;
use crate::driver::AnyDriver;
use crate::effects::Effects;
use crate::error::{Error, Reason, Result};
use crate::host::Nest;
use crate::inbox::{Counts, Mail};
use crate::io::SignalWatch;
use crate::response::DeadlineChange;
use crate::scope::Scope;
use crate::table::Slots;
use crate::waker::Rung;
use crate::{Io, Machine, MachineId, Response, Time};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::Duration;
use uv_sys_wrap::{Event, HandleId, Payload, ReadBuf, Sink, Token, WriteBuf};

/// A loop without its driver's run function: all the state, and what happens on each event.
pub(crate) struct Engine<R: Machine> {
    pub nest: Rc<Nest<R>>,
    pub effects: Effects,
    slots: Slots<R>,
    /// Whose handler runs; a panic that gets out of it ends this machine.
    running: MachineId,
    /// Absent before set-up is done and after teardown began; then nothing is delivered.
    ctx: Option<R::Context>,
    batch: Mail<R::Message>,
    rung: Rung,
    deadlines: Deadlines,
    /// When the driver raises the alarm, and the earliest deadline armed since that was decided.
    alarm: Option<u64>,
    soonest: u64,
    bounds: Bounds,
    on_end: Option<EndHook>,
    /// When the loop last had something to do, for busy polling.
    active_at: Time,
    closing: Option<Closing>,
    had_machine: bool,
    /// Why `run` shall return, once it shall.
    pub outcome: Option<Outcome>,
    termination: Vec<SignalWatch>,
    /// As other threads were told.
    machines_told: usize,
    delivered: u64,
    dropped: u64,
    woken: u64,
    ended: u64,
    panics: u64,
}

/// How much one turn does, so that nothing starves the rest.
struct Bounds {
    messages: usize,
    creates: usize,
    timeouts: usize,
    accepts: usize,
    busy_poll: Duration,
}

/// Why the loop stops.
pub(crate) enum Outcome {
    /// No machine is left, or the shutdown is complete.
    Finished,
    /// The end hook said so, and the machine had not panicked.
    Stopped(Error),
    /// The end hook said so after a panic, or the hook itself panicked.
    Panicked(Payload),
}

impl<R: Machine> Engine<R> {
    pub fn new(driver: AnyDriver, config: &mut Config, nest: Rc<Nest<R>>) -> Self {
        let mut effects = Effects::new(driver, config);
        let now = effects.fresh_now();
        let mut slots = Slots::new();
        let mut deadlines = Deadlines::new(now.tick_down());
        let places = config.set_aside();
        if places > 0 {
            effects.reserve(places);
            slots.set_aside(places);
            deadlines.set_aside(places);
            nest.ids.borrow_mut().set_aside(places);
            nest.inbox.generations.set_aside(places);
        }
        Self {
            nest,
            effects,
            slots,
            running: MachineId::NONE,
            ctx: None,
            batch: Mail::with_capacity(config.inbox_messages_max),
            rung: Rung::new(),
            deadlines,
            alarm: None,
            soonest: u64::MAX,
            bounds: Bounds {
                messages: config.messages_per_turn.max(1),
                creates: config.creates_per_turn.max(1),
                timeouts: config.timeouts_per_turn.max(1),
                accepts: config.accepts_per_turn.max(1),
                busy_poll: config.busy_poll,
            },
            on_end: config.on_end.take(),
            active_at: now,
            closing: None,
            had_machine: false,
            outcome: None,
            termination: Vec::new(),
            machines_told: 0,
            delivered: 0,
            dropped: 0,
            woken: 0,
            ended: 0,
            panics: 0,
        }
    }

    /// Set-up is done: machines may be created.
    pub fn start(&mut self, ctx: R::Context) {
        self.ctx = Some(ctx);
    }

    pub fn context_mut(&mut self) -> Option<&mut R::Context> {
        self.ctx.as_mut()
    }

    /// SIGTERM and SIGINT begin a shutdown.
    pub fn watch_termination(&mut self) -> Result<()> {
        for signum in [SIGINT, SIGTERM] {
            self.termination
                .push(self.effects.signal(signum, MachineId::TERMINATION)?);
        }
        Ok(())
    }

    /// `run` begins: forget why it returned the last time.
    pub fn resume(&mut self) {
        self.outcome = None;
        self.had_machine |= self.nest.live() > 0;
    }
}

/// The flow of one event. Compiled into each of the driver's callbacks, where the kind of event is known: what is read
/// reaches its machine by a single straight path.
impl<R: Machine> Sink for Engine<R> {
    #[inline(always)]
    fn event(&mut self, token: Token, handle: HandleId, event: Event<'_>) {
        if self.outcome.is_some() {
            return;
        }
        match event {
            Event::Read(bytes) => {
                self.read(MachineId::of(token), handle, bytes);
                self.end_dispatch();
            }
            Event::Check => self.check(),
            Event::Prepare => self.prepare(),
            Event::Timer => self.expire(),
            Event::Wake => Counts::add(&self.nest.inbox.counts.wakes, 1),
            Event::Idle => {}
            other => self.rare(MachineId::of(token), handle, other),
        }
    }

    /// A handler panicked; its machine is gone with its stack. Others go on as if nothing had happened: what the
    /// event left undone is picked up by the next turn.
    ///
    /// A panic that is not a handler's is given back: it stops the loop and resumes from `run`.
    fn panicked(&mut self, payload: Payload) -> std::result::Result<(), Payload> {
        let id = std::mem::replace(&mut self.running, MachineId::NONE);
        if id == MachineId::NONE {
            return Err(payload);
        }
        self.panics += 1;
        self.end(id, Reason::Panicked(payload));
        self.effects.end_dispatch();
        Ok(())
    }
}

impl<R: Machine> Engine<R> {
    /// Events that come once in a connection's life, or seldom.
    #[inline(never)]
    fn rare(&mut self, id: MachineId, on: HandleId, event: Event<'_>) {
        match event {
            Event::Incoming if self.effects.is_by_hand(on) => self.rare_io(id, on, Io::Waiting),
            Event::Incoming => self.incoming(id, on),
            Event::Connected => {
                self.effects.connected(on);
                self.rare_io(id, on, Io::Connected);
            }
            Event::Eof => self.rare_io(id, on, Io::Eof),
            Event::Written { bufs, result } => {
                let buffers = std::mem::take(bufs)
                    .into_iter()
                    .filter_map(|buf| match buf {
                        WriteBuf::Vec { bytes, .. } => Some(bytes),
                        _ => None,
                    });
                if self.effects.written(on, result, buffers) {
                    self.rare_io(id, on, Io::Flushed);
                }
            }
            Event::ShutDown(Ok(())) => self.rare_io(id, on, Io::ShutDown),
            Event::ShutDown(Err(error)) | Event::Failed(error) => {
                self.rare_io(id, on, Io::Failed(error))
            }
            Event::Signal(_) if id.is_internal() => self.begin_shutdown(TERMINATE_GRACE),
            Event::Signal(signum) => self.rare_io(id, on, Io::Signal(signum)),
            Event::Worked { work, .. } => self.worked(work),
            _ => {}
        }
        self.end_dispatch();
    }

    /// `io` for events that need not be fast: compiled once.
    #[inline(never)]
    fn rare_io(&mut self, id: MachineId, on: HandleId, io: Io<'_>) {
        self.io(id, on, io);
    }

    /// `io` for what was read: a handler that is small, or marked `#[inline]`, becomes part of it. The same as
    /// `call` and `settle`, but that whatever is rare is out of the way, so that the machine is moved no more than the
    /// handler itself asks for.
    #[inline(always)]
    fn read(&mut self, id: MachineId, on: HandleId, bytes: ReadBuf<'_>) {
        let Some(ctx) = &mut self.ctx else { return };
        let Some(machine) = self.slots.take(id) else {
            return self.rare_io(id, on, Io::Read(bytes));
        };
        self.running = id;
        let mut scope = Scope {
            ctx,
            effects: &mut self.effects,
            host: &*self.nest,
            id,
        };
        let answer = machine.io(Io::Read(bytes), on, &mut scope);
        self.running = MachineId::NONE;
        match answer.map(Response::into_parts) {
            Ok((Some(machine), DeadlineChange::Keep)) => self.slots.put(id, machine),
            Ok((Some(machine), change)) => {
                self.slots.put(id, machine);
                self.change_deadline(id, change);
            }
            Ok((None, _)) => self.end(id, Reason::Done),
            Err(error) => self.end(id, Reason::Failed(error)),
        }
    }

    /// Hands an event to its machine. One without a machine closes its handle: nothing of a machine outlives it.
    #[inline(always)]
    fn io(&mut self, id: MachineId, on: HandleId, io: Io<'_>) {
        match self.take(id) {
            Some(machine) => {
                let answer = self.call(id, |scope| machine.io(io, on, scope));
                self.settle(id, answer);
            }
            None => self.ownerless(id, on),
        }
    }

    /// A connection that waits to be opened is nobody's yet; all others are a machine's that has ended.
    #[cold]
    fn ownerless(&mut self, id: MachineId, on: HandleId) {
        if !id.is_internal() {
            self.effects.close(on);
        }
    }

    /// Takes waiting connections, each handed to the listener's machine.
    fn incoming(&mut self, id: MachineId, listener: HandleId) {
        for _ in 0..self.bounds.accepts {
            let Some(incoming) = self.effects.accept(listener) else {
                return;
            };
            self.rare_io(id, listener, Io::Incoming(incoming));
            // Created at once, so that a burst does not wait for a turn; closed at once, so that it has room.
            self.create_some();
            self.effects.end_dispatch();
        }
    }

    /// Runs one handler. A panic in it unwinds out of the event, and comes back through `panicked`.
    #[inline(always)]
    fn call(
        &mut self,
        id: MachineId,
        handler: impl FnOnce(&mut Scope<'_, R>) -> Result<Response<R>>,
    ) -> Result<Response<R>> {
        let Some(ctx) = self.ctx.as_mut() else {
            return Ok(Response::done());
        };
        self.running = id;
        let answer = handler(&mut Scope {
            ctx,
            effects: &mut self.effects,
            host: &*self.nest,
            id,
        });
        self.running = MachineId::NONE;
        answer
    }

    /// Applies an answer: puts the machine back, or ends it.
    #[inline(always)]
    fn settle(&mut self, id: MachineId, answer: Result<Response<R>>) {
        if let Some(machine) = self.absorb(id, answer) {
            self.slots.put(id, machine);
        }
    }

    /// Applies an answer but for the machine itself, which it returns if it goes on.
    #[inline(always)]
    fn absorb(&mut self, id: MachineId, answer: Result<Response<R>>) -> Option<R> {
        match answer {
            Ok(response) => match response.into_parts() {
                (Some(machine), DeadlineChange::Keep) => Some(machine),
                (Some(machine), change) => {
                    self.change_deadline(id, change);
                    Some(machine)
                }
                (None, _) => {
                    self.end(id, Reason::Done);
                    None
                }
            },
            Err(error) => {
                self.end(id, Reason::Failed(error));
                None
            }
        }
    }

    /// `event` for drivers that do not catch panics themselves, as the wrapper of libuv does.
    pub fn caught_event(&mut self, token: Token, handle: HandleId, event: Event<'_>) {
        let outcome = catch_unwind(AssertUnwindSafe(|| self.event(token, handle, event)));
        if let Err(payload) = outcome
            && let Err(payload) = self.panicked(payload)
        {
            resume_unwind(payload);
        }
    }

    #[inline(never)]
    fn change_deadline(&mut self, id: MachineId, change: DeadlineChange) {
        let at = match change {
            DeadlineChange::Keep => return,
            DeadlineChange::Clear => Time::NEVER,
            DeadlineChange::At(time) => time,
            DeadlineChange::AfterNanos(nanos) => {
                self.effects.fresh_now() + Duration::from_nanos(nanos)
            }
        };
        let tick = at.tick_up();
        self.soonest = self.soonest.min(tick);
        self.deadlines.arm(id.index(), tick);
    }

    /// A machine has ended; its state is dropped already. Frees its id and tells the hook.
    #[cold]
    fn end(&mut self, id: MachineId, reason: Reason) {
        self.deadlines.cancel(id.index());
        self.cancel_work(id);
        self.nest.release(id);
        self.ended += 1;
        self.had_machine = true;
        if let Some(hook) = &mut self.on_end {
            match catch_unwind(AssertUnwindSafe(|| hook(id, &reason))) {
                Ok(Verdict::Continue) => {}
                Ok(Verdict::Stop) => {
                    let outcome = match reason {
                        Reason::Panicked(payload) => Outcome::Panicked(payload),
                        Reason::Failed(error) => Outcome::Stopped(error),
                        _ => Outcome::Finished,
                    };
                    return self.stop(outcome);
                }
                Err(payload) => return self.stop(Outcome::Panicked(payload)),
            }
        }
        if self.nest.live() == 0 {
            self.stop(Outcome::Finished);
        }
    }

    fn stop(&mut self, outcome: Outcome) {
        if self.outcome.is_none() {
            self.outcome = Some(outcome);
            self.effects.driver.stop();
        }
    }

    /// Drops user values; a panic in their drop is counted and goes no further.
    fn discard<T>(&mut self, value: T) {
        if catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
            self.panics += 1;
        }
    }

    /// Drops user values one by one: two panics at once would abort.
    fn discard_each<T>(&mut self, values: impl IntoIterator<Item = T>) {
        for value in values {
            self.discard(value);
        }
    }

    /// The end of a dispatch: spawned machines are created, output leaves, dropped handles close.
    #[inline(always)]
    fn end_dispatch(&mut self) {
        if self.nest.has_births.get() {
            self.create_some();
        }
        self.effects.end_dispatch();
    }
}

/// The same numbers on every Unix.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;
/// How long machines may take to finish after SIGTERM or SIGINT.
const TERMINATE_GRACE: Duration = Duration::from_secs(10);

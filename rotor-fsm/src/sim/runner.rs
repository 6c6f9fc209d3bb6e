//! A loop in the simulation: an engine, its pool, and its turns (rule R16).
//!
//! A turn: what the ready handles have to tell, each a dispatch; ended jobs; the check phase; the alarm if it is due;
//! then the preparation of sleep. Turns take a little virtual time, so loops interleave by chance.

use super::driver::SimDriver;
use super::loops::{LoopSide, Occurrence};
use super::trace::Who;
use super::world::World;
use crate::config::Config;
use crate::dispatch::Engine;
use crate::driver::AnyDriver;
use crate::error::Result;
use crate::event_loop::{Setup, nest, set_up};
use crate::host::Nest;
use crate::id::Internal;
use crate::sync::Ordering;
use crate::{Machine, MachineId};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use uv_sys_wrap::{Event, HandleId, Pool, WriteBuf, WriteBufs};

pub(super) struct Runner<R: Machine> {
    pub engine: RefCell<Engine<R>>,
    pub nest: Rc<Nest<R>>,
    pub pool: Pool,
    world: Rc<RefCell<World>>,
    index: u32,
    /// A message, an order or a shutdown came while it slept.
    woken: Arc<AtomicBool>,
    /// Its last turn takes until then.
    free_at: Cell<u64>,
    state: Cell<State>,
    /// Messages and wakes delivered so far, for the trace.
    delivered: Cell<u64>,
    told_awake: Cell<u64>,
    pub result: RefCell<Option<Result<()>>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// No machine is left; it goes on if there are new ones.
    Finished,
    /// It was stopped with machines in it.
    Halted,
    /// Torn down.
    Closed,
}

/// A loop of any machine type, as the simulation drives it.
pub(super) trait Drive {
    /// When it wants its next turn; `u64::MAX` for not before something happens.
    fn wants_at(&self, world: &World) -> u64;
    fn turn(&self);
    /// `run` begins.
    fn resume(&self);
    fn is_over(&self) -> bool;
    fn close(&self);
}

impl<R: Machine> Runner<R> {
    pub fn new(
        world: &Rc<RefCell<World>>,
        mut config: Config,
        setup: impl FnOnce(&Setup<'_, R>) -> Result<R::Context>,
    ) -> Result<Self> {
        let pool = Pool::new(config.pool.clone())?;
        let index = {
            let mut world = world.borrow_mut();
            let rng = world.rng.fork();
            world.loops.push(LoopSide::new(rng));
            world.loops.len() as u32 - 1
        };
        let woken = Arc::new(AtomicBool::new(false));
        let flag = woken.clone();
        let nest = nest(
            &config,
            Box::new(move || flag.store(true, Ordering::Relaxed)),
        );
        let driver = AnyDriver::Other(Box::new(SimDriver {
            world: world.clone(),
            index,
        }));
        let mut engine = Engine::new(driver, &mut config, nest.clone());
        set_up(&mut engine, setup)?;
        Ok(Self {
            engine: RefCell::new(engine),
            nest,
            pool,
            world: world.clone(),
            index,
            woken,
            free_at: Cell::new(0),
            state: Cell::new(State::Running),
            delivered: Cell::new(0),
            told_awake: Cell::new(0),
            result: RefCell::new(None),
        })
    }

    /// Hands out what the ready handles have to tell; one thing each, the rest in the next turn.
    fn tell_ready(&self, engine: &mut Engine<R>) {
        let mut left = self.world.borrow().loops[self.index as usize].ready_len();
        while left > 0 && engine.outcome.is_none() {
            let visit = self.world.borrow_mut().visit(self.index, left);
            left -= 1;
            let Some((token, handle, what)) = visit else {
                continue;
            };
            let mut bufs = WriteBufs::new();
            let event = match what {
                Occurrence::Incoming => Event::Incoming,
                Occurrence::Connected => Event::Connected,
                Occurrence::Readable(end, n) => {
                    Event::Read(self.world.borrow_mut().read(end, n, &self.pool))
                }
                Occurrence::Eof => Event::Eof,
                Occurrence::Written {
                    bytes,
                    start,
                    result,
                } => {
                    bufs.push(WriteBuf::Vec { bytes, start });
                    Event::Written {
                        bufs: &mut bufs,
                        result,
                    }
                }
                Occurrence::ShutDown(result) => Event::ShutDown(result),
                Occurrence::Failed(error) => Event::Failed(error),
                Occurrence::Signal(signum) => Event::Signal(signum),
            };
            engine.caught_event(token, handle, event);
            self.world.borrow_mut().mark(self.index, handle);
        }
    }

    fn tell_worked(&self, engine: &mut Engine<R>) {
        let ended = std::mem::take(&mut self.world.borrow_mut().loops[self.index as usize].worked);
        for (work, result) in ended {
            let token = MachineId::internal(Internal::Worked);
            engine.caught_event(token, HandleId::NONE, Event::Worked { work, result });
        }
    }

    fn own(&self, engine: &mut Engine<R>, what: Internal, event: Event<'_>) {
        engine.caught_event(MachineId::internal(what), HandleId::NONE, event);
    }

    fn record(&self, what: &'static str, n: u64) {
        self.world
            .borrow_mut()
            .record(Who::Loop(self.index), what, n, 0);
    }

    /// The alarm, if it is due; then it is off.
    fn take_alarm(&self) -> bool {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        world.loops[self.index as usize]
            .alarm
            .take_if(|at| *at <= now)
            .is_some()
    }

    /// Notes the messages and wakes that a turn delivered, and how long it took.
    fn account(&self, told_awake: u64) {
        let before = self.told_awake.replace(told_awake);
        if told_awake > before {
            self.record("woken", told_awake - before);
        }
        let delivered = self.nest.inbox.counts.delivered.load(Ordering::Relaxed);
        let before = self.delivered.replace(delivered);
        if delivered > before {
            self.record("messages", delivered - before);
        }
        let mut world = self.world.borrow_mut();
        let took = world.turn_time();
        self.free_at.set(world.now.saturating_add(took));
    }

    /// Takes note of why the loop stops, if it does. A panic that it was to stop for goes on from here.
    fn stop_if_over(&self, engine: &mut Engine<R>) {
        if engine.outcome.is_none() {
            return;
        }
        let halted = self.nest.live() > 0;
        self.state.set(if halted {
            State::Halted
        } else {
            State::Finished
        });
        self.record(if halted { "halted" } else { "finished" }, 0);
        let result = engine.take_outcome();
        *self.result.borrow_mut() = Some(result);
    }
}

impl<R: Machine> Drive for Runner<R> {
    fn wants_at(&self, world: &World) -> u64 {
        if self.state.get() != State::Running {
            return u64::MAX;
        }
        let side = &world.loops[self.index as usize];
        let has_news = side.has_news()
            || self.woken.load(Ordering::Relaxed)
            || !self.nest.births.borrow().is_empty();
        let at = if has_news {
            world.now
        } else {
            side.alarm.unwrap_or(u64::MAX)
        };
        at.max(self.free_at.get())
    }

    fn turn(&self) {
        let engine = &mut *self.engine.borrow_mut();
        if self.woken.swap(false, Ordering::Relaxed) {
            self.record("wake", 0);
            self.own(engine, Internal::Wake, Event::Wake);
        }
        self.tell_ready(engine);
        self.tell_worked(engine);
        self.own(engine, Internal::Check, Event::Check);
        if self.take_alarm() {
            self.record("alarm", 0);
            self.own(engine, Internal::Alarm, Event::Timer);
        }
        self.own(engine, Internal::Prepare, Event::Prepare);
        self.stop_if_over(engine);
        self.account(engine.stats().woken);
    }

    fn resume(&self) {
        if self.state.get() == State::Finished && self.nest.live() > 0 {
            self.state.set(State::Running);
            self.world.borrow_mut().loops[self.index as usize].busy = true;
        }
        if self.state.get() == State::Running {
            self.engine.borrow_mut().resume();
        }
    }

    fn is_over(&self) -> bool {
        self.state.get() != State::Running
    }

    fn close(&self) {
        // Borrowed only if a panic in a turn is on its way out; then nothing of it is used any more.
        let Ok(mut engine) = self.engine.try_borrow_mut() else {
            return;
        };
        if self.state.replace(State::Closed) == State::Closed {
            return;
        }
        engine.tear_down();
        drop(engine);
        self.record("torn-down", 0);
        self.world.borrow_mut().close_loop(self.index);
    }
}

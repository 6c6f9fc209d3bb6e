//! `Loop`: a libuv loop that drives machines, on the thread that runs it. And `run`, the one-line start.

use crate::MachineId;
use crate::config::{Config, Verdict};
use crate::control::{Lane, LoopHandle};
use crate::dispatch::{Engine, Stats};
use crate::driver::AnyDriver;
use crate::driver::uv::UvDriver;
use crate::error::{Full, Reason, Result};
use crate::host::{Host, Nest, PartHost, Spawner};
use crate::inbox::Inbox;
use crate::machine::{Hosts, Machine};
use crate::notifier::Notifier;
use crate::table::Ids;
use crate::thread::Running;
use crate::work::Works;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use uv_sys_wrap::{LoopConfig, RunMode};

/// A loop of machines of type `R` (often an enum made by [`compose!`](crate::compose)), run by the thread that owns it.
///
/// Neither `Send` nor `Sync`; [`LoopThread`](crate::LoopThread) makes one on a thread of its own. There is no way from a
/// handler to its own loop's `run`.
pub struct Loop<R: Machine> {
    uv: uv_sys_wrap::Loop<Engine<R>>,
    nest: Rc<Nest<R>>,
}

/// What the function that makes the shared context can do: obtain spawners, and promise machines.
pub struct Setup<'a, R: Machine> {
    nest: &'a Rc<Nest<R>>,
}

impl<R: Machine> Setup<'_, R> {
    /// Makes machines of type `M` on this loop; to be kept in the context. Allocates.
    pub fn spawner<M: Machine<Context = R::Context>>(&self) -> Spawner<M>
    where
        R: Hosts<M>,
    {
        Spawner::new(self.nest.clone() as Rc<dyn Host<R>>).part::<M>()
    }

    /// Promises a machine before there is a context. It is created once the context exists; if set-up fails, its
    /// notifier answers `Closed`.
    ///
    /// # Errors
    /// [`Full`] gives the seed back if the machine table is full.
    pub fn add<M: Machine<Context = R::Context>>(
        &self,
        seed: M::Seed,
    ) -> Result<Notifier<M::Message>, Full<M::Seed>>
    where
        R: Hosts<M>,
    {
        spawn::<R, M>(self.nest, seed)
    }

    /// The loop as other threads see it.
    pub fn handle(&self) -> LoopHandle<R> {
        LoopHandle::new(self.nest.inbox.clone(), self.nest.control.clone())
    }
}

pub(crate) fn spawn<R: Hosts<M>, M: Machine<Context = R::Context>>(
    nest: &Rc<Nest<R>>,
    seed: M::Seed,
) -> Result<Notifier<M::Message>, Full<M::Seed>> {
    let host = PartHost::<R, M>::new(&**nest);
    match host.reserve() {
        Some(id) => {
            host.plant(id, seed);
            Ok(Notifier::new(id, host.post()))
        }
        None => Err(Full(seed)),
    }
}

/// Makes what loop and spawners share; the driver's waker is behind `wake`.
pub(crate) fn nest<R: Machine>(config: &Config, wake: Box<dyn Fn() + Send + Sync>) -> Rc<Nest<R>> {
    Rc::new(Nest {
        ids: RefCell::new(Ids::new(config.machines_max)),
        births: RefCell::new(VecDeque::new()),
        has_births: Cell::new(false),
        works: RefCell::new(Works::new(config.jobs_max)),
        inbox: Inbox::new(config.inbox_messages_max, wake),
        control: Lane::new(config.control_orders_max),
        sealed: Cell::new(false),
    })
}

/// Runs set-up and starts the engine, or tears it down.
pub(crate) fn set_up<R: Machine>(
    engine: &mut Engine<R>,
    setup: impl FnOnce(&Setup<'_, R>) -> Result<R::Context>,
) -> Result<()> {
    let nest = engine.nest.clone();
    match setup(&Setup { nest: &nest }) {
        Ok(ctx) => {
            engine.start(ctx);
            Ok(())
        }
        Err(error) => {
            engine.tear_down();
            Err(error)
        }
    }
}

impl<R: Machine> Loop<R> {
    /// A loop whose context is made by `setup`.
    ///
    /// # Errors
    /// What `setup` returns, or what the system refuses (descriptors, memory, a pool that cannot be locked).
    pub fn new(
        mut config: Config,
        setup: impl FnOnce(&Setup<'_, R>) -> Result<R::Context>,
    ) -> Result<Self> {
        let uv_config = LoopConfig {
            pool: config.pool.clone(),
            work_max: config.jobs_max,
            ..LoopConfig::default()
        };
        let uv = uv_sys_wrap::Loop::try_new(uv_config, |uv| -> Result<Engine<R>> {
            let driver = UvDriver::new(uv)?;
            uv.prepare_handles(config.set_aside());
            let waker = driver.waker()?;
            let wake = move || {
                // A loop that is closed needs no waking.
                let _ = waker.wake();
            };
            let nest = nest(&config, Box::new(wake));
            let mut engine = Engine::new(AnyDriver::Uv(driver), &mut config, nest);
            set_up(&mut engine, setup)?;
            Ok(engine)
        })?;
        let nest = uv.sink().nest.clone();
        Ok(Self { uv, nest })
    }

    /// Makes a machine of this type or of one of its parts; `create` runs when the loop does.
    ///
    /// # Errors
    /// [`Full`] gives the seed back if the machine table is full or the loop is shutting down.
    pub fn spawn<M: Machine<Context = R::Context>>(
        &mut self,
        seed: M::Seed,
    ) -> Result<Notifier<M::Message>, Full<M::Seed>>
    where
        R: Hosts<M>,
    {
        spawn::<R, M>(&self.nest, seed)
    }

    /// Runs until the last machine has ended or a shutdown is complete. A loop that never had a machine waits for
    /// one, from another thread. Can be called again after new machines were spawned.
    ///
    /// # Errors
    /// The error with which a machine ended, if the end hook said `Stop`; or a failure of libuv itself.
    ///
    /// # Panics
    /// Resumes the panic of a machine for which the end hook said `Stop`, and a panic of the hook itself.
    pub fn run(&mut self) -> Result<()> {
        let engine = self.uv.sink_mut();
        engine.resume();
        if engine.is_over() {
            return Ok(());
        }
        let _running = Running::here();
        self.uv.run(RunMode::Default)?;
        self.uv.sink_mut().take_outcome()
    }

    /// Lets SIGTERM and SIGINT shut this loop down, with 10 seconds of grace.
    ///
    /// # Errors
    /// If the signals cannot be watched.
    pub fn shutdown_on_signals(&mut self) -> Result<()> {
        self.uv.sink_mut().watch_termination()
    }

    /// The loop as other threads see it.
    pub fn handle(&self) -> LoopHandle<R> {
        Setup { nest: &self.nest }.handle()
    }

    /// The shared context, between runs.
    pub fn context(&mut self) -> Option<&mut R::Context> {
        self.uv.sink_mut().context_mut()
    }

    /// What happened so far.
    pub fn stats(&self) -> Stats {
        self.uv.sink().stats()
    }
}

impl<R: Machine> Drop for Loop<R> {
    /// Machines, seeds and messages, the context, then handles: in this order, each drop guarded.
    fn drop(&mut self) {
        self.uv.sink_mut().tear_down();
    }
}

impl<R: Machine> std::fmt::Debug for Loop<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Loop<{}>", std::any::type_name::<R>())
    }
}

/// Runs one machine, and those it spawns, on this thread until all have ended, or SIGTERM or SIGINT has shut them
/// down. Machines that fail are named on standard error.
///
/// # Errors
/// If the loop cannot be made, or the first machine fails: then the others are closed.
///
/// # Panics
/// If the first machine panics.
pub fn run<M: Machine>(context: M::Context, seed: M::Seed) -> Result<()> {
    run_with::<M>(Config::default(), context, seed)
}

/// [`run`] with limits of one's own. An end hook in `config` is replaced.
///
/// # Errors
/// As [`run`].
///
/// # Panics
/// As [`run`].
pub fn run_with<M: Machine>(mut config: Config, context: M::Context, seed: M::Seed) -> Result<()> {
    config.on_end = Some(Box::new(|id, reason| {
        let is_first = id == MachineId::FIRST;
        match reason {
            Reason::Failed(_) | Reason::Panicked(_) if is_first => Verdict::Stop,
            Reason::Failed(error) => {
                eprintln!("machine {}: {error}", id.index());
                Verdict::Continue
            }
            _ => Verdict::Continue,
        }
    }));
    let mut main_loop = Loop::<M>::new(config, |_| Ok(context))?;
    main_loop.shutdown_on_signals()?;
    main_loop.spawn::<M>(seed)?;
    main_loop.run()
}

//! The simulator: several loops in one thread, a virtual clock and an in-memory network, all of it from one seed.
//!
//! The same machines that run on libuv run here, because the simulator is another driver below the same seam.
//! Connects, reads and writes take seeded virtual time; bytes arrive in seeded pieces, split anywhere; buffers are
//! bounded; connections are refused, reset and half-closed. Nothing reads a clock or draws a number from outside, so
//! the same seed makes the same trace, byte for byte, and any failure replays from its seed.
//!
//! ```
//! use rotor_fsm::prelude::*;
//! use rotor_fsm::sim::{Ended, check};
//! use std::time::Duration;
//!
//! struct Echo(#[allow(dead_code)] Option<Listener>, Option<Socket>);
//!
//! impl Machine for Echo {
//!     type Context = ();
//!     type Message = Never;
//!     type Seed = Option<Incoming>;
//!
//!     fn create(seed: Option<Incoming>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
//!         Ok(Response::of(match seed {
//!             Some(incoming) => Echo(None, Some(scope.open(incoming)?)),
//!             None => Echo(Some(scope.listen("127.0.0.1:7".parse::<Addr>()?)?), None),
//!         }))
//!     }
//!
//!     fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
//!         match (event, &self.1) {
//!             (Io::Incoming(incoming), _) => drop(scope.spawn(Some(incoming))),
//!             (Io::Read(bytes), Some(socket)) => scope.write(socket, &bytes)?,
//!             (Io::Eof, Some(socket)) => scope.shutdown_write(socket)?,
//!             (Io::ShutDown, _) => return Ok(Response::done()),
//!             _ => {}
//!         }
//!         Ok(Response::of(self))
//!     }
//! }
//!
//! check(0..20, |sim| {
//!     let server = sim.add::<Echo>(Config::default(), |_| Ok(())).unwrap();
//!     sim.spawn::<Echo, Echo>(&server, None).unwrap();
//!     sim.run_for(Duration::from_millis(1));
//!     let peer = sim.connect("127.0.0.1:7".parse::<Addr>().unwrap());
//!     sim.send(peer, b"hello");
//!     sim.shutdown(peer);
//!     assert_eq!(sim.run(Duration::from_secs(1)), Ended::Idle);
//!     assert_eq!(&*sim.received(peer), b"hello");
//!     assert!(sim.saw_eof(peer));
//! });
//! ```
//!
//! # How it is made
//!
//! [`Sim`] owns the loops; the `world` has the clock, the agenda of what is to happen and everything that loops and
//! scripted peers share. Drivers and peers change the world at once; what takes time becomes an entry of the agenda.
//! When no loop has anything to do, the clock jumps to the next entry or alarm.
//!
//! What it does not simulate (yet): hosts that die and restart, clocks that jump or differ, partitions, lost wake-ups.

mod arena;
mod bytes;
mod check;
mod config;
mod door;
mod driver;
mod end;
mod jobs;
mod loops;
mod net;
mod peer;
mod rng;
mod runner;
mod script;
mod trace;
mod wire;
mod world;

pub use check::{check, check_with};
pub use config::SimConfig;
pub use peer::{PeerId, PeerListener};

use crate::Time;
use crate::config::Config;
use crate::control::LoopHandle;
use crate::dispatch::Stats;
use crate::error::{Full, Result};
use crate::event_loop::{Setup, spawn};
use crate::machine::{Hosts, Machine};
use crate::notifier::Notifier;
use crate::thread::Running;
use crate::time::nanos;
use runner::{Drive, Runner};
use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;
use trace::Who;
use uv_sys_wrap::PoolStats;
use world::World;

/// A simulated world with the loops in it.
pub struct Sim {
    world: Rc<RefCell<World>>,
    loops: Vec<Rc<dyn Drive>>,
    seed: u64,
}

/// A loop in a simulation; what happens to it goes through the [`Sim`] that made it.
pub struct SimLoop<R: Machine> {
    runner: Rc<Runner<R>>,
}

/// Why [`Sim::run`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Every loop is over, and nothing is on its way any more.
    Over,
    /// Nothing will ever happen unless somebody does something: all loops sleep without a deadline.
    Idle,
    /// The limit is reached.
    Time,
    /// What was waited for is true.
    Met,
}

/// Making and driving.
impl Sim {
    /// A world of the usual nature, determined by `seed`.
    pub fn new(seed: u64) -> Self {
        Self::with_config(seed, SimConfig::default())
    }

    /// A world of another nature.
    pub fn with_config(seed: u64, config: SimConfig) -> Self {
        Self {
            world: Rc::new(RefCell::new(World::new(seed, config))),
            loops: Vec::new(),
            seed,
        }
    }

    /// Adds a loop, whose context is made by `setup`, as [`Loop::new`](crate::Loop::new) does.
    ///
    /// # Errors
    /// What `setup` returns, or a pool that cannot be made.
    pub fn add<R: Machine>(
        &mut self,
        config: Config,
        setup: impl FnOnce(&Setup<'_, R>) -> Result<R::Context>,
    ) -> Result<SimLoop<R>> {
        let runner = Rc::new(Runner::new(&self.world, config, setup)?);
        self.loops.push(runner.clone());
        Ok(SimLoop { runner })
    }

    /// Runs until nothing is left to happen, but at most for this much virtual time.
    ///
    /// # Panics
    /// Resumes the panic of a machine for which the end hook said `Stop`; so do the other ways to run.
    pub fn run(&mut self, limit: Duration) -> Ended {
        self.run_until(limit, |_| false)
    }

    /// Runs until `condition` is true, nothing is left to happen, or this much virtual time has passed.
    ///
    /// The condition is looked at before anything happens and after each thing that did, so it should be cheap.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&mut Sim) -> bool,
    ) -> Ended {
        let end = self.world.borrow().now.saturating_add(nanos(limit));
        let _running = Running::here();
        self.loops.iter().for_each(|one| one.resume());
        while !condition(self) {
            if let Some(ended) = self.step(end) {
                return ended;
            }
        }
        Ended::Met
    }

    /// Lets this much virtual time pass, whatever happens in it.
    pub fn run_for(&mut self, duration: Duration) -> Ended {
        let end = self.world.borrow().now.saturating_add(nanos(duration));
        let ended = self.run(duration);
        self.world.borrow_mut().now = end;
        ended
    }

    /// Lets the next thing happen, a happening in the world or a turn of a loop, unless it is after `end`.
    fn step(&mut self, end: u64) -> Option<Ended> {
        let mut world = self.world.borrow_mut();
        let due = world.next_due();
        let (turn_at, chosen) = self.next_turn(&mut world);
        let at = due.min(turn_at);
        if at == u64::MAX {
            let all_over = !self.loops.is_empty() && self.loops.iter().all(|one| one.is_over());
            return Some(if all_over { Ended::Over } else { Ended::Idle });
        }
        if at > end {
            world.now = end;
            return Some(Ended::Time);
        }
        world.now = world.now.max(at);
        if due > turn_at {
            drop(world);
            self.loops[chosen].turn();
        } else if let Some((key, job)) = world.step() {
            drop(world);
            let panicked = catch_unwind(AssertUnwindSafe(job)).is_err();
            self.world.borrow_mut().job_done(key, panicked);
        }
        None
    }

    /// The loop that wants a turn first, and when; by chance, if several want it at once.
    fn next_turn(&self, world: &mut World) -> (u64, usize) {
        let (mut at, mut chosen, mut rivals) = (u64::MAX, 0, 1);
        for (index, one) in self.loops.iter().enumerate() {
            let wants = one.wants_at(world);
            if wants < at {
                (at, chosen, rivals) = (wants, index, 1);
            } else if wants == at && wants != u64::MAX {
                rivals += 1;
                if world.rng.below(rivals) == 0 {
                    chosen = index;
                }
            }
        }
        (at, chosen)
    }

    /// Raises a signal: machines that watch it hear of it.
    pub fn raise(&mut self, signum: i32) {
        self.world.borrow_mut().raise(signum);
    }
}

/// Looking on.
impl Sim {
    /// The virtual time.
    pub fn now(&self) -> Time {
        Time::from_nanos(self.world.borrow().now)
    }

    /// The seed that determines everything.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What happened, one line each: time, who, what, and what the verb counts. Only the latest lines are kept.
    pub fn trace(&self) -> String {
        self.trace_tail(usize::MAX)
    }

    /// The last `lines` of the trace.
    pub fn trace_tail(&self, lines: usize) -> String {
        self.world.borrow().trace.tail(lines)
    }

    /// A hash of the whole trace, including what is not kept: equal for equal seeds.
    pub fn trace_hash(&self) -> u64 {
        self.world.borrow().trace.hash()
    }

    /// Entries of the trace so far, including what is not kept.
    pub fn trace_len(&self) -> u64 {
        self.world.borrow().trace.count()
    }

    /// Puts a line of one's own into the trace.
    pub fn note(&mut self, text: impl Into<String>) {
        let mut world = self.world.borrow_mut();
        let now = world.now;
        world.trace.note(now, Who::World, "note", text.into());
    }

    /// Bytes sent and not read yet, of all connections: what the simulated network and kernels hold.
    pub fn bytes_in_flight(&self) -> usize {
        self.world
            .borrow()
            .ends
            .iter()
            .map(|(_, end)| end.held_bytes())
            .sum()
    }

    /// Ends of connections that are open, those of peers and of accept queues included.
    pub fn open_ends(&self) -> usize {
        self.world.borrow().ends.len()
    }

    /// Descriptors that the loops have open.
    pub fn descriptors(&self) -> usize {
        self.world.borrow().descriptors
    }
}

/// One loop.
impl Sim {
    /// Makes a machine on a loop, as [`Loop::spawn`](crate::Loop::spawn) does.
    ///
    /// # Errors
    /// [`Full`] gives the seed back if the machine table is full or the loop is shutting down.
    pub fn spawn<R, M>(
        &mut self,
        on: &SimLoop<R>,
        seed: M::Seed,
    ) -> Result<Notifier<M::Message>, Full<M::Seed>>
    where
        R: Hosts<M>,
        M: Machine<Context = R::Context>,
    {
        spawn::<R, M>(&on.runner.nest, seed)
    }

    /// Looks at a loop's context, or changes it. `None` once the loop is closed.
    pub fn context<R: Machine, T>(
        &mut self,
        on: &SimLoop<R>,
        look: impl FnOnce(&mut R::Context) -> T,
    ) -> Option<T> {
        on.runner.engine.borrow_mut().context_mut().map(look)
    }

    /// What a loop has done so far.
    pub fn stats<R: Machine>(&self, on: &SimLoop<R>) -> Stats {
        on.runner.engine.borrow().stats()
    }

    /// What a loop's buffer pool holds.
    pub fn pool_stats<R: Machine>(&self, on: &SimLoop<R>) -> PoolStats {
        on.runner.pool.stats()
    }

    /// True if the loop's `run` would have returned: no machine is left, or it was stopped.
    pub fn is_over<R: Machine>(&self, on: &SimLoop<R>) -> bool {
        on.runner.is_over()
    }

    /// Takes what the loop's `run` would have returned, once it is over.
    pub fn take_result<R: Machine>(&mut self, on: &SimLoop<R>) -> Option<Result<()>> {
        on.runner.result.borrow_mut().take()
    }

    /// SIGTERM and SIGINT shut the loop down, as [`Loop::shutdown_on_signals`](crate::Loop::shutdown_on_signals).
    ///
    /// # Errors
    /// If the signals cannot be watched.
    pub fn shutdown_on_signals<R: Machine>(&mut self, on: &SimLoop<R>) -> Result<()> {
        on.runner.engine.borrow_mut().watch_termination()
    }

    /// Tears a loop down now, as dropping a [`Loop`](crate::Loop) does: its machines are dropped, its handles close.
    pub fn close_loop<R: Machine>(&mut self, on: &SimLoop<R>) {
        on.runner.close();
    }
}

impl<R: Machine> SimLoop<R> {
    /// The loop as other threads, and other loops, see it. What is asked of it happens in the next run; so look at a
    /// [`Spawning`](crate::Spawning) with `try_wait`, because `wait` would wait for ever.
    pub fn handle(&self) -> LoopHandle<R> {
        LoopHandle::new(
            self.runner.nest.inbox.clone(),
            self.runner.nest.control.clone(),
        )
    }
}

impl<R: Machine> Clone for SimLoop<R> {
    fn clone(&self) -> Self {
        Self {
            runner: self.runner.clone(),
        }
    }
}

impl<R: Machine> std::fmt::Debug for SimLoop<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimLoop<{}>", std::any::type_name::<R>())
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sim of seed {} at {:?}", self.seed, self.now())
    }
}

impl Drop for Sim {
    /// Tears every loop down.
    fn drop(&mut self) {
        self.loops.iter().for_each(|one| one.close());
    }
}

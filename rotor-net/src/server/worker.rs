//! A worker: a thread, pinned first, so that its memory is near; a loop with the program's machines and a door; and
//! what happens when the loop ends otherwise than by a shutdown: that is reported, and the loop is made again, after a
//! while and not too often.

use super::bind::OwnSockets;
use super::cores::pin_current;
use super::door::{Door, DoorMessage, DoorSeed, HearFn, SeedFn};
use super::gate::{GateMessage, Post};
use super::ledger::Ledger;
use super::mesh::Mesh;
use super::report::{Notice, Watch, WorkerState};
use super::roles::Roles;
use crate::serve::stop_with;
use crate::{Limits, Streams};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use rotor_fsm::{
    Config, Error, Full, Loop, Machine, MachineId, Notifier, Result, Setup, Spawner, compose,
    panic_text,
};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

compose! {
    /// All machines of a worker's loop.
    pub enum Root<R: Roles>(R::Context) { Door(Door<R>), Apps(Apps<R::App>) }
}

compose! {
    /// The program's machines: a part that is no other, whatever type they are.
    pub enum Apps<A: Machine>(A::Context) { App(A) }
}

/// A worker whose context is being made: what the first function of [`Builder::start`](super::Builder::start) gets.
pub struct Worker<'a, C: Machine> {
    index: usize,
    count: usize,
    spawner: &'a Spawner<C>,
}

impl<C: Machine> Worker<'_, C> {
    /// Which worker this is, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// How many workers the server has.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Makes machines of type `M` on this worker's loop; to be kept in the context. Allocates.
    pub fn spawner<M>(&self) -> Spawner<M>
    where
        M: Machine<Context = C::Context>,
        C: rotor_fsm::Hosts<M>,
    {
        self.spawner.part::<M>()
    }

    /// Promises a machine before there is a context; it is created once the context exists.
    ///
    /// # Errors
    /// [`Full`] gives the seed back if the machine table is full.
    pub fn add<M>(&self, seed: M::Seed) -> Result<Notifier<M::Message>, Full<M::Seed>>
    where
        M: Machine<Context = C::Context>,
        C: rotor_fsm::Hosts<M>,
    {
        self.spawner::<M>().spawn(seed)
    }
}

impl<C: Machine> std::fmt::Debug for Worker<'_, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Worker({} of {})", self.index, self.count)
    }
}

/// The way to a worker's door.
type DoorNotifier<R> = Notifier<DoorMessage<<R as Roles>::Message>>;

/// Makes a worker's context.
pub(super) type ContextFn<R> =
    dyn Fn(&Worker<'_, <R as Roles>::App>) -> Result<<R as Roles>::Context> + Send + Sync;

/// Everything about the workers that they share.
pub(super) struct Plan<R: Roles> {
    pub ledger: Arc<Ledger>,
    pub contexts: Box<ContextFn<R>>,
    pub seeds: Arc<SeedFn<R>>,
    pub hear: Arc<HearFn<R>>,
    pub configs: Box<dyn Fn(usize) -> Config + Send + Sync>,
    pub limits: Limits,
    pub preallocate: usize,
    pub cores: Vec<Option<usize>>,
    /// Where each worker listens itself.
    pub sockets: Vec<OwnSockets>,
    pub doors: Mesh<DoorMessage<R::Message>>,
    pub watch: Watch,
    pub restarts: Restarts,
}

/// When a worker whose loop failed is started again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarts {
    /// Failures within [`within`](Self::within) after which it is given up. Default 5.
    pub failures_max: usize,
    /// Default one minute: what fails more often does not recover by being repeated.
    pub within: Duration,
    /// The wait before the first restart; it doubles with every further failure within the time. Default 100 ms.
    pub backoff: Duration,
}

impl Default for Restarts {
    fn default() -> Self {
        Self {
            failures_max: 5,
            within: Duration::from_secs(60),
            backoff: Duration::from_millis(100),
        }
    }
}

/// One worker's thread.
pub(super) struct Thread<R: Roles> {
    pub plan: Arc<Plan<R>>,
    pub index: usize,
    pub gate: Notifier<GateMessage>,
    /// Disconnected when nothing shall be restarted any more.
    pub alive: Receiver<()>,
    /// Told once: how the first start went.
    pub ready: Sender<Result<()>>,
}

impl<R: Roles> Thread<R> {
    /// Runs until the server ends or the worker has failed too often.
    pub fn run(self) {
        self.plan.ledger.enlist_thread();
        self.pin();
        let tally = &self.plan.ledger.workers[self.index];
        let mut failures = Failures::new(&self.plan.restarts);
        loop {
            let ended = catch_unwind(AssertUnwindSafe(|| self.live()));
            self.plan.doors.clear(self.index);
            tally.set_machines(None);
            let why = match ended {
                Ok(Ok(())) if self.is_server_ending() => break,
                Ok(Ok(())) => "the program shut its loop down".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(payload) => panic_text(&*payload).to_owned(),
            };
            if tally.lives.load(Ordering::Relaxed) == 0 {
                // It never started: that is `start`'s to report.
                let _ = self.ready.try_send(Err(Error::msg(why)));
                break;
            }
            tally.set_state(WorkerState::Starting);
            self.tell(GateMessage::Down(self.index));
            let restart_in = failures.next(Instant::now());
            (self.plan.watch)(&Notice::WorkerDown {
                worker: self.index,
                why,
                restart_in,
            });
            let Some(wait) = restart_in else { break };
            if self.alive.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                break;
            }
        }
        tally.set_state(WorkerState::Gone);
        self.plan.sockets[self.index].close();
        self.tell(GateMessage::Gone(self.index));
    }

    /// Whether nothing shall be restarted any more.
    fn is_server_ending(&self) -> bool {
        self.alive.try_recv() == Err(TryRecvError::Disconnected)
    }

    fn pin(&self) {
        let Some(core) = self.plan.cores[self.index] else {
            return;
        };
        match pin_current(core) {
            Ok(()) => self.plan.ledger.workers[self.index].set_core(core),
            Err(why) => (self.plan.watch)(&Notice::NotPinned {
                worker: Some(self.index),
                why,
            }),
        }
    }

    /// One life of the loop, from its making to its end.
    fn live(&self) -> Result<()> {
        let door_id = Arc::new(OnceLock::new());
        let config = self.config(&door_id);
        let mut door = None;
        let mut main_loop = Loop::<Root<R>>::new(config, |setup| {
            let (ctx, notifier) = self.set_up(setup)?;
            door = Some(notifier);
            Ok(ctx)
        })?;
        let Some(door) = door else { return Ok(()) };
        let _ = door_id.set(door.id());
        let tally = &self.plan.ledger.workers[self.index];
        let lives = tally.lives.fetch_add(1, Ordering::Relaxed) + 1;
        tally.is_finishing.store(false, Ordering::SeqCst);
        self.plan.doors.set(self.index, door.clone());
        let (handle, counted) = (main_loop.handle(), main_loop.handle());
        tally.set_machines(Some(Box::new(move || counted.machines())));
        self.tell(GateMessage::Up(
            self.index,
            Post {
                orders: door.map(DoorMessage::<R::Message>::Order),
                shutdown: Box::new(move |grace| handle.shutdown(grace)),
            },
        ));
        tally.set_state(WorkerState::Up);
        if lives > 1 {
            (self.plan.watch)(&Notice::WorkerUp { worker: self.index });
        } else {
            // There is a place for each worker's, which is sent once.
            let _ = self.ready.try_send(Ok(()));
        }
        main_loop.run()
    }

    fn config(&self, door: &Arc<OnceLock<MachineId>>) -> Config {
        let plan = &self.plan;
        let mut config = (plan.configs)(self.index);
        config.preallocate = config.preallocate.max(plan.preallocate);
        config.output_bytes_max = config.output_bytes_max.max(plan.limits.output_bytes_max);
        config.on_end = Some(stop_with(door.clone(), config.on_end.take()));
        config
    }

    fn set_up(&self, setup: &Setup<'_, Root<R>>) -> Result<(R::Context, DoorNotifier<R>)> {
        let plan = &self.plan;
        let spawner = setup.spawner::<Apps<R::App>>().part::<R::App>();
        let worker = Worker {
            index: self.index,
            count: plan.cores.len(),
            spawner: &spawner,
        };
        let ctx = (plan.contexts)(&worker)?;
        let seed = DoorSeed {
            worker: self.index,
            ledger: plan.ledger.clone(),
            streams: Streams::new(plan.limits.clone()),
            spawner: spawner.part::<R::Connection>(),
            seeds: plan.seeds.clone(),
            hear: plan.hear.clone(),
            sockets: plan.sockets[self.index].clone(),
        };
        let door = setup
            .add::<Door<R>>(seed)
            .map_err(|_| Error::msg("the worker's machine table has no room for its door"))?;
        Ok((ctx, door))
    }

    fn tell(&self, message: GateMessage) {
        let mut message = message;
        // The acceptor's inbox has room for every connection and more, so it is full for moments at most.
        while let Err(rotor_fsm::SendError::Full(back)) = self.gate.send(message) {
            message = back;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The recent failures of a worker.
struct Failures<'a> {
    rule: &'a Restarts,
    recent: VecDeque<Instant>,
}

impl<'a> Failures<'a> {
    fn new(rule: &'a Restarts) -> Self {
        Self {
            rule,
            recent: VecDeque::new(),
        }
    }

    /// One more: how long to wait before the next try, if there is to be one.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        self.recent
            .retain(|at| now.saturating_duration_since(*at) < self.rule.within);
        self.recent.push_back(now);
        let count = self.recent.len();
        if count > self.rule.failures_max {
            return None;
        }
        let doublings = u32::try_from(count - 1).unwrap_or(u32::MAX).min(16);
        Some(self.rule.backoff.saturating_mul(1 << doublings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restarts_back_off_and_give_up_unless_failures_are_rare() {
        let rule = Restarts {
            failures_max: 3,
            within: Duration::from_secs(10),
            backoff: Duration::from_millis(100),
        };
        let mut failures = Failures::new(&rule);
        let start = Instant::now();
        let waits: Vec<_> = (0..4)
            .map(|n| failures.next(start + Duration::from_secs(n)))
            .collect();
        let ms = |n| Some(Duration::from_millis(n));
        assert_eq!(waits, [ms(100), ms(200), ms(400), None]);
        // The first three are forgotten by then.
        assert_eq!(failures.next(start + Duration::from_secs(13)), ms(100));
    }
}

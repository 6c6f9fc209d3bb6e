//! The acceptor: the main loop's machine, which takes connections and hands each to a worker.
//!
//! ```text
//! Io::Waiting → Intakes::take → Ledger (place, table, load) → Picker → worker's inbox (Handed)
//! ```
//!
//! It also knows which workers are up, and leads the server through its end (see `ending`).

mod ending;

pub(super) use self::ending::Ending;

use self::ending::Phase;
use super::connection::{Arrival, Handed};
use super::door::Order;
use super::intake::{Intakes, REST};
use super::ledger::{Ledger, Room};
use super::picker::{Dispatch, Picker};
use super::report::{Notice, Watch};
use super::usher::Closing;
use crossbeam_channel::Sender;
use rotor_fsm::{
    Error, HandleId, Io, ListenSocket, Machine, Notifier, Response, Result, Scope, SignalWatch,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// What the acceptor is told.
pub enum GateMessage {
    /// The workers are ready: connections may come.
    Open(Opening),
    /// There may be room, or no connection is left.
    Room(Room),
    /// A connection whose worker ended before it had opened it.
    Returned(Arrival),
    /// A worker's loop runs, for the first time or again.
    Up(usize, Post),
    /// A worker's loop has ended by itself.
    Down(usize),
    /// A worker's thread has ended.
    Gone(usize),
    /// Stop listening, let connections finish for so long, then end.
    Drain(Duration),
    /// Another process listens on the same sockets from now on.
    HandedOver,
}

/// Where connections come from.
pub struct Opening {
    /// Each with the position of its address.
    pub(super) sockets: Vec<(usize, ListenSocket)>,
    /// Who is to be told when the listeners close.
    pub(super) usher: Option<Notifier<Closing>>,
    /// Told how it went.
    pub(super) opened: Sender<Result<()>>,
}

/// The way to a worker that is up. Dropping it ends the worker's loop: no worker outlives the acceptor, however that ends.
pub struct Post {
    pub(super) orders: Notifier<Order>,
    /// Shuts its loop down.
    pub(super) shutdown: Box<dyn Fn(Duration) + Send>,
}

impl Drop for Post {
    fn drop(&mut self) {
        (self.shutdown)(Duration::ZERO);
    }
}

/// What an acceptor is made from.
pub struct GateSeed {
    pub(super) ledger: Arc<Ledger>,
    pub(super) dispatch: Dispatch,
    pub(super) watch: Watch,
    /// How long a drain may take that a signal or a takeover begins.
    pub(super) grace: Duration,
    pub(super) heeds_signals: bool,
    /// Dropped to end threads that wait to restart their worker.
    pub(super) alive: Sender<()>,
    pub(super) ending: Arc<Ending>,
}

pub struct Gate {
    seed: GateSeed,
    intakes: Intakes,
    picker: Picker,
    workers: Vec<Worker>,
    usher: Option<Notifier<Closing>>,
    /// Connections for which no worker had room, oldest first. While there are any, none is accepted.
    pending: VecDeque<Arrival>,
    me: Notifier<GateMessage>,
    phase: Phase,
    needs_look: bool,
    _signals: Vec<SignalWatch>,
}

/// One worker, as the acceptor knows it.
#[derive(Default)]
struct Worker {
    post: Option<Post>,
    is_gone: bool,
    /// Has yet to be told of the drain.
    owes_finish: bool,
}

/// How often a full inbox is tried again.
const RETRY: Duration = Duration::from_millis(5);
/// The same numbers on every Unix.
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

impl Machine for Gate {
    type Context = ();
    type Message = GateMessage;
    type Seed = GateSeed;

    fn create(seed: GateSeed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let me = scope.notifier();
        let signums: &[i32] = match seed.heeds_signals {
            true => &[SIGINT, SIGTERM],
            false => &[],
        };
        let signals = signums.iter().map(|&signum| scope.signal(signum));
        let signals = signals.collect::<Result<Vec<_>, _>>()?;
        let workers = seed.ledger.workers.iter().map(|_| Worker::default());
        Ok(Response::of(Self {
            intakes: Intakes::new(seed.ledger.clone(), me.clone().map(GateMessage::Room)),
            picker: Picker::new(seed.dispatch),
            workers: workers.collect(),
            usher: None,
            pending: VecDeque::new(),
            me,
            phase: Phase::Serving,
            needs_look: false,
            _signals: signals,
            seed,
        }))
    }

    fn io(
        mut self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match event {
            Io::Waiting => {
                self.accept(on, scope);
                self.wait(scope)
            }
            Io::Signal(_) => {
                let grace = match self.phase {
                    Phase::Serving => self.seed.grace,
                    _ => Duration::ZERO,
                };
                self.drain(grace, scope);
                self.wait(scope)
            }
            _ => Ok(Response::of(self)),
        }
    }

    fn wakeup(
        mut self,
        message: GateMessage,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match message {
            GateMessage::Open(opening) => self.open(opening, scope),
            GateMessage::Room(Room) => self.needs_look = self.intakes.resume(true, scope),
            GateMessage::Returned(arrival) => self.pending.push_back(arrival),
            GateMessage::Up(worker, post) => self.up(worker, post),
            GateMessage::Down(worker) => self.workers[worker] = Worker::default(),
            GateMessage::Gone(worker) => {
                self.workers[worker] = Worker {
                    is_gone: true,
                    ..Worker::default()
                }
            }
            GateMessage::Drain(grace) => self.drain(grace, scope),
            GateMessage::HandedOver => self.hand_over(scope),
        }
        self.place_pending(scope);
        self.wait(scope)
    }

    fn timeout(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.place_pending(scope);
        if self.pending.is_empty() {
            self.needs_look = self.intakes.resume(false, scope);
        }
        self.wait(scope)
    }
}

impl Gate {
    /// Begins to listen, unless the end has begun already.
    fn open(&mut self, opening: Opening, scope: &mut Scope<'_, Self>) {
        self.usher = opening.usher;
        if !matches!(self.phase, Phase::Serving) {
            self.stop_listening(false, scope);
        }
        let mut sockets = opening.sockets.into_iter();
        let opened = match self.phase {
            Phase::Serving => {
                sockets.try_for_each(|(address, socket)| self.intakes.open(address, socket, scope))
            }
            _ => Ok(()),
        };
        // Who starts the server waits for it, and ends it after an error.
        let _ = opening.opened.try_send(opened);
    }

    /// Takes what waits at a listener.
    fn accept(&mut self, on: HandleId, scope: &mut Scope<'_, Self>) {
        let Self {
            seed,
            intakes,
            picker,
            workers,
            pending,
            me,
            ..
        } = self;
        let needs_look = intakes.take(on, scope, |place, connection, listener, _| {
            // If none is up, it will be another's later.
            let worker = picker.pick(&seed.ledger, |n| workers[n].post.is_some());
            let worker = worker.unwrap_or(0);
            if let Some(arrival) = place.fill(connection, worker, listener)
                && let Err(arrival) = send(arrival, worker, workers, me, &seed.ledger)
            {
                pending.push_back(arrival);
            }
            pending.is_empty()
        });
        self.needs_look |= needs_look;
    }

    /// Gives connections that wait to workers that have room.
    fn place_pending(&mut self, scope: &mut Scope<'_, Self>) {
        let had_some = !self.pending.is_empty();
        while let Some(arrival) = self.pending.pop_front() {
            if let Err(arrival) = self.place(arrival) {
                self.pending.push_front(arrival);
                return;
            }
        }
        if had_some {
            self.needs_look = self.intakes.resume(false, scope);
        }
    }

    /// Gives one to the worker that is to have it, or to any that has room.
    fn place(&mut self, mut arrival: Arrival) -> Result<(), Arrival> {
        let ledger = &self.seed.ledger;
        let mut refused = vec![false; self.workers.len()];
        loop {
            let workers = &self.workers;
            let can_take = |n: usize| workers[n].post.is_some() && !refused[n];
            let Some(worker) = self.picker.pick(ledger, can_take) else {
                return Err(arrival);
            };
            ledger.assign(arrival.id, worker);
            match send(arrival, worker, workers, &self.me, ledger) {
                Ok(()) => return Ok(()),
                Err(back) => arrival = back,
            }
            refused[worker] = true;
        }
    }

    fn up(&mut self, worker: usize, post: Post) {
        if matches!(self.phase, Phase::Ending) {
            (post.shutdown)(Duration::ZERO);
        }
        let is_draining = matches!(self.phase, Phase::Draining(_));
        self.workers[worker] = Worker {
            post: Some(post),
            is_gone: false,
            owes_finish: is_draining,
        };
    }

    /// The answer to every event: goes on with an end under way, and says when to look again.
    fn wait(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if self.go_on_ending(scope) {
            return self.end();
        }
        let now = scope.now();
        let mut at = self.phase.deadline();
        if self.needs_look {
            at = at.min(now + REST);
        }
        // Who waits for a worker that is down goes on when it is up.
        let is_one_up = self.workers.iter().any(|worker| worker.post.is_some());
        if self.is_one_to_finish() || is_one_up && !self.pending.is_empty() {
            at = at.min(now + RETRY);
        }
        // `NEVER` clears it.
        Ok(Response::of(self).deadline(at))
    }

    /// All workers' threads have ended.
    fn end(self) -> Result<Response<Self>> {
        match self.phase {
            Phase::Serving => Err(Error::msg("every worker has failed too often")),
            _ => Ok(Response::done()),
        }
    }

    fn notice(&self, notice: Notice) {
        (self.seed.watch)(&notice);
    }
}

/// Puts a connection into a worker's inbox. One that is refused comes back.
fn send(
    arrival: Arrival,
    worker: usize,
    workers: &[Worker],
    home: &Notifier<GateMessage>,
    ledger: &Arc<Ledger>,
) -> Result<(), Arrival> {
    let Some(post) = &workers[worker].post else {
        return Err(arrival);
    };
    let handed = Handed::new(arrival, home, ledger);
    match post.orders.send(Order::Connection(handed)) {
        Ok(()) => Ok(()),
        Err(refused) => match refused.into_inner().into_arrival() {
            Some(arrival) => Err(arrival),
            None => Ok(()),
        },
    }
}

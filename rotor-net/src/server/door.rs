//! A worker's door: the machine of each worker's loop that makes machines of the connections it is handed.
//!
//! ```text
//! Order::Connection → Scope::adopt → seed function (the program's) → Spawner → the connection's machine
//! ```
//!
//! With `ReusePort` it also listens itself. When the server drains, it asks each connection to finish.

use super::bind::OwnSockets;
use super::connection::{Arrival, Connection, Handed};
use super::intake::{Intakes, REST};
use super::ledger::{Ledger, Place, Room};
use super::roles::Roles;
use crate::Streams;
use rotor_fsm::{Detached, HandleId, Io, Machine, MachineId, Response, Result, Scope, Spawner};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What the acceptor asks of a worker.
pub enum Order {
    /// Serve this connection.
    Connection(Handed),
    /// Stop listening, and ask every connection to finish.
    Finish {
        /// What waits at listeners is another process's.
        is_handed_over: bool,
    },
}

impl Order {
    /// The connection in it, taken back.
    pub(super) fn into_arrival(self) -> Option<Arrival> {
        match self {
            Self::Connection(handed) => handed.take(),
            Self::Finish { .. } => None,
        }
    }
}

/// What a door is told.
pub enum DoorMessage<T> {
    Order(Order),
    Room(Room),
    /// Broadcast by the program.
    Message(T),
}

/// Makes the seed of a connection's machine.
pub(super) type SeedFn<R> = dyn Fn(
        Connection<'_>,
        &mut <R as Roles>::Context,
    ) -> Result<<<R as Roles>::Connection as Machine>::Seed>
    + Send
    + Sync;
/// Hears a broadcast message.
pub(super) type HearFn<R> = dyn Fn(<R as Roles>::Message, &mut <R as Roles>::Context) + Send + Sync;

/// What a door is made from.
pub struct DoorSeed<R: Roles> {
    pub(super) worker: usize,
    pub(super) ledger: Arc<Ledger>,
    pub(super) streams: Streams,
    pub(super) spawner: Spawner<R::Connection>,
    pub(super) seeds: Arc<SeedFn<R>>,
    pub(super) hear: Arc<HearFn<R>>,
    /// Where it listens itself.
    pub(super) sockets: OwnSockets,
}

/// Boxed, because it is the largest machine of its loop, and a connection's is moved in as much room.
pub struct Door<R: Roles> {
    intakes: Box<Intakes>,
    opener: Box<Opener<R>>,
}

/// Makes machines of connections, and remembers them.
struct Opener<R: Roles> {
    seed: DoorSeed<R>,
    /// The machines of connections, by the index of their ids; `None` where another machine is. Some have ended.
    connections: Vec<Option<MachineId>>,
    is_finishing: bool,
}

impl<R: Roles> Machine for Door<R> {
    type Context = R::Context;
    type Message = DoorMessage<R::Message>;
    type Seed = DoorSeed<R>;

    fn create(seed: DoorSeed<R>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let room = scope.notifier().map(DoorMessage::Room);
        let mut intakes = Intakes::new(seed.ledger.clone(), room);
        for (address, socket) in seed.sockets.copies()? {
            intakes.open(address, socket, scope)?;
        }
        let opener = Opener {
            seed,
            connections: Vec::new(),
            is_finishing: false,
        };
        Ok(Response::of(Self {
            intakes: Box::new(intakes),
            opener: Box::new(opener),
        }))
    }

    fn io(
        mut self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let Io::Waiting = event else {
            return Ok(Response::of(self));
        };
        let opener = &mut self.opener;
        let needs_look = self
            .intakes
            .take(on, scope, |place, connection, address, scope| {
                opener.enter(place, connection, address, scope);
                true
            });
        Ok(self.look_again(needs_look))
    }

    fn wakeup(
        mut self,
        message: DoorMessage<R::Message>,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match message {
            DoorMessage::Order(Order::Connection(handed)) => {
                if let Some(arrival) = handed.take() {
                    self.opener.open(arrival, scope);
                }
            }
            DoorMessage::Order(Order::Finish { is_handed_over }) => {
                self.finish_connections(is_handed_over, scope)
            }
            DoorMessage::Message(message) => (self.opener.seed.hear)(message, scope.ctx),
            DoorMessage::Room(Room) => {
                let needs_look = self.intakes.resume(true, scope);
                return Ok(self.look_again(needs_look));
            }
        }
        Ok(Response::of(self))
    }

    fn timeout(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let needs_look = self.intakes.resume(false, scope);
        Ok(self.look_again(needs_look))
    }
}

impl<R: Roles> Door<R> {
    fn look_again(self, needs_look: bool) -> Response<Self> {
        match needs_look {
            true => Response::of(self).after(REST),
            false => Response::of(self),
        }
    }

    fn finish_connections(&mut self, is_handed_over: bool, scope: &mut Scope<'_, Self>) {
        if is_handed_over {
            self.intakes.leave_files(scope);
        } else {
            let opener = &mut self.opener;
            self.intakes
                .take_rest(scope, |place, connection, address, scope| {
                    opener.enter(place, connection, address, scope);
                });
        }
        self.intakes.close();
        self.opener.seed.sockets.close();
        self.opener.is_finishing = true;
        for &id in self.opener.connections.iter().flatten() {
            // There are never more than machines, so there is always room.
            let _ = scope.ask_to_finish(id);
        }
        let tally = &self.opener.seed.ledger.workers[self.opener.seed.worker];
        tally.is_finishing.store(true, Ordering::SeqCst);
    }
}

impl<R: Roles> Opener<R> {
    /// A connection that this worker accepted itself.
    fn enter(
        &mut self,
        place: Place,
        connection: Detached,
        listener: usize,
        scope: &mut Scope<'_, Door<R>>,
    ) {
        if let Some(arrival) = place.fill(connection, self.seed.worker, listener) {
            self.open(arrival, scope);
        }
    }

    /// Makes the machine of a connection. One that is refused closes, and is counted.
    fn open(&mut self, arrival: Arrival, scope: &mut Scope<'_, Door<R>>) {
        match self.make(arrival, scope) {
            Some(id) => self.remember(id, scope),
            None => {
                let tally = &self.seed.ledger.workers[self.seed.worker];
                tally.refused.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn make(&mut self, arrival: Arrival, scope: &mut Scope<'_, Door<R>>) -> Option<MachineId> {
        let connection = Connection {
            incoming: scope.adopt(arrival.connection).ok()?,
            id: arrival.id,
            listener: arrival.listener,
            worker: self.seed.worker,
            streams: &self.seed.streams,
        };
        let seeds = &self.seed.seeds;
        // The program's code, which may panic about one connection without an end to all others.
        let seed = catch_unwind(AssertUnwindSafe(|| seeds(connection, scope.ctx))).ok()?;
        let spawned = self.seed.spawner.spawn(seed.ok()?).ok()?;
        Some(spawned.id())
    }

    fn remember(&mut self, id: MachineId, scope: &mut Scope<'_, Door<R>>) {
        let index = id.index() as usize;
        if self.connections.len() <= index {
            self.connections.resize(index + 1, None);
        }
        self.connections[index] = Some(id);
        if self.is_finishing {
            // There are never more than machines, so there is always room.
            let _ = scope.ask_to_finish(id);
        }
    }
}

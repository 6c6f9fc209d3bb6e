//! `Accept`: listens, and makes a stream of every connection within the limits.
//!
//! At the connection limit it leaves further connections in the kernel's queue, and goes on when a stream has ended
//! (L6).

use crate::Protocol;
use crate::stream::Stream;
use crate::streams::Streams;
use rotor_fsm::{
    Addr, HandleId, Io, ListenOptions, Listener, Machine, Notifier, Response, Result, Scope,
    Spawner,
};
use std::time::Duration;

/// A listening machine. [`compose!`](rotor_fsm::compose) it with `Stream<P>`; [`Service`](crate::Service) is that.
pub struct Accept<P: Protocol> {
    listener: Listener,
    streams: Streams,
    spawner: Spawner<Stream<P>>,
    seeds: SeedFn<P>,
    /// How a stream's end is told to this machine.
    room: Notifier<Room>,
    is_paused: bool,
    /// Some stream's end will be told.
    is_waiting: bool,
}

type SeedFn<P> = Box<dyn FnMut(&mut <P as Protocol>::Context) -> <P as Protocol>::Seed>;
type ListeningFn = Box<dyn FnOnce(&Addr)>;

/// Tells an [`Accept`] that a stream has ended. Nothing to be sent by others.
#[derive(Debug)]
pub struct Room(pub(crate) ());

/// What an [`Accept`] is made from.
pub struct AcceptSeed<P: Protocol> {
    at: Addr,
    options: ListenOptions,
    streams: Streams,
    spawner: Spawner<Stream<P>>,
    seeds: SeedFn<P>,
    listening: Option<ListeningFn>,
}

/// How often a listener that waits for room looks by itself, in case it could not be told.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl<P: Protocol> AcceptSeed<P> {
    /// Listens at `at`; `seeds` makes the seed of each connection's protocol.
    pub fn new(
        at: impl Into<Addr>,
        streams: &Streams,
        spawner: &Spawner<Stream<P>>,
        seeds: impl FnMut(&mut P::Context) -> P::Seed + 'static,
    ) -> Self {
        Self {
            at: at.into(),
            options: ListenOptions::default(),
            streams: streams.clone(),
            spawner: spawner.clone(),
            seeds: Box::new(seeds),
            listening: None,
        }
    }

    /// Listens in this way.
    pub fn options(self, options: ListenOptions) -> Self {
        Self { options, ..self }
    }

    /// Calls `f` with the address, once connections are taken there; it tells the port that `:0` became.
    pub fn on_listening(self, f: impl FnOnce(&Addr) + 'static) -> Self {
        Self {
            listening: Some(Box::new(f)),
            ..self
        }
    }
}

impl<P: Protocol> Machine for Accept<P> {
    type Context = P::Context;
    type Message = Room;
    type Seed = AcceptSeed<P>;

    fn create(seed: AcceptSeed<P>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let listener = scope.listen_with(seed.at, &seed.options)?;
        if let Some(tell) = seed.listening {
            tell(&scope.listening_at(&listener)?);
        }
        let accept = Self {
            listener,
            streams: seed.streams,
            spawner: seed.spawner,
            seeds: seed.seeds,
            room: scope.notifier(),
            is_paused: false,
            is_waiting: false,
        };
        Ok(accept.go_on(scope))
    }

    fn io(
        mut self,
        event: Io<'_>,
        _: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match event {
            Io::Incoming(incoming) => {
                let seed = (self.seeds)(scope.ctx);
                // One for which there is no room closes: another listener took the last place in the same turn, or
                // the loop shuts down.
                if let Ok(seed) = self.streams.accepted::<P>(incoming, seed) {
                    let _ = self.spawner.spawn(seed);
                }
                Ok(self.go_on(scope))
            }
            // A connection that was gone before it was taken is no reason to stop taking others.
            _ => Ok(Response::of(self)),
        }
    }

    fn wakeup(mut self, _: Room, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.is_waiting = false;
        Ok(self.go_on(scope))
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(self.go_on(scope))
    }
}

impl<P: Protocol> Accept<P> {
    /// Takes connections while there is room.
    fn go_on(mut self, scope: &mut Scope<'_, Self>) -> Response<Self> {
        if self.streams.is_full() {
            if !self.is_paused {
                scope.pause_listener(&self.listener);
                self.is_paused = true;
            }
            if !self.is_waiting {
                self.streams.tell(self.room.clone());
                self.is_waiting = true;
            }
            return Response::of(self).after(LOOK_AGAIN);
        }
        if !self.is_paused {
            return Response::of(self);
        }
        scope.resume_listener(&self.listener);
        self.is_paused = false;
        Response::of(self).no_deadline()
    }
}

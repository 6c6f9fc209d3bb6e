//! `Stream`: the machine that runs a protocol on a connection.
//!
//! It turns what happens on the socket into handler calls, one after the other in a loop (`Stream::run`): a frame, if
//! one is complete and may be delivered; room in the output, if the protocol waits for it; the end of input, once all
//! before it was delivered. What a handler answers is applied before the next is called. When nothing more can be
//! done, or the share of a dispatch is used up, what is left of the input is kept, and reading is switched to what is
//! wanted now.
//!
//! States: connecting (clients only), open, lingering (see `linger`). Small and flat, since it is moved by value at
//! every event: everything that an idle connection does not need is behind one pointer, or shared in `Streams`.

use crate::Protocol;
use crate::connect::{ConnectError, Connecting};
use crate::intent::{Intent, Wish};
use crate::linger::Lingering;
use crate::link::{Link, STALLED};
use crate::run::Outcome;
use crate::streams::{Streams, Ticket};
use crate::switch::Handover;
use rotor_fsm::{
    Addr, ErrorKind, HandleId, Incoming, Io, IoError, IoErrorKind, Machine, Op, Response, Result,
    Scope, Socket,
};
use std::time::Duration;

/// A connection and its protocol, as a machine. Made from the seeds of [`Streams`] and [`Accept`](crate::Accept).
pub struct Stream<P: Protocol> {
    pub(crate) link: Link,
    pub(crate) state: State<P>,
}

/// What a stream is made from: an accepted connection, one to be made, or one taken over from another protocol.
pub struct StreamSeed<P: Protocol> {
    seed: P::Seed,
    from: From,
}

enum From {
    Accepted(Incoming, Ticket),
    Switched(Handover),
    Connect(Addr, Duration, Streams),
}

pub(crate) enum State<P: Protocol> {
    Open(P),
    Lingering(Lingering),
    Connecting(Box<Connecting<P>>),
}

impl<P: Protocol> StreamSeed<P> {
    pub(crate) fn accepted(incoming: Incoming, ticket: Ticket, seed: P::Seed) -> Self {
        Self {
            seed,
            from: From::Accepted(incoming, ticket),
        }
    }

    pub(crate) fn connect(to: Addr, timeout: Duration, streams: Streams, seed: P::Seed) -> Self {
        Self {
            seed,
            from: From::Connect(to, timeout, streams),
        }
    }

    pub(crate) fn switched(handover: Handover, seed: P::Seed) -> Self {
        Self {
            seed,
            from: From::Switched(handover),
        }
    }

    /// The connection of a seed made by `switched`.
    pub(crate) fn into_handover(self) -> Handover {
        match self.from {
            From::Switched(handover) => handover,
            From::Accepted(incoming, ticket) => Handover {
                incoming,
                held: None,
                ticket,
                facts: 0,
            },
            From::Connect(..) => unreachable!("a seed made by `switched` holds a connection"),
        }
    }
}

/// The flow of events.
impl<P: Protocol> Machine for Stream<P> {
    type Context = P::Context;
    type Message = P::Message;
    type Seed = StreamSeed<P>;

    fn create(seed: StreamSeed<P>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match seed.from {
            From::Accepted(incoming, ticket) => {
                let socket = scope.open(incoming)?;
                send_at_once(scope, &socket);
                Self::begin(Link::new(socket, ticket), seed.seed, scope).answer()
            }
            From::Switched(handover) => {
                let link = Link::take_over(handover, scope)?;
                Self::begin(link, seed.seed, scope).answer()
            }
            From::Connect(to, timeout, streams) => {
                Self::connect(to, timeout, &streams, seed.seed, scope)
            }
        }
    }

    #[inline]
    fn io(
        mut self,
        event: Io<'_>,
        _: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match self.state {
            State::Open(protocol) => {
                let mut fresh: &[u8] = &[];
                match &event {
                    Io::Read(bytes) => {
                        fresh = bytes;
                        self.link.flags &= !STALLED;
                    }
                    Io::Woken => return Self::woken(self.link, protocol, scope),
                    other => self.link.note(other),
                }
                let feed = self.link.feed(fresh);
                Self::run(self.link, Ok(Intent::of(protocol)), feed, scope).answer()
            }
            State::Lingering(mut lingering) => {
                if let Some(result) = lingering.io(&mut self.link, &event) {
                    return Outcome::Ends(result).answer();
                }
                self.state = State::Lingering(lingering);
                Ok(Response::of(self))
            }
            State::Connecting(connecting) => Self::connected(self.link, *connecting, event, scope),
        }
    }

    #[inline]
    fn wakeup(self, message: P::Message, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.deliver(message, scope).answer()
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match self.state {
            State::Open(protocol) => self
                .link
                .call(scope, |conn| protocol.timeout(conn))
                .answer(),
            State::Lingering(lingering) => Outcome::Ends(lingering.result()).answer(),
            State::Connecting(connecting) => {
                let error = IoError::new(Op::Connect, IoErrorKind::TimedOut);
                give_up::<P>(connecting.to, connecting.seed, error, scope)
            }
        }
    }

    fn finish(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match self.state {
            State::Open(protocol) => self.link.call(scope, |conn| protocol.finish(conn)).answer(),
            State::Lingering(_) => Ok(Response::of(self)),
            State::Connecting(_) => Ok(Response::done()),
        }
    }
}

/// One write a dispatch needs no help from the kernel's delay; a pipelining peer would wait for it.
fn send_at_once<M: Machine>(scope: &mut Scope<'_, M>, socket: &Socket) {
    // Only a connection that is gone refuses, and that is told by its events.
    let _ = scope.set_nodelay(socket, true);
}

/// Beginning.
impl<P: Protocol> Stream<P> {
    /// The connection stands: makes the protocol.
    fn begin(mut link: Link, seed: P::Seed, scope: &mut Scope<'_, Self>) -> Outcome<P> {
        let feed = link.feed(&[]);
        let first = P::create(seed, &mut link.conn(scope, &[]));
        Self::run(link, first, feed, scope)
    }

    fn connect(
        to: Addr,
        timeout: Duration,
        streams: &Streams,
        seed: P::Seed,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let Some(ticket) = streams.ticket() else {
            return give_up::<P>(
                to,
                seed,
                IoError::new(Op::Connect, IoErrorKind::Limit),
                scope,
            );
        };
        match scope.connect(to.clone()) {
            Ok(socket) => {
                let link = Link::new(socket, ticket);
                let connecting = Box::new(Connecting {
                    to,
                    seed,
                    early: Vec::new(),
                });
                Ok(Response::of(Self {
                    link,
                    state: State::Connecting(connecting),
                })
                .after(timeout))
            }
            Err(error) => give_up::<P>(to, seed, error, scope),
        }
    }

    /// Something happened to a connection that is being made.
    fn connected(
        link: Link,
        connecting: Connecting<P>,
        event: Io<'_>,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match event {
            Io::Connected => {}
            Io::Failed(error) => return give_up::<P>(connecting.to, connecting.seed, error, scope),
            _ => {
                let state = State::Connecting(Box::new(connecting));
                return Ok(Response::of(Self { link, state }));
            }
        }
        send_at_once(scope, &link.socket);
        let mut outcome = Self::begin(link, connecting.seed, scope);
        // The deadline that is set is that of connecting.
        let mut wish = Wish::Clear;
        for message in connecting.early {
            outcome = match outcome {
                Outcome::Goes(stream, now) => {
                    wish = now.or(wish);
                    stream.deliver(message, scope)
                }
                end => end,
            };
        }
        match outcome {
            Outcome::Goes(stream, now) => Outcome::Goes(stream, now.or(wish)).answer(),
            end => end.answer(),
        }
    }

    #[inline(never)]
    fn woken(link: Link, protocol: P, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        link.call(scope, |conn| protocol.woken(conn)).answer()
    }

    #[inline]
    fn deliver(mut self, message: P::Message, scope: &mut Scope<'_, Self>) -> Outcome<P> {
        match self.state {
            State::Open(protocol) => self.link.call(scope, |conn| protocol.wakeup(message, conn)),
            // The protocol has ended, and the message with it.
            State::Lingering(_) => Outcome::Goes(self, Wish::Keep),
            State::Connecting(ref mut connecting) => {
                let early_max = self.link.ticket.streams().limits().early_messages_max;
                if connecting.early.len() >= early_max {
                    return Outcome::Ends(Err(ErrorKind::Full.into()));
                }
                connecting.early.push(message);
                Outcome::Goes(self, Wish::Keep)
            }
        }
    }
}

/// There will be no connection: tells the protocol's type, since there is no protocol.
fn give_up<P: Protocol>(
    to: Addr,
    seed: P::Seed,
    error: IoError,
    scope: &mut Scope<'_, Stream<P>>,
) -> Result<Response<Stream<P>>> {
    P::unreachable(seed, ConnectError { to, error }, scope.ctx)?;
    Ok(Response::done())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Conn, Input};

    struct Nothing;

    impl Protocol for Nothing {
        type Context = ();
        type Message = ();
        type Seed = ();

        fn create(_: (), _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
            Ok(Intent::of(Nothing))
        }

        fn received(self, _: Input<'_>, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
            Ok(Intent::of(Nothing))
        }
    }

    /// An idle connection costs this, and nothing on the heap.
    #[test]
    fn r14_a_stream_is_small() {
        assert!(
            size_of::<Stream<Nothing>>() <= 96,
            "{}",
            size_of::<Stream<Nothing>>()
        );
        assert!(
            size_of::<StreamSeed<Nothing>>() <= 96,
            "{}",
            size_of::<StreamSeed<Nothing>>()
        );
        assert!(
            size_of::<Intent<Nothing>>() <= 96,
            "{}",
            size_of::<Intent<Nothing>>()
        );
    }
}

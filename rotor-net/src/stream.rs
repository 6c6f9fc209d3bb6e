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

use crate::conn::Out;
use crate::connect::{ConnectError, Connecting};
use crate::feed::{Feed, Found, Frame, Held};
use crate::intent::{Intent, Next, Reads, Wish};
use crate::linger::Lingering;
use crate::streams::{Streams, Ticket};
use crate::switch::{Handover, Switch};
use crate::until::{Kind, Until, Want};
use crate::{Conn, Failure, Input, Protocol};
use rotor_fsm::{
    Addr, Error, ErrorKind, HandleId, Incoming, Io, IoError, IoErrorKind, Machine, Op, Parts,
    Response, Result, Scope, Socket,
};
use std::cell::Cell;
use std::time::Duration;

/// A connection and its protocol, as a machine. Made from the seeds of [`Streams`] and [`Accept`](crate::Accept).
pub struct Stream<P: Protocol> {
    link: Link,
    state: State<P>,
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

enum State<P: Protocol> {
    Open(P),
    Lingering(Lingering),
    Connecting(Box<Connecting<P>>),
}

/// The connection's side of a stream: everything but the protocol.
pub(crate) struct Link {
    pub socket: Socket,
    pub ticket: Ticket,
    held: Option<Box<Held>>,
    want: Want,
    /// Tell the protocol when less output than this waits. 0: it does not care.
    flush_below: u32,
    pub flags: u16,
    /// Why input ended, if the peer did not end it. Boxed, for it is rare.
    end: Option<Box<Failure>>,
}

/// The socket is being read.
pub(crate) const READING: u16 = 1;
/// The protocol does not want input now.
const PAUSED: u16 = 2;
/// Too much output waits: no input until it is less.
const OVER: u16 = 4;
/// The protocol has seen what is kept, and waits for more.
const STALLED: u16 = 8;
/// Asked to go on in a later turn.
const AGAIN: u16 = 16;
/// No more input will arrive, or none that can be delivered.
const INPUT_OVER: u16 = 32;
/// The protocol has heard of the end of input.
const TOLD: u16 = 64;
/// A write failed: output goes nowhere.
pub(crate) const OUTPUT_FAILED: u16 = 128;
/// Output was ended; FIN follows it.
pub(crate) const OUTPUT_ENDED: u16 = 256;
/// FIN is on its way, after all output.
pub(crate) const FIN_SENT: u16 = 512;
/// The peer's FIN was read: nothing unread is left in the kernel.
pub(crate) const EOF: u16 = 1024;

/// Facts that stay true when the protocol is switched.
const FACTS: u16 = INPUT_OVER | OUTPUT_FAILED | OUTPUT_ENDED | FIN_SENT | EOF;

/// What `run` does next.
enum Step {
    Frame(Frame),
    Flushed,
    End,
    Wait,
}

/// What comes of one event: the stream, or its end, and what is wished of the deadline.
enum Outcome<P: Protocol> {
    Goes(Stream<P>, Wish),
    Ends(Result<()>),
}

impl<P: Protocol> Outcome<P> {
    #[inline]
    fn answer(self) -> Result<Response<Stream<P>>> {
        match self {
            Self::Goes(stream, wish) => Ok(wish.apply(Response::of(stream))),
            Self::Ends(Ok(())) => Ok(Response::done()),
            Self::Ends(Err(error)) => Err(error),
        }
    }
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

/// Running the protocol.
impl<P: Protocol> Stream<P> {
    /// Applies an intent and calls handlers until nothing more can be done in this dispatch.
    #[inline]
    fn run(
        mut link: Link,
        first: Result<Intent<P>>,
        mut feed: Feed<'_>,
        scope: &mut Scope<'_, Self>,
    ) -> Outcome<P> {
        let mut answer = first;
        let mut wish = Wish::Keep;
        let mut calls_left = link.ticket.streams().limits().calls_per_dispatch;
        let protocol = loop {
            let intent = match answer {
                Ok(intent) => intent,
                Err(error) => return Self::end(link, Some(error), scope),
            };
            link.apply(&intent, &mut feed, scope);
            wish = intent.wish.or(wish);
            let protocol = match intent.next {
                Next::State(protocol) => protocol,
                Next::Done => return Self::end(link, None, scope),
                Next::Abort => {
                    scope.abort(link.socket);
                    return Outcome::Ends(Ok(()));
                }
                Next::Switch(switch) => return Self::switch(link, switch, feed, scope),
            };
            if calls_left == 0 {
                link.go_on_later(scope);
                break protocol;
            }
            calls_left -= 1;
            answer = match link.next_step(&mut feed, scope) {
                Step::Frame(frame) => link.present(protocol, frame, &mut feed, scope),
                Step::Flushed => protocol.flushed(&mut link.conn(scope, &[])),
                Step::End => link.tell_end(protocol, &mut feed, scope),
                Step::Wait => break protocol,
            };
        };
        link.rest(feed, scope);
        Outcome::Goes(
            Self {
                link,
                state: State::Open(protocol),
            },
            wish,
        )
    }

    /// The protocol has ended: its stream lingers, if there is anything to linger for.
    fn end(link: Link, error: Option<Error>, scope: &mut Scope<'_, Self>) -> Outcome<P> {
        let linger = link.ticket.streams().limits().linger;
        match Lingering::begin(link, error, scope) {
            Ok((link, lingering)) => {
                let state = State::Lingering(lingering);
                Outcome::Goes(Self { link, state }, Wish::After(linger))
            }
            Err(result) => Outcome::Ends(result),
        }
    }

    fn switch(
        link: Link,
        switch: Switch,
        feed: Feed<'_>,
        scope: &mut Scope<'_, Self>,
    ) -> Outcome<P> {
        let held = feed.into_held(link.ticket.streams());
        let facts = link.flags & FACTS;
        let incoming = match scope.hand_over(link.socket) {
            Ok(incoming) => incoming,
            Err(error) => return Outcome::Ends(Err(error.into())),
        };
        let handover = Handover {
            incoming,
            held,
            ticket: link.ticket,
            facts,
        };
        match switch(handover).map_err(|handover| Link::take_over(handover, scope)) {
            Ok(()) => Outcome::Ends(Ok(())),
            Err(Ok(link)) => Self::end(link, Some(ErrorKind::Full.into()), scope),
            Err(Err(error)) => Outcome::Ends(Err(error)),
        }
    }
}

impl Link {
    fn new(socket: Socket, ticket: Ticket) -> Self {
        Self {
            socket,
            ticket,
            held: None,
            want: Until::Any.into(),
            flush_below: 0,
            flags: READING,
            end: None,
        }
    }

    /// A connection that another protocol gave up.
    fn take_over<M: Machine>(handover: Handover, scope: &mut Scope<'_, M>) -> Result<Self> {
        let socket = scope.open(handover.incoming)?;
        let mut link = Self::new(socket, handover.ticket);
        link.flags |= handover.facts;
        link.held = handover.held;
        Ok(link)
    }

    /// What was kept, and what has just arrived.
    #[inline]
    fn feed<'a>(&mut self, fresh: &'a [u8]) -> Feed<'a> {
        Feed::new(self.held.take(), fresh)
    }

    #[inline]
    fn is(&self, flags: u16) -> bool {
        self.flags & flags != 0
    }

    #[inline]
    fn set(&mut self, flag: u16, on: bool) {
        if on {
            self.flags |= flag;
        } else {
            self.flags &= !flag;
        }
    }

    #[inline]
    fn conn<'a, P: Protocol>(
        &self,
        scope: &'a mut Scope<'_, Stream<P>>,
        rest: &'a [u8],
    ) -> Conn<'a, P> {
        let bytes_max = self.ticket.streams().limits().output_bytes_max;
        let Parts { ctx, out, own } = scope.parts(&self.socket);
        Conn {
            ctx,
            out: Out {
                output: out,
                bytes_max,
            },
            own,
            rest,
        }
    }

    /// A handler that is called by something else than the socket, and all that follows from it.
    #[inline]
    fn call<P: Protocol>(
        mut self,
        scope: &mut Scope<'_, Stream<P>>,
        handler: impl FnOnce(&mut Conn<'_, P>) -> Result<Intent<P>>,
    ) -> Outcome<P> {
        let feed = self.feed(&[]);
        let first = handler(&mut self.conn(scope, &[]));
        Stream::run(self, first, feed, scope)
    }

    /// An event other than `Read`.
    fn note(&mut self, event: &Io<'_>) {
        match event {
            Io::Eof => self.flags |= INPUT_OVER | EOF,
            Io::Again => self.flags &= !AGAIN,
            Io::ShutDown => self.flags |= FIN_SENT,
            Io::Failed(error) if matches!(error.op(), Op::Write | Op::Shutdown) => {
                self.flags |= OUTPUT_FAILED;
                self.end
                    .get_or_insert_with(|| Box::new(Failure::Write(*error)));
            }
            Io::Failed(error) => {
                // A failed write is why reading ends, and was first.
                self.flags |= INPUT_OVER | OUTPUT_FAILED;
                self.end
                    .get_or_insert_with(|| Box::new(Failure::Read(*error)));
            }
            // `Flushed` is only a reason to look.
            _ => {}
        }
    }

    /// Takes over what an intent names.
    #[inline]
    fn apply<P: Protocol>(
        &mut self,
        intent: &Intent<P>,
        feed: &mut Feed<'_>,
        scope: &mut Scope<'_, Stream<P>>,
    ) {
        if let Some(want) = intent.read {
            if want != self.want {
                self.want = want;
                feed.rescan();
            }
            if want.kind != Kind::Any {
                self.flags &= !STALLED;
            }
        }
        if intent.reads != Reads::Keep {
            self.set(PAUSED, intent.reads == Reads::Off);
        }
        if let Some(bytes) = intent.flushed_below {
            self.flush_below = u32::try_from(bytes).unwrap_or(u32::MAX);
        }
        if intent.ends_output && !self.is(OUTPUT_ENDED) {
            self.end_output(scope);
        }
    }

    pub fn end_output<M: Machine>(&mut self, scope: &mut Scope<'_, M>) {
        self.flags |= OUTPUT_ENDED;
        if scope.shutdown_write(&self.socket).is_err() {
            self.flags |= OUTPUT_FAILED;
        }
    }

    /// What can be done now.
    #[inline]
    fn next_step<M: Machine>(&mut self, feed: &mut Feed<'_>, scope: &mut Scope<'_, M>) -> Step {
        if self.is(OUTPUT_FAILED) {
            // Nobody waits for output that goes nowhere.
            self.flags &= !OVER;
            if self.is(PAUSED) && !self.is(TOLD) {
                return Step::End;
            }
        } else {
            let queued = scope.parts(&self.socket).out.peek_queued();
            self.weigh(queued);
            if queued < self.flush_below as usize {
                self.flush_below = 0;
                return Step::Flushed;
            }
        }
        if self.is(PAUSED | OVER | TOLD) {
            return Step::Wait;
        }
        if !self.is(STALLED) {
            let bytes_max = self.ticket.streams().limits().input_bytes_max;
            match feed.find(&self.want, bytes_max) {
                Found::Frame(frame) => return Step::Frame(frame),
                Found::TooLong(bytes_max) => self.too_long(bytes_max),
                Found::Partial => {}
            }
        }
        if self.is(INPUT_OVER) {
            Step::End
        } else {
            Step::Wait
        }
    }

    /// High and low watermark (L1).
    #[inline]
    fn weigh(&mut self, queued: usize) {
        let limits = self.ticket.streams().limits();
        if queued > limits.output_high_bytes {
            self.flags |= OVER;
        } else if queued <= limits.output_low_bytes {
            self.flags &= !OVER;
        }
    }

    fn too_long(&mut self, bytes_max: u32) {
        self.flags |= INPUT_OVER;
        self.end = Some(Box::new(Failure::TooLong { bytes_max }));
    }

    /// Calls `received` with a frame, and takes back what it leaves unread.
    #[inline]
    fn present<P: Protocol>(
        &mut self,
        protocol: P,
        frame: Frame,
        feed: &mut Feed<'_>,
        scope: &mut Scope<'_, Stream<P>>,
    ) -> Result<Intent<P>> {
        let unread = Cell::new(0);
        let data = &feed.front(frame.whole)[..frame.data];
        let input = Input {
            data,
            unread: &unread,
        };
        let answer = protocol.received(input, &mut self.conn(scope, &[]));
        let back = unread.get();
        if back == 0 && frame.whole > 0 {
            feed.consume(frame.whole, self.ticket.streams());
        } else {
            self.take_back(frame, back, feed);
        }
        answer
    }

    /// Part of a frame was not consumed. It is presented again when more arrives, or has: otherwise a protocol that
    /// waits for more would be called with the same bytes for ever.
    #[cold]
    fn take_back(&mut self, frame: Frame, back: usize, feed: &mut Feed<'_>) {
        let consumed = frame.data - back;
        let has_more = feed.len() > frame.whole;
        feed.consume(consumed, self.ticket.streams());
        feed.rescan();
        self.set(STALLED, consumed == 0 || !has_more);
        let bytes_max = self.ticket.streams().limits().input_bytes_max;
        if self.is(STALLED) && back > bytes_max {
            self.too_long(bytes_max as u32);
        }
    }

    /// Tells the protocol that input is over.
    #[cold]
    fn tell_end<P: Protocol>(
        &mut self,
        protocol: P,
        feed: &mut Feed<'_>,
        scope: &mut Scope<'_, Stream<P>>,
    ) -> Result<Intent<P>> {
        self.flags |= TOLD | INPUT_OVER;
        let rest = feed.front(feed.len());
        let mut conn = self.conn(scope, rest);
        let answer = match &self.end {
            Some(failure) => protocol.failed(**failure, &mut conn),
            None => protocol.eof(&mut conn),
        };
        feed.clear(self.ticket.streams());
        answer
    }

    /// The share of this dispatch is used up.
    #[cold]
    fn go_on_later<M: Machine>(&mut self, scope: &mut Scope<'_, M>) {
        if !self.is(AGAIN) {
            self.flags |= AGAIN;
            scope.again(&self.socket);
        }
    }

    /// Nothing more to do in this dispatch: keeps what is left, and reads or not from here on.
    #[inline]
    fn rest<M: Machine>(&mut self, feed: Feed<'_>, scope: &mut Scope<'_, M>) {
        if !feed.is_empty() {
            self.held = feed.into_held(self.ticket.streams());
        }
        if self.flush_below > 0 || self.is(OVER) {
            // Asking has it told when the queue is empty or a queued write ends.
            scope.queued(&self.socket);
        }
        let wanted = !self.is(PAUSED | OVER | AGAIN | INPUT_OVER);
        if wanted != self.is(READING) {
            self.read(wanted, scope);
        }
    }

    /// Reads, or does not.
    #[cold]
    pub fn read<M: Machine>(&mut self, on: bool, scope: &mut Scope<'_, M>) {
        self.set(READING, on);
        if on {
            scope.resume(&self.socket);
        } else {
            scope.pause(&self.socket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        println!(
            "{} {} {}",
            size_of::<Stream<Nothing>>(),
            size_of::<StreamSeed<Nothing>>(),
            size_of::<Intent<Nothing>>()
        );
    }
}

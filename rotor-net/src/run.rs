//! Running a protocol: one handler call after the other, until nothing more can be done in this dispatch.

use crate::feed::Feed;
use crate::intent::{Intent, Next, Wish};
use crate::linger::Lingering;
use crate::link::{FACTS, Link, Step};
use crate::stream::State;
use crate::switch::{Handover, Switch};
use crate::{Protocol, Stream};
use rotor_fsm::{Error, ErrorKind, Response, Result, Scope};

/// What comes of one event: the stream, or its end, and what is wished of the deadline.
pub(crate) enum Outcome<P: Protocol> {
    Goes(Stream<P>, Wish),
    Ends(Result<()>),
}

impl<P: Protocol> Outcome<P> {
    #[inline]
    pub fn answer(self) -> Result<Response<Stream<P>>> {
        match self {
            Self::Goes(stream, wish) => Ok(wish.apply(Response::of(stream))),
            Self::Ends(Ok(())) => Ok(Response::done()),
            Self::Ends(Err(error)) => Err(error),
        }
    }
}

/// Running the protocol.
impl<P: Protocol> Stream<P> {
    /// Applies an intent and calls handlers until nothing more can be done in this dispatch.
    #[inline]
    pub(crate) fn run(
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

//! `Intent`: what a protocol's handler answers: the next state, and what it waits for.

use crate::switch::{Handover, Switch};
use crate::until::Want;
use crate::{Protocol, Stream, StreamSeed, Until};
use rotor_fsm::{Response, Spawner, Time};
use std::time::Duration;

/// The next state of a protocol, or its end. What is not named stays as it was.
#[must_use = "a handler's answer is the protocol's next state"]
pub struct Intent<P> {
    pub(crate) next: Next<P>,
    pub(crate) read: Option<Want>,
    pub(crate) reads: Reads,
    pub(crate) flushed_below: Option<usize>,
    pub(crate) wish: Wish,
    pub(crate) ends_output: bool,
}

pub(crate) enum Next<P> {
    State(P),
    Done,
    Abort,
    Switch(Switch),
}

/// Whether input is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    Keep,
    On,
    Off,
}

/// What becomes of the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Keep,
    Clear,
    At(Time),
    After(Duration),
}

impl Wish {
    /// The later wish counts, if there is one.
    pub fn or(self, earlier: Wish) -> Wish {
        if self == Wish::Keep { earlier } else { self }
    }

    #[inline]
    pub fn apply<M>(self, response: Response<M>) -> Response<M> {
        match self {
            Wish::Keep => response,
            Wish::Clear => response.no_deadline(),
            Wish::At(time) => response.deadline(time),
            Wish::After(duration) => response.after(duration),
        }
    }
}

impl<P> Intent<P> {
    #[inline]
    fn new(next: Next<P>) -> Self {
        Self {
            next,
            read: None,
            reads: Reads::Keep,
            flushed_below: None,
            wish: Wish::Keep,
            ends_output: false,
        }
    }

    /// Goes on in this state.
    #[inline]
    pub fn of(protocol: P) -> Self {
        Self::new(Next::State(protocol))
    }

    /// Ends the protocol. What was written still leaves: the stream lingers until the peer has it (L4).
    #[inline]
    pub fn done() -> Self {
        Self::new(Next::Done)
    }

    /// Ends the protocol and resets the connection: output that has not left is discarded.
    pub fn abort() -> Self {
        Self::new(Next::Abort)
    }

    /// Ends this protocol and goes on with another one on the same connection, as a machine of its own: what has
    /// arrived and was not consumed goes along, and so does output that waits. Allocates.
    ///
    /// The other's `create` runs after this handler. Notifiers of this protocol answer `Closed` from then on. The
    /// spawner must be of the same loop. If the loop has no room for the machine, this one ends with that error, and
    /// lingers as usual. For protocols that switch often, one protocol type that is an enum costs less.
    pub fn switch_to<Q>(spawner: &Spawner<Stream<Q>>, seed: Q::Seed) -> Self
    where
        P: Protocol<Context = Q::Context>,
        Q: Protocol,
    {
        let spawner = spawner.clone();
        Self::new(Next::Switch(Box::new(
            move |handover: Handover| match spawner.spawn(StreamSeed::switched(handover, seed)) {
                Ok(_) => Ok(()),
                Err(full) => Err(full.0.into_handover()),
            },
        )))
    }

    /// Waits for this; delivers again if that was [paused](Self::pause).
    #[inline]
    pub fn read(self, until: Until) -> Self {
        Self {
            read: Some(until.into()),
            reads: Reads::On,
            ..self
        }
    }

    /// Waits for a line of at most `bytes_max` bytes, ended by `\n` or `\r\n`: `read(Until::Line(bytes_max))`.
    #[inline]
    pub fn line(self, bytes_max: usize) -> Self {
        self.read(Until::Line(bytes_max))
    }

    /// Reads no more for now: the peer is slowed down, and neither its end nor a reset is noticed meanwhile. What it
    /// waits for stays.
    pub fn pause(self) -> Self {
        Self {
            reads: Reads::Off,
            ..self
        }
    }

    /// Reads again.
    pub fn resume(self) -> Self {
        Self {
            reads: Reads::On,
            ..self
        }
    }

    /// [`flushed`](Protocol::flushed) is called, once, as soon as less than `bytes` of output wait: at once, if that
    /// is so already. `1` means all of it has left; `0` takes the wish back.
    pub fn flushed_below(self, bytes: usize) -> Self {
        Self {
            flushed_below: Some(bytes),
            ..self
        }
    }

    /// [`timeout`](Protocol::timeout) is called at `time`. `Time::NEVER` clears the deadline.
    pub fn deadline(self, time: Time) -> Self {
        Self {
            wish: Wish::At(time),
            ..self
        }
    }

    /// [`timeout`](Protocol::timeout) is called this long after the dispatch. `Duration::MAX` clears the deadline.
    #[inline]
    pub fn after(self, duration: Duration) -> Self {
        Self {
            wish: Wish::After(duration),
            ..self
        }
    }

    /// No deadline any more.
    pub fn no_deadline(self) -> Self {
        Self {
            wish: Wish::Clear,
            ..self
        }
    }

    /// Closes the sending side when all output has left; the peer sees our end of file. Later writes fail.
    pub fn end_output(self) -> Self {
        Self {
            ends_output: true,
            ..self
        }
    }
}

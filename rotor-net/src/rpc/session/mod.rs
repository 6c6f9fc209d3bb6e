//! `Session`: the server's side of a connection, as a protocol on a stream.
//!
//! ```text
//! received → front (frames) → Calls (begin) → authorise, dispatch → Reply, ItemSender, ItemReceiver → anywhere
//!                                                                        │ frames
//! conn.out ← settle ← Outbox ←───────────────────────────────────────────┘ (waker, if the session is at rest)
//! ```
//!
//! Its stages: greeting, until the client's `Hello` has come; open. Whatever handler ran, it ends with `settle`: what
//! has gathered leaves in one write. What breaks the protocol ends the session with a `Goodbye` that says how; what
//! goes wrong in one call is the matter of that call.

mod arrived;
mod at_hand;
mod begin;
mod calls;
mod frames;
#[cfg(all(test, loom))]
mod loom_model;
mod open;
mod outbox;
mod phase;
mod setup;
mod shared;

pub use arrived::Arrived;
pub(crate) use shared::Shared;

use super::config::SessionConfig;
use super::error::SessionError;
use super::frame::{Front, Kind, front};
use super::handshake::{self, HELLO_BYTES_MAX, PREAMBLE_BYTES};
use super::scope::{CallScope, Host, Job, Then};
use super::serve::{Greeting, Serve};
use crate::{Conn, Failure, Input, Intent, Protocol, Stream};
use open::Open;
use rotor_fsm::{IoError, MachineId, Output, Own, Result, Time};
use setup::Setup;
use shared::Bounds;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

/// The server's side of a connection: a [`Protocol`] for [`Stream`](crate::Stream).
///
/// ```no_run
/// use rotor_net::Limits;
/// use rotor_net::rpc::{Serve, Session};
///
/// fn run<S: Serve<Context = ()> + Default>() -> rotor_fsm::Result<()> {
///     rotor_net::serve::<Session<S>>("127.0.0.1:6390", Limits::default(), ())
/// }
/// ```
///
/// **Ends.** When the loop [finishes](Protocol::finish), the client is told that no more calls are taken; those in flight
/// are completed, later ones fail with [`CallError::Draining`](super::CallError::Draining). The session is done when no
/// call is in flight and the client has said that it makes no more, or sends no more.
///
/// **Limits** are those of its [`SessionConfig`] and of its stream: a frame is no longer than
/// [`Limits::input_bytes_max`](crate::Limits::input_bytes_max), and while more output waits than the watermark, no calls
/// are read and streams of items pause.
pub struct Session<S: Serve> {
    service: S,
    setup: Rc<Setup>,
    /// `None` until the client has greeted.
    open: Option<Box<Open>>,
    /// The deadline that the stream has.
    armed: Time,
}

/// What a session is made from.
pub struct SessionSeed<S> {
    service: S,
    config: Arc<SessionConfig>,
}

/// The session's own: that a job is done.
pub struct SessionMessage(());

/// A session of this service, which serves one connection. Sessions that share a configuration share what follows from
/// it.
pub fn session<S: Serve>(service: S, config: &Arc<SessionConfig>) -> SessionSeed<S> {
    SessionSeed {
        service,
        config: config.clone(),
    }
}

impl<S: Default> Default for SessionSeed<S> {
    /// With the default configuration.
    fn default() -> Self {
        static CONFIG: OnceLock<Arc<SessionConfig>> = OnceLock::new();
        Self {
            service: S::default(),
            config: CONFIG.get_or_init(Arc::default).clone(),
        }
    }
}

impl<S: Serve> Protocol for Session<S> {
    type Context = S::Context;
    type Message = SessionMessage;
    type Seed = SessionSeed<S>;

    fn create(seed: SessionSeed<S>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let setup = Setup::of::<S>(&seed.config, conn.limits().input_bytes_max)?;
        let session = Self {
            service: seed.service,
            armed: conn.now() + setup.config.handshake,
            setup,
            open: None,
        };
        let deadline = session.armed;
        Ok(Intent::of(session).deadline(deadline))
    }

    #[inline]
    fn received(mut self, data: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let read = match self.open {
            Some(_) => self.read(&data, conn),
            None => self.greeted(&data, conn),
        };
        match read {
            Ok(Read::All) => {}
            // Not waited for by its length: whatever arrives is a sign of life, a part of a long frame too.
            Ok(Read::Part(rest)) => data.unread(rest),
            Ok(Read::Enough(rest)) => data.later(rest),
            Err(error) => return self.part(error, conn),
        }
        self.settle(conn)
    }

    fn flushed(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.settle(conn)
    }

    fn wakeup(self, _: SessionMessage, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.settle(conn)
    }

    fn woken(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.settle(conn)
    }

    fn timeout(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        self.armed = Time::NEVER;
        let now = conn.now();
        let alive = match &mut self.open {
            Some(open) => open.timeout(now, &self.setup.config),
            None => Err(SessionError::HandshakeTimedOut),
        };
        match alive {
            Ok(()) => self.settle(conn),
            Err(error) => self.part(error, conn),
        }
    }

    fn eof(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if !conn.rest().is_empty() {
            let what = "the rest of it, which never came";
            return self.part(SessionError::BadFrame { what }, conn);
        }
        match &mut self.open {
            Some(open) => {
                open.has_last_call = true;
                open.shared().cut_inputs();
                self.settle(conn)
            }
            None => Ok(Intent::done()),
        }
    }

    fn failed(self, failure: Failure, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        match failure {
            Failure::TooLong { bytes_max } => {
                let bytes_max = bytes_max as usize;
                let bytes = conn.rest().len();
                self.part(SessionError::FrameTooLong { bytes, bytes_max }, conn)
            }
            other => Err(other.into()),
        }
    }

    fn finish(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        match &mut self.open {
            Some(open) => {
                open.drain();
                self.settle(conn)
            }
            None => Ok(Intent::done()),
        }
    }
}

/// How far the input was read.
enum Read {
    All,
    /// So many bytes at the end are part of a frame.
    Part(usize),
    /// So many bytes at the end are for a later turn.
    Enough(usize),
}

impl<S: Serve> Session<S> {
    /// The client begins.
    #[cold]
    fn greeted(&mut self, input: &[u8], conn: &mut Conn<'_, Self>) -> Result<Read, SessionError> {
        let part = Ok(Read::Part(input.len()));
        if handshake::read_preamble(input)?.is_none() {
            return part;
        }
        let (body, rest) = match front(&input[PREAMBLE_BYTES..], HELLO_BYTES_MAX)? {
            Front::Partial(_) => return part,
            Front::Frame(header, body, rest) if header.kind == Kind::Hello => (body, rest),
            Front::Frame(header, ..) => return Err(frames::unexpected(header.kind)),
        };
        let hello = handshake::read_hello(body)?;
        self.admit(hello.credential, conn)?;
        let queued_bytes_max = self.setup.config.queued_bytes_max;
        let bounds = Bounds {
            client_frame_bytes_max: hello.frame_bytes_max as usize,
            client_window_bytes: hello.window_bytes,
            queued_bytes_max,
            high_bytes: conn.limits().output_high_bytes.min(queued_bytes_max / 2),
        };
        self.open = Some(Box::new(Open::new(&self.setup, bounds, conn.now())));
        match rest {
            [] => Ok(Read::All),
            rest => self.read(rest, conn),
        }
    }

    fn admit(&mut self, credential: &[u8], conn: &mut Conn<'_, Self>) -> Result<(), SessionError> {
        let (ctx, out, own) = conn.split();
        let mut scope = CallScope {
            ctx,
            output: out.output,
            host: &own,
            meta: &[],
            deadline: Time::NEVER,
        };
        let admitted = self.service.admit(&Greeting { credential }, &mut scope);
        admitted.map_err(|refusal| SessionError::NotAdmitted(refusal.0))
    }

    /// Lets everything leave that has gathered, and answers what the session waits for.
    #[inline]
    fn settle(mut self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let mut due = self.armed;
        let mut flush_below = None;
        if let Some(open) = &mut self.open {
            let settled = match open.settle(conn) {
                Ok(settled) => settled,
                Err(error) => return self.part(error, conn),
            };
            if open.has_last_call && !settled.has_calls && !settled.has_rest {
                return Ok(Intent::done());
            }
            due = open.due();
            flush_below = settled
                .is_high
                .then(|| conn.limits().output_low_bytes.max(1));
        }
        let is_moved = due < self.armed;
        if is_moved {
            self.armed = due;
        }
        let mut intent = Intent::of(self);
        if let Some(bytes) = flush_below {
            intent = intent.flushed_below(bytes);
        }
        Ok(if is_moved {
            intent.deadline(due)
        } else {
            intent
        })
    }

    /// Ends the session, and tells the client why, after all that has gathered.
    #[cold]
    fn part(mut self, error: SessionError, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let may_speak = match &mut self.open {
            // What does not fit would leave a frame unfinished, which no other may follow.
            Some(open) => matches!(open.settle(conn), Ok(settled) if !settled.has_rest),
            None => conn.out.write(&handshake::preamble()).is_ok(),
        };
        if may_speak && !matches!(error, SessionError::Goodbye(_)) {
            let mut goodbye = Vec::new();
            handshake::write_goodbye(&error, &mut goodbye);
            // A peer that does not read need not be told.
            let _ = conn.out.write(&goodbye);
        }
        Err(error.into())
    }
}

impl<S: Serve> Host for Own<'_, Stream<Session<S>>> {
    fn id(&self) -> MachineId {
        Own::id(self)
    }

    fn work(&self, output: &mut Output<'_>, job: Job, then: Then) -> Result<(), IoError> {
        Own::work(self, output, job, |()| {
            then();
            SessionMessage(())
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// A connection that has greeted costs this beside its stream, its service, and what it is busy with.
    #[test]
    fn r14_a_session_is_small() {
        assert!(
            size_of::<Option<Open>>() <= 40,
            "{}",
            size_of::<Option<Open>>()
        );
        assert!(size_of::<Shared>() <= 168, "{}", size_of::<Shared>());
    }
}

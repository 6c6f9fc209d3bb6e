//! `Protocol`: a state type with one handler per kind of event on a connection.

use crate::{Conn, ConnectError, Input, Intent};
use rotor_fsm::{ErrorKind, IoError, Result};
use std::fmt;

/// What is spoken on a connection, seen from one side.
///
/// Handlers consume the state and answer with an [`Intent`]: the next state and what it waits for. What an intent does
/// not name stays. They run on the loop's thread and must not block. `Err` ends the protocol and reaches the loop's
/// end hook; the stream then still sends what was written (L4).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a protocol",
    label = "needs `impl Protocol for {Self}`",
    note = "a `Machine` that is no protocol owns its sockets itself, and is spawned without a `Stream`"
)]
pub trait Protocol: Sized + 'static {
    /// What all machines of the loop share: `conn.ctx`.
    type Context: 'static;
    /// What other threads and machines may send it; [`Never`](rotor_fsm::Never) for nothing.
    type Message: Send + 'static;
    /// What it is made from.
    type Seed: 'static;

    /// The connection stands. Reads [`Until::Any`](crate::Until::Any) if the intent names nothing.
    fn create(seed: Self::Seed, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>>;

    /// What was waited for has arrived. Called again at once while there is more, up to
    /// [`Limits::calls_per_dispatch`](crate::Limits::calls_per_dispatch); all output then leaves in one write.
    fn received(self, data: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>>;

    /// The waiting output fell below what [`Intent::flushed_below`] named.
    fn flushed(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let _ = conn;
        Ok(Intent::of(self))
    }

    /// A message arrived.
    fn wakeup(self, message: Self::Message, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let _ = (message, conn);
        Err(ErrorKind::UnhandledMessage.into())
    }

    /// A [waker](Conn::waker) of this connection was used, once or more often since this was last called: there may be
    /// news where the protocol shares something with others. It may be called when there are none.
    fn woken(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let _ = conn;
        Ok(Intent::of(self))
    }

    /// The deadline passed. It is no longer set.
    fn timeout(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let _ = conn;
        Err(ErrorKind::TimedOut.into())
    }

    /// The peer sends no more; all it sent was delivered, but for an incomplete frame, which is [`Conn::rest`].
    /// Writing is still possible.
    fn eof(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let _ = conn;
        Ok(Intent::done())
    }

    /// Nothing more will be read; all that arrived before was delivered, as for `eof`. Called at most once;
    /// after `eof` only because writing failed.
    ///
    /// After a failed write reading first goes on to its end, unless the protocol has paused it; what is written
    /// meanwhile is thrown away.
    fn failed(self, failure: Failure, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let _ = conn;
        Err(failure.into())
    }

    /// The loop shuts down. Answering a state goes on until the shutdown's deadline.
    fn finish(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let _ = conn;
        Ok(Intent::done())
    }

    /// The connection could not be made (see [`Streams::connect`](crate::Streams::connect)), so there is no protocol;
    /// its seed may hold whom to tell. What is returned ends the machine.
    ///
    /// # Errors
    /// By default the named error, which reaches the loop's end hook.
    fn unreachable(seed: Self::Seed, error: ConnectError, ctx: &mut Self::Context) -> Result<()> {
        let _ = (seed, ctx);
        Err(error.into())
    }
}

/// Why a stream's input ended otherwise than by the peer's choice.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Reading failed: most often the peer reset the connection.
    Read(IoError),
    /// Writing failed earlier: the peer no longer reads.
    Write(IoError),
    /// The peer's frame is longer than the intent or [`Limits::input_bytes_max`](crate::Limits::input_bytes_max)
    /// allows. The connection still stands, so an answer can be written.
    TooLong {
        /// The limit, in bytes.
        bytes_max: u32,
    },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) | Self::Write(error) => error.fmt(f),
            Self::TooLong { bytes_max } => {
                write!(f, "the peer sent a frame of more than {bytes_max} bytes")
            }
        }
    }
}

impl std::error::Error for Failure {}

//! What calls inside a fiber answer when they do not succeed.

use rotor_fsm::{Full, IoError, IoErrorKind};
use std::error::Error as StdError;
use std::fmt;
use std::io;

/// Why a call inside a fiber did not do what it was asked to. Converts into [`rotor_fsm::Error`] and
/// [`std::io::Error`] by `?`.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FiberError {
    /// The deadline passed first.
    TimedOut,
    /// The fiber was asked to finish: by a shutdown of its loop, or by [`Cx::cancel`](super::Cx::cancel).
    Cancelled,
    /// The peer sends no more, in the middle of what was waited for.
    Eof,
    /// What was read for is longer than this.
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
    /// The system refused, or the connection broke.
    Io(IoError),
    /// Misuse: inside [`Cx::with_context`](super::Cx::with_context) nothing else can be asked of the loop.
    InContext,
    /// The fiber's stack is unwinding, because it panicked or was ended from outside: it cannot wait any more. In the
    /// second case it cannot do anything else either.
    Unwinding,
    /// Misuse: the stream or listener belongs to another fiber, or is used outside of any.
    OtherFiber,
    /// More messages than [`messages_max`](super::FiberLimits::messages_max) waited for the fiber. It ends with this.
    MailboxFull {
        /// The limit.
        messages_max: usize,
    },
    /// The loop has no room for another machine, or shuts down.
    NoRoom,
}

impl FiberError {
    /// The I/O error in it, if it is one.
    pub fn io(self) -> Option<IoError> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }

    /// Whether this says that the fiber was asked to finish, in whatever wrapping the body returned it.
    pub(super) fn is_cancelled(error: &rotor_fsm::Error) -> bool {
        let found = match error.downcast_ref::<io::Error>() {
            Some(error) => error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<FiberError>()),
            None => error.downcast_ref::<FiberError>(),
        };
        found == Some(&Self::Cancelled)
    }
}

impl fmt::Display for FiberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("the deadline passed"),
            Self::Cancelled => f.write_str("the fiber was asked to finish"),
            Self::Eof => f.write_str("the peer ended in the middle of what was waited for"),
            Self::TooLong { bytes_max } => {
                write!(f, "what was read for is longer than {bytes_max} bytes")
            }
            Self::Io(error) => error.fmt(f),
            Self::InContext => f.write_str(
                "a fiber asked something of its loop inside `with_context`, where it has only the context",
            ),
            Self::Unwinding => f.write_str("the fiber's stack is unwinding: it cannot wait"),
            Self::OtherFiber => {
                f.write_str("a stream or listener was used outside of the fiber that it belongs to")
            }
            Self::MailboxFull { messages_max } => write!(
                f,
                "more than {messages_max} messages waited for a fiber that did not receive them"
            ),
            Self::NoRoom => f.write_str("no room for another machine on this loop"),
        }
    }
}

impl StdError for FiberError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            _ => None,
        }
    }
}

impl From<IoError> for FiberError {
    fn from(error: IoError) -> Self {
        Self::Io(error)
    }
}

impl<T> From<Full<T>> for FiberError {
    fn from(_: Full<T>) -> Self {
        Self::NoRoom
    }
}

/// For code that reads and writes through [`std::io`]. Never `Interrupted` or `WouldBlock`, on which such code would
/// try again for ever; the `FiberError` is inside.
impl From<FiberError> for io::Error {
    fn from(error: FiberError) -> Self {
        let kind = match error {
            FiberError::TimedOut => io::ErrorKind::TimedOut,
            FiberError::Eof => io::ErrorKind::UnexpectedEof,
            FiberError::TooLong { .. } => io::ErrorKind::InvalidData,
            FiberError::Io(error) => kind_of(error),
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

fn kind_of(error: IoError) -> io::ErrorKind {
    use io::ErrorKind;
    match error.kind() {
        IoErrorKind::Closed | IoErrorKind::NotConnected => ErrorKind::NotConnected,
        IoErrorKind::ShutDown | IoErrorKind::BrokenPipe => ErrorKind::BrokenPipe,
        IoErrorKind::Memory => ErrorKind::OutOfMemory,
        IoErrorKind::AddrInUse => ErrorKind::AddrInUse,
        IoErrorKind::AddrNotAvailable => ErrorKind::AddrNotAvailable,
        IoErrorKind::Permission => ErrorKind::PermissionDenied,
        IoErrorKind::Refused => ErrorKind::ConnectionRefused,
        IoErrorKind::Reset => ErrorKind::ConnectionReset,
        IoErrorKind::TimedOut => ErrorKind::TimedOut,
        IoErrorKind::Unreachable => ErrorKind::HostUnreachable,
        IoErrorKind::NotFound => ErrorKind::NotFound,
        IoErrorKind::Invalid | IoErrorKind::WrongKind => ErrorKind::InvalidInput,
        _ => ErrorKind::Other,
    }
}

/// Why there is no stack for a fiber, or no pool of stacks.
#[non_exhaustive]
#[derive(Debug)]
pub enum NoStack {
    /// All stacks are in use.
    Limit {
        /// As many as there can be: [`stacks_max`](super::StackConfig::stacks_max), or fewer where guards are
        /// [protected pages](super::Guards::Protected).
        stacks_max: usize,
    },
    /// What the fiber's closure owns takes too much of its stack.
    ClosureTooLarge {
        /// What it takes.
        bytes: usize,
        /// What it may: a quarter of the stack.
        bytes_max: usize,
    },
    /// The configuration makes no sense, or is more than an address space holds.
    Config(&'static str),
    /// The system refused memory, address space or a guard.
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        error: io::Error,
    },
}

impl fmt::Display for NoStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit { stacks_max } => write!(f, "all {stacks_max} stacks are in use"),
            Self::ClosureTooLarge { bytes, bytes_max } => write!(
                f,
                "the fiber's closure owns {bytes} bytes, more than the {bytes_max} that a stack has room for"
            ),
            Self::Config(what) => f.write_str(what),
            Self::System { what, error } => write!(f, "{what}: {error}"),
        }
    }
}

impl StdError for NoStack {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::System { error, .. } => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotor_fsm::Op;

    #[test]
    fn errors_convert_and_never_ask_to_be_tried_again() {
        let reset = FiberError::Io(IoError::new(Op::Read, IoErrorKind::Reset));
        for (error, kind) in [
            (FiberError::TimedOut, io::ErrorKind::TimedOut),
            (FiberError::Cancelled, io::ErrorKind::Other),
            (FiberError::Eof, io::ErrorKind::UnexpectedEof),
            (
                FiberError::TooLong { bytes_max: 3 },
                io::ErrorKind::InvalidData,
            ),
            (FiberError::InContext, io::ErrorKind::Other),
            (reset, io::ErrorKind::ConnectionReset),
        ] {
            let converted = io::Error::from(error);
            assert_eq!(converted.kind(), kind);
            let inside = converted.get_ref().and_then(|inner| inner.downcast_ref());
            assert_eq!(inside, Some(&error));
        }
    }

    #[test]
    fn a_cancelled_body_is_recognised_through_both_kinds_of_error() {
        let direct = rotor_fsm::Error::from(FiberError::Cancelled);
        let wrapped = rotor_fsm::Error::from(io::Error::from(FiberError::Cancelled));
        let other = rotor_fsm::Error::from(io::Error::from(FiberError::TimedOut));
        assert!(FiberError::is_cancelled(&direct) && FiberError::is_cancelled(&wrapped));
        assert!(!FiberError::is_cancelled(&other));
        assert!(!FiberError::is_cancelled(&rotor_fsm::Error::msg("no")));
    }
}

//! Errors: what a handler may return, why a machine ended, and refusals that give back what was refused.
//!
//! `Error` is one pointer wide, because every handler returns `Result<Response<_>>` by value and a wide error would
//! widen every return. Like a boxed error it converts from any error type, so `?` works in handlers; therefore it
//! does not implement `std::error::Error` itself, but converts into `Box<dyn std::error::Error + Send + Sync>`.

use std::any::Any;
use std::fmt;

/// What handlers and loops return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An I/O error as the event loop reports it: what was done, what kind of failure, which system code.
pub use uv_sys_wrap::Error as IoError;
/// The kinds of [`IoError`].
pub use uv_sys_wrap::Kind as IoErrorKind;

/// Why a handler or a loop failed. One pointer wide; made from any error by `?`.
pub struct Error(Box<Inner>);

#[derive(Debug)]
enum Inner {
    Kind(ErrorKind),
    Other(Box<dyn std::error::Error + Send + Sync>),
    Text(String),
}

/// The failures this crate names itself.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// An I/O event came and the machine has no `io` handler.
    UnhandledIo,
    /// A message came and the machine has no `wakeup` handler.
    UnhandledMessage,
    /// The deadline passed and the machine has no `timeout` handler.
    TimedOut,
    /// A table or queue is at its limit (see [`Config`](crate::Config)).
    Full,
    /// The machine or its loop has ended.
    Closed,
    /// The job given to the thread pool panicked.
    WorkPanicked,
    /// The thread of a loop panicked outside any machine.
    LoopPanicked,
    /// A message reached a part of a composed machine that it was not meant for (a defect of a hand-written
    /// [`Hosts`](crate::Hosts)).
    Misrouted,
}

impl ErrorKind {
    fn text(self) -> &'static str {
        match self {
            Self::UnhandledIo => "an I/O event came, but this machine has no `io` handler",
            Self::UnhandledMessage => "a message came, but this machine has no `wakeup` handler",
            Self::TimedOut => "the deadline passed",
            Self::Full => "the table or queue is full",
            Self::Closed => "the machine or its loop has ended",
            Self::WorkPanicked => "a job in the thread pool panicked",
            Self::LoopPanicked => "the loop's thread panicked outside any machine",
            Self::Misrouted => "a message reached another machine type than the one it was sent to",
        }
    }
}

impl Error {
    /// An error that is only a message.
    pub fn msg(text: impl Into<String>) -> Self {
        Self(Box::new(Inner::Text(text.into())))
    }

    /// The kind, if it is one of this crate's own.
    pub fn kind(&self) -> Option<ErrorKind> {
        match &*self.0 {
            Inner::Kind(kind) => Some(*kind),
            _ => None,
        }
    }

    /// The I/O error in it, if it is one.
    pub fn io(&self) -> Option<IoError> {
        self.downcast_ref::<IoError>().copied()
    }

    /// The error it was made from, if that was an `E`.
    pub fn downcast_ref<E: std::error::Error + 'static>(&self) -> Option<&E> {
        match &*self.0 {
            Inner::Other(error) => error.downcast_ref::<E>(),
            _ => None,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(Inner::Kind(kind)))
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        Self(Box::new(Inner::Other(Box::new(error))))
    }
}

impl<T> From<Full<T>> for Error {
    fn from(_: Full<T>) -> Self {
        ErrorKind::Full.into()
    }
}

impl<T> From<SendError<T>> for Error {
    fn from(error: SendError<T>) -> Self {
        match error {
            SendError::Full(_) => ErrorKind::Full.into(),
            SendError::Closed(_) => ErrorKind::Closed.into(),
        }
    }
}

impl From<Error> for Box<dyn std::error::Error + Send + Sync> {
    fn from(error: Error) -> Self {
        match *error.0 {
            Inner::Kind(kind) => kind.text().into(),
            Inner::Other(error) => error,
            Inner::Text(text) => text.into(),
        }
    }
}

impl From<Error> for Box<dyn std::error::Error> {
    fn from(error: Error) -> Self {
        Box::<dyn std::error::Error + Send + Sync>::from(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Inner::Kind(kind) => f.write_str(kind.text()),
            Inner::Other(error) => error.fmt(f),
            Inner::Text(text) => f.write_str(text),
        }
    }
}

/// The same words as `Display`, because `fn main() -> Result<()>` prints errors this way.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// No room for one more; what was refused comes back.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Full<T>(pub T);

impl<T> fmt::Debug for Full<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Full(..)")
    }
}

/// A message that was refused, and why. It comes back in the type in which it was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum SendError<T> {
    /// The loop's inbox is full: try again later, or do without.
    Full(T),
    /// The machine or its loop has ended: it will never take a message again.
    Closed(T),
}

impl<T> SendError<T> {
    /// The refused message.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }

    /// True if the receiver has ended.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed(_))
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full(..)",
            Self::Closed(_) => "Closed(..)",
        })
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the loop's inbox is full",
            Self::Closed(_) => ErrorKind::Closed.text(),
        })
    }
}

/// Why a spawn from another thread made no machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpawnError {
    /// The loop's machine table or its control lane is full.
    Full,
    /// The loop has ended, or shuts down.
    Closed,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "no room for another machine on this loop",
            Self::Closed => "the loop has ended or is shutting down",
        })
    }
}

impl std::error::Error for SpawnError {}

/// Why a machine ended, as the end hook hears it.
#[non_exhaustive]
pub enum Reason {
    /// It answered [`Response::done`](crate::Response::done).
    Done,
    /// A handler returned this error.
    Failed(Error),
    /// A handler, or a drop inside it, panicked with this payload.
    Panicked(Box<dyn Any + Send>),
    /// The loop was shut down before the machine ended by itself.
    Shutdown,
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Failed(error) => write!(f, "failed: {error}"),
            Self::Panicked(payload) => write!(f, "panicked: {}", panic_text(payload.as_ref())),
            Self::Shutdown => f.write_str("closed by the shutdown"),
        }
    }
}

/// What a panic said: the text that `panic!` was given, if it was one.
pub fn panic_text(payload: &(dyn Any + Send)) -> &str {
    if let Some(text) = payload.downcast_ref::<&str>() {
        text
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text
    } else {
        "(a payload that is not text)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_pointer_and_reads_well() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        let parse: Error = "x".parse::<u32>().unwrap_err().into();
        assert_eq!(parse.to_string(), "invalid digit found in string");
        assert!(parse.downcast_ref::<std::num::ParseIntError>().is_some());
        let full: Error = Full(3).into();
        assert_eq!(full.kind(), Some(ErrorKind::Full));
        let closed: Error = SendError::Closed(std::rc::Rc::new(1)).into();
        assert_eq!(closed.kind(), Some(ErrorKind::Closed));
        let boxed: Box<dyn std::error::Error> = Error::msg("no such door").into();
        assert_eq!(boxed.to_string(), "no such door");
    }

    #[test]
    fn a_refused_message_comes_back() {
        assert_eq!(SendError::Full("m").into_inner(), "m");
        assert!(SendError::Closed(1).is_closed());
        assert_eq!(
            Reason::Panicked(Box::new("boom")).to_string(),
            "panicked: boom"
        );
    }
}

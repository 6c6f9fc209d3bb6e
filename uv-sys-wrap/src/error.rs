//! One small, copyable error: what was tried, which kind of failure, and libuv's code for it.
//!
//! libuv's negative errno is kept as it is; [`Kind`] groups the codes a caller acts upon.

use crate::pool::PoolError;
use libuv_sys2 as sys;
use std::ffi::{CStr, c_char, c_int};
use std::fmt;

/// What this crate's operations return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in 8 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Error {
    code: i32,
    op: Op,
    kind: Kind,
}

/// Which operation failed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Op {
    /// Making or running a loop.
    Loop,
    /// Making a handle.
    Open,
    /// Closing a loop.
    Close,
    /// Binding an address.
    Bind,
    /// Starting to listen.
    Listen,
    /// Accepting a connection.
    Accept,
    /// Connecting.
    Connect,
    /// Starting, stopping or doing a read.
    Read,
    /// Writing.
    Write,
    /// Shutting down the write side.
    Shutdown,
    /// Setting or reading a socket option.
    Option,
    /// Asking for a local or peer address.
    Address,
    /// Starting or stopping a timer.
    Timer,
    /// Starting or stopping a signal handle.
    Signal,
    /// Starting or stopping a prepare, check or idle handle.
    Phase,
    /// Queueing or running thread-pool work.
    Work,
    /// Making the buffer pool.
    Pool,
    /// Looking up a handle by its id.
    Lookup,
}

/// What kind of failure, as far as a caller acts upon it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// The handle or its loop is closed.
    Closed,
    /// The handle is of another type than the operation needs.
    WrongKind,
    /// The stream's write side was shut down before.
    ShutDown,
    /// The stream is not (or no longer) connected.
    NotConnected,
    /// One of the limits in [`LoopConfig`](crate::LoopConfig) is reached.
    Limit,
    /// The process or system is out of file descriptors.
    FdLimit,
    /// The system is out of memory or buffers.
    Memory,
    /// The address is in use.
    AddrInUse,
    /// The address is not one of this machine's.
    AddrNotAvailable,
    /// Not permitted.
    Permission,
    /// The peer refused the connection.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// The peer no longer reads.
    BrokenPipe,
    /// Timed out.
    TimedOut,
    /// No route to the host or network.
    Unreachable,
    /// Cancelled before it ended.
    Cancelled,
    /// No such file or socket.
    NotFound,
    /// Nothing to do it with right now.
    WouldBlock,
    /// Work is still running.
    Busy,
    /// The job panicked.
    Panicked,
    /// A misuse: this argument, or this operation in this state, makes no sense.
    Invalid,
    /// Anything else the system reports; [`Error::code`] says what.
    Os,
}

impl Error {
    /// An error that no system call reported.
    pub const fn new(op: Op, kind: Kind) -> Self {
        Error { code: 0, op, kind }
    }

    /// The error for libuv's (negative) code.
    pub fn from_code(op: Op, code: i32) -> Self {
        Error {
            code,
            op,
            kind: kind_of(code),
        }
    }

    /// The kind of failure.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The operation that failed.
    pub const fn op(&self) -> Op {
        self.op
    }

    /// libuv's code (a negative errno on Unix), where a call reported one.
    pub const fn code(&self) -> Option<i32> {
        if self.code == 0 {
            None
        } else {
            Some(self.code)
        }
    }

    pub(crate) const fn closed(op: Op) -> Self {
        Error::new(op, Kind::Closed)
    }

    pub(crate) const fn invalid(op: Op) -> Self {
        Error::new(op, Kind::Invalid)
    }

    /// The error in `errno` of this thread.
    pub(crate) fn last_os(op: Op) -> Self {
        let code = std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO);
        Error::from_code(op, -code)
    }
}

/// `Ok` for any code that is not negative.
#[inline]
pub(crate) fn check(op: Op, code: c_int) -> Result<()> {
    if code < 0 {
        Err(Error::from_code(op, code))
    } else {
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.op.name();
        if self.code == 0 {
            return write!(f, "{op}: {}", self.kind.text());
        }
        let (mut text, mut name) = ([0; 128], [0; 32]);
        // SAFETY: both calls write at most the given length into the buffer, NUL-terminated, and keep
        // no pointer to it.
        unsafe {
            sys::uv_strerror_r(self.code, text.as_mut_ptr(), text.len());
            sys::uv_err_name_r(self.code, name.as_mut_ptr(), name.len());
        }
        write!(f, "{op}: {} ({})", Text(&text), Text(&name))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self}, {:?})", self.kind)
    }
}

impl std::error::Error for Error {}

impl From<PoolError> for Error {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Limit => Error::new(Op::Pool, Kind::Limit),
            PoolError::LockRefused(errno) | PoolError::Map(errno) => {
                Error::from_code(Op::Pool, -errno)
            }
            _ => Error::invalid(Op::Pool),
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        if error.code < 0 && error.code > -4000 {
            return std::io::Error::from_raw_os_error(-error.code);
        }
        let kind = match error.kind {
            Kind::Closed | Kind::NotConnected => std::io::ErrorKind::NotConnected,
            Kind::ShutDown | Kind::BrokenPipe => std::io::ErrorKind::BrokenPipe,
            Kind::WouldBlock => std::io::ErrorKind::WouldBlock,
            Kind::TimedOut => std::io::ErrorKind::TimedOut,
            Kind::Invalid | Kind::WrongKind => std::io::ErrorKind::InvalidInput,
            Kind::Memory => std::io::ErrorKind::OutOfMemory,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}

/// A NUL-terminated text in a fixed buffer.
struct Text<'a>(&'a [c_char]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: c_char and u8 have the same layout; the slice stays borrowed for the whole call.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.0.as_ptr().cast::<u8>(), self.0.len()) };
        let text = CStr::from_bytes_until_nul(bytes).unwrap_or(c"unknown error");
        f.write_str(&text.to_string_lossy())
    }
}

impl Op {
    const fn name(self) -> &'static str {
        match self {
            Op::Loop => "loop",
            Op::Open => "open",
            Op::Close => "close",
            Op::Bind => "bind",
            Op::Listen => "listen",
            Op::Accept => "accept",
            Op::Connect => "connect",
            Op::Read => "read",
            Op::Write => "write",
            Op::Shutdown => "shutdown",
            Op::Option => "socket option",
            Op::Address => "address",
            Op::Timer => "timer",
            Op::Signal => "signal",
            Op::Phase => "phase",
            Op::Work => "work",
            Op::Pool => "pool",
            Op::Lookup => "lookup",
        }
    }
}

impl Kind {
    const fn text(self) -> &'static str {
        match self {
            Kind::Closed => "the handle or its loop is closed",
            Kind::WrongKind => "not an operation for this type of handle",
            Kind::ShutDown => "the write side is shut down",
            Kind::NotConnected => "not connected",
            Kind::Limit => "a configured limit is reached",
            Kind::FdLimit => "out of file descriptors",
            Kind::Memory => "out of memory",
            Kind::AddrInUse => "address in use",
            Kind::AddrNotAvailable => "address not available",
            Kind::Permission => "permission denied",
            Kind::Refused => "connection refused",
            Kind::Reset => "connection reset",
            Kind::BrokenPipe => "the peer no longer reads",
            Kind::TimedOut => "timed out",
            Kind::Unreachable => "unreachable",
            Kind::Cancelled => "cancelled",
            Kind::NotFound => "not found",
            Kind::WouldBlock => "nothing to do right now",
            Kind::Busy => "work is still running",
            Kind::Panicked => "the job panicked",
            Kind::Invalid => "invalid argument or state",
            Kind::Os => "system error",
        }
    }
}

fn kind_of(code: i32) -> Kind {
    match code {
        sys::uv_errno_t_UV_EMFILE | sys::uv_errno_t_UV_ENFILE => Kind::FdLimit,
        sys::uv_errno_t_UV_ENOMEM | sys::uv_errno_t_UV_ENOBUFS => Kind::Memory,
        sys::uv_errno_t_UV_EADDRINUSE => Kind::AddrInUse,
        sys::uv_errno_t_UV_EADDRNOTAVAIL => Kind::AddrNotAvailable,
        sys::uv_errno_t_UV_EACCES | sys::uv_errno_t_UV_EPERM => Kind::Permission,
        sys::uv_errno_t_UV_ECONNREFUSED => Kind::Refused,
        sys::uv_errno_t_UV_ECONNRESET | sys::uv_errno_t_UV_ECONNABORTED => Kind::Reset,
        sys::uv_errno_t_UV_EPIPE => Kind::BrokenPipe,
        sys::uv_errno_t_UV_ETIMEDOUT => Kind::TimedOut,
        sys::uv_errno_t_UV_EHOSTUNREACH
        | sys::uv_errno_t_UV_ENETUNREACH
        | sys::uv_errno_t_UV_ENETDOWN
        | sys::uv_errno_t_UV_EHOSTDOWN => Kind::Unreachable,
        sys::uv_errno_t_UV_ECANCELED => Kind::Cancelled,
        sys::uv_errno_t_UV_ENOENT => Kind::NotFound,
        sys::uv_errno_t_UV_EAGAIN => Kind::WouldBlock,
        sys::uv_errno_t_UV_EBUSY => Kind::Busy,
        sys::uv_errno_t_UV_ENOTCONN => Kind::NotConnected,
        sys::uv_errno_t_UV_EINVAL
        | sys::uv_errno_t_UV_EBADF
        | sys::uv_errno_t_UV_EALREADY
        | sys::uv_errno_t_UV_EISCONN
        | sys::uv_errno_t_UV_EEXIST
        | sys::uv_errno_t_UV_ENOTSOCK
        | sys::uv_errno_t_UV_ENOTSUP
        | sys::uv_errno_t_UV_EAFNOSUPPORT
        | sys::uv_errno_t_UV_ENAMETOOLONG => Kind::Invalid,
        _ => Kind::Os,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_like_a_sentence() {
        let error = Error::from_code(Op::Connect, sys::uv_errno_t_UV_ECONNREFUSED);
        assert_eq!(
            error.to_string(),
            "connect: connection refused (ECONNREFUSED)"
        );
        assert_eq!(error.kind(), Kind::Refused);
        let closed = Error::closed(Op::Write);
        assert_eq!(
            closed.to_string(),
            "write: the handle or its loop is closed"
        );
        assert_eq!(closed.code(), None);
    }

    #[test]
    fn an_unknown_code_is_no_leak_and_no_panic() {
        let error = Error::from_code(Op::Read, -3999);
        assert_eq!(error.kind(), Kind::Os);
        assert!(error.to_string().contains("3999"), "{error}");
    }

    #[test]
    fn errors_are_small_and_convert_to_io() {
        assert_eq!(size_of::<Error>(), 8);
        let io = std::io::Error::from(Error::from_code(Op::Read, -libc::ECONNRESET));
        assert_eq!(io.kind(), std::io::ErrorKind::ConnectionReset);
        let io = std::io::Error::from(Error::closed(Op::Read));
        assert_eq!(io.kind(), std::io::ErrorKind::NotConnected);
    }
}

//! `FiberStream`: a connection of a fiber, and its face for [`std::io`].

use super::error::FiberError;
use super::lend;
use super::state::Core;
use super::wire::{DROPPED, Wire};
use rotor_fsm::{HandleId, Time};
use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::rc::Rc;
use std::time::Duration;

/// A connection of the fiber that opened, accepted or connected it. Read and written through the fiber's
/// [`Cx`](super::Cx), with deadlines; or through [`Read`] and [`Write`], so that a
/// [`BufReader`](std::io::BufReader) and ordinary parsing code work on it.
///
/// Only its own fiber can use it; elsewhere every call answers [`FiberError::OtherFiber`].
///
/// When it is dropped, what was written still leaves, and the peer may read it to its end: the connection lingers for
/// up to [`linger`](super::FiberLimits::linger), which nothing but the end of the fiber's machine waits for. If the
/// fiber panics or is ended from outside, it closes at once.
pub struct FiberStream {
    pub(super) wire: Rc<Wire>,
}

impl FiberStream {
    /// The id of its handle.
    pub fn id(&self) -> HandleId {
        self.wire.id()
    }

    /// How long each read through [`Read`] may wait; `None`, as at first, means for ever. Reads through
    /// [`Cx`](super::Cx) have deadlines of their own.
    pub fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.wire.read_timeout.set(timeout);
    }

    /// The same for each write and flush through [`Write`].
    pub fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.wire.write_timeout.set(timeout);
    }

    /// Calls `f` with this stream's fiber, if that is the one that runs, and when it must be done.
    fn do_within<R>(
        &self,
        timeout: Option<Duration>,
        f: impl FnOnce(&Core, Time) -> Result<R, FiberError>,
    ) -> io::Result<R> {
        let result = lend::running(self.wire.owner(), |core| {
            let until = match timeout {
                None => Time::NEVER,
                Some(timeout) => core.ops(|ops| ops.fresh_now())? + timeout,
            };
            f(core, until)
        });
        Ok(result??)
    }
}

/// Waits for at least one byte. 0 means that the peer sends no more.
impl Read for FiberStream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.do_within(self.wire.read_timeout.get(), |core, until| {
            core.read(&self.wire, buf, until)
        })
    }
}

/// What is written leaves by itself, when the fiber waits next. Writing waits only while too much output does.
impl Write for FiberStream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.do_within(self.wire.write_timeout.get(), |core, until| {
            core.write(&self.wire, buf, until)
        })
    }

    fn write_vectored(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.write(first.map_or(&[], |buf| &**buf))
    }

    /// Waits until everything was handed to the kernel. Seldom needed.
    fn flush(&mut self) -> io::Result<()> {
        self.do_within(self.wire.write_timeout.get(), |core, until| {
            core.wait_for_output(&self.wire, 0, until)
        })
    }
}

impl Drop for FiberStream {
    fn drop(&mut self) {
        // If the fiber panics, its machine ends, and closes this with all else.
        let lingers = lend::running(self.wire.owner(), |core| core.has_dropped.set(true));
        if lingers.is_ok() {
            self.wire.set(DROPPED, true);
        } else {
            self.wire.close();
        }
    }
}

impl fmt::Debug for FiberStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FiberStream").field(&self.id()).finish()
    }
}

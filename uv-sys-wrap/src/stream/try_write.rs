//! Writing at once: the one call that every message needs, and the rare ways around it.

use super::StreamRef;
use crate::error::{Error, Op, Result};
use crate::slot::flag;
use libuv_sys2 as sys;
use std::ffi::c_int;
use std::io::IoSlice;
use std::os::fd::RawFd;

impl StreamRef<'_> {
    /// [`Stream::try_write`](super::Stream::try_write).
    #[inline]
    pub(super) fn write_now(self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        let written = match self.direct_fd() {
            Some(fd) => write_once(fd, bufs),
            None => self.write_with_care(bufs),
        };
        self.outcome(written)
    }

    /// [`Stream::try_write_one`](super::Stream::try_write_one).
    #[inline(always)]
    pub(super) fn write_one_now(self, bytes: &[u8]) -> Result<usize> {
        // Plain values until the end keep the rare ways out of the common one.
        let written = match self.direct_fd() {
            Some(fd) => {
                // SAFETY: the pointer and length are those of a live slice.
                let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
                if written >= 0 {
                    return Ok(written as usize);
                }
                write_one_failed(fd, bytes)
            }
            None => self.write_one_with_care(bytes),
        };
        self.outcome(written)
    }

    /// The descriptor of a connected socket of ours with nothing queued.
    #[inline(always)]
    fn direct_fd(self) -> Option<RawFd> {
        const DIRECT: u16 = flag::SHUT | flag::CONNECTED | flag::APART;
        let slot = self.core.live(self.id, Op::Write).ok()?;
        // Only streams are ever connected.
        if slot.flags.get() & DIRECT != flag::CONNECTED {
            return None;
        }
        let stream: *mut sys::uv_stream_t = slot.place().cast();
        // SAFETY: the stream is live. With its queue empty its descriptor is open and nothing else writes to it. The
        // fields are libuv's own, and libuv's version is pinned.
        unsafe { ((*stream).write_queue_size == 0).then(|| (*stream).io_watcher.fd) }
    }

    /// Writes to what is no socket of ours, or has writes queued, or cannot be written at all.
    #[cold]
    #[inline(never)]
    fn write_with_care(self, bufs: &[IoSlice<'_>]) -> isize {
        let Ok(slot) = self.writable(Op::Write) else {
            return NOT_WRITABLE;
        };
        let stream = slot.stream();
        // SAFETY: the stream is live.
        let is_queued = unsafe { (*stream).write_queue_size != 0 };
        if !slot.has(flag::CONNECTED) || is_queued || bufs.is_empty() {
            return 0;
        }
        write_by_libuv(stream, bufs)
    }

    #[cold]
    #[inline(never)]
    fn write_one_with_care(self, bytes: &[u8]) -> isize {
        self.write_with_care(&[IoSlice::new(bytes)])
    }

    /// What a number says: bytes written, or libuv's code of an error, or `NOT_WRITABLE`.
    #[inline]
    fn outcome(self, written: isize) -> Result<usize> {
        if written >= 0 {
            Ok(written as usize)
        } else {
            Err(self.write_error(written))
        }
    }

    #[cold]
    #[inline(never)]
    fn write_error(self, code: isize) -> Error {
        match self.writable(Op::Write) {
            Err(error) if code == NOT_WRITABLE => error,
            _ => Error::from_code(Op::Write, code as c_int),
        }
    }
}

/// What `uv_try_write` does on an empty queue: one system call, repeated if a signal interrupts it. Made here
/// because libuv's way to the same call costs 90 instructions more, a quarter of what it spends on echoing a
/// message.
#[inline]
fn write_once(fd: RawFd, bufs: &[IoSlice<'_>]) -> isize {
    let written = write_call(fd, bufs);
    if written >= 0 {
        written
    } else {
        write_failed(fd, bufs)
    }
}

/// No code of the system's: the stream cannot be written, and why is still to be said.
const NOT_WRITABLE: isize = isize::MIN;

#[inline]
fn write_call(fd: RawFd, bufs: &[IoSlice<'_>]) -> isize {
    match bufs {
        // SAFETY: the pointer and length are those of a live slice.
        [buf] => unsafe { libc::write(fd, buf.as_ptr().cast(), buf.len()) },
        // SAFETY: on Unix `IoSlice` has the layout of `iovec` (std promises it); the count is bounded.
        _ => unsafe { libc::writev(fd, bufs.as_ptr().cast(), bufs.len().min(IOV_MAX) as c_int) },
    }
}

/// A full socket is no failure, and an interrupted call is made again.
#[cold]
#[inline(never)]
fn write_failed(fd: RawFd, bufs: &[IoSlice<'_>]) -> isize {
    loop {
        match std::io::Error::last_os_error().raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::EAGAIN | libc::ENOBUFS) => return 0,
            // How macOS sometimes says that the peer is closing the connection.
            Some(libc::EPROTOTYPE) if cfg!(target_vendor = "apple") => {
                return -(libc::ECONNRESET as isize);
            }
            code => return -(code.unwrap_or(libc::EIO) as isize),
        }
        let written = write_call(fd, bufs);
        if written >= 0 {
            return written;
        }
    }
}

#[cold]
#[inline(never)]
fn write_one_failed(fd: RawFd, bytes: &[u8]) -> isize {
    write_failed(fd, &[IoSlice::new(bytes)])
}

/// Buffers a single `writev` takes on every Unix.
const IOV_MAX: usize = 1024;

/// The way to a stream that libuv may reach by another way than its descriptor: a terminal, where it can be a thread.
#[cold]
#[inline(never)]
fn write_by_libuv(stream: *mut sys::uv_stream_t, bufs: &[IoSlice<'_>]) -> isize {
    let count = bufs.len().min(IOV_MAX) as u32;
    // SAFETY: the caller's stream is live; on Unix `IoSlice` and `uv_buf_t` both have the layout of `iovec`
    // (std and libuv promise it), and libuv does not keep the pointers.
    let code = unsafe { sys::uv_try_write(stream, bufs.as_ptr().cast(), count) };
    if code == sys::uv_errno_t_UV_EAGAIN {
        0
    } else {
        code as isize
    }
}

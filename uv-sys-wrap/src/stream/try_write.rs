//! Writing at once: the one call that every message needs, and the rare ways around it.

use super::StreamRef;
use crate::error::{Error, Op, Result};
use crate::slot::flag;
use libuv_sys2 as sys;
use std::ffi::c_int;
use std::io::IoSlice;
use std::os::fd::RawFd;

impl StreamRef<'_> {
    #[inline(always)]
    pub(super) fn write_now(&self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        // A plain number until here keeps the rare ways out of the common one.
        let written = self.write_code(bufs);
        if written >= 0 {
            Ok(written as usize)
        } else {
            Err(self.write_error(written))
        }
    }

    /// Bytes written, or libuv's code of an error, or `NOT_WRITABLE`.
    #[inline(always)]
    fn write_code(&self, bufs: &[IoSlice<'_>]) -> isize {
        const DIRECT: u16 = flag::SHUT | flag::CONNECTED | flag::APART;
        match self.core.live(self.id, Op::Write) {
            // Only streams are ever connected.
            Ok(slot) if slot.flags.get() & DIRECT == flag::CONNECTED => {
                let stream: *mut sys::uv_stream_t = slot.place().cast();
                // SAFETY: the stream is live.
                if unsafe { (*stream).write_queue_size } != 0 {
                    return 0;
                }
                // SAFETY: the stream is live and its queue empty, so its descriptor is open and nothing else
                // writes to it. The field is libuv's own, and libuv's version is pinned.
                write_once(unsafe { (*stream).io_watcher.fd }, bufs)
            }
            _ => self.write_with_care(bufs),
        }
    }

    /// Writes to what is no socket of ours, or to none.
    #[cold]
    #[inline(never)]
    fn write_with_care(&self, bufs: &[IoSlice<'_>]) -> isize {
        match self.writable(Op::Write) {
            Ok(slot) if !slot.has(flag::CONNECTED) || bufs.is_empty() => 0,
            Ok(slot) => write_by_libuv(slot.stream(), bufs),
            Err(_) => NOT_WRITABLE,
        }
    }

    #[cold]
    #[inline(never)]
    fn write_error(&self, code: isize) -> Error {
        match self.writable(Op::Write) {
            Err(error) if code == NOT_WRITABLE => error,
            _ => Error::from_code(Op::Write, code as c_int),
        }
    }
}

/// What `uv_try_write` does on an empty queue: one system call, repeated if a signal interrupts it. Made here
/// because libuv's way to the same call costs 90 instructions more, a quarter of what it spends on echoing a
/// message.
#[inline(always)]
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

#[inline(always)]
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

//! What TCP connections, Unix sockets and terminals share: reading, writing, ending.
//!
//! One implementation on `(core, id)`: every operation looks the handle up, checks its state here
//! (libuv asserts on much of what is refused), and makes one libuv call. Order of output never changes:
//! `try_write` writes only when nothing is queued, `write` appends to the queue (U9).

mod try_write;

use crate::error::{Error, Kind, Op, Result, check};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::request::Request;
use crate::slot::{HandleKind, Slot, flag};
use crate::state::{Core, bump};
use crate::trampoline::on_alloc;
use crate::write::{INLINE, WriteBufs, WriteError};
use libuv_sys2 as sys;
use std::ffi::c_int;
use std::io::IoSlice;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::path::PathBuf;

pub(crate) mod sealed {
    pub trait Sealed {
        fn view(&self) -> super::StreamRef<'_>;
    }
}
use sealed::Sealed;

/// The operations of every stream. Implemented by [`Tcp`](crate::Tcp), [`Pipe`](crate::Pipe),
/// [`Tty`](crate::Tty) and, for handles known by their id only, [`StreamRef`].
pub trait Stream: Sealed {
    /// Starts reading: `Event::Read` for each batch of bytes, until `Eof`, `Failed` or
    /// [`read_stop`](Stream::read_stop). Idempotent.
    #[inline]
    fn read_start(&self) -> Result<()> {
        self.view().start_reading()
    }

    /// Stops reading: no `Read` event until it is started again. Idempotent. A stream that neither reads
    /// nor writes does not keep `run` from returning (U4).
    #[inline]
    fn read_stop(&self) -> Result<()> {
        self.view().stop_reading()
    }

    /// Writes what the socket takes at once, in one system call, and says how much that was: 0 when it
    /// is full, when writes are queued, or while it still connects (U9). Never blocks, never queues.
    #[inline]
    fn try_write(&self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        self.view().write_now(bufs)
    }

    /// [`try_write`](Stream::try_write) of a single buffer, which costs some instructions less.
    #[inline(always)]
    fn try_write_one(&self, bytes: &[u8]) -> Result<usize> {
        self.view().write_one_now(bytes)
    }

    /// Queues a write behind those queued before; `Event::Written` gives the buffers back. Up to four
    /// buffers cost no allocation.
    #[expect(clippy::result_large_err, reason = "boxing the buffers would allocate")]
    fn write(&self, bufs: WriteBufs) -> Result<(), WriteError> {
        self.view().enqueue(bufs)
    }

    /// Bytes in queued writes that the kernel has not taken yet.
    #[inline]
    fn write_queue_bytes(&self) -> Result<usize> {
        let view = self.view();
        let slot = view.slot(Op::Write)?;
        // SAFETY: the stream is live.
        Ok(unsafe { (*slot.stream()).write_queue_size })
    }

    /// Half-closes: after the queued writes a FIN is sent, then comes `Event::ShutDown`. Later writes
    /// fail with kind `ShutDown` (U10); so does a second shutdown.
    fn shutdown(&self) -> Result<()> {
        self.view().half_close()
    }

    /// The socket's descriptor, for options this crate does not know. It stays libuv's: do not close it.
    fn raw_fd(&self) -> Result<RawFd> {
        let view = self.view();
        let mut fd = -1;
        // SAFETY: live; writes one int.
        check(Op::Option, unsafe {
            sys::uv_fileno(view.slot(Op::Option)?.handle(), &mut fd)
        })?;
        Ok(fd)
    }

    /// Closes with a reset, discarding what is queued or unread; if the system refuses that (a shutdown
    /// is under way, or it is no TCP connection) closes plainly (U20). The handle is closed afterwards.
    fn reset(&self) -> Result<()> {
        let view = self.view();
        view.core.reset_slot(view.slot(Op::Close)?);
        Ok(())
    }

    /// The kernel's send buffer, in bytes as the kernel counts them (Linux: twice what was set).
    fn send_buffer_bytes(&self) -> Result<usize> {
        self.view().buffer_bytes(sys::uv_send_buffer_size, 0)
    }

    /// Sets the kernel's send buffer. Zero is invalid.
    fn set_send_buffer_bytes(&self, bytes: usize) -> Result<()> {
        self.view()
            .set_buffer_bytes(sys::uv_send_buffer_size, bytes)
    }

    /// The kernel's receive buffer, in bytes as the kernel counts them (Linux: twice what was set).
    fn recv_buffer_bytes(&self) -> Result<usize> {
        self.view().buffer_bytes(sys::uv_recv_buffer_size, 0)
    }

    /// Sets the kernel's receive buffer. Zero is invalid.
    fn set_recv_buffer_bytes(&self, bytes: usize) -> Result<()> {
        self.view()
            .set_buffer_bytes(sys::uv_recv_buffer_size, bytes)
    }
}

/// A stream known by its id. Operations of [`Stream`], and those of its special kinds, which fail with
/// kind `WrongKind` on other kinds.
#[derive(Clone, Copy)]
pub struct StreamRef<'a> {
    core: &'a Core,
    id: HandleId,
}

impl Stream for StreamRef<'_> {}
impl Sealed for StreamRef<'_> {
    #[inline]
    fn view(&self) -> StreamRef<'_> {
        *self
    }
}

type BufferSize = unsafe extern "C" fn(*mut sys::uv_handle_t, *mut c_int) -> c_int;

impl<'a> StreamRef<'a> {
    #[inline]
    pub(crate) fn new(core: &'a Core, id: HandleId) -> Self {
        StreamRef { core, id }
    }

    /// Which handle this names.
    pub fn id(&self) -> HandleId {
        self.id
    }

    /// Takes a waiting connection of a listening stream: a handle of the listener's own kind. Kind
    /// `WouldBlock` if none waits, `Limit` if no handle may be made (the connection goes on waiting).
    /// Not calling this is the backpressure: libuv polls the listener only after it (U17).
    pub fn accept(&self, token: Token) -> Result<Handle> {
        let listener = self.slot(Op::Accept)?;
        if !listener.has(flag::LISTENING) {
            return Err(Error::invalid(Op::Accept));
        }
        let server = listener.stream();
        // SAFETY: the stream is live.
        if unsafe { (*server).accepted_fd } == -1 {
            return Err(Error::new(Op::Accept, Kind::WouldBlock));
        }
        let kind = listener.kind.get();
        let slot = self.core.open(kind, token.0, |raw, place| {
            // SAFETY: fresh memory for a handle on an initialised loop.
            unsafe {
                match kind {
                    HandleKind::Pipe => sys::uv_pipe_init(raw, place.cast(), 0),
                    _ => crate::tcp::init(raw, place),
                }
            }
        })?;
        // SAFETY: both are live streams of one loop, and a connection waits. On failure libuv has closed
        // the connection itself.
        if let Err(error) = check(Op::Accept, unsafe { sys::uv_accept(server, slot.stream()) }) {
            self.core.close(slot.id.get());
            bump(&self.core.counts.shed);
            return Err(error);
        }
        slot.set(flag::CONNECTED);
        Ok(self.core.owner(slot))
    }

    /// Disables (or enables) Nagle's algorithm. TCP only.
    pub fn nodelay(&self, on: bool) -> Result<()> {
        crate::tcp::nodelay(self.core, self.id, on)
    }

    /// Sets keepalive probes. TCP only; see [`Tcp::keepalive`](crate::Tcp::keepalive).
    pub fn keepalive(&self, idle: Option<std::time::Duration>) -> Result<()> {
        crate::tcp::keepalive(self.core, self.id, idle)
    }

    /// The local address. TCP only.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        crate::tcp::local_addr(self.core, self.id)
    }

    /// The peer's address. TCP only.
    pub fn peer_addr(&self) -> Result<SocketAddr> {
        crate::tcp::peer_addr(self.core, self.id)
    }

    /// The name of this side of a Unix connection; empty if it has none. Unix sockets only.
    pub fn local_name(&self) -> Result<PathBuf> {
        crate::pipe::local_name(self.core, self.id)
    }

    /// The name of the other side of a Unix connection; empty if it has none. Unix sockets only.
    pub fn peer_name(&self) -> Result<PathBuf> {
        crate::pipe::peer_name(self.core, self.id)
    }

    /// The stream's slot, if it is live.
    #[inline]
    fn slot(&self, op: Op) -> Result<&'a Slot> {
        let slot = self.core.live(self.id, op)?;
        if slot.is_stream() {
            Ok(slot)
        } else {
            Err(Error::new(op, Kind::WrongKind))
        }
    }

    /// The same, if it can be read and written.
    #[inline]
    fn connected(&self, op: Op) -> Result<&'a Slot> {
        let slot = self.slot(op)?;
        if slot.has(flag::CONNECTED) {
            Ok(slot)
        } else {
            Err(Error::new(op, Kind::NotConnected))
        }
    }

    #[inline]
    fn start_reading(&self) -> Result<()> {
        let slot = self.connected(Op::Read)?;
        // SAFETY: live and connected, so it has a descriptor.
        let code =
            unsafe { sys::uv_read_start(slot.stream(), Some(on_alloc), self.core.callbacks.read) };
        if code == sys::uv_errno_t_UV_EALREADY {
            Ok(())
        } else {
            check(Op::Read, code)
        }
    }

    #[inline]
    fn stop_reading(&self) -> Result<()> {
        let slot = self.slot(Op::Read)?;
        // SAFETY: live; libuv does nothing if it does not read.
        check(Op::Read, unsafe { sys::uv_read_stop(slot.stream()) })
    }

    /// Whether writes may be tried or queued: yes while connecting, no after a shutdown.
    #[inline]
    fn writable(&self, op: Op) -> Result<&'a Slot> {
        let slot = self.slot(op)?;
        match slot.flags.get() & (flag::SHUT | flag::CONNECTED | flag::CONNECTING) {
            flag::CONNECTED | flag::CONNECTING => Ok(slot),
            0 => Err(Error::new(op, Kind::NotConnected)),
            _ => Err(Error::new(op, Kind::ShutDown)),
        }
    }

    #[expect(clippy::result_large_err, reason = "boxing the buffers would allocate")]
    fn enqueue(&self, bufs: WriteBufs) -> Result<(), WriteError> {
        let slot = match self.writable(Op::Write) {
            Ok(slot) if bufs.len_bytes() > 0 => slot,
            Ok(_) => {
                return Err(WriteError {
                    error: Error::invalid(Op::Write),
                    bufs,
                });
            }
            Err(error) => return Err(WriteError { error, bufs }),
        };
        let Some(request) = self.core.requests.take(Request::new) else {
            return Err(WriteError {
                error: Error::new(Op::Write, Kind::Limit),
                bufs,
            });
        };
        let code = queue(slot.stream(), request, &bufs, self.core.callbacks.write);
        request.swap_bufs(bufs);
        match check(Op::Write, code) {
            Ok(()) => Ok(()),
            Err(error) => {
                // A failed call never calls back (U9).
                let bufs = request.swap_bufs(WriteBufs::new());
                self.core.requests.give_back(request.index);
                Err(WriteError { error, bufs })
            }
        }
    }

    fn half_close(&self) -> Result<()> {
        let slot = self.writable(Op::Shutdown)?;
        if !slot.has(flag::CONNECTED) {
            // libuv would take the feeding of the watcher for the end of the connect.
            return Err(Error::new(Op::Shutdown, Kind::NotConnected));
        }
        let request = self
            .core
            .requests
            .take(Request::new)
            .ok_or(Error::new(Op::Shutdown, Kind::Limit))?;
        // SAFETY: live and connected; the request stays taken until `on_shutdown`.
        let code =
            unsafe { sys::uv_shutdown(request.uv(), slot.stream(), self.core.callbacks.shutdown) };
        if let Err(error) = check(Op::Shutdown, code) {
            self.core.requests.give_back(request.index);
            return Err(error);
        }
        slot.set(flag::SHUT);
        Ok(())
    }

    fn buffer_bytes(&self, size: BufferSize, set: c_int) -> Result<usize> {
        let slot = self.slot(Op::Option)?;
        let mut value = set;
        // SAFETY: live; libuv checks the kind and the descriptor, and reads or writes one int.
        check(Op::Option, unsafe { size(slot.handle(), &mut value) })?;
        Ok(usize::try_from(value).unwrap_or(0))
    }

    fn set_buffer_bytes(&self, size: BufferSize, bytes: usize) -> Result<()> {
        // Zero would ask instead of set.
        match c_int::try_from(bytes) {
            Ok(bytes) if bytes > 0 => self.buffer_bytes(size, bytes).map(drop),
            _ => Err(Error::invalid(Op::Option)),
        }
    }
}

/// Hands a write to libuv, which copies the array of pointers (inline up to four of them).
fn queue(
    stream: *mut sys::uv_stream_t,
    request: &Request,
    bufs: &WriteBufs,
    done: sys::uv_write_cb,
) -> c_int {
    let entry = |bytes: &[u8]| sys::uv_buf_t {
        base: bytes.as_ptr().cast_mut().cast(),
        len: bytes.len(),
    };
    let mut parts = bufs
        .iter()
        .map(|buf| buf.as_slice())
        .filter(|bytes| !bytes.is_empty());
    let mut few = [sys::uv_buf_t {
        base: std::ptr::null_mut(),
        len: 0,
    }; INLINE];
    let mut count = 0;
    for (place, bytes) in few.iter_mut().zip(parts.by_ref()) {
        *place = entry(bytes);
        count += 1;
    }
    let mut many = Vec::new();
    if let Some(fifth) = parts.next() {
        many.extend_from_slice(&few);
        many.push(entry(fifth));
        many.extend(parts.map(entry));
    }
    let list = if many.is_empty() {
        &few[..count]
    } else {
        &many[..]
    };
    // SAFETY: the stream is live; the caller stores the buffers in the request, whose bytes stay where
    // they are until `on_write`, and which stays taken until then. libuv only reads the bytes.
    unsafe {
        sys::uv_write(
            request.uv(),
            stream,
            list.as_ptr(),
            u32::try_from(list.len()).unwrap_or(u32::MAX),
            done,
        )
    }
}

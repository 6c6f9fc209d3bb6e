//! Unix stream sockets (libuv calls them pipes), and the ends of pipes.

use crate::addr::{RawUnix, UnixName};
use crate::error::{Error, Kind, Op, Result, check};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::request::Request;
use crate::slot::{HandleKind, Slot, UvPlace, flag};
use crate::state::Core;
use crate::stream::{Stream, StreamRef, sealed::Sealed};
use crate::uv::Uv;
use libuv_sys2 as sys;
use std::ffi::{c_char, c_int};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::path::PathBuf;

/// A Unix socket: a connection or a listener. Dropping it closes it; the file that `bind` made is removed
/// then.
#[derive(Debug)]
pub struct Pipe {
    uv: Uv,
    handle: Handle,
}

impl Pipe {
    /// A handle without a socket yet: bind, connect or open it.
    pub fn new(uv: &Uv, token: Token) -> Result<Pipe> {
        let slot = uv.core().open(HandleKind::Pipe, token.0, init)?;
        Ok(Pipe {
            uv: uv.clone(),
            handle: uv.core().owner(slot),
        })
    }

    /// Binds to a name. An existing file is kind `AddrInUse`, stale or not (an
    /// [`Acceptor`](crate::Acceptor) replaces stale ones).
    pub fn bind<'a>(&self, name: impl Into<UnixName<'a>>) -> Result<()> {
        let slot = self.fresh(Op::Bind)?;
        let raw = RawUnix::new(name.into()).ok_or(Error::invalid(Op::Bind))?;
        let (name, len) = raw.name();
        // SAFETY: live; the name has `len` bytes and is copied.
        let code =
            unsafe { sys::uv_pipe_bind2(slot.place().cast(), name, len, sys::UV_PIPE_NO_TRUNCATE) };
        check(Op::Bind, code)?;
        slot.set(flag::BOUND);
        Ok(())
    }

    /// Listens: `Event::Incoming` for each connection, the next one after [`accept`](Pipe::accept).
    pub fn listen(&self, backlog: i32) -> Result<()> {
        let slot = self.fresh(Op::Listen)?;
        // SAFETY: live, and neither connecting nor connected.
        check(Op::Listen, unsafe {
            sys::uv_listen(slot.stream(), backlog, self.uv.core().callbacks.connection)
        })?;
        slot.set(flag::LISTENING);
        Ok(())
    }

    /// Takes the waiting connection; see [`StreamRef::accept`].
    pub fn accept(&self, token: Token) -> Result<Pipe> {
        self.uv
            .core()
            .live_as(self.id(), HandleKind::Pipe, Op::Accept)?;
        Ok(Pipe {
            uv: self.uv.clone(),
            handle: self.view().accept(token)?,
        })
    }

    /// Starts connecting; `Event::Connected` or `Event::Failed` follows. After a failure the handle is
    /// of no more use.
    pub fn connect<'a>(&self, name: impl Into<UnixName<'a>>) -> Result<()> {
        let core = self.uv.core();
        let slot = self.fresh(Op::Connect)?;
        let raw = RawUnix::new(name.into()).ok_or(Error::invalid(Op::Connect))?;
        if slot.has(flag::BOUND | flag::FAILED) {
            return Err(Error::invalid(Op::Connect));
        }
        let request = core
            .requests
            .take(Request::new)
            .ok_or(Error::new(Op::Connect, Kind::Limit))?;
        let (name, len) = raw.name();
        // SAFETY: live and unconnected; the request stays taken until `on_connect`; the name is copied.
        let code = unsafe {
            let (pipe, flags) = (slot.place().cast(), sys::UV_PIPE_NO_TRUNCATE);
            sys::uv_pipe_connect2(request.uv(), pipe, name, len, flags, core.callbacks.connect)
        };
        if let Err(error) = check(Op::Connect, code) {
            core.requests.give_back(request.index);
            return Err(error);
        }
        slot.set(flag::CONNECTING);
        Ok(())
    }

    /// Takes over a connected Unix stream socket or the end of a pipe. On failure the descriptor is
    /// closed.
    pub fn open(&self, socket: OwnedFd) -> Result<()> {
        let slot = self.fresh(Op::Open)?;
        if slot.has(flag::BOUND | flag::FAILED) {
            return Err(Error::invalid(Op::Open));
        }
        adopt(slot, socket)
    }

    /// The name it is bound to; empty if it has none. An abstract name begins with a zero byte.
    pub fn local_name(&self) -> Result<PathBuf> {
        local_name(self.uv.core(), self.id())
    }

    /// The peer's name; empty if it has none (as clients mostly do).
    pub fn peer_name(&self) -> Result<PathBuf> {
        peer_name(self.uv.core(), self.id())
    }

    /// Which handle this is.
    pub fn id(&self) -> HandleId {
        self.handle.id()
    }

    /// The plain owner value; operate by id from here on.
    pub fn into_handle(self) -> Handle {
        self.handle
    }

    fn fresh(&self, op: Op) -> Result<&Slot> {
        let slot = self.uv.core().live_as(self.id(), HandleKind::Pipe, op)?;
        if slot.has(flag::LISTENING | flag::CONNECTING | flag::CONNECTED) {
            return Err(Error::invalid(op));
        }
        Ok(slot)
    }
}

type AskName = unsafe extern "C" fn(*const sys::uv_pipe_t, *mut c_char, *mut usize) -> c_int;

pub(crate) fn local_name(core: &Core, id: HandleId) -> Result<PathBuf> {
    name(core, id, sys::uv_pipe_getsockname)
}

pub(crate) fn peer_name(core: &Core, id: HandleId) -> Result<PathBuf> {
    name(core, id, sys::uv_pipe_getpeername)
}

fn name(core: &Core, id: HandleId, ask: AskName) -> Result<PathBuf> {
    let slot = core.live_as(id, HandleKind::Pipe, Op::Address)?;
    let mut bytes = [0_u8; 256];
    let mut len = bytes.len();
    // SAFETY: live; the buffer is as long as `len` says.
    check(Op::Address, unsafe {
        ask(slot.place().cast(), bytes.as_mut_ptr().cast(), &mut len)
    })?;
    Ok(crate::listen_fd::path_of(bytes.get(..len).unwrap_or(&[])))
}

impl Stream for Pipe {}
impl Sealed for Pipe {
    #[inline]
    fn view(&self) -> StreamRef<'_> {
        self.uv.stream(self.handle.id())
    }
}

fn init(raw: *mut sys::uv_loop_t, place: *mut UvPlace) -> c_int {
    // SAFETY: called by `Core::open` with an initialised loop and fresh memory.
    unsafe { sys::uv_pipe_init(raw, place.cast(), 0) }
}

/// A new handle on a connected socket or pipe end.
pub(crate) fn adopted(core: &Core, token: Token, fd: OwnedFd) -> Result<Handle> {
    let slot = core.open(HandleKind::Pipe, token.0, init)?;
    let owner = core.owner(slot);
    adopt(slot, fd)?;
    Ok(owner)
}

fn adopt(slot: &Slot, fd: OwnedFd) -> Result<()> {
    // SAFETY: looks at the descriptor, which is open. libuv would take any, and abort when it cannot be
    // polled.
    if unsafe { sys::uv_guess_handle(fd.as_raw_fd()) } != sys::uv_handle_type_UV_NAMED_PIPE {
        return Err(Error::invalid(Op::Open));
    }
    // SAFETY: live and without a socket; on success libuv owns the descriptor, else we close it.
    check(Op::Open, unsafe {
        sys::uv_pipe_open(slot.place().cast(), fd.as_raw_fd())
    })?;
    let _ = fd.into_raw_fd();
    slot.set(flag::CONNECTED);
    if cfg!(target_vendor = "apple") {
        // There libuv may poll what it is given through a thread and another descriptor.
        slot.set(flag::APART);
    }
    Ok(())
}

//! TCP: connections, and listeners with libuv's one accept per turn (for a fast one see
//! [`Acceptor`](crate::Acceptor)).

use crate::addr::{RawAddr, from_raw};
use crate::error::{Error, Kind, Op, Result, check};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::request::Request;
use crate::slot::{HandleKind, Slot, TcpPlace, UvPlace, flag};
use crate::state::Core;
use crate::stream::{Stream, StreamRef, sealed::Sealed};
use crate::uv::Uv;
use libuv_sys2 as sys;
use std::ffi::c_int;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::time::Duration;

/// A TCP handle: a connection or a listener. Dropping it closes it.
#[derive(Debug)]
pub struct Tcp {
    uv: Uv,
    handle: Handle,
}

/// How [`Tcp::bind`] binds.
#[derive(Clone, Copy, Debug, Default)]
pub struct BindOptions {
    /// Do not take IPv4 connections on an IPv6 address.
    pub ipv6_only: bool,
    /// Let several listeners share the port, the kernel spreading connections over them.
    pub reuse_port: bool,
}

impl Tcp {
    /// A handle without a socket yet: bind, connect or open it.
    pub fn new(uv: &Uv, token: Token) -> Result<Tcp> {
        // SAFETY: fresh memory for a handle on an initialised loop.
        let slot = uv
            .core()
            .open(HandleKind::Tcp, token.0, |raw, place| unsafe {
                init(raw, place)
            })?;
        Ok(Tcp {
            uv: uv.clone(),
            handle: uv.core().owner(slot),
        })
    }

    /// Binds to a local address. An address in use is reported here, not at `listen` (U14).
    pub fn bind(&self, addr: SocketAddr, options: BindOptions) -> Result<()> {
        let slot = self.fresh(Op::Bind)?;
        let mut flags = 0;
        if options.ipv6_only {
            flags |= sys::uv_tcp_flags_UV_TCP_IPV6ONLY;
        }
        if options.reuse_port {
            flags |= sys::uv_tcp_flags_UV_TCP_REUSEPORT;
        }
        let addr = RawAddr::from(addr);
        // SAFETY: live; the address is complete and libuv copies it.
        check(Op::Bind, unsafe {
            sys::uv_tcp_bind(slot.place().cast(), addr.as_ptr().cast(), flags)
        })?;
        // libuv keeps EADDRINUSE for later; asking for the name brings it out.
        name(slot, Op::Bind, sys::uv_tcp_getsockname)?;
        slot.set(flag::BOUND);
        keepalive_now(slot);
        Ok(())
    }

    /// Listens: `Event::Incoming` for each connection, the next one after [`accept`](Tcp::accept).
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
    pub fn accept(&self, token: Token) -> Result<Tcp> {
        self.uv
            .core()
            .live_as(self.id(), HandleKind::Tcp, Op::Accept)?;
        Ok(Tcp {
            uv: self.uv.clone(),
            handle: self.view().accept(token)?,
        })
    }

    /// Starts connecting; `Event::Connected` or `Event::Failed` follows. After a failure the handle is
    /// of no more use. Writes may be queued meanwhile.
    pub fn connect(&self, addr: SocketAddr) -> Result<()> {
        let core = self.uv.core();
        let slot = self.fresh(Op::Connect)?;
        if slot.has(flag::FAILED) {
            return Err(Error::invalid(Op::Connect));
        }
        let request = core
            .requests
            .take(Request::new)
            .ok_or(Error::new(Op::Connect, Kind::Limit))?;
        let addr = RawAddr::from(addr);
        // SAFETY: live and unconnected; the request stays taken until `on_connect`; the address is
        // copied.
        let code = unsafe {
            let tcp = slot.place().cast();
            sys::uv_tcp_connect(
                request.uv(),
                tcp,
                addr.as_ptr().cast(),
                core.callbacks.connect,
            )
        };
        if let Err(error) = check(Op::Connect, code) {
            core.requests.give_back(request.index);
            slot.set(flag::FAILED);
            return Err(error);
        }
        slot.set(flag::CONNECTING);
        keepalive_now(slot);
        Ok(())
    }

    /// Takes over a connected stream socket. On failure the descriptor is closed.
    pub fn open(&self, socket: OwnedFd) -> Result<()> {
        let slot = self.fresh(Op::Open)?;
        if slot.has(flag::BOUND | flag::FAILED) {
            return Err(Error::invalid(Op::Open));
        }
        adopt(slot, socket)
    }

    /// Disables (or enables) Nagle's algorithm, also before there is a socket.
    pub fn nodelay(&self, on: bool) -> Result<()> {
        nodelay(self.uv.core(), self.id(), on)
    }

    /// Sends keepalive probes after this much silence (rounded up to whole seconds, at most 32,767), or
    /// no more. May be set before there is a socket: it is applied once there is (U19).
    pub fn keepalive(&self, idle: Option<Duration>) -> Result<()> {
        keepalive(self.uv.core(), self.id(), idle)
    }

    /// The local address, once bound or connected.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        local_addr(self.uv.core(), self.id())
    }

    /// The peer's address, once connected.
    pub fn peer_addr(&self) -> Result<SocketAddr> {
        peer_addr(self.uv.core(), self.id())
    }

    /// Which handle this is.
    pub fn id(&self) -> HandleId {
        self.handle.id()
    }

    /// The plain owner value; operate by id from here on.
    pub fn into_handle(self) -> Handle {
        self.handle
    }

    /// The slot, if it neither listens, connects nor is connected.
    fn fresh(&self, op: Op) -> Result<&Slot> {
        let slot = self.uv.core().live_as(self.id(), HandleKind::Tcp, op)?;
        if slot.has(flag::LISTENING | flag::CONNECTING | flag::CONNECTED) {
            return Err(Error::invalid(op));
        }
        Ok(slot)
    }
}

impl Stream for Tcp {}
impl Sealed for Tcp {
    #[inline]
    fn view(&self) -> StreamRef<'_> {
        self.uv.stream(self.handle.id())
    }
}

/// Initialises a TCP handle.
///
/// # Safety
/// `raw` is an initialised loop, `place` pinned memory without a handle.
pub(crate) unsafe fn init(raw: *mut sys::uv_loop_t, place: *mut UvPlace) -> c_int {
    // SAFETY: as the caller promised; the field lies in the same memory, after libuv's part.
    unsafe {
        (*place.cast::<TcpPlace>()).keepalive_s = 0;
        sys::uv_tcp_init(raw, place.cast())
    }
}

/// Gives a connected socket to a handle without one.
pub(crate) fn adopt(slot: &Slot, socket: OwnedFd) -> Result<()> {
    let fd = socket.as_raw_fd();
    // SAFETY: looks at the descriptor, which is open. libuv would take any, and abort when it cannot be
    // polled.
    if unsafe { sys::uv_guess_handle(fd) } != sys::uv_handle_type_UV_TCP {
        return Err(Error::invalid(Op::Open));
    }
    adopt_trusted(slot, socket)
}

/// [`adopt`] for a socket that is known to be a TCP connection.
pub(crate) fn adopt_trusted(slot: &Slot, socket: OwnedFd) -> Result<()> {
    // SAFETY: live and without a socket; on success libuv owns the descriptor, else we close it.
    check(Op::Open, unsafe {
        sys::uv_tcp_open(slot.place().cast(), socket.as_raw_fd())
    })?;
    let _ = socket.into_raw_fd();
    slot.set(flag::CONNECTED);
    keepalive_now(slot);
    Ok(())
}

pub(crate) fn nodelay(core: &Core, id: HandleId, on: bool) -> Result<()> {
    let slot = core.live_as(id, HandleKind::Tcp, Op::Option)?;
    // SAFETY: live.
    check(Op::Option, unsafe {
        sys::uv_tcp_nodelay(slot.place().cast(), on.into())
    })
}

pub(crate) fn keepalive(core: &Core, id: HandleId, idle: Option<Duration>) -> Result<()> {
    let slot = core.live_as(id, HandleKind::Tcp, Op::Option)?;
    let whole = idle.map_or(0, |idle| {
        idle.as_secs()
            .saturating_add(u64::from(idle.subsec_nanos() > 0))
    });
    let seconds = if idle.is_some() {
        whole.clamp(1, 32_767) as u32
    } else {
        0
    };
    // SAFETY: live; this field is ours.
    unsafe { (*slot.place().cast::<TcpPlace>()).keepalive_s = seconds };
    if has_socket(slot) {
        set_keepalive(slot, seconds)
    } else {
        Ok(())
    }
}

/// Applies a keepalive that was set before there was a socket (U19). A TCP socket takes it; what is
/// none fails on its own account.
fn keepalive_now(slot: &Slot) {
    // SAFETY: live; this field is ours.
    let seconds = unsafe { (*slot.place().cast::<TcpPlace>()).keepalive_s };
    if seconds > 0 {
        let _ = set_keepalive(slot, seconds);
    }
}

fn set_keepalive(slot: &Slot, seconds: u32) -> Result<()> {
    // SAFETY: live and with a socket.
    check(Op::Option, unsafe {
        sys::uv_tcp_keepalive(slot.place().cast(), (seconds > 0).into(), seconds)
    })
}

fn has_socket(slot: &Slot) -> bool {
    let mut fd = -1;
    // SAFETY: live; writes one int.
    unsafe { sys::uv_fileno(slot.handle(), &mut fd) == 0 }
}

type Name = unsafe extern "C" fn(*const sys::uv_tcp_t, *mut sys::sockaddr, *mut c_int) -> c_int;

fn name(slot: &Slot, op: Op, ask: Name) -> Result<SocketAddr> {
    // SAFETY: an all-zero address is valid memory to be filled in.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&storage) as c_int;
    // SAFETY: live; the buffer is as long as `len` says.
    check(op, unsafe {
        ask(slot.place().cast(), (&raw mut storage).cast(), &mut len)
    })?;
    from_raw(&storage).ok_or(Error::invalid(op))
}

pub(crate) fn local_addr(core: &Core, id: HandleId) -> Result<SocketAddr> {
    name(
        core.live_as(id, HandleKind::Tcp, Op::Address)?,
        Op::Address,
        sys::uv_tcp_getsockname,
    )
}

pub(crate) fn peer_addr(core: &Core, id: HandleId) -> Result<SocketAddr> {
    name(
        core.live_as(id, HandleKind::Tcp, Op::Address)?,
        Op::Address,
        sys::uv_tcp_getpeername,
    )
}

/// A new handle on a connection that `accept` made.
pub(crate) fn adopted(core: &Core, token: Token, socket: OwnedFd) -> Result<Handle> {
    // SAFETY: fresh memory for a handle on an initialised loop.
    let slot = core.open(HandleKind::Tcp, token.0, |raw, place| unsafe {
        init(raw, place)
    })?;
    let owner = core.owner(slot);
    adopt_trusted(slot, socket)?;
    Ok(owner)
}

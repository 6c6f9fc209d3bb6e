//! The fast listener: polls a descriptor of its own, and accepts as often as it is asked (U21).
//!
//! It cannot spin: when an `Incoming` event ends without anybody having called `accept`, or accepting
//! fails for want of descriptors or handles, polling stops until `accept` or `resume` is called (U15).
//! Connections wait in the kernel's backlog meanwhile.

use crate::addr::UnixName;
use crate::error::{Error, Kind, Op, Result, check};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::listen_fd::ListenSocket;
use crate::slot::{HandleKind, PollPlace, Slot, flag};
use crate::state::{Core, bump};
use crate::uv::Uv;
use libuv_sys2 as sys;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A TCP or Unix listener: `Event::Incoming` while connections wait. Dropping it closes it.
#[derive(Debug)]
pub struct Acceptor {
    uv: Uv,
    handle: Handle,
}

/// How an [`Acceptor`] listens.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    /// Connections that may wait in the kernel. Default 1,024; the kernel has a limit of its own.
    pub backlog: i32,
    /// Let several listeners share the port, the kernel spreading connections over them.
    pub reuse_port: bool,
    /// Do not take IPv4 connections on an IPv6 address.
    pub ipv6_only: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        ListenOptions {
            backlog: 1024,
            reuse_port: false,
            ipv6_only: false,
        }
    }
}

impl Acceptor {
    /// Listens on a TCP address. `SO_REUSEADDR` is set.
    pub fn tcp(
        uv: &Uv,
        addr: SocketAddr,
        options: &ListenOptions,
        token: Token,
    ) -> Result<Acceptor> {
        uv.core().raw(Op::Listen)?;
        Acceptor::new(uv, ListenSocket::tcp(addr, options)?, token)
    }

    /// Listens on a Unix socket. A stale socket file (one that refuses connections) is replaced, a live
    /// one is kind `AddrInUse` (the probe looks to it like a client that leaves at once); the file we
    /// made is removed on close.
    pub fn unix<'a>(
        uv: &Uv,
        name: impl Into<UnixName<'a>>,
        options: &ListenOptions,
        token: Token,
    ) -> Result<Acceptor> {
        uv.core().raw(Op::Listen)?;
        Acceptor::new(uv, ListenSocket::unix(name, options)?, token)
    }

    /// Takes connections from a socket that listens already.
    pub fn new(uv: &Uv, listening: ListenSocket, token: Token) -> Result<Acceptor> {
        let core = uv.core();
        let slot = core.open(HandleKind::Acceptor, token.0, |raw, place| {
            // SAFETY: fresh memory for a handle on an initialised loop, and an open socket; what it
            // polls for lies after libuv's part.
            unsafe {
                let code = sys::uv_poll_init_socket(raw, place.cast(), listening.fd());
                if code >= 0 {
                    (*place.cast::<PollPlace>()).listening = Box::into_raw(Box::new(listening));
                }
                code
            }
        })?;
        let made = Acceptor {
            uv: uv.clone(),
            handle: core.owner(slot),
        };
        poll(slot)?;
        Ok(made)
    }

    /// Takes one waiting connection; see [`AcceptorRef::accept`].
    pub fn accept(&self, token: Token) -> Result<Option<Handle>> {
        self.view().accept(token)
    }

    /// Takes one waiting connection as a descriptor; see [`AcceptorRef::accept_fd`].
    pub fn accept_fd(&self) -> Result<Option<OwnedFd>> {
        self.view().accept_fd()
    }

    /// No `Incoming` from here on. Idempotent.
    pub fn pause(&self) -> Result<()> {
        self.view().pause()
    }

    /// `Incoming` again. Idempotent.
    pub fn resume(&self) -> Result<()> {
        self.view().resume()
    }

    /// The address it listens on; kind `Invalid` for a Unix socket.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.view().local_addr()
    }

    /// Which handle this is.
    pub fn id(&self) -> HandleId {
        self.handle.id()
    }

    /// The plain owner value; operate by id from here on.
    pub fn into_handle(self) -> Handle {
        self.handle
    }

    fn view(&self) -> AcceptorRef<'_> {
        self.uv.acceptor(self.handle.id())
    }
}

/// An acceptor known by its id.
#[derive(Clone, Copy)]
pub struct AcceptorRef<'a> {
    core: &'a Core,
    id: HandleId,
}

impl<'a> AcceptorRef<'a> {
    pub(crate) fn new(core: &'a Core, id: HandleId) -> Self {
        AcceptorRef { core, id }
    }

    /// Takes one waiting connection: a TCP handle, or a pipe if this is a Unix listener. `None`: none
    /// waits. One accept call and two option calls to the kernel, no allocation after warm-up.
    ///
    /// Kind `FdLimit` (out of descriptors) and `Limit` (out of handles) leave the connection waiting and
    /// stop `Incoming` events until this or [`resume`](AcceptorRef::resume) is called again.
    pub fn accept(&self, token: Token) -> Result<Option<Handle>> {
        let slot = self.slot(Op::Accept)?;
        slot.set(flag::ASKED);
        if !self.core.has_room() {
            wait(slot);
            return Err(Error::new(Op::Accept, Kind::Limit));
        }
        let Some(fd) = self.take(slot)? else {
            return Ok(None);
        };
        let made = match listening(slot).is_unix {
            true => crate::pipe::adopted(self.core, token, fd),
            false => crate::tcp::adopted(self.core, token, fd),
        };
        made.inspect_err(|_| bump(&self.core.counts.shed)).map(Some)
    }

    /// The same, but hands out the descriptor (nonblocking, close-on-exec): for another loop's
    /// [`Tcp::open`](crate::Tcp::open) or [`Pipe::open`](crate::Pipe::open).
    pub fn accept_fd(&self) -> Result<Option<OwnedFd>> {
        let slot = self.slot(Op::Accept)?;
        slot.set(flag::ASKED);
        self.take(slot)
    }

    /// Whether it is a Unix socket.
    pub fn is_unix(&self) -> Result<bool> {
        Ok(listening(self.slot(Op::Accept)?).is_unix)
    }

    /// Leaves a Unix socket's file behind on close: see [`ListenSocket::leave_file`].
    pub fn leave_file(&self) -> Result<()> {
        let slot = self.slot(Op::Listen)?;
        // SAFETY: as in `listening`; single-threaded, and no reference into it is alive.
        unsafe { (*(*slot.place().cast::<PollPlace>()).listening).leave_file() };
        Ok(())
    }

    /// No `Incoming` from here on; connections wait in the kernel. Idempotent.
    pub fn pause(&self) -> Result<()> {
        let slot = self.slot(Op::Accept)?;
        slot.set(flag::PAUSED);
        stop(slot);
        Ok(())
    }

    /// `Incoming` again. Idempotent.
    pub fn resume(&self) -> Result<()> {
        let slot = self.slot(Op::Accept)?;
        slot.clear(flag::PAUSED | flag::WAITING);
        slot.set(flag::ASKED);
        poll(slot)
    }

    /// The name it listens on; kind `Invalid` for a TCP socket.
    pub fn local_name(&self) -> Result<PathBuf> {
        listening(self.slot(Op::Address)?).local_name()
    }

    /// The address it listens on; kind `Invalid` for a Unix socket.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        listening(self.slot(Op::Address)?).local_addr()
    }

    fn slot(&self, op: Op) -> Result<&'a Slot> {
        self.core.live_as(self.id, HandleKind::Acceptor, op)
    }

    fn take(&self, slot: &Slot) -> Result<Option<OwnedFd>> {
        let taken = listening(slot).accept();
        match &taken {
            Err(_) => wait(slot),
            Ok(_) if slot.has(flag::WAITING) => {
                slot.clear(flag::WAITING);
                if !slot.has(flag::PAUSED) {
                    poll(slot)?;
                }
            }
            Ok(_) => {}
        }
        taken
    }
}

fn listening(slot: &Slot) -> &ListenSocket {
    // SAFETY: a live acceptor's pointer was set by `new`, and is freed by `release` when it closes.
    unsafe { &*(*slot.place().cast::<PollPlace>()).listening }
}

fn poll(slot: &Slot) -> Result<()> {
    let callback = slot.core().callbacks.poll;
    let readable = sys::uv_poll_event_UV_READABLE as i32;
    // SAFETY: live, so not closing (libuv asserts that).
    check(Op::Listen, unsafe {
        sys::uv_poll_start(slot.place().cast(), readable, callback)
    })
}

fn stop(slot: &Slot) {
    // SAFETY: live, so not closing (libuv asserts that); cannot fail.
    unsafe { sys::uv_poll_stop(slot.place().cast()) };
}

/// Stops polling until `accept` or `resume` is called.
#[cold]
pub(crate) fn wait(slot: &Slot) {
    slot.set(flag::WAITING);
    stop(slot);
}

/// After `uv_close`: libuv has forgotten the descriptor; close it and remove its file.
pub(crate) fn release(slot: &Slot) {
    // SAFETY: set by `new` to a leaked box; an acceptor closes once, and is not live any more.
    drop(unsafe { Box::from_raw((*slot.place().cast::<PollPlace>()).listening) });
}

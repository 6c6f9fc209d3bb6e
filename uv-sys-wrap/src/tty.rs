//! Terminals as streams. Their libuv handle is larger than the others and rare: it is boxed apart.

use crate::error::{Error, Op, Result};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::slot::{HandleKind, Slot, UvPlace, flag};
use crate::state::Core;
use crate::stream::{Stream, StreamRef, sealed::Sealed};
use crate::uv::Uv;
use libuv_sys2 as sys;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};

/// A terminal. Dropping it closes it.
#[derive(Debug)]
pub struct Tty {
    uv: Uv,
    handle: Handle,
}

impl Tty {
    /// Opens a terminal. libuv reopens the device where it can, so that making it nonblocking does not
    /// disturb other processes; then the given descriptor is closed. Where it cannot, writes may block.
    pub fn new(uv: &Uv, terminal: OwnedFd, token: Token) -> Result<Tty> {
        let handle = open(uv.core(), terminal.as_raw_fd(), token)?;
        if fd_of(uv.core(), handle.id()) == Some(terminal.as_raw_fd()) {
            let _ = terminal.into_raw_fd();
        }
        Ok(Tty {
            uv: uv.clone(),
            handle,
        })
    }

    /// Which handle this is.
    pub fn id(&self) -> HandleId {
        self.handle.id()
    }

    /// The plain owner value; operate by id from here on.
    pub fn into_handle(self) -> Handle {
        self.handle
    }
}

impl Stream for Tty {}
impl Sealed for Tty {
    fn view(&self) -> StreamRef<'_> {
        self.uv.stream(self.handle.id())
    }
}

/// A handle on a terminal's descriptor, which libuv may or may not go on using.
pub(crate) fn open(core: &Core, fd: RawFd, token: Token) -> Result<Handle> {
    // SAFETY: looks at a descriptor. libuv's init would take more than terminals.
    if unsafe { sys::uv_guess_handle(fd) } != sys::uv_handle_type_UV_TTY {
        return Err(Error::invalid(Op::Open));
    }
    let slot = core.open(HandleKind::Tty, token.0, |raw, place| {
        let memory = Box::into_raw(Box::new(MaybeUninit::<sys::uv_tty_t>::zeroed()));
        // SAFETY: pinned memory, freed here on failure and else by the close callback.
        unsafe {
            let code = sys::uv_tty_init(raw, memory.cast(), fd, 0);
            if code < 0 {
                drop(Box::from_raw(memory));
            } else {
                (*place).tty = memory.cast();
            }
            code
        }
    })?;
    slot.set(flag::CONNECTED | flag::APART);
    Ok(core.owner(slot))
}

fn fd_of(core: &Core, id: HandleId) -> Option<RawFd> {
    let slot = core.live_as(id, HandleKind::Tty, Op::Open).ok()?;
    let mut fd = -1;
    // SAFETY: live; writes one int.
    (unsafe { sys::uv_fileno(slot.handle(), &mut fd) } == 0).then_some(fd)
}

/// In the close callback: frees the boxed handle.
pub(crate) fn free(slot: &Slot) {
    let place: *mut UvPlace = slot.place();
    // SAFETY: set by `open` to a leaked box of this type, freed once; libuv is done with it.
    drop(unsafe { Box::from_raw((*place).tty.cast::<MaybeUninit<sys::uv_tty_t>>()) });
}

//! One handle's pinned memory, and its life: free → live → closing → free.
//!
//! `handle.data` points at the slot, the slot at its loop's core, so that a callback finds everything
//! with two loads. `LIVE` is cleared before `uv_close` is called and the slot is given back by the close
//! callback: in between libuv may still use the memory, and nothing else does (U1, U2).

use crate::arena::Place;
use crate::event::HandleId;
use crate::state::Core;
use crate::wake::Gate;
use libuv_sys2 as sys;
use std::cell::{Cell, UnsafeCell};
use std::mem::MaybeUninit;

/// Which libuv type a slot holds. The first three are streams.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(crate) enum HandleKind {
    Tcp,
    Pipe,
    Tty,
    Acceptor,
    Timer,
    Wake,
    Signal,
    Prepare,
    Check,
    Idle,
}

/// Bits of [`Slot::flags`].
pub(crate) mod flag {
    /// Initialised and not closing.
    pub(crate) const LIVE: u16 = 1;
    /// `uv_close` was called; events are discarded.
    pub(crate) const CLOSING: u16 = 1 << 1;
    /// A stream that listens.
    pub(crate) const LISTENING: u16 = 1 << 2;
    /// A connect request is under way.
    pub(crate) const CONNECTING: u16 = 1 << 3;
    /// A stream that can be read and written.
    pub(crate) const CONNECTED: u16 = 1 << 4;
    /// Shutdown was asked for: no more writes.
    pub(crate) const SHUT: u16 = 1 << 5;
    /// A connect failed: the handle is of no more use.
    pub(crate) const FAILED: u16 = 1 << 6;
    /// A bound stream.
    pub(crate) const BOUND: u16 = 1 << 7;
    /// An acceptor paused by its owner.
    pub(crate) const PAUSED: u16 = 1 << 8;
    /// An acceptor that stopped polling by itself until `accept` is called.
    pub(crate) const WAITING: u16 = 1 << 9;
    /// A stream whose libuv part lies elsewhere, and which libuv may write in its own way: a terminal.
    pub(crate) const APART: u16 = 1 << 11;
    /// `accept` was called since the last `Incoming`.
    pub(crate) const ASKED: u16 = 1 << 10;
}

/// A TCP handle, and the keepalive that waits for its socket (U19). No larger than a pipe.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct TcpPlace {
    uv: sys::uv_tcp_t,
    pub(crate) keepalive_s: u32,
}

/// A poll handle and what it polls for.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct PollPlace {
    uv: sys::uv_poll_t,
    pub(crate) listening: *mut crate::listen_fd::ListenSocket,
}

/// An async handle and its gate, as counted by `Arc::into_raw`.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct WakePlace {
    uv: sys::uv_async_t,
    pub(crate) gate: *const Gate,
}

/// Room for any handle. A terminal is boxed apart: it is rare, and would widen every slot.
#[repr(C)]
pub(crate) union UvPlace {
    pub(crate) tcp: TcpPlace,
    pub(crate) poll: PollPlace,
    pub(crate) wake: WakePlace,
    pub(crate) tty: *mut sys::uv_tty_t,
    pipe: sys::uv_pipe_t,
    timer: sys::uv_timer_t,
    signal: sys::uv_signal_t,
    prepare: sys::uv_prepare_t,
    check: sys::uv_check_t,
    idle: sys::uv_idle_t,
}

/// One handle: what every callback needs, and libuv's part.
#[repr(C)]
pub(crate) struct Slot {
    core: *const Core,
    pub(crate) token: Cell<u64>,
    pub(crate) id: Cell<HandleId>,
    link: Cell<u32>,
    pub(crate) flags: Cell<u16>,
    pub(crate) kind: Cell<HandleKind>,
    uv: UnsafeCell<MaybeUninit<UvPlace>>,
}

impl Place for Slot {
    fn link(&self) -> &Cell<u32> {
        &self.link
    }
}

impl Slot {
    pub(crate) fn new(core: *const Core, index: u32) -> Slot {
        Slot {
            core,
            token: Cell::new(0),
            id: Cell::new(HandleId::new(index, 0)),
            link: Cell::new(0),
            flags: Cell::new(0),
            kind: Cell::new(HandleKind::Timer),
            uv: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The loop this slot belongs to.
    #[inline]
    pub(crate) fn core(&self) -> &Core {
        // SAFETY: the core owns the arena this slot lies in, so it lives at least as long.
        unsafe { &*self.core }
    }

    #[inline]
    pub(crate) fn has(&self, flags: u16) -> bool {
        self.flags.get() & flags != 0
    }

    #[inline]
    pub(crate) fn set(&self, flags: u16) {
        self.flags.set(self.flags.get() | flags);
    }

    #[inline]
    pub(crate) fn clear(&self, flags: u16) {
        self.flags.set(self.flags.get() & !flags);
    }

    /// libuv's part. Only ever used through this raw pointer (U1).
    #[inline]
    pub(crate) fn place(&self) -> *mut UvPlace {
        self.uv.get().cast()
    }

    /// The libuv handle, wherever it lies.
    #[inline]
    pub(crate) fn handle(&self) -> *mut sys::uv_handle_t {
        if self.kind.get() == HandleKind::Tty {
            // SAFETY: a slot of this kind had `tty` set before its kind.
            return unsafe { (*self.place()).tty.cast() };
        }
        self.place().cast()
    }

    /// The libuv stream; only for kinds up to `Tty`.
    #[inline]
    pub(crate) fn stream(&self) -> *mut sys::uv_stream_t {
        self.handle().cast()
    }

    #[inline]
    pub(crate) fn is_stream(&self) -> bool {
        self.kind.get() <= HandleKind::Tty
    }

    /// Ends this generation. `false`: it was the slot's last, and no id must ever name it again.
    pub(crate) fn retire_generation(&self) -> bool {
        let id = self.id.get();
        let next = id.generation().saturating_add(1);
        self.id.set(HandleId::new(id.index(), next));
        self.flags.set(0);
        next < u32::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_costs_little_more_than_libuvs_largest_handle() {
        assert!(
            size_of::<Slot>() <= size_of::<sys::uv_pipe_t>() + 48,
            "{}",
            size_of::<Slot>()
        );
        assert_eq!(size_of::<UvPlace>(), size_of::<sys::uv_pipe_t>());
    }

    #[test]
    fn a_slot_whose_generation_would_wrap_is_retired() {
        let slot = Slot::new(std::ptr::null(), 3);
        assert!(slot.retire_generation());
        assert_eq!(slot.id.get(), HandleId::new(3, 1));
        slot.id.set(HandleId::new(3, u32::MAX - 1));
        assert!(!slot.retire_generation());
        assert!(!slot.retire_generation());
    }
}

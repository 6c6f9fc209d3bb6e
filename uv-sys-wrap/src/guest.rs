//! A guest on somebody else's `uv_loop_t`: same handles, same events, but the host runs the loop.
//!
//! `loop.data` is never touched (U13). The guest's memory is freed by its last close callback, so the
//! host has to run its loop once more after the guest's end, as it must for any handle.

use crate::error::{Error, Result};
use crate::event::Sink;
use crate::state::{Core, gate};
use crate::trampoline::Callbacks;
use crate::uv::Uv;
use crate::uv_loop::{LoopConfig, drop_boxed, ignore_sigpipe};
use libuv_sys2 as sys;
use std::any::Any;
use std::marker::PhantomData;

/// Our handles and sink on a host's loop. `!Send`.
pub struct Guest<S: Sink> {
    uv: Uv,
    _sink: PhantomData<S>,
}

impl<S: Sink> Guest<S> {
    /// Moves in on `raw`. `sink` makes the sink, as in [`Loop::new`](crate::Loop::new).
    ///
    /// # Safety
    /// `raw` is an initialised libuv loop (of the libuv this crate links), is run by this thread, and
    /// stays initialised until every handle made through this guest is closed: the host runs it after the
    /// guest's drop until our handles are gone (`uv_loop_close` says EBUSY before that). The host does
    /// not run the loop from inside an event of ours; events of such a nested run are discarded. `S` may
    /// live until then: it borrows nothing that dies earlier.
    pub unsafe fn attach<E: From<Error>>(
        raw: *mut sys::uv_loop_t,
        config: LoopConfig,
        sink: impl FnOnce(&Uv) -> Result<S, E>,
    ) -> Result<Self, E> {
        ignore_sigpipe();
        // SAFETY: as the caller promised.
        let core = unsafe { Core::attach(raw, &config, Callbacks::of::<S>())? };
        let made = Guest {
            uv: Uv(core),
            _sink: PhantomData,
        };
        let sink = Box::into_raw(Box::new(sink(&made.uv)?));
        made.core().place_sink(sink.cast(), drop_boxed::<S>);
        Ok(made)
    }

    /// The handle factory.
    pub fn uv(&self) -> &Uv {
        &self.uv
    }

    /// Calls `look` with the sink, unless this is inside one of its own events.
    pub fn with_sink<R>(&mut self, look: impl FnOnce(&mut S) -> R) -> Option<R> {
        let core = self.core();
        let sink = core.sink();
        if core.gate.get() & gate::IN_EVENT != 0 {
            return None;
        }
        core.gate.set(core.gate.get() | gate::IN_EVENT);
        let _shut = Reopen(core);
        // SAFETY: the sink is there as long as `self`, and the gate is shut meanwhile: nobody else
        // makes a reference to it.
        Some(look(unsafe { &mut *sink.cast::<S>() }))
    }

    /// The panic of the sink, if it panicked; from here on events are delivered again.
    ///
    /// The host's loop is not stopped by a panic: it goes on without our events.
    pub fn take_panic(&self) -> Option<Box<dyn Any + Send>> {
        self.core().take_panic()
    }

    fn core(&self) -> &Core {
        self.uv.core()
    }
}

impl<S: Sink> Drop for Guest<S> {
    fn drop(&mut self) {
        self.uv.0.hold();
        self.core().tear();
        self.core().drop_sink();
    }
}

/// Opens the gate again, also when the look panicked.
struct Reopen<'a>(&'a Core);

impl Drop for Reopen<'_> {
    fn drop(&mut self) {
        self.0.gate.set(self.0.gate.get() & !gate::IN_EVENT);
    }
}

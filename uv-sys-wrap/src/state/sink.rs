//! The gate before the sink: who may pass, what happens to a panic, and the sink's own end (U6).

use super::{Core, Payload, bump, gate};
use crate::slot::{Slot, flag};
use libuv_sys2 as sys;
use std::panic::{AssertUnwindSafe, catch_unwind};

impl Core {
    pub(crate) fn sink(&self) -> *mut () {
        self.sink.get()
    }

    /// Puts the sink in; from here on events pass.
    pub(crate) fn place_sink(&self, sink: *mut (), drop_sink: unsafe fn(*mut ())) {
        self.sink.set(sink);
        self.drop_sink.set(Some(drop_sink));
        self.gate.set(self.gate.get() & !gate::NO_SINK);
    }

    /// Takes the sink out, if it is there.
    pub(crate) fn take_sink(&self) -> Option<*mut ()> {
        let sink = self.sink.replace(std::ptr::null_mut());
        self.gate.set(self.gate.get() | gate::NO_SINK);
        (!sink.is_null()).then_some(sink)
    }

    /// Drops the sink, unless it is being called right now (then `deliver` does it).
    #[cold]
    pub(crate) fn drop_sink(&self) {
        if self.gate.get() & gate::IN_EVENT != 0 {
            return;
        }
        if let (Some(sink), Some(drop_sink)) = (self.take_sink(), self.drop_sink.get()) {
            // SAFETY: the pointer came with this very function, and was taken out: it is dropped once.
            self.guard(|| unsafe { drop_sink(sink) });
        }
    }

    /// Whether an event of this slot may reach the sink.
    #[inline]
    pub(crate) fn admits(&self, slot: &Slot) -> bool {
        if !self.closes.is_empty() {
            self.apply_closes();
        }
        if self.gate.get() == 0 && !slot.has(flag::CLOSING) {
            return true;
        }
        bump(&self.counts.discarded);
        false
    }

    /// Whether an event without a slot may.
    pub(crate) fn admits_any(&self) -> bool {
        if !self.closes.is_empty() {
            self.apply_closes();
        }
        if self.gate.get() != 0 {
            bump(&self.counts.discarded);
        }
        self.gate.get() == 0
    }

    /// Runs foreign code (a drop) on the way back to C.
    pub(crate) fn guard(&self, run: impl FnOnce()) {
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            self.keep_panic(payload);
        }
    }

    /// Keeps the first panic and stops delivery; an owned loop also stops running.
    #[cold]
    pub(crate) fn keep_panic(&self, payload: Payload) {
        self.gate.set(self.gate.get() | gate::PANICKED);
        match self.panic.take() {
            Some(first) => {
                self.panic.set(Some(first));
                // The drop of a payload is foreign code as well: do not try it here.
                std::mem::forget(payload);
            }
            None => self.panic.set(Some(payload)),
        }
        if self.owned.is_some() && !self.raw.get().is_null() {
            // SAFETY: the loop is initialised: this runs within one of its callbacks.
            unsafe { sys::uv_stop(self.raw.get()) };
        }
    }

    /// Takes the panic and lets events pass again.
    pub(crate) fn take_panic(&self) -> Option<Payload> {
        self.gate.set(self.gate.get() & !gate::PANICKED);
        self.panic.take()
    }
}

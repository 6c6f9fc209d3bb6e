//! Timers of millisecond resolution.

use crate::error::{Error, Op, Result, check};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::slot::{HandleKind, Slot};
use crate::uv::Uv;
use libuv_sys2 as sys;

/// A timer: `Event::Timer` when it fires. Dropping it closes it.
#[derive(Debug)]
pub struct Timer {
    uv: Uv,
    handle: Handle,
}

impl Timer {
    /// A stopped timer.
    pub fn new(uv: &Uv, token: Token) -> Result<Timer> {
        // SAFETY: fresh memory for a handle on an initialised loop.
        let init = |raw, place: *mut crate::slot::UvPlace| unsafe {
            sys::uv_timer_init(raw, place.cast())
        };
        let slot = uv.core().open(HandleKind::Timer, token.0, init)?;
        Ok(Timer {
            uv: uv.clone(),
            handle: uv.core().owner(slot),
        })
    }

    /// Fires after `timeout_ms`, then every `repeat_ms` if that is not 0. A started timer starts anew.
    ///
    /// The loop's time is updated first, so that a long handler does not make it fire early (U18). Both
    /// ends of the wait are whole milliseconds of the loop's clock, so up to one millisecond of it may be
    /// missing. `u64::MAX` means never.
    pub fn start(&self, timeout_ms: u64, repeat_ms: u64) -> Result<()> {
        let slot = self.slot()?;
        self.uv.update_time();
        let callback = self.uv.core().callbacks.timer;
        // SAFETY: live.
        check(Op::Timer, unsafe {
            sys::uv_timer_start(slot.place().cast(), callback, timeout_ms, repeat_ms)
        })
    }

    /// Stops it. Idempotent.
    pub fn stop(&self) -> Result<()> {
        // SAFETY: live.
        check(Op::Timer, unsafe {
            sys::uv_timer_stop(self.slot()?.place().cast())
        })
    }

    /// Starts it anew with its repeat interval as the timeout; does nothing if it has none. Fails if the
    /// timer was never started.
    pub fn again(&self) -> Result<()> {
        let slot = self.slot()?;
        self.uv.update_time();
        // SAFETY: live.
        check(Op::Timer, unsafe {
            sys::uv_timer_again(slot.place().cast())
        })
    }

    /// Milliseconds of the loop's time until it fires, 0 if that is past. Fails if it is stopped.
    pub fn due_in_ms(&self) -> Result<u64> {
        let slot = self.slot()?;
        // SAFETY: live.
        if unsafe { sys::uv_is_active(slot.handle()) } == 0 {
            return Err(Error::invalid(Op::Timer));
        }
        // SAFETY: live.
        Ok(unsafe { sys::uv_timer_get_due_in(slot.place().cast()) })
    }

    /// Which handle this is.
    pub fn id(&self) -> HandleId {
        self.handle.id()
    }

    /// The plain owner value.
    pub fn into_handle(self) -> Handle {
        self.handle
    }

    fn slot(&self) -> Result<&Slot> {
        self.uv
            .core()
            .live_as(self.handle.id(), HandleKind::Timer, Op::Timer)
    }
}

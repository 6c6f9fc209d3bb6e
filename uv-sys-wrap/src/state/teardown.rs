//! The beginning and the end of a core on its loop: the turn handle, closing everything, and letting go of
//! memory only when libuv has (U1, U3).

use super::{Core, gate};
use crate::error::{Error, Kind, Op, Result, check};
use crate::slot::flag;
use crate::trampoline::{on_turn, on_turn_closed};
use libuv_sys2 as sys;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

impl Core {
    /// Starts the unreferenced prepare handle that applies the close list before each sleep.
    pub(super) fn start_turn(&self) {
        let turn: *mut sys::uv_prepare_t = self.turn.get().cast();
        // SAFETY: the loop is initialised and the handle's memory pinned in this core until
        // `on_turn_closed`. Neither call can fail for a fresh handle.
        unsafe {
            sys::uv_prepare_init(self.raw.get(), turn);
            (*turn).data = std::ptr::from_ref(self).cast_mut().cast();
            sys::uv_prepare_start(turn, Some(on_turn));
            sys::uv_unref(turn.cast());
        }
        self.turn_open.set(true);
    }

    /// No more events, no more handles: closes all there are and cancels what can be cancelled.
    pub(crate) fn tear(&self) {
        self.now_ms();
        self.gate.set(self.gate.get() | gate::TORN);
        self.closes.shut();
        for slot in self.slots.iter().filter(|slot| slot.has(flag::LIVE)) {
            self.close_slot(slot);
        }
        if self.turn_open.get() {
            // SAFETY: the turn handle is open and closed only here, once: `tear` runs once per core.
            unsafe { sys::uv_close(self.turn.get().cast(), Some(on_turn_closed)) };
        }
        for job in self.jobs.iter() {
            job.cancel();
        }
    }

    /// Holds the core until libuv needs nothing of it any more.
    pub(crate) fn hold(self: &Rc<Self>) {
        self.held.set(Some(self.clone()));
    }

    pub(crate) fn turn_closed(&self) {
        self.turn_open.set(false);
        self.let_go();
    }

    /// Ends [`hold`](Core::hold) once nothing is left. The core may be gone after this.
    pub(crate) fn let_go(&self) {
        if self.gate.get() & gate::TORN != 0 && self.is_dry() {
            drop(self.held.take());
        }
    }

    fn is_dry(&self) -> bool {
        !self.turn_open.get()
            && self.slots.taken() == self.retired.get() as usize
            && self.requests.taken() == 0
            && self.jobs.taken() == 0
    }

    /// Runs the loop until nothing of ours is left on it. `Err`: thread-pool work outlasted the grace.
    pub(crate) fn run_dry(&self, grace: Duration) -> Result<()> {
        let raw = self.raw.get();
        let start = Instant::now();
        for turn in 0_u32.. {
            // SAFETY: the loop is initialised, and no callback is running: the owner of the loop, who
            // alone calls this, is never inside of one.
            unsafe { sys::uv_run(raw, sys::uv_run_mode_UV_RUN_NOWAIT) };
            if self.is_dry() {
                break;
            }
            let left = grace.saturating_sub(start.elapsed());
            // Handles need a few turns, however short the grace.
            if left.is_zero() && (self.jobs.taken() > 0 || turn > 100) {
                return Err(Error::new(Op::Close, Kind::Busy));
            }
            // SAFETY: as above; `poll` gets one valid entry.
            unsafe {
                let mut waits = libc::pollfd {
                    fd: sys::uv_backend_fd(raw),
                    events: libc::POLLIN,
                    revents: 0,
                };
                let wait_ms = left.as_millis().clamp(1, 20) as c_int;
                libc::poll(&mut waits, 1, wait_ms);
            }
        }
        // SAFETY: as above.
        check(Op::Close, unsafe { sys::uv_loop_close(raw) })?;
        self.raw.set(std::ptr::null_mut());
        Ok(())
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if let Some(payload) = self.panic.take() {
            // Nobody took it. Its drop is foreign code, and this may be a callback of libuv's.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload))).map_err(std::mem::forget);
        }
        if let Some(memory) = self.owned {
            // SAFETY: leaked from this very type of box by `own`; the loop was closed (or never
            // initialised), else somebody would still hold this core.
            drop(unsafe { Box::from_raw(memory.cast::<MaybeUninit<sys::uv_loop_t>>().as_ptr()) });
        }
    }
}

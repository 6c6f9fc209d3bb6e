//! Signals of the process, delivered as events.

use crate::error::{Error, Op, Result, check};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::slot::{HandleKind, Slot};
use crate::uv::Uv;
use libuv_sys2 as sys;

/// Waits for one signal number: `Event::Signal`. Dropping it closes it, and restores the default action
/// when it was the last for its signal.
#[derive(Debug)]
pub struct Signal {
    uv: Uv,
    handle: Handle,
}

impl Signal {
    /// A handle that waits for nothing yet.
    pub fn new(uv: &Uv, token: Token) -> Result<Signal> {
        // SAFETY: fresh memory for a handle on an initialised loop.
        let init = |raw, place: *mut crate::slot::UvPlace| unsafe {
            sys::uv_signal_init(raw, place.cast())
        };
        let slot = uv.core().open(HandleKind::Signal, token.0, init)?;
        Ok(Signal {
            uv: uv.clone(),
            handle: uv.core().owner(slot),
        })
    }

    /// Waits for this signal from here on (instead of another).
    ///
    /// Signals that cannot be caught, and those that report a fault of the running instruction (to return
    /// from their handler is to repeat the fault for ever), are invalid.
    pub fn start(&self, signum: i32) -> Result<()> {
        const NEVER: [i32; 6] = [
            libc::SIGKILL,
            libc::SIGSTOP,
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
        ];
        let slot = self.slot()?;
        if signum <= 0 || NEVER.contains(&signum) {
            return Err(Error::invalid(Op::Signal));
        }
        let callback = self.uv.core().callbacks.signal;
        // SAFETY: live, so not closing (libuv asserts that).
        check(Op::Signal, unsafe {
            sys::uv_signal_start(slot.place().cast(), callback, signum)
        })
    }

    /// Waits no more. Idempotent.
    pub fn stop(&self) -> Result<()> {
        // SAFETY: live, so not closing (libuv asserts that).
        check(Op::Signal, unsafe {
            sys::uv_signal_stop(self.slot()?.place().cast())
        })
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
            .live_as(self.handle.id(), HandleKind::Signal, Op::Signal)
    }
}

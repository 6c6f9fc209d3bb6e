//! Handles that fire once in every turn of the loop: before it waits, after it has, and while it idles.

use crate::error::{Op, Result, check};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::slot::{HandleKind, Slot};
use crate::uv::Uv;
use libuv_sys2 as sys;

/// The three are alike but for their names and libuv's functions.
macro_rules! phase {
    ($(#[$doc:meta])* $name:ident, $callback:ident, $init:ident, $start:ident, $stop:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name {
            uv: Uv,
            handle: Handle,
        }

        impl $name {
            /// A stopped handle.
            pub fn new(uv: &Uv, token: Token) -> Result<Self> {
                // SAFETY: fresh memory for a handle on an initialised loop.
                let init = |raw, place: *mut crate::slot::UvPlace| unsafe { sys::$init(raw, place.cast()) };
                let slot = uv.core().open(HandleKind::$name, token.0, init)?;
                Ok(Self { uv: uv.clone(), handle: uv.core().owner(slot) })
            }

            /// Fires in every turn from here on. Idempotent.
            pub fn start(&self) -> Result<()> {
                let callback = self.uv.core().callbacks.$callback;
                // SAFETY: live.
                check(Op::Phase, unsafe { sys::$start(self.slot()?.place().cast(), callback) })
            }

            /// Fires no more. Idempotent.
            pub fn stop(&self) -> Result<()> {
                // SAFETY: live.
                check(Op::Phase, unsafe { sys::$stop(self.slot()?.place().cast()) })
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
                self.uv.core().live_as(self.handle.id(), HandleKind::$name, Op::Phase)
            }
        }
    };
}

phase! {
    /// Fires before the loop waits for I/O: `Event::Prepare`. Dropping it closes it.
    Prepare, prepare, uv_prepare_init, uv_prepare_start, uv_prepare_stop
}
phase! {
    /// Fires after the loop has handled I/O: `Event::Check`. Dropping it closes it.
    Check, check, uv_check_init, uv_check_start, uv_check_stop
}
phase! {
    /// Fires in every turn and keeps the loop from waiting: `Event::Idle`. Dropping it closes it.
    Idle, idle, uv_idle_init, uv_idle_start, uv_idle_stop
}

//! Waking a loop from other threads: the only thing that crosses them.
//!
//! libuv's async handle may be sent to from anywhere, but never after it is closed, and keeping its memory
//! is not enough to make that safe (U11). So the pointer sits in a [`Gate`]: a sender uses it only under
//! the gate's lock, and closing takes it out under the same lock before it calls `uv_close`.

use crate::error::{Error, Op, Result};
use crate::event::{HandleId, Token};
use crate::handle::Handle;
use crate::slot::{HandleKind, Slot, UvPlace, WakePlace};
use crate::uv::Uv;
use libuv_sys2 as sys;
use lock::{Arc, Mutex};
use std::fmt;

mod lock {
    #[cfg(loom)]
    pub(super) use loom::sync::{Arc, Mutex};
    #[cfg(not(loom))]
    pub(super) use std::sync::{Arc, Mutex};
}

/// Wakes its loop: `Event::Wake` once for any number of wakes since the last. Dropping it closes it; its
/// wakers then answer [`Closed`].
#[derive(Debug)]
pub struct Wake {
    uv: Uv,
    handle: Handle,
}

impl Wake {
    /// A handle, referenced and active: it keeps `run` from returning until it is closed or unreferenced.
    pub fn new(uv: &Uv, token: Token) -> Result<Wake> {
        let core = uv.core();
        let slot = core.open(HandleKind::Wake, token.0, |raw, place| {
            // SAFETY: fresh memory for a handle on an initialised loop; the gate lies after libuv's part.
            unsafe {
                let code = sys::uv_async_init(raw, place.cast(), core.callbacks.wake);
                if code >= 0 {
                    let gate = Arc::new(Gate::open(Async(place.cast())));
                    (*place.cast::<WakePlace>()).gate = Arc::into_raw(gate);
                }
                code
            }
        })?;
        Ok(Wake {
            uv: uv.clone(),
            handle: core.owner(slot),
        })
    }

    /// A waker for other threads. It outlives this handle, and the loop.
    pub fn waker(&self) -> Result<Waker> {
        self.uv.waker(self.id())
    }

    /// Which handle this is.
    pub fn id(&self) -> HandleId {
        self.handle.id()
    }

    /// The plain owner value.
    pub fn into_handle(self) -> Handle {
        self.handle
    }
}

impl Uv {
    /// A waker of the [`Wake`] handle with this id.
    pub fn waker(&self, id: HandleId) -> Result<Waker> {
        let slot = self.core().live_as(id, HandleKind::Wake, Op::Lookup)?;
        // SAFETY: the slot counts one reference until `free`; the waker's own is counted first.
        let gate = unsafe {
            Arc::increment_strong_count(gate(slot));
            Arc::from_raw(gate(slot))
        };
        Ok(Waker { gate })
    }
}

/// Wakes a loop from any thread.
#[derive(Clone)]
pub struct Waker {
    gate: Arc<Gate>,
}

impl Waker {
    /// Has the loop deliver `Event::Wake` soon. Push what it is to find first, then wake (U12): any number
    /// of wakes may become one event, and every wake is followed by an event that starts after it.
    ///
    /// Takes a lock for the time of one eventfd write at most; about 20 ns when one is pending already.
    pub fn wake(&self) -> Result<(), Closed> {
        self.gate.pass(|handle| {
            // SAFETY: in the gate means not closed, and the lock that `pass` holds keeps it so.
            unsafe { sys::uv_async_send(handle.0) };
        })
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// The loop, or its wake handle, is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the loop is closed")
    }
}

impl std::error::Error for Closed {}

impl From<Closed> for Error {
    fn from(_: Closed) -> Self {
        Error::closed(Op::Lookup)
    }
}

/// An async handle's address.
pub(crate) struct Async(*mut sys::uv_async_t);

// SAFETY: other threads only pass the pointer to `uv_async_send`, which is made for that, and only while
// the handle is open, which the gate's lock ensures.
unsafe impl Send for Async {}

/// Lets many in while it is open; shutting it waits for those inside, and nobody enters afterwards.
pub(crate) struct Gate<T = Async>(Mutex<Option<T>>);

impl<T> Gate<T> {
    fn open(inside: T) -> Self {
        Gate(Mutex::new(Some(inside)))
    }

    fn pass(&self, visit: impl FnOnce(&T)) -> Result<(), Closed> {
        // Nothing under the lock panics, and a poisoned gate would still be right.
        let inside = self
            .0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        inside.as_ref().map(visit).ok_or(Closed)
    }

    fn shut(&self) {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .take();
    }
}

fn gate(slot: &Slot) -> *const Gate {
    // SAFETY: the kind says which place it is, and the gate was set when it was made.
    unsafe { (*slot.place().cast::<WakePlace>()).gate }
}

/// Before `uv_close`: no sender passes any more.
pub(crate) fn shut(slot: &Slot) {
    // SAFETY: the slot's own reference is counted until `free`.
    unsafe { (*gate(slot)).shut() };
}

/// In the close callback: the slot gives up its reference.
pub(crate) fn free(slot: &Slot) {
    // SAFETY: made by `Arc::into_raw`, and given up once: a handle has one close callback.
    drop(unsafe { Arc::from_raw(gate(slot)) });
}

const _: () = assert!(size_of::<WakePlace>() <= size_of::<UvPlace>());

#[cfg(all(test, loom))]
mod tests {
    use super::*;
    use loom::sync::atomic::{AtomicBool, Ordering};
    use loom::thread;

    /// Stands for libuv's handle: sending to it after it was closed is the bug.
    #[test]
    fn u11_loom_no_send_starts_or_lasts_after_the_close() {
        loom::model(|| {
            let closed = Arc::new(AtomicBool::new(false));
            let gate = Arc::new(Gate::open(closed.clone()));
            let senders: Vec<_> = (0..2)
                .map(|_| {
                    let gate = gate.clone();
                    thread::spawn(move || {
                        let send = |closed: &Arc<AtomicBool>| {
                            assert!(!closed.load(Ordering::Relaxed));
                            thread::yield_now();
                            assert!(!closed.load(Ordering::Relaxed));
                        };
                        gate.pass(send).is_ok()
                    })
                })
                .collect();
            gate.shut();
            closed.store(true, Ordering::Relaxed);
            for sender in senders {
                sender.join().unwrap();
            }
            assert_eq!(gate.pass(|_| ()), Err(Closed));
        });
    }
}

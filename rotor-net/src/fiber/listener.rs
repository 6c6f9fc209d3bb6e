//! `FiberListener`: a listening socket of a fiber.
//!
//! A connection that comes while the fiber does something else than accept waits here, and the others behind it in
//! the kernel: the listener pauses until the fiber accepts again.

use super::state::Core;
use rotor_fsm::{HandleId, Incoming, Listener};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

/// A listening socket: [`Cx::listen`](super::Cx::listen), [`Cx::accept`](super::Cx::accept). Stops listening when
/// dropped.
pub struct FiberListener {
    pub(super) door: Rc<Door>,
}

/// Its state, shared with the machine.
pub(super) struct Door {
    pub owner: u64,
    pub id: HandleId,
    pub listener: RefCell<Option<Listener>>,
    /// Taken, but not by the fiber yet. One, usually.
    pub waiting: RefCell<VecDeque<Incoming>>,
    pub is_paused: Cell<bool>,
}

impl Door {
    pub fn new(owner: u64, listener: Listener) -> Self {
        Self {
            owner,
            id: listener.id(),
            listener: RefCell::new(Some(listener)),
            waiting: RefCell::default(),
            is_paused: Cell::new(false),
        }
    }

    pub fn close(&self) {
        drop(self.listener.take());
        drop(self.waiting.take());
    }
}

impl Core {
    pub fn add_door(&self, door: &Rc<Door>) {
        let mut doors = self.doors.borrow_mut();
        doors.retain(|door| door.listener.borrow().is_some());
        doors.push(door.clone());
    }
}

impl Drop for FiberListener {
    fn drop(&mut self) {
        self.door.close();
    }
}

impl fmt::Debug for FiberListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FiberListener").field(&self.door.id).finish()
    }
}

//! Owner values: dropping one closes its handle.
//!
//! A [`Handle`] is an id and its loop's [`CloseList`]. Its drop pushes the id onto that list and does
//! nothing else, so it may happen anywhere: in a handler, in an unwind, after the loop. The loop applies
//! the list (calls `uv_close`) when the current event ends, before it sleeps, and when `run` starts.

use crate::event::HandleId;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

/// Handles that were dropped and wait to be closed, first in first out.
///
/// Made by each loop for itself; other drivers (a simulator) make and apply their own.
#[derive(Default)]
pub struct CloseList {
    ids: RefCell<VecDeque<HandleId>>,
    waiting: Cell<usize>,
    shut: Cell<bool>,
}

impl CloseList {
    /// An empty list.
    pub fn new() -> Self {
        CloseList::default()
    }

    /// Notes a handle to be closed. After the loop's end this does nothing.
    pub fn push(&self, id: HandleId) {
        if !self.shut.get() {
            self.ids.borrow_mut().push_back(id);
            self.waiting.set(self.waiting.get() + 1);
        }
    }

    /// Takes the handle that was noted first.
    pub fn pop(&self) -> Option<HandleId> {
        let id = self.ids.borrow_mut().pop_front()?;
        self.waiting.set(self.waiting.get() - 1);
        Some(id)
    }

    /// Whether nothing waits: one load.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.waiting.get() == 0
    }

    /// The loop is gone: forget what waits, and ignore what comes.
    pub(crate) fn shut(&self) {
        self.shut.set(true);
        self.waiting.set(0);
        self.ids.take();
    }
}

impl fmt::Debug for CloseList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloseList")
            .field("waiting", &self.waiting.get())
            .finish()
    }
}

/// Owns one handle of a loop; dropping it closes the handle. 16 bytes, `!Send`.
#[must_use = "dropping a Handle closes it"]
pub struct Handle {
    id: HandleId,
    list: Rc<CloseList>,
}

impl Handle {
    /// An owner of `id`, whose drop is noted on `list`.
    pub fn new(id: HandleId, list: Rc<CloseList>) -> Handle {
        Handle { id, list }
    }

    /// Which handle this owns.
    #[inline]
    pub fn id(&self) -> HandleId {
        self.id
    }
}

impl Handle {
    /// Gives up ownership without closing: who keeps the id now closes it, with [`Uv::close`](crate::Uv::close).
    pub fn release(self) -> HandleId {
        let id = self.id;
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: `this` is never used again and never dropped, so the list's count is given back exactly once.
        drop(unsafe { std::ptr::read(&this.list) });
        id
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.list.push(self.id);
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.id).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_is_noted_in_order_and_nothing_after_the_end() {
        let list = Rc::new(CloseList::new());
        for index in 0..3 {
            drop(Handle::new(HandleId::new(index, 0), list.clone()));
        }
        assert!(!list.is_empty());
        let order: Vec<u32> = std::iter::from_fn(|| list.pop())
            .map(HandleId::index)
            .collect();
        assert_eq!(order, [0, 1, 2]);
        assert!(list.is_empty());
        list.shut();
        drop(Handle::new(HandleId::new(9, 0), list.clone()));
        assert!(list.is_empty() && list.pop().is_none());
    }

    #[test]
    fn a_handle_is_sixteen_bytes() {
        assert_eq!(size_of::<Handle>(), 16);
        assert_eq!(size_of::<Option<Handle>>(), 16);
    }
}

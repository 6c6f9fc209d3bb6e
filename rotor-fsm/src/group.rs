//! `Group`: a loop-local set of notifiers, for broadcasts without dead members.

use crate::notifier::Notifier;
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;

/// A set of notifiers that share a message type. Kept in the loop's context; a member holds its [`Seat`] in its state,
/// and so leaves when it ends, however it ends.
///
/// Neither `Send` nor `Sync`. Cloning makes another handle of the same set.
pub struct Group<T> {
    members: Rc<RefCell<Slab<Notifier<T>>>>,
}

/// A place in a [`Group`]; dropping it leaves.
#[must_use = "dropping the seat leaves the group"]
pub struct Seat {
    leave: Rc<dyn Leave>,
    key: usize,
}

trait Leave {
    fn leave(&self, key: usize);
}

impl<T> Leave for RefCell<Slab<Notifier<T>>> {
    fn leave(&self, key: usize) {
        // The notifier is dropped after the borrow: a mapped one holds user data.
        let gone = self.borrow_mut().try_remove(key);
        drop(gone);
    }
}

impl<T: 'static> Group<T> {
    /// An empty set.
    pub fn new() -> Self {
        Self {
            members: Rc::default(),
        }
    }

    /// Adds a member until its seat is dropped.
    pub fn join(&self, notifier: Notifier<T>) -> Seat {
        let key = self.members.borrow_mut().insert(notifier);
        Seat {
            leave: self.members.clone(),
            key,
        }
    }

    /// Members now.
    pub fn len(&self) -> usize {
        self.members.borrow().len()
    }

    /// True if nobody is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T: Clone + 'static> Group<T> {
    /// Sends a clone of the message to every member, and says how many accepted it. Members that join or leave
    /// because of it (a mapped notifier runs user code) do not disturb it. Allocates nothing but the clones.
    pub fn send(&self, message: T) -> usize {
        let mut accepted = 0;
        let mut key = 0;
        loop {
            let member = {
                let members = self.members.borrow();
                if key >= members.capacity() {
                    return accepted;
                }
                members.get(key).cloned()
            };
            key += 1;
            accepted += member.is_some_and(|member| member.send(message.clone()).is_ok()) as usize;
        }
    }
}

impl<T: 'static> Default for Group<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for Group<T> {
    fn clone(&self) -> Self {
        Self {
            members: self.members.clone(),
        }
    }
}

impl<T> std::fmt::Debug for Group<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Group of {}", self.members.borrow().len())
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.leave.leave(self.key);
    }
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Seat {}", self.key)
    }
}

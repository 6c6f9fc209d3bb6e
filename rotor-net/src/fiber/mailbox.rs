//! `Mailbox`: messages that wait for their fiber. The usual one message takes no memory of its own.

use std::collections::VecDeque;

/// First in, first out. Invariant: `first` is older than the rest, and is filled only while there is no rest.
pub(super) struct Mailbox<M> {
    first: Option<M>,
    rest: VecDeque<M>,
}

impl<M> Default for Mailbox<M> {
    fn default() -> Self {
        Self {
            first: None,
            rest: VecDeque::new(),
        }
    }
}

impl<M> Mailbox<M> {
    #[inline]
    pub fn push(&mut self, message: M) {
        if self.first.is_none() && self.rest.is_empty() {
            self.first = Some(message);
        } else {
            self.rest.push_back(message);
        }
    }

    #[inline]
    pub fn pop(&mut self) -> Option<M> {
        self.first.take().or_else(|| self.rest.pop_front())
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.rest.len() + usize::from(self.first.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_queue(steps in proptest::collection::vec(any::<bool>(), 0..100)) {
            let (mut mailbox, mut model) = (Mailbox::default(), VecDeque::new());
            for (n, pushes) in steps.into_iter().enumerate() {
                if pushes {
                    mailbox.push(n);
                    model.push_back(n);
                } else {
                    prop_assert_eq!(mailbox.pop(), model.pop_front());
                }
                prop_assert_eq!(mailbox.len(), model.len());
            }
        }
    }
}

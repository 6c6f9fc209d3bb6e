//! `FreeList`: which stacks are free, and which of them still hold memory.
//!
//! The stack that was given back last is taken first, because its pages are in the caches. A free stack is **warm**
//! while it keeps its memory. Invariant: the cold ones are those given back first, so that what is taken is warm
//! whenever anything is.

/// The free stacks of a pool, by index.
pub(super) struct FreeList {
    /// Given back, oldest first; the first `cold` of them hold no memory.
    free: Vec<u32>,
    cold: usize,
    /// Indices from here on have never been used.
    next: u32,
    max: u32,
    warm_max: usize,
}

/// A stack that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub index: u32,
    /// It was never used before: it has no guard yet.
    pub is_new: bool,
}

impl FreeList {
    pub fn new(max: u32, warm_max: usize) -> Self {
        Self {
            free: Vec::new(),
            cold: 0,
            next: 0,
            max,
            warm_max,
        }
    }

    /// A stack, or `None` if all are in use.
    #[inline]
    pub fn take(&mut self) -> Option<Taken> {
        if let Some(index) = self.free.pop() {
            self.cold = self.cold.min(self.free.len());
            let is_new = false;
            return Some(Taken { index, is_new });
        }
        if self.next == self.max {
            return None;
        }
        let index = self.next;
        self.next += 1;
        // Room for all to come back, so that giving back never allocates.
        self.free.reserve(self.next as usize);
        let is_new = true;
        Some(Taken { index, is_new })
    }

    /// The new stack that was taken last could not be used.
    pub fn undo(&mut self, taken: Taken) {
        debug_assert!(taken.is_new && taken.index + 1 == self.next);
        self.next -= 1;
    }

    /// Gives a stack back. The answer is one whose memory shall go back to the system.
    #[inline]
    pub fn give_back(&mut self, index: u32) -> Option<u32> {
        self.free.push(index);
        if self.warm() <= self.warm_max {
            return None;
        }
        let coldest = self.free[self.cold];
        self.cold += 1;
        Some(coldest)
    }

    /// A free stack that is warm; it counts as cold from now on. For who wants all memory back.
    pub fn cool(&mut self) -> Option<u32> {
        let index = *self.free.get(self.cold)?;
        self.cold += 1;
        Some(index)
    }

    pub fn max(&self) -> u32 {
        self.max
    }

    /// Stacks that were ever used.
    pub fn opened(&self) -> usize {
        self.next as usize
    }

    pub fn in_use(&self) -> usize {
        self.opened() - self.free.len()
    }

    pub fn warm(&self) -> usize {
        self.free.len() - self.cold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    /// What a pool should do, said as plainly as possible.
    struct Model {
        free: Vec<(u32, bool)>,
        taken: Vec<u32>,
        opened: u32,
    }

    fn stack_is_taken(list: &mut FreeList, model: &mut Model, max: u32) {
        let expected = match model.free.pop() {
            Some((index, _)) => Some((index, false)),
            None if model.opened < max => {
                model.opened += 1;
                Some((model.opened - 1, true))
            }
            None => None,
        };
        let taken = list.take().map(|taken| (taken.index, taken.is_new));
        assert_eq!(taken, expected);
        model.taken.extend(taken.map(|(index, _)| index));
    }

    fn stack_comes_back(list: &mut FreeList, model: &mut Model, which: usize, warm_max: usize) {
        if model.taken.is_empty() {
            return;
        }
        let index = model.taken.swap_remove(which % model.taken.len());
        model.free.push((index, true));
        let mut expected = None;
        if model.free.iter().filter(|(_, warm)| *warm).count() > warm_max {
            let coldest = model.free.iter_mut().find(|(_, warm)| *warm).unwrap();
            coldest.1 = false;
            expected = Some(coldest.0);
        }
        assert_eq!(list.give_back(index), expected);
    }

    proptest! {
        #[test]
        fn last_in_first_out_capped_and_trimmed_from_the_cold_end(
            max in 0u32..12,
            warm_max in 0usize..8,
            steps in proptest::collection::vec((any::<bool>(), 0usize..12), 0..200),
        ) {
            let mut list = FreeList::new(max, warm_max);
            let mut model = Model { free: Vec::new(), taken: Vec::new(), opened: 0 };
            for (takes, which) in steps {
                if takes {
                    stack_is_taken(&mut list, &mut model, max);
                } else {
                    stack_comes_back(&mut list, &mut model, which, warm_max);
                }
                let distinct: HashSet<_> = model.taken.iter().collect();
                prop_assert_eq!(distinct.len(), model.taken.len(), "a stack has one user");
                prop_assert_eq!(list.in_use(), model.taken.len());
                prop_assert_eq!(list.opened(), model.opened as usize);
                let warm = model.free.iter().filter(|(_, warm)| *warm).count();
                prop_assert_eq!(list.warm(), warm);
                prop_assert!(warm <= warm_max);
            }
        }
    }

    #[test]
    fn a_stack_that_could_not_be_opened_is_the_next_one_again() {
        let mut list = FreeList::new(2, 1);
        let taken = list.take().unwrap();
        list.undo(taken);
        assert_eq!(list.take(), Some(taken));
        assert_eq!((list.in_use(), list.opened()), (1, 1));
        assert_eq!(list.give_back(0), None);
        assert_eq!((list.cool(), list.cool(), list.warm()), (Some(0), None, 0));
    }
}

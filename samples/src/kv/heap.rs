//! The times to live, earliest first: a four-ary heap of (due, slot) that knows where each slot is.
//!
//! Only entries with a time to live are in it. Cancelling costs O(log n) and leaves nothing
//! behind. Prolonging costs nothing, which is what refreshing a cached key does: only
//! the entry's own `due` changes, and its node moves down when it comes up too early.
//!
//! Invariants: an entry's `place` is its node's position; a node is never later than its entry.

use super::slab::{NEVER, Slab, UNARMED};

const ARITY: usize = 4;

#[derive(Clone, Copy)]
struct Node {
    due: u64,
    slot: u32,
}

#[derive(Default)]
pub(super) struct ExpiryHeap {
    nodes: Vec<Node>,
}

impl ExpiryHeap {
    /// Entries that have a time to live.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Nothing is due before this: early perhaps (prolonged entries), never late.
    pub(super) fn next(&self) -> Option<u64> {
        self.nodes.first().map(|node| node.due)
    }

    /// Sets when the entry in `slot` is due; [`NEVER`] takes it out.
    pub(super) fn set_due(&mut self, slab: &mut Slab, slot: u32, due: u64) {
        let Some(entry) = slab.entry_mut(slot) else {
            return;
        };
        let (before, place) = (entry.due, entry.place);
        entry.due = due;
        if place == UNARMED {
            if due != NEVER {
                self.nodes.push(Node { due, slot });
                self.rise(slab, self.nodes.len() - 1);
            }
        } else if due == NEVER {
            self.remove(slab, place as usize);
        } else if due < before
            && let Some(node) = self.nodes.get_mut(place as usize)
            && due < node.due
        {
            node.due = due;
            self.rise(slab, place as usize);
        }
    }

    /// The slot that is due first, if it is due at `now`. It stays until `set_due(NEVER)`.
    /// Looks at no more than `moves_max` prolonged entries and counts them down.
    pub(super) fn due(&mut self, slab: &mut Slab, now: u64, moves_max: &mut usize) -> Option<u32> {
        loop {
            let node = *self.nodes.first().filter(|node| node.due <= now)?;
            let due = slab.entry(node.slot).map_or(node.due, |entry| entry.due);
            if due <= now {
                return Some(node.slot);
            }
            *moves_max = moves_max.checked_sub(1)?;
            self.nodes[0].due = due;
            self.sink(slab, 0);
        }
    }

    pub(super) fn clear(&mut self) {
        self.nodes = Vec::new();
    }

    fn remove(&mut self, slab: &mut Slab, place: usize) {
        let gone = self.nodes.swap_remove(place);
        if let Some(entry) = slab.entry_mut(gone.slot) {
            entry.place = UNARMED;
        }
        if place < self.nodes.len() {
            // The last node came here from another branch: it may go either way.
            self.rise(slab, place);
            self.sink(slab, place);
        }
    }

    /// Moves a node up to where its parent is no later.
    fn rise(&mut self, slab: &mut Slab, mut at: usize) {
        let node = self.nodes[at];
        while at > 0 {
            let parent = (at - 1) / ARITY;
            if self.nodes[parent].due <= node.due {
                break;
            }
            self.put(slab, at, self.nodes[parent]);
            at = parent;
        }
        self.put(slab, at, node);
    }

    /// Moves a node down to where its children are no earlier.
    fn sink(&mut self, slab: &mut Slab, mut at: usize) {
        let node = self.nodes[at];
        loop {
            let first = at * ARITY + 1;
            let last = self.nodes.len().min(first + ARITY);
            let least = (first..last).min_by_key(|child| self.nodes[*child].due);
            match least {
                Some(child) if self.nodes[child].due < node.due => {
                    self.put(slab, at, self.nodes[child]);
                    at = child;
                }
                _ => break,
            }
        }
        self.put(slab, at, node);
    }

    fn put(&mut self, slab: &mut Slab, at: usize, node: Node) {
        self.nodes[at] = node;
        if let Some(entry) = slab.entry_mut(node.slot) {
            entry.place = at as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::slab::Entry;
    use super::super::text::{Key, Value};
    use super::*;
    use proptest::prelude::*;

    const SLOTS: u32 = 40;

    fn slab() -> Slab {
        let mut slab = Slab::default();
        for _ in 0..SLOTS {
            slab.insert(Entry {
                key: Key::new(b""),
                value: Value::EMPTY,
                due: NEVER,
                place: UNARMED,
            });
        }
        slab
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(changes in prop::collection::vec(
            (0..SLOTS, prop_oneof![3 => 0u64..1000, 1 => Just(NEVER)]), 0..300
        )) {
            let (mut slab, mut heap) = (slab(), ExpiryHeap::default());
            let mut model = vec![NEVER; SLOTS as usize];
            for (slot, due) in changes {
                heap.set_due(&mut slab, slot, due);
                model[slot as usize] = due;
                let first = model.iter().min().copied().unwrap_or(NEVER);
                prop_assert!(heap.next().unwrap_or(NEVER) <= first);
                prop_assert_eq!(heap.len(), model.iter().filter(|due| **due != NEVER).count());
                for (place, node) in heap.nodes.iter().enumerate() {
                    let entry = slab.entry(node.slot).unwrap();
                    prop_assert_eq!(entry.place as usize, place);
                    prop_assert!(node.due <= entry.due);
                }
            }
            for now in 0..=1000 {
                let (mut popped, mut moves) = (Vec::new(), usize::MAX);
                while let Some(slot) = heap.due(&mut slab, now, &mut moves) {
                    heap.set_due(&mut slab, slot, NEVER);
                    popped.push(slot);
                }
                popped.sort_unstable();
                let is_due = |slot: &u32| model[*slot as usize] == now;
                let due: Vec<u32> = (0..SLOTS).filter(is_due).collect();
                prop_assert_eq!(popped, due);
            }
            prop_assert_eq!(heap.len(), 0);
        }
    }
}

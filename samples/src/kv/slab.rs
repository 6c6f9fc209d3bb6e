//! The entries of a store, each in a slot that it keeps for its whole life.
//!
//! Slots never move: that is what makes a `SCAN` cursor (a slot number) survive every change
//! of the hash index, and growth adds a chunk instead of copying. A slot is one cache line:
//! key, value, time to live and its place in the expiry heap. Freed slots are reused last
//! in, first out; their memory returns to the system only with [`Slab::clear`].

use super::text::{Key, Value};

/// No expiry.
pub(super) const NEVER: u64 = u64::MAX;
/// Not in the expiry heap.
pub(super) const UNARMED: u32 = u32::MAX;

const CHUNK: usize = 1024;
const NONE: u32 = u32::MAX;
/// Slot numbers stay below this: the index and the heap keep room for their marks.
const SLOTS_MAX: usize = 1 << 31;

/// A key with its value.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Value,
    /// Unix milliseconds at which the entry is gone; [`NEVER`] for most.
    pub(super) due: u64,
    /// Where the expiry heap holds it; [`UNARMED`] for most.
    pub(super) place: u32,
}

enum Slot {
    Free { next: u32 },
    Used(Entry),
}

/// An enum with `repr` would lose the room for its tag inside `Entry`.
#[repr(align(64))]
struct Line(Slot);

#[derive(Default)]
pub(super) struct Slab {
    chunks: Vec<Box<[Line; CHUNK]>>,
    free: Option<u32>,
    len: usize,
    slots: usize,
}

impl Slab {
    /// Entries in use.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Entries that may be added.
    pub(super) fn room(&self) -> usize {
        SLOTS_MAX - self.len
    }

    /// One past the largest slot number ever in use.
    pub(super) fn slots(&self) -> usize {
        self.slots
    }

    #[inline]
    pub(super) fn entry(&self, slot: u32) -> Option<&Entry> {
        match &self
            .chunks
            .get(slot as usize / CHUNK)?
            .get(slot as usize % CHUNK)?
            .0
        {
            Slot::Used(entry) => Some(entry),
            Slot::Free { .. } => None,
        }
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        match self.slot_mut(slot)? {
            Slot::Used(entry) => Some(entry),
            Slot::Free { .. } => None,
        }
    }

    /// The slot for `entry`, or `None` when all slot numbers are taken.
    pub(super) fn insert(&mut self, entry: Entry) -> Option<u32> {
        let slot = match self.free {
            Some(slot) => slot,
            None => self.grow()?,
        };
        let place = self.slot_mut(slot)?;
        let Slot::Free { next } = std::mem::replace(place, Slot::Used(entry)) else {
            return None;
        };
        self.free = (next != NONE).then_some(next);
        self.len += 1;
        self.slots = self.slots.max(slot as usize + 1);
        Some(slot)
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let next = self.free.unwrap_or(NONE);
        let place = self.slot_mut(slot)?;
        if matches!(place, Slot::Free { .. }) {
            return None;
        }
        let Slot::Used(entry) = std::mem::replace(place, Slot::Free { next }) else {
            return None;
        };
        self.free = Some(slot);
        self.len -= 1;
        Some(entry)
    }

    pub(super) fn clear(&mut self) {
        *self = Slab::default();
    }

    #[inline]
    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        let line = self
            .chunks
            .get_mut(slot as usize / CHUNK)?
            .get_mut(slot as usize % CHUNK)?;
        Some(&mut line.0)
    }

    /// Adds a chunk whose slots form the free list, lowest first.
    fn grow(&mut self) -> Option<u32> {
        let first = self.chunks.len() * CHUNK;
        if first + CHUNK > SLOTS_MAX {
            return None;
        }
        let next = |i: usize| {
            if i + 1 < CHUNK {
                (first + i + 1) as u32
            } else {
                NONE
            }
        };
        let line = |i| Line(Slot::Free { next: next(i) });
        let chunk: Box<[Line]> = (0..CHUNK).map(line).collect();
        self.chunks.push(chunk.try_into().ok()?);
        Some(first as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(n: u32) -> Entry {
        Entry {
            key: Key::new(&n.to_le_bytes()),
            value: Value::EMPTY,
            due: NEVER,
            place: UNARMED,
        }
    }

    #[test]
    fn a_slot_is_one_cache_line() {
        assert_eq!(size_of::<Line>(), 64);
    }

    #[test]
    fn slots_are_kept_and_reused() {
        let mut slab = Slab::default();
        let slots: Vec<u32> = (0..3000).map(|n| slab.insert(entry(n)).unwrap()).collect();
        assert_eq!(slab.len(), 3000);
        for (n, slot) in slots.iter().enumerate() {
            assert_eq!(
                slab.entry(*slot).unwrap().key.as_bytes(),
                (n as u32).to_le_bytes()
            );
        }
        assert!(slab.remove(slots[7]).is_some());
        assert!(slab.remove(slots[7]).is_none() && slab.entry(slots[7]).is_none());
        assert!(slab.remove(slots[9]).is_some());
        assert_eq!(slab.insert(entry(1)), Some(slots[9]));
        assert_eq!(slab.insert(entry(2)), Some(slots[7]));
        assert_eq!((slab.len(), slab.slots()), (3000, 3000));
        assert!(slab.entry(u32::MAX).is_none());
    }
}

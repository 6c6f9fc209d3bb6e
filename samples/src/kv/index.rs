//! A hash index from keys to slot numbers that never stops the world to grow.
//!
//! Open addressing with linear probing over eight-byte cells (32 bits of hash, slot number
//! plus one), so a lookup reads one cache line here and one in the slab. At three quarters
//! full a table of twice the size takes over; the old one is emptied a few cells per insertion
//! or removal, long before the new one fills. A moved or removed cell of the old table becomes
//! `DEAD`, since probes must run past it; the current table shifts cells back and has no such
//! cells.
//!
//! Invariant: every slot is in exactly one cell of the two tables.

/// Zero, so that a fresh table is untouched zero pages.
const EMPTY: u64 = 0;
/// Slot part zero, hash part not: matches nothing and does not end a probe.
const DEAD: u64 = 1 << 32;

const CELLS_MIN: usize = 16;
/// Old cells emptied per change. The new table has room for half its cells before it is full
/// itself, so one would do; more frees the old table's memory sooner.
const MOVES: usize = 8;

#[derive(Default)]
pub(super) struct Index {
    table: Table,
    old: Table,
    /// Cells of `old` below this one are moved.
    moved: usize,
}

impl Index {
    /// The slot whose hash is `hash` and for which `same` holds.
    #[inline]
    pub(super) fn find(&self, hash: u64, mut same: impl FnMut(u32) -> bool) -> Option<u32> {
        let at = self.table.find(hash as u32, &mut same);
        if let Some(at) = at {
            return self.table.slot(at);
        }
        if self.old.cells.is_empty() {
            return None;
        }
        self.old
            .find(hash as u32, same)
            .and_then(|at| self.old.slot(at))
    }

    /// Adds a slot that is not in the index.
    pub(super) fn insert(&mut self, hash: u64, slot: u32) {
        self.advance();
        if (self.table.used + 1) * 4 > self.table.cells.len() * 3 {
            self.resize(self.table.cells.len() * 2);
        }
        self.table
            .insert(u64::from(hash as u32) << 32 | u64::from(slot + 1));
    }

    /// Removes a slot with the hash it was added under.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        if let Some(at) = self.table.find(hash as u32, |s| s == slot) {
            self.table.remove(at);
        } else if let Some(at) = self.old.find(hash as u32, |s| s == slot) {
            self.old.kill(at);
        }
        self.advance();
        let cells = self.table.cells.len();
        if self.old.cells.is_empty() && cells > CELLS_MIN && self.table.used * 8 < cells {
            self.resize(cells / 2);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Index::default();
    }

    /// Moves a few cells from the old table, and drops it once it is empty.
    #[inline]
    fn advance(&mut self) {
        if self.old.cells.is_empty() {
            return;
        }
        for _ in 0..MOVES {
            match self.old.cells.get_mut(self.moved) {
                Some(cell) if is_slot(*cell) => {
                    self.table.insert(std::mem::replace(cell, DEAD));
                    self.old.used -= 1;
                }
                Some(_) => {}
                None => break,
            }
            self.moved += 1;
        }
        if self.old.used == 0 {
            self.old = Table::default();
        }
    }

    fn resize(&mut self, cells: usize) {
        // Only reached early if a table shrank and at once grew again.
        while !self.old.cells.is_empty() {
            self.advance();
        }
        let table = Table {
            cells: vec![EMPTY; cells.max(CELLS_MIN)].into_boxed_slice(),
            used: 0,
        };
        self.old = std::mem::replace(&mut self.table, table);
        self.moved = 0;
        if self.old.used == 0 {
            self.old = Table::default();
        }
    }
}

/// A power of two of cells, or none.
#[derive(Default)]
struct Table {
    cells: Box<[u64]>,
    used: usize,
}

impl Table {
    /// The cell with this hash for whose slot `same` holds.
    #[inline]
    fn find(&self, hash: u32, mut same: impl FnMut(u32) -> bool) -> Option<usize> {
        let mask = self.cells.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        // Ends: a table is never full. An empty one has no cell to start from.
        loop {
            let cell = *self.cells.get(at)?;
            if (cell >> 32) as u32 == hash && is_slot(cell) && same(cell as u32 - 1) {
                return Some(at);
            }
            if cell == EMPTY {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    fn slot(&self, at: usize) -> Option<u32> {
        self.cells.get(at).map(|cell| *cell as u32 - 1)
    }

    fn insert(&mut self, cell: u64) {
        let mask = self.cells.len() - 1;
        let mut at = (cell >> 32) as usize & mask;
        while self.cells[at] != EMPTY {
            at = (at + 1) & mask;
        }
        self.cells[at] = cell;
        self.used += 1;
    }

    fn kill(&mut self, at: usize) {
        self.cells[at] = DEAD;
        self.used -= 1;
    }

    /// Removes a cell and moves back those that probed past it.
    fn remove(&mut self, mut hole: usize) {
        let mask = self.cells.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let cell = self.cells[at];
            if cell == EMPTY {
                break;
            }
            let home = (cell >> 32) as usize & mask;
            // The cell may move if its home is not between the hole (exclusive) and itself.
            if at.wrapping_sub(home) & mask >= at.wrapping_sub(hole) & mask {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole] = EMPTY;
        self.used -= 1;
    }
}

#[inline]
fn is_slot(cell: u64) -> bool {
    cell as u32 != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    impl Index {
        fn len(&self) -> usize {
            self.table.used + self.old.used
        }
    }

    /// Few distinct low bits, so that probes collide and wrap.
    fn hash(slot: u32) -> u64 {
        u64::from(slot % 7) * 0x1fff_fff1 + u64::from(slot / 16)
    }

    #[test]
    fn growth_and_shrinking_keep_every_slot() {
        let mut index = Index::default();
        for slot in 0..5000 {
            index.insert(hash(slot), slot);
        }
        for slot in 0..5000 {
            assert_eq!(index.find(hash(slot), |s| s == slot), Some(slot));
        }
        for slot in 0..4990 {
            index.remove(hash(slot), slot);
        }
        assert_eq!(index.len(), 10);
        assert!(
            index.table.cells.len() <= 4096,
            "{}",
            index.table.cells.len()
        );
        for slot in 4990..5000 {
            assert_eq!(index.find(hash(slot), |s| s == slot), Some(slot));
        }
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(
            changes in prop::collection::vec((any::<bool>(), 0u32..300), 0..2000),
        ) {
            let (mut index, mut model) = (Index::default(), HashSet::new());
            for (add, slot) in changes {
                if add && model.insert(slot) {
                    index.insert(hash(slot), slot);
                } else if !add && model.remove(&slot) {
                    index.remove(hash(slot), slot);
                }
                prop_assert_eq!(index.len(), model.len());
            }
            for slot in 0..300 {
                let found = index.find(hash(slot), |s| s == slot);
                prop_assert_eq!(found, model.contains(&slot).then_some(slot));
            }
        }
    }
}

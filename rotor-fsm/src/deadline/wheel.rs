//! The wheel under [`Deadlines`](super::Deadlines): intrusive lists of keys, filed by tick.
//!
//! Eleven levels of 64 slots cover every `u64`. A tick belongs to the level of the highest bit in which it
//! differs from the wheel's position, six bits to a level, and there to the slot its own six bits name. A slot
//! of level 0 is one tick wide, one of level 1 is 64 ticks wide, and so on.
//!
//! Invariant: no filled slot starts before the position, and above level 0 only the slot being emptied may
//! start at it. So slots never wrap, every slot of a level starts before every slot of the level above, and
//! the earliest is two bit scans away.

/// The due tick of an entry that is not armed.
pub(super) const NEVER: u64 = u64::MAX;

/// Bits of a tick that one level looks at.
const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = u64::BITS.div_ceil(BITS) as usize;
/// The end of a list.
const NIL: u32 = u32::MAX;

/// The name of a slot: its level in the high bits, its place on that level in the low six.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slot(u16);

impl Slot {
    /// Where an entry is that is in no slot.
    pub(super) const NONE: Slot = Slot(u16::MAX);

    /// The slot of `tick`, which is not before `position`.
    #[inline]
    fn of(tick: u64, position: u64) -> Slot {
        let highest = ((tick ^ position) | (SLOTS as u64 - 1)).ilog2();
        let level = highest / BITS;
        Slot::new(level as usize, (tick >> (level * BITS)) % SLOTS as u64)
    }

    #[inline]
    fn new(level: usize, place: u64) -> Slot {
        Slot((level * SLOTS) as u16 | place as u16)
    }

    #[inline]
    pub(super) fn level(self) -> usize {
        self.index() / SLOTS
    }

    #[inline]
    fn bit(self) -> u64 {
        1 << (self.index() % SLOTS)
    }

    #[inline]
    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What the wheel keeps per key. Packed, because a million of them compete for the cache: 20 bytes, not 24.
#[derive(Clone, Copy)]
#[repr(C, packed(4))]
pub(super) struct Entry {
    /// When the deadline is due, or [`NEVER`]. The wheel files by the tick it is told and never reads this.
    pub(super) due: u64,
    /// Meaningless in the first entry of a list.
    prev: u32,
    next: u32,
    /// Where the entry is filed.
    pub(super) slot: Slot,
}

impl Entry {
    const UNUSED: Entry = Entry {
        due: NEVER,
        prev: NIL,
        next: NIL,
        slot: Slot::NONE,
    };
}

/// Lists of keys by tick, and how far time has come.
pub(super) struct Wheel {
    position: u64,
    /// One bit per level that has a filled slot.
    levels: u16,
    /// One bit per filled slot.
    filled: [u64; LEVELS],
    /// The first key of each slot's list.
    heads: [u32; LEVELS * SLOTS],
    entries: Vec<Entry>,
}

impl Wheel {
    pub(super) fn new(position: u64) -> Wheel {
        Wheel {
            position,
            levels: 0,
            filled: [0; LEVELS],
            heads: [NIL; LEVELS * SLOTS],
            entries: Vec::new(),
        }
    }

    /// The tick that time has come to. Everything before it has been taken.
    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Moves the position on. The caller knows that no filled slot starts before it.
    #[inline]
    pub(super) fn advance(&mut self, to: u64) {
        self.position = self.position.max(to);
    }

    #[cfg(test)]
    pub(super) fn entry(&self, key: u32) -> Option<&Entry> {
        self.entries.get(key as usize)
    }

    #[inline]
    pub(super) fn entry_mut(&mut self, key: u32) -> Option<&mut Entry> {
        self.entries.get_mut(key as usize)
    }

    pub(super) fn set_aside(&mut self, keys: usize) {
        self.entries.reserve(keys);
    }

    /// The entry of `key`, making room for it the first time.
    #[inline]
    pub(super) fn reserve(&mut self, key: u32) -> &mut Entry {
        let index = key as usize;
        if index >= self.entries.len() {
            self.grow(index + 1);
        }
        &mut self.entries[index]
    }

    /// Files an entry that is in no slot under `tick`, or under the position when that is later.
    #[inline]
    pub(super) fn file(&mut self, key: u32, tick: u64) {
        let slot = Slot::of(tick.max(self.position), self.position);
        let second = std::mem::replace(&mut self.heads[slot.index()], key);
        if second == NIL {
            self.filled[slot.level()] |= slot.bit();
            self.levels |= 1 << slot.level();
        } else {
            self.entries[second as usize].prev = key;
        }
        let entry = &mut self.entries[key as usize];
        entry.next = second;
        entry.slot = slot;
    }

    /// Takes an entry out of the slot it is filed in.
    pub(super) fn unfile(&mut self, key: u32) {
        let Entry {
            prev, next, slot, ..
        } = self.entries[key as usize];
        if self.heads[slot.index()] == key {
            self.take_first(slot);
            return;
        }
        self.entries[prev as usize].next = next;
        if next != NIL {
            self.entries[next as usize].prev = prev;
        }
        self.entries[key as usize].slot = Slot::NONE;
    }

    /// Takes the first key out of a filled slot.
    #[inline]
    pub(super) fn take_first(&mut self, slot: Slot) -> u32 {
        let key = self.heads[slot.index()];
        let entry = &mut self.entries[key as usize];
        entry.slot = Slot::NONE;
        self.heads[slot.index()] = entry.next;
        if entry.next == NIL {
            self.filled[slot.level()] &= !slot.bit();
            if self.filled[slot.level()] == 0 {
                self.levels &= !(1 << slot.level());
            }
        }
        key
    }

    /// The first tick of a slot.
    #[inline]
    pub(super) fn start(&self, slot: Slot) -> u64 {
        let shift = slot.level() as u32 * BITS;
        let place = (slot.index() % SLOTS) as u64;
        ((self.position >> shift) & !(SLOTS as u64 - 1) | place) << shift
    }

    #[inline]
    pub(super) fn is_filled(&self, slot: Slot) -> bool {
        self.heads[slot.index()] != NIL
    }

    /// The filled slot that starts first, while none is being emptied.
    #[inline]
    pub(super) fn earliest(&self) -> Option<Slot> {
        Self::lowest(self.levels, |level| self.filled[level])
    }

    /// The filled slot that starts next after the earliest one.
    #[inline]
    pub(super) fn after(&self, earliest: Slot) -> Option<Slot> {
        let level = earliest.level();
        let rest = self.filled[level] & !earliest.bit();
        if rest != 0 {
            return Some(Slot::new(level, rest.trailing_zeros().into()));
        }
        Self::lowest(self.levels & !(1 << level), |level| self.filled[level])
    }

    /// The entries of a slot, in no order.
    pub(super) fn list(&self, slot: Slot) -> impl Iterator<Item = &Entry> {
        let mut key = self.heads[slot.index()];
        std::iter::from_fn(move || {
            let entry = self.entries.get(key as usize)?;
            key = entry.next;
            Some(entry)
        })
    }

    /// How many entries are filed. Panics where lists, bits and entries disagree.
    #[cfg(test)]
    pub(super) fn audit(&self) -> usize {
        let mut filed = 0;
        for index in 0..self.heads.len() {
            let slot = Slot(index as u16);
            let bit = self.filled[slot.level()] & slot.bit() != 0;
            assert_eq!(bit, self.is_filled(slot));
            assert!(!bit || self.levels & (1 << slot.level()) != 0);
            assert!(!bit || self.start(slot) >= self.position);
            let (mut before, mut key) = (NIL, self.heads[index]);
            while key != NIL {
                let entry = self.entries[key as usize];
                assert!(entry.slot == slot && (before == NIL || entry.prev == before));
                assert!(entry.due.max(self.position) >= self.start(slot));
                (before, key) = (key, entry.next);
                filed += 1;
            }
        }
        let placed = self
            .entries
            .iter()
            .filter(|entry| { entry.slot } != Slot::NONE)
            .count();
        assert_eq!(filed, placed);
        filed
    }

    #[inline]
    fn lowest(levels: u16, filled: impl Fn(usize) -> u64) -> Option<Slot> {
        if levels == 0 {
            return None;
        }
        let level = levels.trailing_zeros() as usize;
        Some(Slot::new(level, filled(level).trailing_zeros().into()))
    }

    #[cold]
    fn grow(&mut self, len: usize) {
        self.entries.resize(len, Entry::UNUSED);
    }
}

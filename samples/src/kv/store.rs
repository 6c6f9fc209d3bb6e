//! The keys and values, their times to live, and the limit on their memory.
//!
//! Time is Unix milliseconds given by the caller. An entry whose time has come is gone for
//! every operation at once (it is removed when touched); the rest go by
//! [`Store::expire_due`], which the machine calls at [`Store::next_expiry`].
//!
//! Invariant: each entry is in one slot, that slot is in the index under its key's hash,
//! and in the expiry heap exactly if it has a time to live.

use super::hash::HashKey;
use super::heap::ExpiryHeap;
use super::index::Index;
use super::slab::{Entry, NEVER, Slab, UNARMED};
use super::text::{Key, Value};
use std::ops::Range;

/// What an entry counts for besides heap blocks: its slot (64), its share of the index (at
/// most 21) and of the expiry heap (16), rounded up.
const ENTRY_BYTES: u64 = 104;

/// The change would take the store above `store_bytes_max`. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreFull;

/// What [`Store::set`] does with the time to live.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ttl {
    /// The entry lives until removed.
    Clear,
    /// As it was; a new entry has none.
    Keep,
    /// Gone at this Unix time in milliseconds. [`u64::MAX`] is the same as `Clear`.
    At(u64),
}

/// An in-memory map from byte strings to byte strings.
pub struct Store {
    hash_key: HashKey,
    index: Index,
    slab: Slab,
    expiry: ExpiryHeap,
    heap_bytes: u64,
    bytes_max: u64,
    expired: u64,
}

impl Store {
    /// An empty store. `hash_key` must be random and secret where peers choose the keys;
    /// `bytes_max` is [`Limits::store_bytes_max`](super::Limits::store_bytes_max).
    pub fn new(bytes_max: u64, hash_key: [u64; 2]) -> Self {
        Store {
            hash_key: HashKey::new(hash_key),
            index: Index::default(),
            slab: Slab::default(),
            expiry: ExpiryHeap::default(),
            heap_bytes: 0,
            bytes_max,
            expired: 0,
        }
    }

    /// Number of entries, those included whose time has come but which nobody touched.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of entries with a time to live.
    pub fn expiring(&self) -> usize {
        self.expiry.len()
    }

    /// Entries removed so far because their time had come.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Bytes counted against the limit.
    pub fn used_bytes(&self) -> u64 {
        self.slab.len() as u64 * ENTRY_BYTES + self.heap_bytes
    }

    /// The limit: [`u64::MAX`] for none.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// The value of `key`.
    #[inline]
    pub fn get(&mut self, key: &[u8], now_ms: u64) -> Option<&[u8]> {
        let slot = self.live(self.hash_key.hash(key), key, now_ms)?;
        self.slab.entry(slot).map(|entry| entry.value.as_bytes())
    }

    /// Whether `key` exists.
    pub fn contains(&mut self, key: &[u8], now_ms: u64) -> bool {
        self.live(self.hash_key.hash(key), key, now_ms).is_some()
    }

    /// Gives `key` a value. Overwriting a short value, or one of about the same length,
    /// allocates nothing.
    #[inline]
    pub fn set(
        &mut self,
        key: &[u8],
        value: &[u8],
        ttl: Ttl,
        now_ms: u64,
    ) -> Result<(), StoreFull> {
        let hash = self.hash_key.hash(key);
        let Some(slot) = self.live(hash, key, now_ms) else {
            return self.insert(hash, key, value, ttl);
        };
        let room = self.bytes_max.saturating_sub(self.used_bytes());
        let Some(entry) = self.slab.entry_mut(slot) else {
            return Ok(());
        };
        let before = entry.value.heap_bytes();
        let after = entry.value.heap_bytes_after_set(value.len());
        if after.saturating_sub(before) > room {
            return Err(StoreFull);
        }
        entry.value.set(value);
        self.heap_bytes = self.heap_bytes - before + after;
        match ttl {
            Ttl::Clear if entry.due == NEVER => {}
            Ttl::Clear => self.expiry.set_due(&mut self.slab, slot, NEVER),
            Ttl::Keep => {}
            Ttl::At(due) => self.expiry.set_due(&mut self.slab, slot, due),
        }
        Ok(())
    }

    /// Adds bytes to the value of `key` (made empty first if absent; its time to live stays)
    /// and says how long the value is now.
    pub fn append(&mut self, key: &[u8], tail: &[u8], now_ms: u64) -> Result<usize, StoreFull> {
        let hash = self.hash_key.hash(key);
        let Some(slot) = self.live(hash, key, now_ms) else {
            return self
                .insert(hash, key, tail, Ttl::Clear)
                .map(|()| tail.len());
        };
        let room = self.bytes_max.saturating_sub(self.used_bytes());
        let Some(entry) = self.slab.entry_mut(slot) else {
            return Ok(0);
        };
        let before = entry.value.heap_bytes();
        if entry
            .value
            .heap_bytes_after_append(tail.len())
            .saturating_sub(before)
            > room
        {
            return Err(StoreFull);
        }
        entry.value.append(tail);
        self.heap_bytes = self.heap_bytes - before + entry.value.heap_bytes();
        Ok(entry.value.as_bytes().len())
    }

    /// Whether all of these pairs could be set, so that setting several is all or nothing.
    /// A key named twice counts twice.
    pub fn has_room<'a>(
        &mut self,
        mut pairs: impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])>,
        now_ms: u64,
    ) -> bool {
        if pairs.len() > self.slab.room() {
            return false;
        }
        let room = self.bytes_max.saturating_sub(self.used_bytes());
        let mut needed = 0u64;
        self.bytes_max == u64::MAX
            || pairs.all(|(key, value)| {
                let slot = self.live(self.hash_key.hash(key), key, now_ms);
                needed += match slot.and_then(|slot| self.slab.entry(slot)) {
                    None => new_bytes(key, value),
                    Some(Entry { value: old, .. }) => old
                        .heap_bytes_after_set(value.len())
                        .saturating_sub(old.heap_bytes()),
                };
                needed <= room
            })
    }

    /// Removes `key`; whether it existed.
    pub fn remove(&mut self, key: &[u8], now_ms: u64) -> bool {
        let hash = self.hash_key.hash(key);
        let slot = self.live(hash, key, now_ms);
        slot.is_some_and(|slot| self.evict(hash, slot))
    }

    /// When `key` goes: `None` if it does not exist, `Some(None)` if it has no time to live.
    pub fn due(&mut self, key: &[u8], now_ms: u64) -> Option<Option<u64>> {
        let slot = self.live(self.hash_key.hash(key), key, now_ms)?;
        self.slab
            .entry(slot)
            .map(|entry| (entry.due != NEVER).then_some(entry.due))
    }

    /// Sets or clears when `key` goes; whether it exists.
    pub fn set_due(&mut self, key: &[u8], due: Option<u64>, now_ms: u64) -> bool {
        let slot = self.live(self.hash_key.hash(key), key, now_ms);
        if let Some(slot) = slot {
            self.expiry
                .set_due(&mut self.slab, slot, due.unwrap_or(NEVER));
        }
        slot.is_some()
    }

    /// Nothing is due before this Unix time in milliseconds. It may be early (then
    /// [`expire_due`](Self::expire_due) finds nothing and the next answer is later), never late.
    pub fn next_expiry(&self) -> Option<u64> {
        self.expiry.next()
    }

    /// Removes up to `max` entries that are due, in bounded time; how many it removed.
    /// More may be due: [`next_expiry`](Self::next_expiry) tells.
    pub fn expire_due(&mut self, now_ms: u64, max: usize) -> usize {
        let mut moves_max = max;
        let mut removed = 0;
        while removed < max
            && let Some(slot) = self.expiry.due(&mut self.slab, now_ms, &mut moves_max)
            && let Some(entry) = self.slab.entry(slot)
        {
            let hash = self.hash_key.hash(entry.key.as_bytes());
            self.evict(hash, slot);
            removed += 1;
        }
        self.expired += removed as u64;
        removed
    }

    /// Removes everything. Takes time in proportion to the number of entries.
    pub fn clear(&mut self) {
        self.index.clear();
        self.slab.clear();
        self.expiry.clear();
        self.heap_bytes = 0;
    }

    /// The keys in a range of cursors (0 is the start). A key that exists all the while is
    /// met exactly once by ranges that go from 0 to [`cursor_end`](Self::cursor_end), whatever
    /// else changes.
    pub fn keys(&self, cursors: Range<u64>, now_ms: u64) -> impl Iterator<Item = &[u8]> {
        let end = cursors.end.min(self.cursor_end());
        (cursors.start..end).filter_map(move |slot| {
            let entry = self
                .slab
                .entry(slot as u32)
                .filter(|entry| entry.due > now_ms)?;
            Some(entry.key.as_bytes())
        })
    }

    /// The cursor at which a page of about `count` keys from `cursor` ends. Looks at ten
    /// times as many slots at most, so that a store full of holes stalls nobody.
    pub fn page_end(&self, cursor: u64, count: u64) -> u64 {
        let end = cursor
            .saturating_add(count.saturating_mul(10))
            .min(self.cursor_end());
        let used = |slot: &u64| self.slab.entry(*slot as u32).is_some();
        let last = (cursor..end)
            .filter(used)
            .take(count.try_into().unwrap_or(usize::MAX))
            .enumerate()
            .last();
        match last {
            Some((i, slot)) if i as u64 + 1 == count => slot + 1,
            _ => end.max(cursor),
        }
    }

    /// No key is at this cursor or after it, until one is added.
    pub fn cursor_end(&self) -> u64 {
        self.slab.slots() as u64
    }

    /// The slot of `key`, unless its time has come: then it is removed.
    #[inline]
    fn live(&mut self, hash: u64, key: &[u8], now_ms: u64) -> Option<u32> {
        let mut due = NEVER;
        let slot = self.index.find(hash, |slot| match self.slab.entry(slot) {
            Some(entry) if entry.key.as_bytes() == key => {
                due = entry.due;
                true
            }
            _ => false,
        })?;
        if due <= now_ms {
            self.evict(hash, slot);
            self.expired += 1;
            return None;
        }
        Some(slot)
    }

    fn insert(&mut self, hash: u64, key: &[u8], value: &[u8], ttl: Ttl) -> Result<(), StoreFull> {
        if new_bytes(key, value) > self.bytes_max.saturating_sub(self.used_bytes()) {
            return Err(StoreFull);
        }
        let mut entry = Entry {
            key: Key::new(key),
            value: Value::EMPTY,
            due: NEVER,
            place: UNARMED,
        };
        entry.value.set(value);
        let heap_bytes = Key::heap_bytes(key) + entry.value.heap_bytes();
        // Two thousand million entries: full by number.
        let slot = self.slab.insert(entry).ok_or(StoreFull)?;
        self.heap_bytes += heap_bytes;
        self.index.insert(hash, slot);
        if let Ttl::At(due) = ttl {
            self.expiry.set_due(&mut self.slab, slot, due);
        }
        Ok(())
    }

    /// Removes the entry in `slot`, whose key has this hash.
    fn evict(&mut self, hash: u64, slot: u32) -> bool {
        self.expiry.set_due(&mut self.slab, slot, NEVER);
        self.index.remove(hash, slot);
        let entry = self.slab.remove(slot);
        if let Some(entry) = &entry {
            let bytes = Key::heap_bytes(entry.key.as_bytes()) + entry.value.heap_bytes();
            self.heap_bytes -= bytes;
        }
        entry.is_some()
    }
}

/// What a new entry counts for.
fn new_bytes(key: &[u8], value: &[u8]) -> u64 {
    ENTRY_BYTES + Key::heap_bytes(key) + Value::EMPTY.heap_bytes_after_set(value.len())
}

#[cfg(test)]
mod tests;

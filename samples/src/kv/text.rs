//! The two byte strings of an entry, both 24 bytes, short ones without a heap block.
//!
//! Most keys and many values are short. Kept inside the slot they cost no allocation and no
//! further cache miss, and replacing one by another is a copy.

const KEY_INLINE: usize = 22;
const VALUE_INLINE: usize = 15;

/// A key: never changes.
pub(super) enum Key {
    Inline { len: u8, bytes: [u8; KEY_INLINE] },
    Heap(Box<[u8]>),
}

impl Key {
    #[inline]
    pub(super) fn new(text: &[u8]) -> Key {
        match inline(text) {
            Some((len, bytes)) => Key::Inline { len, bytes },
            None => Key::Heap(text.into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Key::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Key::Heap(bytes) => bytes,
        }
    }

    /// Bytes on the heap for a key of this text.
    pub(super) fn heap_bytes(text: &[u8]) -> u64 {
        if text.len() <= KEY_INLINE {
            0
        } else {
            block_bytes(text.len())
        }
    }
}

/// A value: replaced and appended to.
pub(super) enum Value {
    /// Fits beside `Vec`'s fields because a capacity has spare bit patterns.
    Inline {
        len: u8,
        bytes: [u8; VALUE_INLINE],
    },
    Heap(Vec<u8>),
}

impl Value {
    pub(super) const EMPTY: Value = Value::Inline {
        len: 0,
        bytes: [0; VALUE_INLINE],
    };

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Value::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or(bytes),
            Value::Heap(bytes) => bytes,
        }
    }

    /// Replaces the text. A heap block is kept if it fits without wasting more than half.
    #[inline]
    pub(super) fn set(&mut self, text: &[u8]) {
        match (inline(text), &mut *self) {
            (Some((len, bytes)), _) => *self = Value::Inline { len, bytes },
            (None, Value::Heap(old)) if fits(old, text.len()) => {
                old.clear();
                old.extend_from_slice(text);
            }
            (None, _) => *self = Value::Heap(text.to_vec()),
        }
    }

    /// Adds `tail` at the end, in amortised constant time per byte.
    pub(super) fn append(&mut self, tail: &[u8]) {
        match self {
            Value::Heap(bytes) => bytes.extend_from_slice(tail),
            Value::Inline { .. } => {
                let mut joined = [0; 2 * VALUE_INLINE];
                let len = self.as_bytes().len() + tail.len();
                if len <= VALUE_INLINE {
                    joined[..self.as_bytes().len()].copy_from_slice(self.as_bytes());
                    joined[self.as_bytes().len()..len].copy_from_slice(tail);
                    self.set(&joined[..len]);
                } else {
                    *self = Value::Heap([self.as_bytes(), tail].concat());
                }
            }
        }
    }

    /// Bytes on the heap now.
    #[inline]
    pub(super) fn heap_bytes(&self) -> u64 {
        match self {
            Value::Inline { .. } => 0,
            Value::Heap(bytes) => block_bytes(bytes.capacity()),
        }
    }

    /// Bytes on the heap after `set` to a text of `len` bytes.
    #[inline]
    pub(super) fn heap_bytes_after_set(&self, len: usize) -> u64 {
        match self {
            _ if len <= VALUE_INLINE => 0,
            Value::Heap(old) if fits(old, len) => self.heap_bytes(),
            _ => block_bytes(len),
        }
    }

    /// At most this many bytes on the heap after `append` of `len` bytes.
    pub(super) fn heap_bytes_after_append(&self, len: usize) -> u64 {
        let total = self.as_bytes().len().saturating_add(len);
        match self {
            Value::Inline { .. } if total <= VALUE_INLINE => 0,
            Value::Inline { .. } => block_bytes(total),
            Value::Heap(old) if total <= old.capacity() => self.heap_bytes(),
            Value::Heap(old) => block_bytes(total.max(2 * old.capacity())),
        }
    }
}

/// Whether a text of `len` bytes may reuse the block of `old`.
fn fits(old: &Vec<u8>, len: usize) -> bool {
    len <= old.capacity() && len >= old.capacity() / 2
}

/// What a heap block of this length costs: the allocator's header and rounding included.
fn block_bytes(len: usize) -> u64 {
    (len as u64 + 8).next_multiple_of(16)
}

#[inline]
fn inline<const N: usize>(text: &[u8]) -> Option<(u8, [u8; N])> {
    let mut bytes = [0; N];
    bytes.get_mut(..text.len())?.copy_from_slice(text);
    Some((text.len() as u8, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_24_bytes() {
        assert_eq!(size_of::<Key>(), 24);
        assert_eq!(size_of::<Value>(), 24);
    }

    #[test]
    fn every_length_survives() {
        let text: Vec<u8> = (0..100).collect();
        let mut value = Value::EMPTY;
        for len in (0..100).chain((0..100).rev()) {
            assert_eq!(Key::new(&text[..len]).as_bytes(), &text[..len]);
            let promised = value.heap_bytes_after_set(len);
            value.set(&text[..len]);
            assert_eq!(value.as_bytes(), &text[..len]);
            assert_eq!(value.heap_bytes(), promised);
        }
    }

    #[test]
    fn appending_at_every_length() {
        for first in 0..40 {
            for second in 0..40 {
                let mut value = Value::EMPTY;
                value.set(&vec![b'a'; first]);
                let at_most = value.heap_bytes_after_append(second);
                value.append(&vec![b'b'; second]);
                assert_eq!(
                    value.as_bytes(),
                    [vec![b'a'; first], vec![b'b'; second]].concat()
                );
                assert!(value.heap_bytes() <= at_most);
            }
        }
    }
}

//! `Batch`: encoded items in a row, first in first out, in one buffer.
//!
//! Receiving swaps batches rather than items: one fills while the other is read, and both are used again. Invariant:
//! what has not been read, `bytes[at..]`, is a row of whole items, each after its length.

/// Bytes of an item's length.
const LEN_BYTES: usize = 4;

#[derive(Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    at: usize,
}

impl Batch {
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Appends an item of less than 4 GiB, as all bodies of frames are. Allocates only to grow.
    #[inline]
    pub fn push(&mut self, item: &[u8]) {
        if self.is_empty() {
            self.bytes.clear();
            self.at = 0;
        }
        self.bytes
            .extend_from_slice(&(item.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(item);
    }

    /// The next item.
    #[inline]
    pub fn pop(&mut self) -> Option<&[u8]> {
        let (len, rest) = self.bytes[self.at..].split_first_chunk::<LEN_BYTES>()?;
        let item = rest.get(..u32::from_le_bytes(*len) as usize)?;
        self.at += LEN_BYTES + item.len();
        Some(item)
    }

    /// The buffer, if the batch is empty and it is larger than this: to be dropped where that disturbs nobody.
    #[inline]
    pub fn spare(&mut self, kept_bytes_max: usize) -> Option<Vec<u8>> {
        (self.is_empty() && self.bytes.capacity() > kept_bytes_max)
            .then(|| std::mem::take(self).bytes)
    }

    #[cfg(all(test, not(loom)))]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<u8>),
        Pop,
        Spare(usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Push),
            Just(Step::Pop),
            Just(Step::Pop),
            (0usize..200).prop_map(Step::Spare),
        ];
        proptest::collection::vec(step, 0..100)
    }

    proptest! {
        #[test]
        fn a_batch_is_a_queue(steps in steps()) {
            let (mut batch, mut model) = (Batch::default(), VecDeque::new());
            for step in steps {
                match step {
                    Step::Push(item) => {
                        batch.push(&item);
                        model.push_back(item);
                    }
                    Step::Pop => prop_assert_eq!(batch.pop().map(<[u8]>::to_vec), model.pop_front()),
                    Step::Spare(kept) => {
                        let capacity = batch.capacity();
                        let is_due = model.is_empty() && capacity > kept;
                        prop_assert_eq!(batch.spare(kept).is_some(), is_due);
                        prop_assert_eq!(batch.capacity(), if is_due { 0 } else { capacity });
                    }
                }
                prop_assert_eq!(batch.is_empty(), model.is_empty());
            }
        }
    }

    #[test]
    fn a_batch_that_is_emptied_again_and_again_does_not_grow() {
        let mut batch = Batch::default();
        batch.push(&[1; 100]);
        let capacity = batch.capacity();
        for _ in 0..100 {
            assert_eq!(batch.pop(), Some(&[1; 100][..]));
            batch.push(&[1; 100]);
        }
        assert_eq!(batch.capacity(), capacity);
    }
}

//! Bytes on their way: appended at the end, taken at the front. A plain vector and an offset, because where a ring
//! buffer wraps depends on the standard library's version, and where bytes are split is part of what a seed means.

#[derive(Default)]
pub(super) struct ByteQueue {
    bytes: Vec<u8>,
    head: usize,
}

impl ByteQueue {
    pub fn len(&self) -> usize {
        self.bytes.len() - self.head
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first `n` bytes, or all if there are fewer.
    pub fn front(&self, n: usize) -> &[u8] {
        let rest = &self.bytes[self.head..];
        &rest[..n.min(rest.len())]
    }

    /// Drops the first `n` bytes.
    pub fn consume(&mut self, n: usize) {
        self.head = (self.head + n).min(self.bytes.len());
        if self.head == self.bytes.len() {
            self.bytes.clear();
            self.head = 0;
        } else if self.head > self.bytes.len() / 2 {
            self.bytes.drain(..self.head);
            self.head = 0;
        }
    }

    /// Drops all but the first `n` bytes.
    pub fn truncate(&mut self, n: usize) {
        self.bytes.truncate(self.head + n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    #[test]
    fn it_is_a_queue_of_bytes() {
        let mut rng = crate::sim::rng::Rng::new(3);
        let (mut queue, mut model) = (ByteQueue::default(), VecDeque::new());
        for round in 0..5000u32 {
            match rng.below(8) {
                0..=3 => {
                    let bytes: Vec<u8> = (0..rng.below(20))
                        .map(|n| (n as u32 + round) as u8)
                        .collect();
                    queue.push(&bytes);
                    model.extend(bytes);
                }
                4..=6 => {
                    let n = rng.below(30) as usize;
                    let taken: Vec<u8> = model.drain(..n.min(model.len())).collect();
                    assert_eq!(queue.front(n), taken);
                    queue.consume(n);
                }
                _ => {
                    let n = rng.below(60) as usize;
                    queue.truncate(n);
                    model.truncate(n);
                }
            }
            assert_eq!(queue.len(), model.len());
        }
    }
}

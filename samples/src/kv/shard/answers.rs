//! `Answers`: replies in the order of their commands, each until its turn.

use super::super::reply::{Full, Out};
use super::SHARE_BYTES;
use std::collections::VecDeque;

/// A queue of replies, in one buffer, which is kept, up to a size, when it is empty. What is put goes to the newest
/// reply until [`end`](Self::end).
pub(in super::super) struct Answers {
    bytes: Vec<u8>,
    /// Where the oldest reply begins.
    at: usize,
    /// Where each reply ends.
    ends: VecDeque<usize>,
    bytes_max: usize,
}

impl Answers {
    /// Takes so many bytes at a time.
    pub fn new(bytes_max: usize) -> Self {
        Self {
            bytes: Vec::new(),
            at: 0,
            ends: VecDeque::new(),
            bytes_max,
        }
    }

    /// The newest reply is complete.
    pub fn end(&mut self) {
        self.ends.push_back(self.bytes.len());
    }

    /// Adds a complete reply, whatever the limit.
    pub fn push(&mut self, reply: &[u8]) {
        self.bytes.extend_from_slice(reply);
        self.end();
    }

    /// Whether no complete reply waits.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes that wait.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The oldest reply.
    pub fn front(&self) -> Option<&[u8]> {
        self.bytes.get(self.at..*self.ends.front()?)
    }

    /// The oldest reply was taken.
    pub fn pop(&mut self) {
        if let Some(end) = self.ends.pop_front() {
            self.at = end;
        }
        if self.ends.is_empty() && self.at == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(SHARE_BYTES);
            self.at = 0;
        } else if self.at >= SHARE_BYTES {
            // A queue that is never empty must not grow for ever.
            self.bytes.drain(..self.at);
            self.ends.iter_mut().for_each(|end| *end -= self.at);
            self.at = 0;
        }
    }
}

impl Out for Answers {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.bytes_max.saturating_sub(self.held_bytes()) {
            return Err(Full);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_never_empty_does_not_grow() {
        let mut answers = Answers::new(usize::MAX);
        let reply = |n: usize| format!("{n}:{}", "x".repeat(n % 1000)).into_bytes();
        answers.push(&reply(0));
        for n in 1..2000 {
            answers.push(&reply(n));
            assert_eq!(answers.front(), Some(&reply(n - 1)[..]));
            answers.pop();
        }
        assert!(answers.bytes.capacity() < 4 * SHARE_BYTES);
        answers.pop();
        assert!(answers.is_empty() && answers.held_bytes() == 0 && answers.front().is_none());
    }

    #[test]
    fn the_limit_is_on_what_waits() {
        let mut answers = Answers::new(5);
        assert_eq!(answers.put(b"abc"), Ok(()));
        assert_eq!(answers.front(), None, "not complete");
        assert_eq!(answers.put(b"def"), Err(Full));
        answers.end();
        assert_eq!(answers.front(), Some(&b"abc"[..]));
        answers.pop();
        assert_eq!(answers.put(b"defgh"), Ok(()));
        answers.end();
        answers.end();
        answers.pop();
        assert_eq!(
            answers.front(),
            Some(&b""[..]),
            "an empty reply is one, too"
        );
    }

    #[test]
    fn memory_of_a_large_reply_is_given_back() {
        let mut answers = Answers::new(usize::MAX);
        answers.push(&vec![b'x'; 10 << 20]);
        answers.pop();
        assert!(answers.bytes.capacity() <= SHARE_BYTES);
    }
}

//! `Outbox`: encoded frames that wait to be handed to the stream.
//!
//! A connection keeps a small buffer between bursts, so that answers from other threads allocate nothing; a larger one
//! goes to the thread's next outbox that has none.

use super::super::frame::{HEADER_BYTES, Header};
use std::cell::Cell;

/// What a connection keeps while nothing waits: many small replies. One that is idle for long keeps nothing.
const KEPT_BYTES_MAX: usize = 4 << 10;
/// What a thread keeps.
const SPARE_BYTES_MAX: usize = 256 << 10;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Invariant: `bytes[left..]` waits.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    left: usize,
}

impl Outbox {
    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.left
    }

    /// What waits.
    #[inline]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.left..]
    }

    /// Appends a frame, unless more than `bytes_max` would wait.
    #[inline]
    pub fn push(&mut self, header: Header, body: &[u8], bytes_max: usize) -> bool {
        let fits = self.make_room(HEADER_BYTES + body.len(), bytes_max);
        if fits {
            header.write(body, &mut self.bytes);
        }
        fits
    }

    /// Appends whole frames, unless more than `bytes_max` would wait.
    pub fn push_bytes(&mut self, frames: &[u8], bytes_max: usize) -> bool {
        let fits = self.make_room(frames.len(), bytes_max);
        if fits {
            self.bytes.extend_from_slice(frames);
        }
        fits
    }

    #[inline]
    fn make_room(&mut self, bytes: usize, bytes_max: usize) -> bool {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.try_with(Cell::take).unwrap_or_default();
        }
        self.len() + bytes <= bytes_max
    }

    /// So many bytes have left.
    #[inline]
    pub fn left(&mut self, bytes: usize) {
        self.left += bytes;
        if self.left == self.bytes.len() {
            self.bytes.clear();
            self.left = 0;
            if self.bytes.capacity() > KEPT_BYTES_MAX {
                self.free();
            }
        } else if self.left > self.len() {
            // Costs no more than what has left since.
            self.bytes.drain(..self.left);
            self.left = 0;
        }
    }

    /// Gives the buffer to the next who needs one, with all that waits in it.
    pub fn free(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.left = 0;
        if bytes.capacity() <= SPARE_BYTES_MAX {
            // While a thread ends there is no place for it.
            let _ = SPARE.try_with(|spare| {
                let before = spare.take();
                spare.set(if before.capacity() > bytes.capacity() {
                    before
                } else {
                    bytes
                });
            });
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::super::frame::{CallId, Kind};
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        Header::new(Kind::Reply, CallId::default())
    }

    proptest! {
        /// Frames of so many bytes are pushed, and so many bytes leave.
        #[test]
        fn what_is_pushed_leaves_once_and_in_order(
            steps in proptest::collection::vec((any::<bool>(), 0..3000_usize), 0..60),
        ) {
            let bytes_max = 10_000;
            let (mut outbox, mut model) = (Outbox::default(), Vec::new());
            for (n, (is_push, bytes)) in steps.into_iter().enumerate() {
                if is_push {
                    let body = vec![n as u8; bytes];
                    let fits = model.len() + HEADER_BYTES + bytes <= bytes_max;
                    prop_assert_eq!(outbox.push(header(), &body, bytes_max), fits);
                    if fits {
                        header().write(&body, &mut model);
                    }
                } else {
                    let bytes = bytes.min(model.len());
                    outbox.left(bytes);
                    model.drain(..bytes);
                }
                prop_assert_eq!(outbox.waiting(), &model[..]);
                prop_assert_eq!(outbox.len(), model.len());
            }
        }
    }

    #[test]
    fn a_large_buffer_goes_to_the_next_who_needs_one() {
        let (mut one, mut other) = (Outbox::default(), Outbox::default());
        assert!(one.push(header(), &[1; 20_000], 30_000));
        assert!(!one.push(header(), &[1; 20_000], 30_000), "over the limit");
        one.left(one.len());
        assert_eq!(one.bytes.capacity(), 0);
        assert!(other.push(header(), &[2], 100));
        assert!(other.bytes.capacity() >= 20_000, "it is the same");
        other.left(other.len());
        assert!(one.push_bytes(&[3; 10], 100));
        one.free();
        // A small one stays, one that is too large goes.
        let mut own = Outbox {
            bytes: Vec::with_capacity(100),
            left: 0,
        };
        assert!(own.push(header(), &[4], 100));
        own.left(own.len());
        assert_eq!(own.bytes.capacity(), 100);
        let mut huge = Outbox {
            bytes: Vec::with_capacity(SPARE_BYTES_MAX + 1),
            left: 0,
        };
        huge.free();
        let spare = SPARE.take();
        assert!((20_000..=SPARE_BYTES_MAX).contains(&spare.capacity()));
    }
}

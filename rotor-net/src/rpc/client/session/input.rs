//! `Kept`: the beginning of a frame whose rest has not arrived.
//!
//! A frame that lies within one read is looked at where the read put it. Of one that does not, what is there is kept, and
//! of the next read only what completes it is copied. What is kept grows with what arrives, never with what is claimed.

use crate::rpc::SessionError;

/// A larger buffer is given back once it is empty.
const KEPT_BYTES_MAX: usize = 64 << 10;

#[derive(Default)]
pub(super) struct Kept {
    bytes: Vec<u8>,
    /// How many bytes it takes to go on; more than there are.
    needed: usize,
}

/// What there is at the front.
pub(super) enum Step {
    Consumed(usize),
    /// Nothing to be done with fewer bytes than this, which are more than were given.
    Needs(usize),
}

impl Kept {
    /// Gives what has arrived to `step`, piece by piece.
    pub fn feed(
        &mut self,
        mut fresh: &[u8],
        mut step: impl FnMut(&[u8]) -> Result<Step, SessionError>,
    ) -> Result<(), SessionError> {
        while !self.bytes.is_empty() {
            let missing = self.needed - self.bytes.len();
            let (now, later) = fresh.split_at(missing.min(fresh.len()));
            self.bytes.extend_from_slice(now);
            fresh = later;
            if self.bytes.len() < self.needed {
                return Ok(());
            }
            match step(&self.bytes)? {
                // A frame is consumed as a whole, and no more than that is kept.
                Step::Consumed(_) => self.clear(),
                Step::Needs(bytes) => self.needed = bytes,
            }
        }
        while !fresh.is_empty() {
            match step(fresh)? {
                Step::Consumed(bytes) => fresh = &fresh[bytes..],
                Step::Needs(bytes) => {
                    self.bytes.extend_from_slice(fresh);
                    self.needed = bytes;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        if self.bytes.capacity() > KEPT_BYTES_MAX {
            self.bytes = Vec::new();
        }
        self.bytes.clear();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Records of a length and so many bytes, cut anywhere, come out as they went in; and no more is kept than the
        /// beginning of one.
        #[test]
        fn records_come_out_whole(records in proptest::collection::vec(0u8..40, 0..40), cuts in proptest::collection::vec(1usize..30, 1..200)) {
            let bytes: Vec<u8> = records
                .iter()
                .flat_map(|&len| std::iter::once(len).chain((0..len).map(move |n| n ^ len)))
                .collect();
            let (mut kept, mut out) = (Kept::default(), Vec::new());
            let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = later;
                kept.feed(piece, |input| {
                    let len = usize::from(input[0]);
                    if input.len() <= len {
                        return Ok(Step::Needs(1 + len));
                    }
                    assert!((0..len).all(|n| input[1 + n] == n as u8 ^ len as u8));
                    out.push(input[0]);
                    Ok(Step::Consumed(1 + len))
                }).unwrap();
                prop_assert!(kept.bytes.len() < 40);
            }
            prop_assert_eq!(out, records);
        }
    }

    #[test]
    fn a_large_buffer_is_given_back() {
        let mut kept = Kept::default();
        let mut step = |input: &[u8]| {
            let whole = 100_000;
            Ok(if input.len() < whole {
                Step::Needs(whole)
            } else {
                Step::Consumed(whole)
            })
        };
        kept.feed(&[0; 99_999], &mut step).unwrap();
        assert!(kept.bytes.capacity() >= 99_999);
        kept.feed(&[0], &mut step).unwrap();
        assert_eq!(kept.bytes.capacity(), 0);
    }
}

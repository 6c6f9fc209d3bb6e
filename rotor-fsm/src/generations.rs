//! Which generation each slot is in, readable from any thread.
//!
//! A sender asks here whether its machine still lives before it queues a message. The answer may be outdated a
//! moment later; then the message is accepted and dropped with its machine, which is counted. What must never
//! happen is that an old id passes for a later machine: generations only grow, and the loop compares again when it
//! delivers.
//!
//! Segments double in size and never move, so a reader needs no lock, and a loop of ten machines holds no table
//! for a million.

use crate::MachineId;
use crate::sync::{AtomicU32, OnceLock, Ordering};

const FIRST_SEGMENT: usize = if cfg!(loom) { 2 } else { 64 };
const SEGMENTS: usize = 27;

pub(crate) struct Generations {
    segments: [OnceLock<Box<[AtomicU32]>>; SEGMENTS],
}

impl Generations {
    pub fn new() -> Self {
        Self {
            segments: std::array::from_fn(|_| OnceLock::new()),
        }
    }

    /// True if `id` names the machine that is in its slot now.
    #[inline]
    pub fn is_live(&self, id: MachineId) -> bool {
        self.cell(id.index())
            .is_some_and(|cell| cell.load(Ordering::Acquire) == id.generation())
    }

    /// Sets the generation of a slot; only the loop calls it. Allocates when a segment is first reached.
    pub fn publish(&self, index: u32, generation: u32) {
        let (segment, offset) = place(index);
        self.cells(segment)[offset].store(generation, Ordering::Release);
    }

    /// Allocates for the slots below this index.
    pub fn set_aside(&self, slots: usize) {
        if let Some(last) = slots.checked_sub(1) {
            let (last, _) = place(u32::try_from(last).unwrap_or(u32::MAX));
            for segment in 0..=last.min(SEGMENTS - 1) {
                self.cells(segment);
            }
        }
    }

    fn cells(&self, segment: usize) -> &[AtomicU32] {
        self.segments[segment].get_or_init(|| {
            (0..FIRST_SEGMENT << segment)
                .map(|_| AtomicU32::new(0))
                .collect()
        })
    }

    #[inline]
    fn cell(&self, index: u32) -> Option<&AtomicU32> {
        let (segment, offset) = place(index);
        self.segments.get(segment)?.get()?.get(offset)
    }
}

/// Segment k holds the indices from `64 * (2^k - 1)` on.
#[inline]
fn place(index: u32) -> (usize, usize) {
    let n = index as usize + FIRST_SEGMENT;
    let segment = n.ilog2() as usize - FIRST_SEGMENT.ilog2() as usize;
    (segment, n - (FIRST_SEGMENT << segment))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn r2_only_the_published_generation_lives() {
        let generations = Generations::new();
        assert!(!generations.is_live(MachineId::new(0, 1)));
        generations.publish(0, 1);
        assert!(generations.is_live(MachineId::new(0, 1)));
        generations.publish(0, 2);
        assert!(!generations.is_live(MachineId::new(0, 1)));
        assert!(!generations.is_live(MachineId::new(u32::MAX, 1)));
    }

    proptest! {
        #[test]
        fn places_are_dense_and_in_bounds(index in 0u32..u32::MAX - 64) {
            let (segment, offset) = place(index);
            prop_assert!(segment < SEGMENTS && offset < FIRST_SEGMENT << segment);
            prop_assert_eq!(FIRST_SEGMENT * ((1 << segment) - 1) + offset, index as usize);
        }
    }
}

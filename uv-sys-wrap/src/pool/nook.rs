//! A block of the loop's own into which small kept ranges are copied, one behind the other.
//!
//! It is taken when first needed. What has been copied is never written again before every chunk in the block is
//! gone; then it starts over. A full one is left to its chunks and another one taken.

use super::block::Hold;
use super::blocks::Blocks;
use super::{Chunk, round_up};
use std::cell::Cell;

#[derive(Default)]
pub(super) struct Nook {
    hold: Cell<Option<Hold>>,
    /// Where the next range goes.
    tail: Cell<usize>,
}

impl Nook {
    /// Copies `bytes`, or says `None` if there is no room and no free block. Never allocates.
    pub(super) fn copy(&self, bytes: &[u8], block_bytes: usize, blocks: &Blocks) -> Option<Chunk> {
        let mut hold = self.hold.take();
        if hold.as_ref().is_some_and(Hold::is_alone) {
            self.tail.set(0);
        }
        let has_room = hold.is_some() && block_bytes - self.tail.get() >= bytes.len();
        if !has_room && let Some(fresh) = blocks.take() {
            hold = Some(fresh);
            self.tail.set(0);
        }
        let chunk = match &hold {
            Some(hold) if block_bytes - self.tail.get() >= bytes.len() => {
                Some(self.append(bytes, hold))
            }
            _ => None,
        };
        self.hold.set(hold);
        chunk
    }

    /// The block, if nobody has kept anything in it: for one who needs it more.
    pub(super) fn take_idle(&self) -> Option<Hold> {
        let hold = self.hold.take()?;
        if hold.is_alone() {
            return Some(hold);
        }
        self.hold.set(Some(hold));
        None
    }

    /// (blocks held, of these with kept ranges in them): 0 or 1 each.
    pub(super) fn count(&self) -> (usize, usize) {
        let hold = self.hold.take();
        let counts = match &hold {
            Some(hold) => (1, usize::from(!hold.is_alone())),
            None => (0, 0),
        };
        self.hold.set(hold);
        counts
    }

    /// The caller made sure that there is room.
    fn append(&self, bytes: &[u8], hold: &Hold) -> Chunk {
        let tail = self.tail.get();
        self.tail.set(round_up(tail + bytes.len()));
        // SAFETY: `bytes.len()` bytes from the tail on are inside the block, and nobody refers to them; they are
        // not written again, as the tail has moved on. `bytes` lie in a part of memory that somebody may read, so
        // not here.
        unsafe {
            let at = hold.header().data().add(tail);
            hold.header().on_write(at.as_ptr(), bytes.len());
            at.copy_from_nonoverlapping(std::ptr::NonNull::from(bytes).cast(), bytes.len());
            Chunk::new(hold.share(), at, bytes.len())
        }
    }
}

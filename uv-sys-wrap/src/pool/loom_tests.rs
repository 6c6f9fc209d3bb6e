//! Every interleaving of the pool's shared part: counting, coming back, rewinding, and the end of the pool.
//!
//! Run with `RUSTFLAGS="--cfg loom" cargo test --release pool::loom`. The pool itself is modelled, with its blocks
//! of four granules; a witness cell per granule lets loom see a write that races with a chunk being read, and a
//! loom `Arc` in the home one that is never freed.

use super::block::GRANULE;
use super::*;
use loom::cell::UnsafeCell;
use loom::thread;

/// Stands for the bytes of a block, a granule each.
pub(super) struct Witness(Vec<UnsafeCell<()>>);

impl Witness {
    pub(super) fn new(bytes: usize) -> Witness {
        Witness(
            (0..bytes.div_ceil(GRANULE))
                .map(|_| UnsafeCell::new(()))
                .collect(),
        )
    }

    pub(super) fn write(&self, from: usize, len: usize) {
        for cell in self.granules(from, len) {
            cell.with_mut(|_| ());
        }
    }

    pub(super) fn read(&self, from: usize, len: usize) {
        for cell in self.granules(from, len) {
            cell.with(|_| ());
        }
    }

    fn granules(&self, from: usize, len: usize) -> &[UnsafeCell<()>] {
        match len {
            0 => &[],
            _ => &self.0[from / GRANULE..(from + len).div_ceil(GRANULE)],
        }
    }
}

/// Freeing counts as writing.
impl Drop for Witness {
    fn drop(&mut self) {
        for cell in &self.0 {
            cell.with_mut(|_| ());
        }
    }
}

const BLOCK: usize = 4 * GRANULE;

fn pool(blocks_max: usize) -> Pool {
    Pool::new(PoolConfig {
        block_bytes: BLOCK,
        blocks_max,
        chunk_blocks: blocks_max,
        overflow_bytes_max: 1 << 20,
        ..PoolConfig::default()
    })
    .unwrap()
}

fn kept(pool: &Pool, byte: u8, len: usize) -> Chunk {
    let read = pool.fill(&vec![byte; len]);
    assert_eq!(read.len(), len);
    read.keep(..).unwrap()
}

fn check(chunk: Chunk, byte: u8) {
    assert!(chunk.iter().all(|&b| b == byte));
}

fn everything_is_back(pool: &Pool) {
    let stats = pool.stats();
    assert_eq!((stats.blocks_kept, stats.overflow_bytes), (0, 0));
}

#[test]
fn a_block_starts_over_only_after_its_chunks_are_read() {
    loom::model(|| {
        let pool = pool(2);
        let first = kept(&pool, 1, GRANULE);
        let reader = thread::spawn(move || check(first, 1));
        // Overwrites the first chunk if the reader is done, else lands behind it.
        let second = kept(&pool, 2, GRANULE);
        check(second, 2);
        reader.join().unwrap();
        everything_is_back(&pool);
        assert_eq!(pool.lend().1, BLOCK);
    });
}

#[test]
fn the_last_of_two_threads_returns_the_block_once() {
    loom::model(|| {
        let pool = pool(2);
        let whole = kept(&pool, 1, BLOCK);
        let part = whole.slice(GRANULE..);
        let readers = [
            thread::spawn(move || check(whole, 1)),
            thread::spawn(move || check(part, 1)),
        ];
        // Leaves the kept block and moves to the other one, or starts over.
        check(kept(&pool, 2, BLOCK), 2);
        // Writes to the first one again if both are done with it.
        drop(pool.fill(&[3; BLOCK]));
        for reader in readers {
            reader.join().unwrap();
        }
        everything_is_back(&pool);
        assert!(pool.stats().blocks_in_use <= 2);
    });
}

#[test]
fn blocks_come_back_while_others_are_taken() {
    loom::model(|| {
        let pool = pool(3);
        let chunks = [kept(&pool, 1, BLOCK), kept(&pool, 2, BLOCK)];
        let readers = chunks.map(|chunk| {
            thread::spawn(move || {
                let byte = chunk[0];
                check(chunk, byte);
            })
        });
        // Goes in place if a block is back in time, else to the heap.
        let third = kept(&pool, 3, BLOCK);
        check(third, 3);
        for reader in readers {
            reader.join().unwrap();
        }
        everything_is_back(&pool);
    });
}

#[test]
fn the_pool_ends_while_chunks_are_dropped() {
    loom::model(|| {
        let pool = pool(3);
        let chunks = [kept(&pool, 1, BLOCK), kept(&pool, 2, BLOCK)];
        let readers = chunks.map(|chunk| {
            thread::spawn(move || {
                let byte = chunk[0];
                check(chunk, byte);
            })
        });
        drop(pool);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn the_pool_ends_while_its_hot_block_is_read() {
    loom::model(|| {
        let pool = pool(1);
        let chunk = kept(&pool, 1, GRANULE);
        let reader = thread::spawn(move || check(chunk, 1));
        drop(pool);
        reader.join().unwrap();
    });
}

#[test]
fn heap_copies_are_freed_and_discounted_from_any_thread() {
    loom::model(|| {
        let pool = pool(1);
        let first = kept(&pool, 1, BLOCK);
        let second = kept(&pool, 2, BLOCK);
        assert_eq!(pool.stats().keeps_overflowed, 2);
        let reader = thread::spawn(move || check(first, 1));
        check(second, 2);
        reader.join().unwrap();
        everything_is_back(&pool);
    });
}

/// The reserve is 2 here, so every keep but the first takes more, while the count falls elsewhere.
#[test]
fn the_reserve_is_refilled_while_chunks_are_dropped() {
    loom::model(|| {
        let pool = pool(1);
        let read = pool.fill(&[1; GRANULE]);
        let first = read.keep(..).unwrap();
        let reader = thread::spawn(move || {
            let clone = first.clone();
            drop(first);
            check(clone, 1);
        });
        let others = [read.keep(..).unwrap(), read.keep(1..).unwrap()];
        drop(read);
        drop(others);
        drop(pool.fill(&[2; GRANULE]));
        reader.join().unwrap();
        everything_is_back(&pool);
    });
}

#[test]
fn small_copies_are_not_overwritten() {
    loom::model(|| {
        let pool = pool(3);
        let read = pool.fill(&[1; BLOCK]);
        // Copied: it would take four granules for one... and a granule is a quarter of this block.
        let first = pool.nook.copy(&read[..8], BLOCK, &pool.blocks).unwrap();
        let reader = thread::spawn(move || check(first, 1));
        let second = pool.nook.copy(&read[..8], BLOCK, &pool.blocks).unwrap();
        check(second, 1);
        drop(read);
        drop(pool);
        reader.join().unwrap();
    });
}

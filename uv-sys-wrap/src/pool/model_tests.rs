//! Random programs against a model: contents never change while kept, a read never lands on anything that lives,
//! limits hold, and at the end everything is back.

use super::tests::scaled;
use super::*;
use proptest::prelude::*;
use std::ops::Range;

/// One step. Numbers are taken modulo what there is, so that shrinking keeps programs valid.
#[derive(Clone, Debug)]
enum Step {
    /// Read so many bytes and keep these parts of them (thousandths).
    Read {
        len: usize,
        keeps: Vec<(usize, usize)>,
    },
    /// Read inside of a read, keep from both, drop them in this or the other order.
    Nested {
        lens: [usize; 3],
        keep: usize,
        reverse: bool,
    },
    Clone(usize),
    Slice(usize, usize, usize),
    Advance(usize, usize),
    Drop(usize),
    DropOnThread(usize),
    ToBytes(usize),
    DropAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let len = prop_oneof![0..100usize, 0..1500usize, Just(1024)];
    let step = prop_oneof![
        8 => (len, prop::collection::vec((0..1001usize, 0..1001usize), 0..4))
            .prop_map(|(len, keeps)| Step::Read { len, keeps }),
        1 => ([0..1500usize, 0..1500, 0..1500], any::<usize>(), any::<bool>())
            .prop_map(|(lens, keep, reverse)| Step::Nested { lens, keep, reverse }),
        1 => any::<usize>().prop_map(Step::Clone),
        1 => (any::<usize>(), 0..1001usize, 0..1001usize).prop_map(|(i, a, b)| Step::Slice(i, a, b)),
        1 => (any::<usize>(), 0..50usize).prop_map(|(i, n)| Step::Advance(i, n)),
        4 => any::<usize>().prop_map(Step::Drop),
        1 => any::<usize>().prop_map(Step::DropOnThread),
        1 => any::<usize>().prop_map(Step::ToBytes),
        1 => Just(Step::DropAll),
    ];
    prop::collection::vec(step, 0..120)
}

/// Chunks with what they must contain.
#[derive(Default)]
struct Model {
    chunks: Vec<(Chunk, Vec<u8>)>,
    bytes: Vec<(bytes::Bytes, Vec<u8>)>,
    reads: usize,
}

impl Model {
    /// Bytes unlike those of any read shortly before.
    fn text(&mut self, len: usize) -> Vec<u8> {
        self.reads += 1;
        let seed = self.reads;
        (0..len)
            .map(|i| (seed.wrapping_mul(167) + i * 13 + i / 256) as u8)
            .collect()
    }

    fn read<'a>(&mut self, pool: &'a Pool, len: usize) -> (ReadBuf<'a>, Vec<u8>) {
        let mut text = self.text(len);
        let read = pool.fill(&text);
        text.truncate(read.len());
        assert_eq!(*read, *text);
        for (chunk, _) in &self.chunks {
            assert_apart(&read, chunk);
        }
        for (bytes, _) in &self.bytes {
            assert_apart(&read, bytes);
        }
        (read, text)
    }

    fn keep(&mut self, read: &ReadBuf<'_>, text: &[u8], part: (usize, usize)) {
        let range = thousandths(part, text.len());
        match read.keep(range.clone()) {
            Ok(chunk) => self.chunks.push((chunk, text[range].to_vec())),
            Err(error) => assert_eq!(error, PoolError::Limit),
        }
    }

    fn nested(&mut self, pool: &Pool, lens: [usize; 3], keep: usize, reverse: bool) {
        let mut alive: Vec<(ReadBuf<'_>, Vec<u8>)> = Vec::new();
        for len in lens {
            let (read, text) = self.read(pool, len);
            for (other, _) in &alive {
                assert_apart(&read, other);
            }
            alive.push((read, text));
            let (read, text) = &alive[keep % alive.len()];
            self.keep(read, text, (keep % 700, keep % 700 + 200));
        }
        if reverse {
            alive.reverse();
        }
        while let Some((read, text)) = alive.pop() {
            assert_eq!(*read, *text);
        }
    }

    fn apply(&mut self, pool: &Pool, step: Step) {
        let count = self.chunks.len();
        match step {
            Step::Read { len, keeps } => {
                let (read, text) = self.read(pool, len);
                assert!(len == 0 || !read.is_empty(), "reading never waits");
                keeps
                    .into_iter()
                    .for_each(|part| self.keep(&read, &text, part));
                assert_eq!(*read, *text);
            }
            Step::Nested {
                lens,
                keep,
                reverse,
            } => self.nested(pool, lens, keep, reverse),
            Step::DropAll => self.chunks.clear(),
            _ if count == 0 => {}
            Step::Clone(i) => self.chunks.push(self.chunks[i % count].clone()),
            Step::Slice(i, a, b) => {
                let (chunk, text) = &self.chunks[i % count];
                let range = thousandths((a, b), text.len());
                let part = (chunk.slice(range.clone()), text[range].to_vec());
                self.chunks.push(part);
            }
            Step::Advance(i, n) => {
                let (chunk, text) = &mut self.chunks[i % count];
                chunk.advance(n);
                text.drain(..n.min(text.len()));
            }
            Step::Drop(i) => drop(self.chunks.swap_remove(i % count)),
            Step::DropOnThread(i) => {
                let (chunk, text) = self.chunks.swap_remove(i % count);
                std::thread::spawn(move || assert_eq!(*chunk, *text))
                    .join()
                    .unwrap();
            }
            Step::ToBytes(i) => {
                let (chunk, text) = self.chunks.swap_remove(i % count);
                self.bytes.push((chunk.into(), text));
            }
        }
        for (chunk, text) in &self.chunks {
            assert_eq!(**chunk, **text);
        }
        for (bytes, text) in &self.bytes {
            assert_eq!(**bytes, **text);
        }
    }
}

fn thousandths((a, b): (usize, usize), len: usize) -> Range<usize> {
    let (a, b) = (a.min(b) * len / 1000, a.max(b) * len / 1000);
    a..b.min(len)
}

fn assert_apart(a: &[u8], b: &[u8]) {
    let (a, b) = (a.as_ptr_range(), b.as_ptr_range());
    assert!(a.is_empty() || b.is_empty() || a.end <= b.start || b.end <= a.start);
}

fn check_limits(pool: &Pool, config: &PoolConfig) {
    let stats = pool.stats();
    assert!(stats.blocks_reserved <= config.blocks_max);
    assert!(stats.overflow_bytes <= config.overflow_bytes_max);
    assert_eq!(
        stats.blocks_reserved,
        stats.blocks_in_use + stats.blocks_free
    );
    assert!(stats.blocks_kept <= stats.blocks_in_use);
    assert!(pool.lend().1 >= config.block_bytes / 4);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: scaled(400) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_pool_keeps_its_promises(
        program in steps(),
        blocks_max in 1..7usize,
        chunk_blocks in 1..4usize,
        overflow_bytes_max in prop_oneof![Just(0usize), 0..8000usize],
        pool_first in any::<bool>(),
    ) {
        let config = PoolConfig {
            block_bytes: 1024,
            blocks_max,
            chunk_blocks,
            overflow_bytes_max,
            ..PoolConfig::default()
        };
        let pool = Pool::new(config.clone()).unwrap();
        let mut model = Model::default();
        for step in program {
            model.apply(&pool, step);
            check_limits(&pool, &config);
        }
        if pool_first {
            drop(pool);
            model.apply(&Pool::new(config).unwrap(), Step::Clone(0));
        } else {
            model.chunks.clear();
            model.bytes.clear();
            let stats = pool.stats();
            prop_assert_eq!((stats.blocks_kept, stats.overflow_bytes), (0, 0));
            // All that is in use is the loop's own: hot, spare, nook.
            prop_assert!(stats.blocks_in_use <= 3);
            prop_assert_eq!(pool.lend().1, 1024);
        }
    }
}

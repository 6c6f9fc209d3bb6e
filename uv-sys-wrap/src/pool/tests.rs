//! What the pool promises, one promise a test, and its threads for real.

use super::*;
use std::collections::VecDeque;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Smaller numbers under valgrind, which is some fifty times slower.
pub(super) fn scaled(count: usize) -> usize {
    match std::env::var_os("ROTOR_VALGRIND") {
        Some(on) if on == "1" => count.div_ceil(20),
        _ => count,
    }
}

const KIB: usize = 1024;

fn config(blocks_max: usize) -> PoolConfig {
    PoolConfig {
        block_bytes: 4 * KIB,
        blocks_max,
        chunk_blocks: 2,
        overflow_bytes_max: 64 * KIB,
        ..PoolConfig::default()
    }
}

fn pool(blocks_max: usize) -> Pool {
    Pool::new(config(blocks_max)).unwrap()
}

fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|i| (seed * 31 + i * 7 + i / 256) as u8)
        .collect()
}

#[test]
fn sizes() {
    assert_eq!(size_of::<Chunk>(), 24);
    assert_eq!(size_of::<Option<Chunk>>(), 24);
    assert_eq!(size_of::<ReadBuf<'_>>(), 32);
    assert_eq!(size_of::<Header>(), 64);
    assert!(size_of::<PoolError>() <= 24);
    fn crosses_threads<T: Send + Sync + 'static>() {}
    crosses_threads::<Chunk>();
    crosses_threads::<PoolError>();
}

#[test]
fn what_is_not_kept_is_read_over() {
    let pool = pool(1);
    let first = pool.fill(b"abc").as_ptr();
    let second = pool.fill(b"defg");
    assert_eq!((&*second, second.as_ptr()), (&b"defg"[..], first));
}

#[test]
fn libuv_writes_where_it_was_lent() {
    let pool = pool(1);
    for text in [&b"hello"[..], b"", b"again"] {
        let (at, room) = pool.lend();
        assert_eq!(room, 4 * KIB);
        // Lending again, as when a read found nothing, changes nothing.
        assert_eq!(pool.lend(), (at, room));
        // SAFETY: `room` bytes at `at` are lent to us, and just that many are reported as written.
        let read = unsafe {
            at.copy_from_nonoverlapping(text.as_ptr(), text.len());
            pool.filled(text.len())
        };
        assert_eq!(&*read, text);
    }
}

#[test]
fn keeping_in_place_does_not_copy_and_small_reads_share_a_block() {
    let pool = pool(4);
    let mut chunks = Vec::new();
    for i in 0..40 {
        let read = pool.fill(&pattern(i, 50));
        let chunk = read.keep(..).unwrap();
        assert_eq!(chunk.as_ptr(), read.as_ptr());
        chunks.push(chunk);
    }
    for (i, chunk) in chunks.iter().enumerate() {
        assert_eq!(**chunk, *pattern(i, 50));
    }
    let stats = pool.stats();
    assert_eq!((stats.blocks_in_use, stats.blocks_kept), (1, 1));
    assert_eq!(stats.keeps_shared, 40);
    drop(chunks);
    assert_eq!(pool.stats().blocks_kept, 0);
    assert_eq!(pool.lend().1, 4 * KIB);
}

#[test]
fn ten_bytes_at_the_end_of_a_large_read_do_not_hold_its_block() {
    let pool = pool(4);
    let mut tails = Vec::new();
    for i in 0..20 {
        let read = pool.fill(&pattern(i, 4 * KIB));
        assert_eq!(read.len(), 4 * KIB);
        tails.push(read.keep(4 * KIB - 10..).unwrap());
    }
    for (i, tail) in tails.iter().enumerate() {
        assert_eq!(**tail, pattern(i, 4 * KIB)[4 * KIB - 10..]);
    }
    let stats = pool.stats();
    // The hot block, and the one the tails share.
    assert_eq!((stats.blocks_in_use, stats.blocks_kept), (2, 1));
    assert_eq!(stats.keeps_copied, 20);
}

#[test]
fn whole_blocks_are_kept_in_place_until_none_is_left_then_copied_then_refused() {
    let pool = pool(4);
    let mut chunks = VecDeque::new();
    let error = loop {
        let read = pool.fill(&pattern(chunks.len(), 4 * KIB));
        assert!(read.len() >= KIB, "reading never waits for a block");
        match read.keep(..) {
            Ok(chunk) => chunks.push_back(chunk),
            Err(error) => break error,
        }
        assert!(chunks.len() < 100);
    };
    assert_eq!(error, PoolError::Limit);
    let stats = pool.stats();
    assert_eq!(
        (
            stats.blocks_reserved,
            stats.blocks_in_use,
            stats.blocks_free
        ),
        (4, 4, 0)
    );
    assert_eq!(stats.keeps_shared, 3);
    assert_eq!(stats.keeps_refused, 1);
    assert!(stats.overflow_bytes <= 64 * KIB);
    assert!(stats.keeps_overflowed >= 15);
    for (i, chunk) in chunks.iter().enumerate() {
        assert_eq!(**chunk, pattern(i, 4 * KIB)[..chunk.len()]);
    }
    // The first three are blocks: one that comes back is used again at once.
    let came_back = chunks.pop_front().unwrap().as_ptr();
    let read = pool.fill(&pattern(7, 4 * KIB));
    let kept = read.keep(..).unwrap();
    assert_eq!(kept.as_ptr(), read.as_ptr());
    drop(read);
    assert_eq!(pool.fill(b"x").as_ptr(), came_back);
    drop((chunks, kept));
    let stats = pool.stats();
    assert_eq!((stats.blocks_kept, stats.overflow_bytes), (0, 0));
    assert!(pool.fill(b"y").keep(..).is_ok());
}

#[test]
fn with_one_block_small_keeps_share_it_and_a_quarter_stays_for_reading() {
    let pool = pool(1);
    let chunks: Vec<_> = (0..100)
        .map(|i| pool.fill(&pattern(i, 100)).keep(..).unwrap())
        .collect();
    assert!(pool.lend().1 >= KIB);
    for (i, chunk) in chunks.iter().enumerate() {
        assert_eq!(**chunk, *pattern(i, 100));
    }
    let stats = pool.stats();
    assert_eq!((stats.keeps_shared, stats.keeps_overflowed), (24, 76));
}

#[test]
fn an_idle_nook_gives_its_block_to_reading() {
    let pool = pool(2);
    drop(pool.fill(&pattern(1, 4 * KIB)).keep(4000..4010).unwrap());
    assert_eq!(pool.stats().blocks_in_use, 2);
    let read = pool.fill(&pattern(2, 4 * KIB));
    let kept = read.keep(..).unwrap();
    assert_eq!(kept.as_ptr(), read.as_ptr());
}

#[test]
fn nested_reads_do_not_touch_each_other() {
    let pool = pool(3);
    let first = pool.fill(&pattern(1, 3 * KIB));
    let second = pool.fill(&pattern(2, KIB));
    let third = pool.fill(&pattern(3, 4 * KIB));
    let fourth = pool.fill(&pattern(4, 100));
    // The second and fourth found the block full and got another one; then there is none.
    let fifth = pool.fill(&pattern(5, 4 * KIB));
    let sixth = pool.fill(b"no room");
    assert_eq!(sixth.len(), 0);
    for (i, read) in [&first, &second, &third, &fourth, &fifth]
        .into_iter()
        .enumerate()
    {
        assert_eq!(**read, pattern(i + 1, 4 * KIB)[..read.len()]);
    }
    let from_retired = first.keep(10..).unwrap();
    assert_eq!(from_retired.as_ptr(), first[10..].as_ptr());
    drop((second, first, fourth, sixth, third, fifth));
    assert_eq!(*from_retired, pattern(1, 3 * KIB)[10..]);
    assert!(pool.retired.borrow().is_empty());
    assert_eq!(pool.stats().blocks_kept, 1);
    drop(from_retired);
    assert_eq!(pool.lend().1, 4 * KIB);
    assert_eq!(pool.stats().blocks_kept, 0);
}

#[test]
fn a_forgotten_read_costs_one_block_only() {
    let pool = pool(3);
    std::mem::forget(pool.fill(&pattern(1, 4 * KIB)));
    for i in 0..20 {
        let read = pool.fill(&pattern(i, 4 * KIB));
        assert_eq!(read.len(), 4 * KIB);
        assert_eq!(*read.keep(..).unwrap(), *pattern(i, 4 * KIB));
    }
    assert!(pool.stats().blocks_in_use <= 3);
}

#[test]
fn ranges_outside_are_errors_and_empty_ones_hold_nothing() {
    let pool = pool(1);
    let read = pool.fill(b"0123456789");
    #[expect(clippy::reversed_empty_ranges)]
    let reversed = read.keep(5..3);
    assert_eq!(reversed, Err(PoolError::OutOfRange));
    assert_eq!(read.keep(..11), Err(PoolError::OutOfRange));
    assert_eq!(read.keep(..=usize::MAX), Err(PoolError::OutOfRange));
    let empty = read.keep(10..).unwrap();
    assert!(empty.is_empty());
    assert_eq!(pool.stats().blocks_kept, 0);
    let mut chunk = read.keep(2..=8).unwrap();
    drop(read);
    assert_eq!(*chunk, *b"2345678");
    assert_eq!(*chunk.slice(1..3), *b"34");
    assert_eq!(chunk.try_slice(3..8), None);
    assert!(chunk.slice(7..).is_empty());
    chunk.advance(2);
    assert_eq!(*chunk.clone(), *b"45678");
    chunk.advance(100);
    assert_eq!(chunk, Chunk::default());
    assert!(std::panic::catch_unwind(|| chunk.slice(1..)).is_err());
}

#[test]
fn bytes_share_the_memory() {
    let pool = pool(1);
    let chunk = pool.fill(b"some bytes").keep(5..).unwrap();
    let at = chunk.as_ptr();
    let bytes = bytes::Bytes::from(chunk);
    assert_eq!((&bytes[..], bytes.as_ptr()), (&b"bytes"[..], at));
    assert_eq!(pool.stats().blocks_kept, 1);
    drop(bytes);
    assert_eq!(pool.stats().blocks_kept, 0);
}

#[test]
fn chunks_outlive_the_pool_and_end_on_another_thread() {
    let pool = pool(3);
    let chunks: Vec<_> = (0..8)
        .map(|i| pool.fill(&pattern(i, 3 * KIB + 500)).keep(i..).unwrap())
        .collect();
    assert!(pool.stats().keeps_overflowed > 0);
    drop(pool);
    let clones = chunks.clone();
    let thread = std::thread::spawn(move || {
        for (i, chunk) in clones.iter().enumerate() {
            assert_eq!(**chunk, pattern(i, 3 * KIB + 500)[i..i + chunk.len()]);
        }
    });
    drop(chunks);
    thread.join().unwrap();
}

#[test]
fn the_pool_grows_by_chunks_to_its_limit() {
    let pool = pool(5);
    assert_eq!(pool.stats().blocks_reserved, 2);
    let mut kept = Vec::new();
    for reserved in [2, 4, 4, 5] {
        kept.push(pool.fill(&pattern(0, 4 * KIB)).keep(..).unwrap());
        assert_eq!(pool.stats().blocks_reserved, reserved);
    }
    assert_eq!(pool.stats().keeps_overflowed, 0);
    kept.push(pool.fill(&pattern(0, 4 * KIB)).keep(..).unwrap());
    assert_eq!(pool.stats().keeps_overflowed, 1);
}

#[test]
fn impossible_configurations_are_named() {
    let refuse = |change: fn(&mut PoolConfig), field: &str| {
        let mut config = config(2);
        change(&mut config);
        let error = Pool::new(config).err().unwrap();
        assert!(error.to_string().contains(field), "{error}");
    };
    refuse(|c| c.block_bytes = 0, "block_bytes");
    refuse(|c| c.block_bytes = 4 * KIB + 1, "block_bytes");
    refuse(|c| c.block_bytes = 128, "block_bytes");
    refuse(|c| c.block_bytes = 2 << 30, "block_bytes");
    refuse(|c| c.blocks_max = 0, "blocks_max");
    refuse(|c| c.blocks_max = usize::MAX / 5000, "blocks_max");
    refuse(|c| c.chunk_blocks = 0, "chunk_blocks");
}

#[test]
fn more_than_the_address_space_has_is_a_map_error() {
    let huge = PoolConfig {
        block_bytes: 1 << 30,
        blocks_max: usize::MAX >> 33,
        chunk_blocks: usize::MAX,
        ..PoolConfig::default()
    };
    assert!(matches!(Pool::new(huge), Err(PoolError::Map(_))));
}

#[test]
fn huge_pages_are_used_or_the_refusal_is_counted() {
    let pool = Pool::new(PoolConfig {
        huge_pages: true,
        blocks_max: 64,
        ..PoolConfig::default()
    })
    .unwrap();
    let stats = pool.stats();
    assert_eq!(stats.huge_mappings + stats.huge_refused, 1);
    assert_eq!(pool.lend().0 as usize % (2 << 20), 0);
    let text = pattern(1, 64 * KIB);
    assert_eq!(*pool.fill(&text), *text);
}

#[test]
fn locked_memory_is_mapped_at_once() {
    let locked = PoolConfig {
        lock_memory: true,
        ..config(5)
    };
    match Pool::new(locked) {
        Ok(pool) => assert_eq!(pool.stats().blocks_reserved, 5),
        Err(error) => assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}"),
    }
}

/// The limits of this process are not ours to change, so a child does it.
#[test]
fn refused_locking_is_an_error_that_names_the_limit() {
    if !is_child() {
        let output = in_child("refused_locking_is_an_error_that_names_the_limit");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let none = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain system calls on this process; the struct outlives the call. Root may lock without limit, so
    // it becomes nobody.
    unsafe {
        assert_eq!(libc::setrlimit(libc::RLIMIT_MEMLOCK, &none), 0);
        if libc::geteuid() == 0 {
            assert_eq!(libc::seteuid(65534), 0);
        }
    }
    let locked = PoolConfig {
        lock_memory: true,
        ..config(2)
    };
    let error = Pool::new(locked).err().unwrap();
    assert!(matches!(error, PoolError::LockRefused(_)));
    assert!(error.to_string().contains("RLIMIT_MEMLOCK"), "{error}");
}

/// The count is the whole process's, so a child of its own looks at it.
#[test]
fn blocks_kept_to_the_end_are_counted_and_in_debug_builds_reported() {
    if !is_child() {
        let output = in_child("blocks_kept_to_the_end_are_counted_and_in_debug_builds_reported");
        assert!(output.status.success(), "{output:?}");
        let report =
            String::from_utf8_lossy(&output.stderr).contains("leaked: 1 buffer pool block");
        assert_eq!(report, cfg!(debug_assertions), "{output:?}");
        return;
    }
    let pool = pool(2);
    let leaked = pool.fill(&[1; 4 * KIB]).keep(..).unwrap();
    let dropped = pool.fill(&[2; 100]).keep(..).unwrap();
    assert_eq!(pool.stats().blocks_kept, 2);
    assert_eq!(blocks_orphaned(), 0);
    drop(pool);
    assert_eq!(blocks_orphaned(), 2);
    drop(dropped);
    assert_eq!(blocks_orphaned(), 1);
    std::mem::forget(leaked);
}

const CHILD: &str = "UV_SYS_WRAP_POOL_TEST_CHILD";

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// Runs one test of this module in a process of its own, for at most a minute.
fn in_child(test: &str) -> Output {
    let module = module_path!().split_once("::").map_or("", |(_, path)| path);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let give_up = Instant::now() + Duration::from_secs(60);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > give_up {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().unwrap()
}

#[test]
fn chunks_travel_to_threads_and_come_back() {
    const THREADS: usize = 3;
    let pool = Pool::new(PoolConfig {
        overflow_bytes_max: 16 * KIB,
        ..config(8)
    })
    .unwrap();
    let (senders, threads): (Vec<_>, Vec<_>) = (0..THREADS)
        .map(|_| {
            let (sender, receiver) = mpsc::sync_channel::<(usize, usize, Chunk)>(8);
            let thread = std::thread::spawn(move || {
                let mut held = VecDeque::new();
                while let Ok((seed, from, chunk)) = receiver.recv() {
                    held.push_back((seed, from, chunk.clone()));
                    if held.len() > 5
                        && let Some((seed, from, chunk)) = held.pop_front()
                    {
                        assert_eq!(*chunk, pattern(seed, from + chunk.len())[from..]);
                    }
                }
            });
            (sender, thread)
        })
        .unzip();
    let mut refused = 0;
    for i in 0..scaled(20_000) {
        let len = [30, 700, 4 * KIB, 2000, 1][i % 5];
        let read = pool.fill(&pattern(i, len));
        assert!(!read.is_empty());
        let from = [0, read.len() / 3, read.len() - 1][i % 3];
        match read.keep(from..) {
            Ok(chunk) => senders[i % THREADS].send((i, from, chunk)).unwrap(),
            Err(error) => {
                assert_eq!(error, PoolError::Limit);
                refused += 1;
            }
        }
    }
    drop(senders);
    for thread in threads {
        thread.join().unwrap();
    }
    let stats = pool.stats();
    assert_eq!(stats.keeps_refused, refused);
    assert_eq!((stats.blocks_kept, stats.overflow_bytes), (0, 0));
    assert!(stats.blocks_reserved <= 8);
}

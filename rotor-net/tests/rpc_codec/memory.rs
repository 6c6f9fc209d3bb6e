//! Memory: an allocator that counts what a thread holds, and frames that try to make a decoder hold more than its
//! budget.

use crate::rich::{Rich, Wide, Wrapped};
use crate::{encoded, varint};
use rotor_net::rpc::codec::{self, CodecError, Limits};
use serde::Deserialize;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::fmt::Debug;

/// Counts the bytes that each thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // A thread that is ending is not counted.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every method hands its arguments on to the system's allocator, which keeps the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while it copies.
        count(size as isize);
        count(-(layout.size() as isize));
        // SAFETY: the caller's.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes that this thread held meanwhile, beyond what it held before.
pub fn peak_of<T>(job: impl FnOnce() -> T) -> (usize, T) {
    let before = HELD.get();
    PEAK.set(before);
    let done = job();
    ((PEAK.get() - before) as usize, done)
}

#[test]
fn the_allocator_counts() {
    let (peak_bytes, vec) = peak_of(|| {
        drop(vec![0_u8; 1000]);
        vec![0_u8; 600]
    });
    assert_eq!((peak_bytes, vec.len()), (1000, 600));
}

const BUDGET: usize = 1 << 20;
const LIMITS: Limits = Limits {
    decoded_bytes_max: BUDGET,
    ..Limits::DEFAULT
};

/// Decodes what may be too large, and says how the memory compares with the budget.
fn bounded<T: for<'de> Deserialize<'de> + Debug>(bytes: &[u8], factor: f64) -> Option<CodecError> {
    let (peak_bytes, outcome) = peak_of(|| codec::decode::<T>(bytes, &LIMITS).err());
    let most = factor * BUDGET as f64 + (1 << 20) as f64;
    let type_name = std::any::type_name::<T>();
    assert!(
        peak_bytes as f64 <= most,
        "{type_name}: {peak_bytes} of {most} bytes"
    );
    outcome
}

const TOO_LARGE: Option<CodecError> = Some(CodecError::TooLarge {
    decoded_bytes_max: BUDGET,
});

/// A list of a million times the same element, of few bytes.
fn list_of(element: &[u8]) -> Vec<u8> {
    let count = (LIMITS.encoded_bytes_max - 5) / element.len();
    [varint(count as u64), element.repeat(count)].concat()
}

/// Lists within a list: each is paid for by itself, so the budget ends somewhere in the middle.
#[test]
fn a_value_grows_to_the_budget_and_no_further() {
    // Without collections around them the factor is near 1.
    assert_eq!(
        bounded::<Vec<Vec<u64>>>(&list_of(&[3, 1, 1, 1]), 1.0),
        TOO_LARGE
    );
    assert_eq!(bounded::<Vec<String>>(&list_of(&[1, b'x']), 1.0), TOO_LARGE);
    assert_eq!(bounded::<Vec<Rich>>(&list_of(&[0]), 1.0), TOO_LARGE);
    assert_eq!(
        bounded::<Vec<Vec<Wide>>>(&list_of(&[2, 0, 0]), 1.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<Wrapped>>(&list_of(&[1, 1, 1, 1, 0]), 1.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<Option<Box<u8>>>>(&list_of(&[1, 1]), 2.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<Box<Option<[u64; 32]>>>>(&list_of(&[0]), 1.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<VecDeque<u16>>>(&list_of(&[1, 1]), 1.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<BinaryHeap<u16>>>(&list_of(&[1, 1]), 1.0),
        TOO_LARGE
    );
    // Nodes for eleven, buckets for three.
    assert_eq!(
        bounded::<Vec<BTreeSet<Wide>>>(&list_of(&[1, 0]), 6.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<BTreeMap<u8, Wide>>>(&list_of(&[1, 0, 0]), 6.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<HashMap<u8, Wide>>>(&list_of(&[1, 0, 0]), 6.0),
        TOO_LARGE
    );
    assert_eq!(
        bounded::<Vec<HashMap<u8, u8>>>(&list_of(&[1, 0, 0]), 6.0),
        TOO_LARGE
    );
}

/// Each level claims as much as would fit. Were each to reserve that before it is charged, a hundred levels would hold
/// a hundred times the budget.
#[test]
fn claims_inside_claims_do_not_add_up() {
    #[derive(Debug, Deserialize)]
    struct Lists(#[expect(dead_code)] Vec<Lists>);
    #[derive(Debug, Deserialize)]
    struct Maps(#[expect(dead_code)] HashMap<u8, Maps>);
    let claim = varint(BUDGET as u64 / 100);
    let lists = [claim.repeat(100), vec![0; 200_000]].concat();
    assert_eq!(bounded::<Lists>(&lists, 1.0), TOO_LARGE);
    let entries = [&claim[..], &[0]].concat().repeat(100);
    assert_eq!(
        bounded::<Maps>(&[entries, vec![0; 200_000]].concat(), 1.0),
        TOO_LARGE
    );
}

#[test]
fn a_good_value_is_allocated_once() {
    let value = (0..10_000).collect::<Vec<u64>>();
    let bytes = encoded(&value).unwrap();
    let (peak_bytes, decoded) = peak_of(|| codec::decode::<Vec<u64>>(&bytes, &LIMITS));
    assert_eq!(decoded, Ok(value));
    assert_eq!(peak_bytes, 80_000);
}

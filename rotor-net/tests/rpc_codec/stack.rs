//! Stack: it is bounded whatever type nests, on a small thread and in a fiber, for decoding, encoding and dropping.

use crate::encoded;
use rotor_net::rpc::codec::{self, CodecError, Limits};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cell::Cell;
use std::thread;

/// Large levels.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fat {
    weight: [u64; 32],
    next: Option<Box<Fat>>,
}

/// Usual ones.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Expr {
    Number(i64),
    Negate(Box<Expr>),
    Call { name: String, arguments: Vec<Expr> },
}

fn fat(levels: usize) -> Option<Box<Fat>> {
    let wrap = |next, _| {
        Some(Box::new(Fat {
            weight: [1; 32],
            next,
        }))
    };
    (0..levels).fold(None, wrap)
}

fn calls(levels: usize) -> Expr {
    (0..levels).fold(Expr::Number(-1), |inner, _| Expr::Call {
        name: "f".into(),
        arguments: vec![inner],
    })
}

/// A hundred thousand levels, which is more than any stack here takes.
fn attacks() -> [Vec<u8>; 3] {
    let fat_level = [&[1][..], &[0; 32]].concat();
    [
        fat_level.repeat(30_000),
        vec![1; 100_000],
        [2, 1, b'f', 1].repeat(100_000),
    ]
}

fn ends_with_a_limit<T>(outcome: Result<T, CodecError>) {
    let Err(error) = outcome else {
        panic!("it has no end");
    };
    let of_nesting = matches!(
        error,
        CodecError::TooDeep { .. } | CodecError::StackUsed { .. }
    );
    assert!(of_nesting, "{error}");
}

/// (What is made here must be droppable here.) Decodes and encodes what is too deep, and what is as deep as goes, and drops it.
fn endure(limits: &Limits) {
    let [fats, negations, call] = attacks();
    ends_with_a_limit(codec::decode::<Option<Box<Fat>>>(&fats, limits));
    ends_with_a_limit(codec::decode::<Expr>(&negations, limits));
    ends_with_a_limit(codec::decode::<Expr>(&call, limits));
    ends_with_a_limit(codec::encode(&fat(200), limits, &mut vec![]));
    ends_with_a_limit(codec::encode(&calls(200), limits, &mut vec![]));
    let deepest = (1..1000).rev().find_map(|levels| {
        let bytes = [[2, 1, b'f', 1].repeat(levels), vec![0, 1]].concat();
        Some((levels, codec::decode::<Expr>(&bytes, limits).ok()?))
    });
    let (levels, value) = deepest.expect("some depth goes");
    println!("{levels} calls inside one another");
    drop(value);
}

#[test]
fn a_small_thread_is_enough() {
    let limits = Limits {
        encoded_bytes_max: 8 << 20,
        stack_bytes_max: 32 << 10,
        ..Limits::DEFAULT
    };
    thread::Builder::new()
        .stack_size(64 << 10)
        .spawn(move || endure(&limits))
        .unwrap()
        .join()
        .expect("it did not overflow");
}

/// The limits' stack is for a thread; a fiber's own counts by itself.
#[cfg(feature = "fiber")]
#[test]
fn a_fiber_is_enough_with_the_limits_of_a_thread() {
    use rotor_net::fiber;
    let limits = Limits {
        encoded_bytes_max: 8 << 20,
        ..Limits::DEFAULT
    };
    fiber::run((), "decoder", move |_| {
        endure(&limits);
        Ok(())
    })
    .unwrap();
}

#[test]
fn the_stack_that_is_used_stays_within_the_limit() {
    for stack_bytes_max in [4 << 10, 16 << 10, 64 << 10] {
        let limits = Limits {
            stack_bytes_max,
            depth_max: u16::MAX,
            ..Limits::DEFAULT
        };
        let here = position();
        let chain: Vec<u8> = vec![1; 100_000];
        DEEPEST.set(here);
        let refused = codec::decode::<Watched>(&chain, &limits);
        assert!(matches!(refused, Err(CodecError::StackUsed { .. })));
        let used = here - DEEPEST.get();
        // What the caller's frame and the last level take comes on top.
        assert!(
            used < stack_bytes_max + (4 << 10),
            "{used} of {stack_bytes_max} bytes"
        );
        assert!(
            used > stack_bytes_max / 2,
            "{used} of {stack_bytes_max} bytes"
        );
    }
}

/// So what was decoded on a stack can be dropped on it.
#[test]
fn dropping_takes_less_stack_than_decoding() {
    let bytes = [vec![1; 60], vec![0]].concat();
    let here = position();
    DEEPEST.set(here);
    let value = codec::decode::<Watched>(&bytes, &Limits::DEFAULT).expect("60 levels");
    let to_decode = here - DEEPEST.replace(here);
    codec::encode(&value, &Limits::DEFAULT, &mut vec![]).expect("60 levels");
    let to_encode = here - DEEPEST.replace(here);
    drop(value);
    let to_drop = here - DEEPEST.get();
    println!("stack: decode {to_decode}, encode {to_encode}, drop {to_drop}");
    assert!(
        to_drop > 60 * 16 && to_drop < to_decode,
        "{to_drop} of {to_decode}"
    );
}

thread_local! {
    /// The lowest position of the stack that was seen.
    static DEEPEST: Cell<usize> = const { Cell::new(0) };
}

#[inline(never)]
fn position() -> usize {
    let here = 0_u8;
    std::hint::black_box(&raw const here).addr()
}

fn look() {
    DEEPEST.set(DEEPEST.get().min(position()));
}

/// Notes how deep the stack is whenever something is done with it.
#[derive(Debug)]
struct Watched(Option<Box<Watched>>);

impl Serialize for Watched {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        look();
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        look();
        Option::deserialize(deserializer).map(Watched)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        look();
    }
}

#[test]
fn the_deepest_values_of_usual_types_travel_on_a_thread() {
    let value = calls(63);
    let bytes = encoded(&value).unwrap();
    assert_eq!(codec::decode(&bytes, &Limits::DEFAULT), Ok(value));
}

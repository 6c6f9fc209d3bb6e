//! Each limit holds exactly, on decoding and on encoding.

use crate::rich::{Blob, Rich, Wrapped};
use crate::samples::{any_rich, by_hand};
use crate::{decoded, encoded, varint};
use proptest::prelude::*;
use rotor_net::rpc::codec::{self, CodecError, Limits};
use serde::{Deserialize, Serialize};

const TOO_DEEP: CodecError = CodecError::TooDeep { depth_max: 128 };

const fn of_depth(depth_max: u16) -> Limits {
    Limits {
        depth_max,
        ..Limits::DEFAULT
    }
}

const fn of_memory(decoded_bytes_max: usize) -> Limits {
    Limits {
        decoded_bytes_max,
        ..Limits::DEFAULT
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Level {
    Bottom,
    Newtype(Box<Level>),
    Tuple(u8, Box<Level>),
    Struct { inner: Box<Level> },
    List(Vec<Level>),
    Maybe(Option<Box<Level>>),
}

#[test]
fn every_kind_of_nesting_is_bounded() {
    // What a level is on the wire, with the bytes of a hundred thousand of them.
    for level in [&[1][..], &[2, 7], &[3], &[4, 1], &[5, 1]] {
        let mut bytes = level.repeat(100_000);
        assert_eq!(decoded::<Level>(&bytes), Err(TOO_DEEP), "{level:?}");
        bytes.push(0);
        assert_eq!(decoded::<Level>(&bytes), Err(TOO_DEEP), "{level:?}");
    }
    assert_eq!(decoded::<Wrapped>(&[1; 100_000]), Err(TOO_DEEP));
    let somes = vec![1; 100_000];
    #[derive(Debug, PartialEq, Deserialize)]
    struct Pairs(Option<Box<(Pairs, u8)>>);
    assert_eq!(decoded::<Pairs>(&somes), Err(TOO_DEEP));
}

/// So many enums inside one another.
fn levels(count: usize) -> Level {
    (1..count).fold(Level::Bottom, |inner, _| Level::Newtype(Box::new(inner)))
}

#[test]
fn the_depth_is_exact_and_the_same_both_ways() {
    let deepest = encoded(&levels(128)).expect("128 levels");
    assert_eq!(decoded(&deepest), Ok(levels(128)));
    assert_eq!(encoded(&levels(129)), Err(TOO_DEEP));
    assert_eq!(
        decoded::<Level>(&[&[1], &deepest[..]].concat()),
        Err(TOO_DEEP)
    );
    // A limit of 0 leaves what has no parts.
    assert_eq!(codec::decode::<u8>(&[7], &of_depth(0)), Ok(7));
    let one = codec::decode::<Option<u8>>(&[0], &of_depth(0));
    assert_eq!(one, Err(CodecError::TooDeep { depth_max: 0 }));
}

proptest! {
    #[test]
    fn what_a_depth_lets_out_it_lets_in(value in any_rich(), depth_max in 0_u16..20) {
        let mut bytes = Vec::new();
        let out = codec::encode(&value, &of_depth(depth_max), &mut bytes);
        let whole = encoded(&value).unwrap();
        let back = codec::decode::<Rich>(&whole, &of_depth(depth_max));
        prop_assert_eq!(out.clone().err(), back.err());
        prop_assert_eq!(bytes, if out.is_ok() { whole } else { vec![] });
    }
}

#[test]
fn bytes_of_a_frame_are_bounded_both_ways() {
    for value in by_hand() {
        let bytes = encoded(&value).unwrap();
        let exact = Limits {
            encoded_bytes_max: bytes.len(),
            ..Limits::DEFAULT
        };
        let less = Limits {
            encoded_bytes_max: bytes.len() - 1,
            ..Limits::DEFAULT
        };
        let too_long = CodecError::TooLong {
            encoded_bytes_max: bytes.len() - 1,
        };
        let mut out = Vec::new();
        assert_eq!(
            codec::encode(&value, &less, &mut out),
            Err(too_long.clone())
        );
        assert!(out.is_empty());
        assert_eq!(codec::decode::<Rich>(&bytes, &less), Err(too_long));
        assert_eq!(codec::encode(&value, &exact, &mut out), Ok(()));
        assert_eq!(codec::decode(&out, &exact), Ok(value));
    }
}

/// The least budget with which the bytes can be decoded.
fn charge_of<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> usize {
    let fits = |limit: &usize| codec::decode::<T>(bytes, &of_memory(*limit)).is_ok();
    let (mut low, mut high) = (0, 1 << 20);
    assert!(fits(&high));
    while low < high {
        let middle = (low + high) / 2;
        match fits(&middle) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    low
}

#[test]
fn memory_is_charged_as_documented() {
    let vec = size_of::<Vec<u8>>();
    assert_eq!(charge_of::<u64>(&[7]), 0);
    assert_eq!(charge_of::<Vec<u64>>(&[3, 1, 2, 3]), vec + 3 * 8);
    assert_eq!(charge_of::<Vec<()>>(&[100]), vec + 100);
    assert_eq!(charge_of::<String>(b"\x05hello"), vec + 5);
    assert_eq!(charge_of::<Blob>(&[3, 1, 2, 3]), vec + 3);
    // The element's place, and the string by itself.
    assert_eq!(charge_of::<Vec<String>>(b"\x01\x02hi"), vec + vec + vec + 2);
    assert_eq!(charge_of::<(u64, u64)>(&[1, 1]), 16);
    assert_eq!(charge_of::<Option<Box<u64>>>(&[1, 9]), 8);
    let map = size_of::<std::collections::BTreeMap<u8, u32>>();
    assert_eq!(
        charge_of::<std::collections::BTreeMap<u8, u32>>(&[2, 1, 1, 2, 1]),
        map + 2 * size_of::<(u8, u32)>()
    );
    // Each level is charged its own size, though none but the first is in place.
    let chain = [1, 1, 1, 0];
    let (newtype, option) = (size_of::<Wrapped>(), 8);
    assert_eq!(charge_of::<Wrapped>(&chain), 4 * (newtype + option));
}

#[test]
fn elements_of_no_size_are_bounded_on_encoding_too() {
    let limits = of_memory(1000);
    assert_eq!(codec::encode(&[(); 1000][..], &limits, &mut vec![]), Ok(()));
    let refused = codec::encode(&[(); 1001][..], &limits, &mut vec![]);
    assert_eq!(
        refused,
        Err(CodecError::TooLarge {
            decoded_bytes_max: 1000
        })
    );
}

#[test]
fn limits_are_constants_and_messages_name_them() {
    const NARROW: Limits = Limits {
        depth_max: 3,
        stack_bytes_max: 0,
        decoded_bytes_max: 0,
        encoded_bytes_max: 5,
    };
    let says = |error: CodecError, text| assert_eq!(error.to_string(), text);
    says(
        codec::decode::<u8>(&[0; 6], &NARROW).unwrap_err(),
        "the encoded value is longer than 5 bytes",
    );
    says(
        codec::decode::<Option<u8>>(&[0], &NARROW).unwrap_err(),
        "the value takes more than 0 bytes of memory",
    );
    says(TOO_DEEP, "the value nests deeper than 128 levels");
    says(
        CodecError::StackUsed { stack_bytes_max: 7 },
        "the value's nesting takes more than 7 bytes of stack",
    );
    assert_eq!(Limits::default(), Limits::DEFAULT);
    // A length of zero is a length.
    assert_eq!(decoded::<Vec<()>>(&varint(0)), Ok(vec![]));
}

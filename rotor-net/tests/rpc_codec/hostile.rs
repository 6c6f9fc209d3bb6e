//! Bytes that are no value, each with the error that says so; and every small change of those that are one.

use crate::memory::peak_of;
use crate::rich::Rich;
use crate::samples::{any_rich, by_hand};
use crate::{decoded, encoded, varint};
use proptest::prelude::*;
use rotor_net::rpc::codec::{self, CodecError, Limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Debug;

/// Little enough that much more would be seen.
const TIGHT: Limits = Limits {
    decoded_bytes_max: 8 << 10,
    ..Limits::DEFAULT
};

/// Decodes; answers are all right, panics and too much memory are not. A value that comes out can go in again.
fn attempt(bytes: &[u8]) -> Result<Rich, CodecError> {
    let (peak_bytes, outcome) = peak_of(|| codec::decode::<Rich>(bytes, &TIGHT));
    // Before its first element is charged, a sequence may reserve as many as there are bytes left.
    let reserved = bytes.len() * size_of::<Rich>().max(128);
    let most = 6 * TIGHT.decoded_bytes_max + reserved;
    assert!(
        peak_bytes <= most,
        "{peak_bytes} of {most} bytes for {bytes:?}"
    );
    if let Ok(value) = &outcome {
        encoded(value).expect("what was decoded can be encoded");
    }
    outcome
}

#[test]
fn every_changed_byte_gives_a_value_or_an_error() {
    for value in by_hand() {
        let frame = encoded(&value).unwrap();
        let mut changed = frame.clone();
        for at in 0..frame.len() {
            for byte in 0..=u8::MAX {
                changed[at] = byte;
                let _ = attempt(&changed);
            }
            changed[at] = frame[at];
        }
    }
}

#[test]
fn every_truncated_or_extended_frame_is_refused() {
    for value in by_hand() {
        let mut frame = encoded(&value).unwrap();
        for len in 0..frame.len() {
            assert_eq!(attempt(&frame[..len]), Err(CodecError::Truncated));
        }
        for bytes in 1..=3 {
            frame.push(0);
            assert_eq!(attempt(&frame), Err(CodecError::Trailing { bytes }));
        }
    }
}

proptest! {
    #[test]
    fn any_frame_with_any_changes_gives_a_value_or_an_error(
        value in any_rich(),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut frame = encoded(&value).unwrap();
        for (at, byte) in changes {
            let at = at.index(frame.len());
            frame[at] = byte;
        }
        let _ = attempt(&frame);
    }

    #[test]
    fn any_bytes_give_a_value_or_an_error(
        kind in 0_u8..16,
        bytes in proptest::collection::vec(prop_oneof![3 => 0_u8..16, 1 => any::<u8>()], 0..300),
    ) {
        let _ = attempt(&[&[kind], &bytes[..]].concat());
    }
}

fn refused<'de, T: Deserialize<'de> + Debug>(bytes: &'de [u8]) -> CodecError {
    decoded::<T>(bytes).expect_err("it is no value")
}

#[test]
fn errors_say_what_is_wrong() {
    let says = |error: CodecError, text: &str| assert_eq!(error.to_string(), text);
    says(refused::<bool>(&[2]), "the bytes are not a bool (0 or 1)");
    says(
        refused::<Option<u8>>(&[2, 0]),
        "the bytes are not an option's tag (0 or 1)",
    );
    says(
        refused::<char>(&[2, b'a']),
        "the bytes end before the value does",
    );
    for bad_char in [&[0][..], &[5, 1, 1, 1, 1, 1], &[1, 0xff]] {
        says(
            refused::<char>(bad_char),
            "the bytes are not a char (its UTF-8, 1 to 4 bytes)",
        );
    }
    says(
        refused::<String>(&[2, 0xc3, 0x28]),
        "the bytes are not a string in UTF-8",
    );
    says(
        refused::<u16>(&[0xff, 0xff, 4]),
        "the bytes are not an integer of the size that was asked for",
    );
    says(
        refused::<Rich>(&[13]),
        "the enum `Rich` has no variant number 13",
    );
    says(
        refused::<Result<u8, u8>>(&varint(u32::MAX.into())),
        "the enum `Result` has no variant number 4294967295",
    );
    says(refused::<u8>(&[]), "the bytes end before the value does");
    says(
        refused::<u8>(&[1, 2, 3]),
        "bytes are left after the value: 2",
    );
    says(
        refused::<std::num::NonZeroU8>(&[0]),
        "invalid value: integer `0`, expected a nonzero u8",
    );
    says(
        refused::<serde::de::IgnoredAny>(&[0]),
        "the format does not have values that can be skipped",
    );
}

#[derive(Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
struct Nothing;

#[test]
fn a_claimed_length_takes_neither_memory_nor_time() {
    let claims = [10_u64.pow(18), u64::MAX, 1 << 40, (16 << 20) + 1];
    for len in claims {
        for padding in [0, 100] {
            let bytes = [varint(len), vec![0; padding]].concat();
            let mut errors = Vec::new();
            let (peak_bytes, ()) = peak_of(|| {
                errors.push(decoded::<Vec<()>>(&bytes).err());
                errors.push(decoded::<Vec<Nothing>>(&bytes).err());
                errors.push(decoded::<HashSet<Nothing>>(&bytes).err());
                errors.push(decoded::<Vec<u8>>(&bytes).err());
                errors.push(decoded::<Vec<[u64; 32]>>(&bytes).err());
                errors.push(decoded::<VecDeque<String>>(&bytes).err());
                errors.push(decoded::<HashMap<u64, u64>>(&bytes).err());
                errors.push(decoded::<BTreeMap<(), ()>>(&bytes).err());
            });
            let too_large = CodecError::TooLarge {
                decoded_bytes_max: 16 << 20,
            };
            assert_eq!(errors, vec![Some(too_large); 8], "{len}");
            assert!(peak_bytes < 64 << 10, "{peak_bytes} bytes for {len}");
            // Of strings the bytes would have to be there.
            assert_eq!(refused::<String>(&bytes), CodecError::Truncated);
            assert_eq!(refused::<&[u8]>(&bytes), CodecError::Truncated);
        }
    }
}

/// Takes no string, and says so with the string.
#[derive(Debug)]
struct Strict;

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <&str>::deserialize(deserializer)?;
        Err(serde::de::Error::custom(format_args!("no: {text:?}")))
    }
}

#[test]
fn a_peers_words_are_cut_short() {
    let short = refused::<Strict>(b"\x03abc");
    assert_eq!(short, CodecError::Custom("no: \"abc\"".into()));
    let bytes = encoded(&"é".repeat(100_000)).unwrap();
    let (peak_bytes, error) = peak_of(|| refused::<Strict>(&bytes));
    assert!(peak_bytes < 2000, "{peak_bytes} bytes");
    let CodecError::Custom(text) = error else {
        panic!("{error}");
    };
    assert_eq!(*text, format!("no: \"{}", "é".repeat(125)));
}

/// A visitor that takes one element of a sequence, however many there are.
#[derive(Debug)]
struct FirstOf;

impl<'de> Deserialize<'de> for FirstOf {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = FirstOf;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut seq: A,
            ) -> Result<FirstOf, A::Error> {
                seq.next_element::<u8>()?;
                Ok(FirstOf)
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}

#[test]
fn elements_that_nobody_takes_are_not_the_next_value() {
    assert!(decoded::<(FirstOf, u8)>(&[1, 7, 9]).is_ok());
    assert!(matches!(
        refused::<(FirstOf, u8)>(&[2, 7, 9]),
        CodecError::Invalid(_)
    ));
}

//! Values that are within the limits come back as they were, and their bytes are postcard's.

use crate::rich::{Blob, Rich};
use crate::samples::{any_rich, by_hand};
use crate::{decoded, encoded};
use proptest::prelude::*;
use rotor_net::rpc::codec::{self, CodecError, Limits};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

fn travels<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
    let bytes = encoded(&value).expect("it is within the limits");
    assert_eq!(
        bytes,
        postcard::to_stdvec(&value).expect("postcard takes it")
    );
    assert_eq!(decoded::<T>(&bytes).as_ref(), Ok(&value));
}

#[test]
fn values_of_every_kind_travel() {
    by_hand().into_iter().for_each(travels);
    travels(());
    travels((true, 'ß', "text".to_owned(), 0.1_f32, f64::MIN_POSITIVE));
    travels((i128::MIN, u128::MAX, i64::MIN, u64::MAX, usize::MAX));
    travels((i8::MIN, i16::MIN, i32::MIN, u8::MAX, u16::MAX, u32::MAX));
    travels(Some(Some(())));
    travels(Some(None::<()>));
    travels(vec![vec![1_u8], vec![]]);
    travels(HashMap::from([
        ("one".to_owned(), 1),
        ("two".to_owned(), 2),
    ]));
    travels(BTreeMap::from([((1, 2), [[0_u8; 4]; 4])]));
    travels(Blob(vec![7; 1000]));
    travels(Err::<(), _>(vec![Box::new(5)]));
    travels(std::time::Duration::from_millis(1500));
    travels("127.0.0.1:80".parse::<std::net::SocketAddr>().unwrap());
    travels(std::num::NonZeroU8::new(3));
    travels((1..=3, ..4));
}

proptest! {
    #[test]
    fn any_value_comes_back_and_its_bytes_are_postcards(value in any_rich()) {
        let bytes = encoded(&value).expect("it is within the limits");
        prop_assert_eq!(&bytes, &postcard::to_stdvec(&value).expect("postcard takes it"));
        prop_assert_eq!(decoded::<Rich>(&bytes), Ok(value));
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Expr {
    Number(i64),
    Sum(Box<Expr>, Box<Expr>),
}

/// A tree of so many numbers, as even as can be.
fn sum_of(numbers: i64) -> Expr {
    match numbers {
        1 => Expr::Number(numbers),
        n => Expr::Sum(Box::new(sum_of(n / 2)), Box::new(sum_of(n - n / 2))),
    }
}

#[test]
fn a_tree_of_a_thousand_nodes_travels() {
    travels(sum_of(500));
}

#[test]
fn a_wide_list_travels() {
    travels((0..100_000).collect::<Vec<u32>>());
    travels(vec![Expr::Number(-1); 100_000]);
}

#[test]
fn strings_and_bytes_can_be_borrowed() {
    let bytes = encoded(&("some text", Blob(vec![1, 2]))).unwrap();
    let (text, blob): (&str, &[u8]) = decoded(&bytes).unwrap();
    assert_eq!((text, blob), ("some text", &[1, 2][..]));
    assert!(bytes.as_ptr_range().contains(&text.as_ptr()));
}

#[test]
fn encoding_appends_and_an_error_takes_it_back() {
    let mut out = b"before".to_vec();
    codec::encode(&1_u8, &Limits::DEFAULT, &mut out).unwrap();
    assert_eq!(out, b"before\x01");
    let small = Limits {
        encoded_bytes_max: 4,
        ..Limits::DEFAULT
    };
    codec::encode(&[1_u8; 4], &small, &mut out).unwrap();
    let refused = codec::encode(&[2_u8; 5], &small, &mut out);
    assert_eq!(
        refused,
        Err(CodecError::TooLong {
            encoded_bytes_max: 4
        })
    );
    assert_eq!(out, b"before\x01\x01\x01\x01\x01");
}

/// Formatted as text when it is encoded.
struct Shown<T>(T);

impl<T: std::fmt::Display> Serialize for Shown<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

struct NotShown;

impl std::fmt::Display for NotShown {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Err(std::fmt::Error)
    }
}

#[test]
fn what_is_formatted_is_a_string() {
    assert_eq!(encoded(&Shown(1.5)), encoded("1.5"));
    assert!(matches!(
        encoded(&Shown(NotShown)),
        Err(CodecError::Custom(_))
    ));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind")]
enum Tagged {
    Number { value: u8 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Skips {
    #[serde(skip_serializing_if = "Option::is_none")]
    sometimes: Option<u8>,
    #[serde(skip)]
    always: u8,
    last: u8,
}

#[test]
fn what_the_format_does_not_have_is_refused() {
    let unsupported = |error| matches!(error, CodecError::Unsupported(_));
    assert!(decoded::<Untagged>(&[1]).is_err_and(unsupported));
    assert!(decoded::<Tagged>(&[1]).is_err_and(unsupported));
    assert!(decoded::<Flat>(&[1]).is_err_and(unsupported));
    assert!(decoded::<serde::de::IgnoredAny>(&[1]).is_err_and(unsupported));
    let flat = Flat {
        rest: BTreeMap::from([("a".into(), 1)]),
    };
    assert!(encoded(&flat).is_err_and(unsupported));
}

/// postcard alone would make bytes of this that are another value, or none.
#[test]
fn fields_may_be_skipped_always_but_not_sometimes() {
    let mut value = Skips {
        sometimes: None,
        always: 9,
        last: 7,
    };
    assert!(matches!(encoded(&value), Err(CodecError::Unsupported(_))));
    value.sometimes = Some(5);
    let bytes = encoded(&value).unwrap();
    assert_eq!(bytes, [1, 5, 7]);
    value.always = 0;
    assert_eq!(decoded(&bytes), Ok(value));
}

/// Says that it has `said` elements and gives `given`.
struct Miscounted {
    said: usize,
    given: usize,
}

impl Serialize for Miscounted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeSeq;
        let mut elements = serializer.serialize_seq(Some(self.said))?;
        for _ in 0..self.given {
            elements.serialize_element(&1_u8)?;
        }
        elements.end()
    }
}

#[test]
fn a_sequence_has_as_many_elements_as_it_said() {
    assert_eq!(
        encoded(&Miscounted { said: 2, given: 2 }).unwrap(),
        [2, 1, 1]
    );
    for given in [1, 3] {
        let refused = encoded(&Miscounted { said: 2, given });
        assert!(matches!(refused, Err(CodecError::Unsupported(_))));
    }
}

//! Digests of shapes: what counts, what does not, and that they stay as they are.

use rotor_net::rpc::codec::{self, Arena, Index, Limits};
use rotor_net::rpc::{NoItems, Shape, TypeInfo};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

fn digest<T: Shape>() -> u64 {
    TypeInfo::of::<T>().digest
}

/// A struct or an enum with all derives.
macro_rules! wire {
    ($($item:item)+) => { $(#[allow(dead_code)] #[derive(Debug, Serialize, Deserialize, Shape)] $item)+ };
}

wire! {
    struct Point { x: f64, y: f64 }
    struct Place { x: f64, y: f64 }
    struct Swapped { y: f64, x: f64 }
    struct Narrow { x: f32, y: f64 }
    struct Deeper { x: f64, y: f64, z: f64 }
    struct Unnamed(f64, f64);
    struct Renamed { #[serde(rename = "x")] left: f64, y: f64 }
    struct Skipping { x: f64, #[serde(skip)] cache: u32, y: f64 }
    struct Raw { r#type: u8 }
    struct RawRenamed { #[serde(rename = "type")] kind: u8 }
    struct Nothing;
    struct Name(String);
    struct Boxed { x: Box<f64>, y: f64 }
    #[serde(transparent)]
    struct Clear { name: String, #[serde(skip)] seen: bool }
    struct Page<T> { items: Vec<T>, more: bool }
    struct PageOfPoints { items: Vec<Point>, more: bool }
    struct Grid<const N: usize>(Vec<[u8; N]>) where [u8; N]: Serialize + serde::de::DeserializeOwned;
}

#[test]
fn structure_and_names_of_fields_count() {
    let point = digest::<Point>();
    assert_ne!(point, digest::<Swapped>());
    assert_ne!(point, digest::<Narrow>());
    assert_ne!(point, digest::<Deeper>());
    assert_ne!(point, digest::<Unnamed>());
    assert_ne!(point, digest::<(f64, f64)>());
    assert_ne!(point, digest::<Nothing>());
}

#[test]
fn names_of_types_and_what_serde_looks_through_do_not() {
    let point = digest::<Point>();
    assert_eq!(point, digest::<Place>());
    assert_eq!(point, digest::<Boxed>());
    assert_eq!(point, digest::<Box<Point>>());
    assert_eq!(point, digest::<Renamed>());
    assert_eq!(point, digest::<Skipping>());
    assert_eq!(digest::<Unnamed>(), digest::<(f64, f64)>());
    assert_eq!(digest::<Name>(), digest::<String>());
    assert_eq!(digest::<Clear>(), digest::<Box<str>>());
    assert_eq!(digest::<Raw>(), digest::<RawRenamed>());
    assert_eq!(digest::<Nothing>(), digest::<()>());
    assert_eq!(digest::<Page<Point>>(), digest::<PageOfPoints>());
    assert_ne!(digest::<Page<Point>>(), digest::<Page<Narrow>>());
    assert_ne!(digest::<Grid<2>>(), digest::<Grid<3>>());
}

wire! {
    enum Color { Red, Green }
    enum Order { Green, Red }
    enum More { Red, Green, Blue }
    enum Holding { Red(u8), Green }
    enum HoldingPair { Red(u8, u8), Green }
    enum HoldingFields { Red { a: u8 }, Green }
    enum HoldingElsewhere { Red, Green(u8) }
    enum HoldingNothing { Red(#[serde(skip)] u8), Green }
    enum Colour { #[serde(rename = "Red")] Rouge, #[serde(alias = "Vert")] Green }
    enum Outcome { Ok(u8), Err(String) }
}

#[test]
fn variants_count_with_name_order_and_content() {
    let all = [
        digest::<Color>(),
        digest::<Order>(),
        digest::<More>(),
        digest::<Holding>(),
        digest::<HoldingPair>(),
        digest::<HoldingFields>(),
        digest::<HoldingElsewhere>(),
        digest::<NoItems>(),
    ];
    assert_eq!(BTreeSet::from(all).len(), all.len());
    assert_eq!(digest::<Color>(), digest::<Colour>());
    assert_eq!(digest::<Color>(), digest::<HoldingNothing>());
    assert_eq!(digest::<Outcome>(), digest::<Result<u8, String>>());
}

wire! {
    enum Expr { Number(i64), Negate(Box<Expr>), Sum(Vec<Expr>) }
    // The same, one level at a time.
    enum Outer { Number(i64), Negate(Box<Inner>), Sum(Vec<Outer>) }
    enum Inner { Number(i64), Negate(Box<Expr>), Sum(Vec<Outer>) }
    // Another one, as far down as it may be.
    enum Other { Number(i64), Negate(Box<Expr>), Sum(Vec<Bottom>) }
    enum Bottom { Number(i64), Negate(Box<Other>), Sum(Vec<Short>) }
    enum Short { Number(i32), Negate(Box<Expr>), Sum(Vec<Expr>) }
    struct Node { name: String, next: Option<Index<Node>> }
    struct Numbered { name: String, next: Option<u32> }
}

#[test]
fn recursive_types_are_equal_however_their_recursion_is_written() {
    assert_eq!(digest::<Expr>(), digest::<Outer>());
    assert_eq!(digest::<Expr>(), digest::<Inner>());
    assert_ne!(digest::<Expr>(), digest::<Other>());
    assert_ne!(digest::<Expr>(), digest::<Bottom>());
    assert_ne!(digest::<Arena<Node>>(), digest::<Vec<Node>>());
    assert_ne!(digest::<Node>(), digest::<Numbered>());
}

#[test]
fn what_travels_alike_is_alike() {
    assert_eq!(digest::<Vec<u8>>(), digest::<bytes::Bytes>());
    assert_eq!(digest::<Vec<u16>>(), digest::<VecDeque<u16>>());
    assert_eq!(
        digest::<HashMap<String, u8>>(),
        digest::<BTreeMap<Name, u8>>()
    );
    assert_eq!(digest::<usize>(), digest::<u64>());
    assert_eq!(digest::<[u8; 2]>(), digest::<(u8, u8)>());
    let all = [
        digest::<Vec<u8>>(),
        digest::<String>(),
        digest::<Vec<char>>(),
        digest::<Option<u8>>(),
        digest::<(u8,)>(),
        digest::<u8>(),
        digest::<i8>(),
        digest::<bool>(),
        digest::<()>(),
        digest::<OsString>(),
        digest::<IpAddr>(),
        digest::<SocketAddr>(),
        digest::<HashMap<u8, u16>>(),
        digest::<HashMap<u16, u8>>(),
    ];
    assert_eq!(BTreeSet::from(all).len(), all.len());
}

#[derive(Serialize, Deserialize, Shape)]
#[serde(from = "(f64, f64)", into = "(f64, f64)")]
#[derive(Clone)]
struct ViaTuple {
    x: f64,
    y: f64,
}

impl From<(f64, f64)> for ViaTuple {
    fn from((x, y): (f64, f64)) -> Self {
        Self { x, y }
    }
}

impl From<ViaTuple> for (f64, f64) {
    fn from(via: ViaTuple) -> Self {
        (via.x, via.y)
    }
}

#[derive(Serialize, Shape)]
struct InHex {
    #[serde(serialize_with = "hex")]
    #[shape(as = String)]
    number: u32,
}

#[derive(Serialize, Shape)]
struct Text {
    number: String,
}

fn hex<S: Serializer>(number: &u32, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&format_args!("{number:x}"))
}

#[test]
fn what_travels_instead_counts() {
    assert_eq!(digest::<ViaTuple>(), digest::<(f64, f64)>());
    assert_eq!(digest::<InHex>(), digest::<Text>());
    let encoded = |value: &dyn Fn(&mut Vec<u8>) -> Result<(), codec::CodecError>| {
        let mut bytes = Vec::new();
        value(&mut bytes).map(|()| bytes)
    };
    let text = Text {
        number: "ff".into(),
    };
    assert_eq!(
        encoded(&|out| codec::encode(&InHex { number: 255 }, &Limits::DEFAULT, out)),
        encoded(&|out| codec::encode(&text, &Limits::DEFAULT, out)),
    );
}

wire! {
    struct WrittenDuration { secs: u64, nanos: u32 }
    struct WrittenTime { secs_since_epoch: u64, nanos_since_epoch: u32 }
    enum WrittenName { Unix(Vec<u8>), Windows(Vec<u16>) }
    enum WrittenIp { V4((u8, u8, u8, u8)), V6([u8; 16]) }
    enum WrittenSocket { V4(([u8; 4], u16)), V6(([u8; 16], u16)) }
}

/// Both types have the same shape, and these two values the same bytes.
fn assert_alike<A: Shape + Serialize, B: Shape + Serialize>(a: &A, b: &B) {
    let (mut as_a, mut as_b) = (Vec::new(), Vec::new());
    codec::encode(a, &Limits::DEFAULT, &mut as_a).unwrap();
    codec::encode(b, &Limits::DEFAULT, &mut as_b).unwrap();
    let name = std::any::type_name::<A>();
    assert_eq!(as_a, as_b, "{name}");
    assert_eq!(digest::<A>(), digest::<B>(), "{name}");
}

/// Shapes of types of the standard library are written by hand, so each is compared with one that is derived.
#[test]
fn types_of_others_travel_as_their_shapes_say() {
    let duration = WrittenDuration {
        secs: 300,
        nanos: 7,
    };
    assert_alike(&Duration::new(300, 7), &duration);
    let time = WrittenTime {
        secs_since_epoch: 300,
        nanos_since_epoch: 7,
    };
    assert_alike(&(SystemTime::UNIX_EPOCH + Duration::new(300, 7)), &time);
    assert_alike(
        &OsString::from("a\u{e9}"),
        &WrittenName::Unix("a\u{e9}".into()),
    );
    assert_alike(&PathBuf::from("a"), &"a".to_owned());
    let v4 = [127, 0, 0, 1];
    assert_alike(&IpAddr::from(v4), &WrittenIp::V4((127, 0, 0, 1)));
    assert_alike(&IpAddr::from([3; 16]), &WrittenIp::V6([3; 16]));
    assert_alike(&SocketAddr::from((v4, 80)), &WrittenSocket::V4((v4, 80)));
    assert_alike(
        &SocketAddr::from(([3; 16], 80)),
        &WrittenSocket::V6(([3; 16], 80)),
    );
    assert_alike(&Ok::<u8, String>(3), &Outcome::Ok(3));
    assert_alike(&Err::<u8, String>("no".into()), &Outcome::Err("no".into()));
    assert_alike(&bytes::Bytes::from_static(b"abc"), &b"abc".to_vec());
    assert_alike(&bytes::BytesMut::from(&b"abc"[..]), &b"abc".to_vec());
    assert_alike(&std::num::NonZeroI32::MIN, &i32::MIN);
    assert_alike(&usize::MAX, &u64::MAX);
    assert_alike(&isize::MIN, &i64::MIN);
    assert_alike(&std::marker::PhantomData::<u8>, &());
    assert_alike(&std::borrow::Cow::Borrowed("a"), &"a".to_owned());
    assert_alike(&Box::<[u8]>::from([1, 2]), &VecDeque::from([1_u8, 2]));
    assert_alike(&BTreeSet::from([1, 2]), &vec![1, 2]);
    assert_alike(&BTreeMap::from([(1, 'a')]), &HashMap::from([(1, 'a')]));
    assert_alike(&Name("a".into()), &"a".to_owned());
}

/// Programs of all ages compare digests. If this fails, calls between old and new programs have become unavailable.
#[test]
fn digests_never_change() {
    let digests = [
        (digest::<()>(), 0x8afc_602f_9508_d0e0),
        (digest::<String>(), 0x017a_0291_0c42_aa6a),
        (digest::<Point>(), 0x62ff_6332_35c7_291f),
        (digest::<Color>(), 0xa17d_a4cc_0b22_2bb1),
        (digest::<Result<Vec<u8>, String>>(), 0x7e87_bcfc_a965_85e6),
        (digest::<Expr>(), 0xd3b6_f52d_955a_459a),
        (digest::<Arena<Node>>(), 0x10e2_58ee_36c0_5bff),
        (digest::<(Duration, SystemTime)>(), 0xfe53_13d2_0be0_f6aa),
        (digest::<(PathBuf, OsString)>(), 0xe704_7809_f81f_67f0),
        (digest::<(IpAddr, SocketAddr)>(), 0xff87_572f_801e_e829),
        (digest::<BTreeMap<char, [i128; 3]>>(), 0xc7bd_4eb0_58de_3ed7),
    ];
    for (at, (digest, expected)) in digests.into_iter().enumerate() {
        assert_eq!(digest, expected, "the {at}th: {digest:016x}");
    }
}

/// Each kind of thing under its own name on the wire.
#[test]
fn kinds_are_told_apart() {
    let all = [
        digest::<bool>(),
        digest::<char>(),
        digest::<String>(),
        digest::<i8>(),
        digest::<i16>(),
        digest::<i32>(),
        digest::<i64>(),
        digest::<i128>(),
        digest::<u8>(),
        digest::<u16>(),
        digest::<u32>(),
        digest::<u64>(),
        digest::<u128>(),
        digest::<f32>(),
        digest::<f64>(),
        digest::<()>(),
    ];
    assert_eq!(BTreeSet::from(all).len(), all.len());
    assert!(!all.contains(&0));
}

use rotor_net::rpc::Shape;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Shape)]
struct SkippedOneWay {
    #[serde(skip_serializing)]
    a: u8,
}

#[derive(Serialize, Shape)]
struct SkippedAtTimes {
    #[serde(skip_serializing_if = "Option::is_none")]
    a: Option<u8>,
}

#[derive(Serialize, Shape)]
struct ByCode {
    #[serde(serialize_with = "code")]
    a: u8,
}

fn code<S: serde::Serializer>(_: &u8, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_unit()
}

#[derive(Serialize, Shape)]
#[serde(tag = "kind")]
enum Tagged {
    A { a: u8 },
}

#[derive(Serialize, Shape)]
#[serde(untagged)]
enum Untagged {
    A { a: u8 },
}

#[derive(Serialize, Shape)]
struct Flat {
    #[serde(flatten)]
    a: Box<Flat>,
}

#[derive(Clone, Serialize, Shape)]
#[serde(into = "u8")]
struct HalfWay(u8);

impl From<HalfWay> for u8 {
    fn from(half: HalfWay) -> u8 {
        half.0
    }
}

#[derive(Serialize, Deserialize, Shape)]
enum SkippedVariant {
    #[serde(skip)]
    A,
    B,
}

#[derive(Serialize, Deserialize, Shape)]
struct TwoNames {
    #[serde(rename(serialize = "b", deserialize = "c"))]
    a: u8,
}

#[derive(Serialize, Shape)]
struct Borrowing<'a> {
    a: &'a str,
}

#[derive(Shape)]
union Either {
    a: u8,
    b: i8,
}

#[derive(Shape)]
struct Odd {
    #[shape(like = u8)]
    a: u8,
}

fn main() {}

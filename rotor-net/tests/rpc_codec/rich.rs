//! `Rich`: a recursive type with some of everything that serde knows. The fuzz target decodes it too.

use rotor_net::rpc::codec::{Arena, Index};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Rich {
    Unit,
    Scalars(Box<Scalars>),
    Text(String),
    Blob(Blob),
    List(Vec<Rich>),
    Pair(Box<Rich>, Box<Rich>),
    Named {
        left: Option<Box<Rich>>,
        tags: BTreeMap<String, u32>,
        right: Option<Box<Rich>>,
    },
    Wrapped(Wrapped),
    Zeroes(Vec<()>),
    Table(BTreeMap<u8, Rich>),
    Set(BTreeSet<Wide>),
    Queue(VecDeque<Option<Option<bool>>>),
    Graph(Arena<Node>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scalars {
    pub small: (bool, u8, i8),
    pub middle: (u16, i16, u32, i32),
    pub large: (u64, i64, u128, i128, usize),
    pub floats: (f32, f64),
    pub letter: char,
    pub fixed: [u16; 3],
    pub nothing: ((), Nothing),
    pub answer: Result<u8, String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Nothing;

/// A chain of newtypes and boxes, of one pointer a level.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wrapped(pub Option<Box<Wrapped>>);

/// A byte on the wire may take 128 in memory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wide {
    Thin,
    Thick([u64; 15]),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    pub name: String,
    pub edges: Vec<Index<Node>>,
}

/// Bytes as serde's `bytes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Blob(pub Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
        }

        deserializer.deserialize_byte_buf(Visitor)
    }
}

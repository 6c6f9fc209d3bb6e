//! The guarded codec: values of serde's types as bytes and back, within limits.
//!
//! The bytes are those of [postcard](https://postcard.jamesmunns.com/wire-format), so other programs can read and
//! write them. What postcard leaves to luck is decided here. A frame of nothing but `Option`'s ones would run its
//! reader off the stack; ten bytes that say "a `Vec<()>` of 10^18" would keep it busy for years. Here such a frame
//! is a [`CodecError`] that says which limit it broke, before the memory is taken or the stack is used.
//!
//! ```
//! use rotor_net::rpc::codec::{self, CodecError, Limits};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Debug, PartialEq, Serialize, Deserialize)]
//! enum Expr {
//!     Number(i64),
//!     Negate(Box<Expr>),
//!     Sum(Vec<Expr>),
//! }
//!
//! let limits = Limits::default();
//! let expr = Expr::Sum(vec![Expr::Number(7), Expr::Negate(Box::new(Expr::Number(-3)))]);
//! let mut bytes = Vec::new();
//! codec::encode(&expr, &limits, &mut bytes)?;
//! assert_eq!(bytes, [2, 2, 0, 14, 1, 0, 5]);
//! assert_eq!(codec::decode::<Expr>(&bytes, &limits)?, expr);
//!
//! let negations = vec![1; 100_000];
//! let refused = codec::decode::<Expr>(&negations, &limits);
//! assert_eq!(refused, Err(CodecError::TooDeep { depth_max: 128 }));
//! # Ok::<(), CodecError>(())
//! ```
//!
//! # What is bounded
//!
//! - **Depth**: structs, tuples, enums, options, newtypes, sequences and maps inside one another, by
//!   [`depth_max`](Limits::depth_max).
//! - **Stack**: how much of it a level takes depends on the type, so it is measured as well, and bounded by
//!   [`stack_bytes_max`](Limits::stack_bytes_max) and by what a fiber has left: its stack is never overrun. What was
//!   decoded can be dropped on the same stack, since dropping takes less of it a level than decoding.
//! - **Memory** of a decoded value, by [`decoded_bytes_max`](Limits::decoded_bytes_max), which says what is charged.
//!   It is charged before it is allocated, and a claimed length reserves no more than the bytes that are there could
//!   make true.
//! - **Bytes** of a frame, by [`encoded_bytes_max`](Limits::encoded_bytes_max). All of them belong to the value:
//!   trailing bytes are refused.
//! - **Time** follows: every step consumes input or is charged.
//!
//! The same limits hold on encoding, so that a program hears from its own codec, not from its peer's, that a value
//! cannot travel. But for one: how much memory a value takes when it is decoded is not known before. Only how many
//! elements it has counts, so one of more than [`decoded_bytes_max`](Limits::decoded_bytes_max) may be refused by the
//! peer alone, which fails its call.
//!
//! # What cannot be encoded
//!
//! The format does not describe itself. What asks for that fails with [`CodecError::Unsupported`]: `#[serde(untagged)]`,
//! `#[serde(tag = …)]`, `#[serde(flatten)]`, `#[serde(skip_serializing_if = …)]`, sequences that do not know their
//! length. (`#[serde(skip)]` works.)
//!
//! # Shared structure
//!
//! A `Box` is a tree, and a long chain of them is refused for its depth. Graphs, and trees of any depth, travel as an
//! [`Arena`]: nodes in a row that refer to each other by checked [`Index`]es. Decoding one does not recurse.
//!
//! # How it is made
//!
//! ```text
//! decode → Decoder (structure: depth, stack, memory) → postcard (one scalar, string or length at a time) → bytes
//! encode → Encoder (structure: depth, stack)         → postcard (the same)                               → Output → bytes
//! ```
//!
//! Recursion never passes through postcard: `decoder` and `encoder` drive the nesting of a value and ask `budget` at
//! every level.

mod arena;
mod budget;
mod decoder;
mod encoder;
mod error;
mod limits;

pub use arena::{Arena, Index};
pub use error::CodecError;
pub use limits::Limits;

use budget::Budget;
use decoder::Decoder;
use encoder::Encoder;
use error::Fault;
use serde::{Deserialize, Serialize};

/// Appends the bytes of a value to `out`. On an error `out` is as it was before, but for its capacity.
///
/// # Errors
/// If the value is over a limit, is of a kind that the format does not have, or its `Serialize` fails.
pub fn encode<T: Serialize + ?Sized>(
    value: &T,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let len_before = out.len();
    let encoded = value.serialize(&mut Encoder::new(out, limits));
    encoded.map_err(|fault| {
        out.truncate(len_before);
        fault.into_error()
    })
}

/// Makes a value of bytes, all of which belong to it. It may borrow strings and byte slices from them.
///
/// # Errors
/// If the bytes are not those of a `T`, or are over a limit.
pub fn decode<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    limits: &Limits,
) -> Result<T, CodecError> {
    if bytes.len() > limits.encoded_bytes_max {
        return Err(CodecError::TooLong {
            encoded_bytes_max: limits.encoded_bytes_max,
        });
    }
    let mut decoder = Decoder::new(bytes, Budget::new(limits));
    let value = T::deserialize(&mut decoder).map_err(Fault::into_error)?;
    decoder.finish()?;
    Ok(value)
}

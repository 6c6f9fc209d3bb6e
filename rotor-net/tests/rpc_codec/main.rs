//! The guarded codec: values come back as they were, and whatever bytes are decoded give a value or a named error,
//! within the limits of stack and memory.
#![cfg(feature = "rpc")]

mod arena;
mod corpus;
mod hostile;
mod limits;
mod memory;
mod rich;
mod samples;
mod stack;
mod values;

use rotor_net::rpc::codec::{self, CodecError, Limits};
use serde::{Deserialize, Serialize};

/// Encodes within the default limits.
fn encoded<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    codec::encode(value, &Limits::DEFAULT, &mut out)?;
    Ok(out)
}

/// Decodes within the default limits.
fn decoded<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CodecError> {
    codec::decode(bytes, &Limits::DEFAULT)
}

/// The bytes of a length or an unsigned number.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

//! `Encoder`: drives the structure of a value that is encoded, within the limits.
//!
//! As in `decoder`, every level of nesting is entered here, and what has no parts is written as postcard writes it: by
//! postcard, but for integers and strings, which nearly all values are made of.

use super::budget::Budget;
use super::error::Fault;
use super::{CodecError, Limits};
use serde::ser::{self, Serialize};
use std::fmt::{Display, Write};

/// Writes one value.
pub(super) struct Encoder<'a> {
    wire: postcard::Serializer<Output<'a>>,
    budget: Budget<'a>,
    encoded_bytes_max: usize,
}

impl<'a> Encoder<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a mut Vec<u8>, limits: &'a Limits) -> Self {
        let len_max = bytes.len().saturating_add(limits.encoded_bytes_max);
        Self {
            wire: postcard::Serializer {
                output: Output { bytes, len_max },
            },
            budget: Budget::new(limits),
            encoded_bytes_max: limits.encoded_bytes_max,
        }
    }

    /// Writes what has no parts. Only the output's limit can refuse that.
    #[inline]
    fn scalar<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        match value.serialize(&mut self.wire) {
            Ok(()) => Ok(()),
            Err(_) => Err(self.too_long()),
        }
    }

    /// Writes an integer as postcard does: seven bits a byte, the lowest first. Ours, since through postcard's output the
    /// ten bytes at most would be copied as a slice of any length.
    #[inline]
    fn varint(&mut self, value: u64) -> Result<(), Fault> {
        let Output {
            bytes: out,
            len_max,
        } = &mut self.wire.output;
        // Numbers of variants, and most lengths.
        if value < 1 << 7 && out.len() < *len_max {
            out.push(value as u8);
            return Ok(());
        }
        let (bytes, len) = varint(value);
        let len_after = out.len() + len;
        if len_after > *len_max {
            return Err(self.too_long());
        }
        out.extend_from_slice(&bytes);
        out.truncate(len_after);
        Ok(())
    }

    /// The same with the sign in the lowest bit.
    #[inline]
    fn zigzag(&mut self, value: i64) -> Result<(), Fault> {
        self.varint(((value << 1) ^ (value >> 63)) as u64)
    }

    #[cold]
    #[inline(never)]
    fn too_long(&self) -> Fault {
        CodecError::TooLong {
            encoded_bytes_max: self.encoded_bytes_max,
        }
        .into()
    }

    /// Writes a string or bytes, and how many.
    #[inline]
    fn counted_bytes(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.varint(bytes.len() as u64)?;
        let Output {
            bytes: out,
            len_max,
        } = &mut self.wire.output;
        if bytes.len() > *len_max - out.len() {
            return Err(self.too_long());
        }
        out.extend_from_slice(bytes);
        Ok(())
    }

    /// Writes the number of what has no parts but could have had: it counts as a level, as it will when decoded.
    #[inline]
    fn leaf(&mut self, number: u32) -> Result<(), Fault> {
        self.budget.enter()?;
        self.budget.leave();
        self.varint(number.into())
    }

    /// Writes the one part of what has one, a level down.
    #[inline]
    fn nested<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), Fault> {
        self.budget.enter()?;
        part.serialize(&mut *self)?;
        self.budget.leave();
        Ok(())
    }

    /// Begins what has so many parts, which are a level down.
    #[inline]
    fn parts(&mut self, left: usize) -> Result<Parts<'_, 'a>, Fault> {
        self.budget.enter()?;
        Ok(Parts {
            encoder: self,
            left,
        })
    }

    /// Begins a sequence or map, which says on the wire how many parts it has. Those that take no bytes are
    /// charged, as they will be when decoded.
    #[inline]
    fn counted(&mut self, len: Option<usize>) -> Result<Parts<'_, 'a>, Fault> {
        let len = len.ok_or(CodecError::Unsupported(
            "sequences and maps that do not know their length",
        ))?;
        self.budget.charge_each(len, 1)?;
        self.varint(len as u64)?;
        self.parts(len)
    }
}

/// The bytes of an integer, of which so many count.
#[inline]
fn varint(value: u64) -> ([u8; 10], usize) {
    // Two halves of 28 bits move apart, then in each of them two of 14, then of 7: each in a byte of its own.
    let word = value & 0x0FFF_FFFF | (value & 0x00FF_FFFF_F000_0000) << 4;
    let word = word & 0x0000_3FFF_0000_3FFF | (word & 0x0FFF_C000_0FFF_C000) << 2;
    let word = word & 0x007F_007F_007F_007F | (word & 0x3F80_3F80_3F80_3F80) << 1;
    // All but the last byte say that more follow.
    const MORE: u64 = 0x8080_8080_8080_8080;
    let mut bytes = [0; 10];
    let rest = (value >> 56) as u8;
    if rest == 0 {
        let len = (63 - (value | 1).leading_zeros()) / 7;
        let more = MORE & ((1 << (8 * len)) - 1);
        bytes[..8].copy_from_slice(&(word | more).to_le_bytes());
        return (bytes, len as usize + 1);
    }
    bytes[..8].copy_from_slice(&(word | MORE).to_le_bytes());
    bytes[8] = rest;
    bytes[9] = 1;
    (bytes, 9 + usize::from(rest >> 7))
}

macro_rules! scalars {
    ($($method:ident: $type:ty,)*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Fault> {
                self.scalar(&value)
            }
        )*
    };
    ($how:ident: $($method:ident: $type:ty,)*) => {
        $(
            #[inline]
            fn $method(self, value: $type) -> Result<(), Fault> {
                self.$how(value.into())
            }
        )*
    };
}

impl<'e, 'a> ser::Serializer for &'e mut Encoder<'a> {
    type Ok = ();
    type Error = Fault;
    type SerializeSeq = Parts<'e, 'a>;
    type SerializeTuple = Parts<'e, 'a>;
    type SerializeTupleStruct = Parts<'e, 'a>;
    type SerializeTupleVariant = Parts<'e, 'a>;
    type SerializeMap = Parts<'e, 'a>;
    type SerializeStruct = Parts<'e, 'a>;
    type SerializeStructVariant = Parts<'e, 'a>;

    scalars! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
    }

    scalars! {
        varint:
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
    }

    scalars! {
        zigzag:
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
    }

    #[inline]
    fn serialize_str(self, value: &str) -> Result<(), Fault> {
        self.counted_bytes(value.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Fault> {
        self.counted_bytes(bytes)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Fault> {
        let mut text = String::new();
        write!(text, "{value}")
            .map_err(|_| <Fault as ser::Error>::custom("a value could not be formatted as text"))?;
        self.serialize_str(&text)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Fault> {
        self.leaf(0)
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Fault> {
        self.scalar(&1_u8)?;
        self.nested(value)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
    ) -> Result<(), Fault> {
        self.leaf(index)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.nested(value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Fault> {
        self.varint(index.into())?;
        self.nested(value)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'e, 'a>, Fault> {
        self.counted(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'e, 'a>, Fault> {
        self.counted(len)
    }

    #[inline]
    fn serialize_tuple(self, len: usize) -> Result<Parts<'e, 'a>, Fault> {
        self.parts(len)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Parts<'e, 'a>, Fault> {
        self.parts(len)
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Parts<'e, 'a>, Fault> {
        self.parts(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Parts<'e, 'a>, Fault> {
        self.varint(index.into())?;
        self.parts(len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Parts<'e, 'a>, Fault> {
        self.varint(index.into())?;
        self.parts(len)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The parts of a struct, tuple, variant, sequence or map that are still to come. Their number is on the wire or in
/// the type, so a value that gives more or fewer could not be decoded.
pub(super) struct Parts<'e, 'a> {
    encoder: &'e mut Encoder<'a>,
    left: usize,
}

impl Parts<'_, '_> {
    #[inline]
    fn part<T: Serialize + ?Sized>(&mut self, part: &T) -> Result<(), Fault> {
        self.left = self.left.checked_sub(1).ok_or(MISCOUNTED)?;
        part.serialize(&mut *self.encoder)
    }

    #[inline]
    fn finish(self) -> Result<(), Fault> {
        self.encoder.budget.leave();
        match self.left {
            0 => Ok(()),
            _ => Err(MISCOUNTED.into()),
        }
    }
}

const MISCOUNTED: CodecError =
    CodecError::Unsupported("values with more or fewer parts than their `Serialize` said");
const SKIPPED: CodecError =
    CodecError::Unsupported("fields that are sometimes skipped (`skip_serializing_if`)");

macro_rules! parts {
    ($($trait:ident::$method:ident $(($key:ty))?,)*) => {
        $(
            impl ser::$trait for Parts<'_, '_> {
                type Ok = ();
                type Error = Fault;

                #[inline]
                fn $method<T: Serialize + ?Sized>(&mut self, $(_: $key,)? part: &T) -> Result<(), Fault> {
                    self.part(part)
                }

                #[inline]
                fn end(self) -> Result<(), Fault> {
                    self.finish()
                }

                $(
                    #[inline]
                    fn skip_field(&mut self, _: $key) -> Result<(), Fault> {
                        Err(SKIPPED.into())
                    }
                )?
            }
        )*
    };
}

parts! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field,
    SerializeStruct::serialize_field(&'static str),
    SerializeStructVariant::serialize_field(&'static str),
}

impl ser::SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Fault;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Fault> {
        self.part(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Fault> {
        value.serialize(&mut *self.encoder)
    }

    #[inline]
    fn end(self) -> Result<(), Fault> {
        self.finish()
    }
}

/// Where the bytes go: the caller's `Vec`, up to a length.
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    len_max: usize,
}

impl postcard::ser_flavors::Flavor for Output<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        if data.len() > self.len_max - self.bytes.len() {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if self.bytes.len() == self.len_max {
            return Err(postcard::Error::SerializeBufferFull);
        }
        self.bytes.push(byte);
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::varint;

    #[test]
    fn integers_are_written_as_postcard_writes_them() {
        let near = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]);
        let mixed = (1..50_000_u64).map(|n| n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (n % 64));
        for value in near.chain(mixed).chain([u64::MAX]) {
            let (bytes, len) = varint(value);
            let expected = postcard::to_allocvec(&value).unwrap();
            assert_eq!(bytes[..len], expected, "{value}");
        }
    }
}

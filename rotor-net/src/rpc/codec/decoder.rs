//! `Decoder`: drives the structure of a value that is decoded, within the budget.
//!
//! Every level of nesting is entered here; postcard only reads what has no parts: a number, a string, a length.
//! Invariant: `input` is what was not yet read.

mod elements;

use super::CodecError;
use super::budget::Budget;
use super::error::Fault;
use elements::Elements;
use serde::Deserialize;
use serde::de::{self, DeserializeSeed, IntoDeserializer, Visitor};

/// Reads one value.
pub(super) struct Decoder<'de, 'a> {
    input: &'de [u8],
    budget: Budget<'a>,
}

impl<'de, 'a> Decoder<'de, 'a> {
    #[inline]
    pub(super) fn new(input: &'de [u8], budget: Budget<'a>) -> Self {
        Self { input, budget }
    }

    /// Says whether all input was read.
    #[inline]
    pub(super) fn finish(self) -> Result<(), CodecError> {
        match self.input.len() {
            0 => Ok(()),
            bytes => Err(CodecError::Trailing { bytes }),
        }
    }

    /// Reads what has no parts.
    #[inline]
    fn scalar<T: Deserialize<'de>>(&mut self) -> Result<T, Fault> {
        match postcard::take_from_bytes(self.input) {
            Ok((value, rest)) => {
                self.input = rest;
                Ok(value)
            }
            Err(error) => Err(Fault::of_reading(error)),
        }
    }

    /// Reads what has parts, of which `T` is made, a level down.
    #[inline]
    fn nested<T>(&mut self, parts: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        self.budget.charge(size_of::<T>())?;
        self.budget.enter()?;
        let made = parts(self);
        self.budget.leave();
        made
    }

    /// Reads the parts of a struct, tuple or variant, whose number its type says. Their places are charged already.
    #[inline]
    fn fields<V: Visitor<'de>>(&mut self, left: usize, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_seq(Elements::in_place(self, left))
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty => $visit:ident,)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
                visitor.$visit(self.scalar::<$type>()?)
            }
        )*
    };
}

macro_rules! unsupported {
    ($($method:ident: $what:literal,)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Fault> {
                Err(CodecError::Unsupported($what).into())
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for &mut Decoder<'de, '_> {
    type Error = Fault;

    scalars! {
        deserialize_bool: bool => visit_bool,
        deserialize_i8: i8 => visit_i8,
        deserialize_i16: i16 => visit_i16,
        deserialize_i32: i32 => visit_i32,
        deserialize_i64: i64 => visit_i64,
        deserialize_i128: i128 => visit_i128,
        deserialize_u8: u8 => visit_u8,
        deserialize_u16: u16 => visit_u16,
        deserialize_u32: u32 => visit_u32,
        deserialize_u64: u64 => visit_u64,
        deserialize_u128: u128 => visit_u128,
        deserialize_f32: f32 => visit_f32,
        deserialize_f64: f64 => visit_f64,
        deserialize_char: char => visit_char,
    }

    unsupported! {
        deserialize_any: "values whose type the bytes would have to say",
        deserialize_identifier: "names of fields and variants",
        deserialize_ignored_any: "values that can be skipped",
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let text = self.scalar::<&'de str>()?;
        self.budget.charge(size_of::<V::Value>())?;
        self.budget.charge(text.len())?;
        visitor.visit_borrowed_str(text)
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let bytes = self.scalar::<&'de [u8]>()?;
        self.budget.charge(size_of::<V::Value>())?;
        self.budget.charge(bytes.len())?;
        visitor.visit_borrowed_bytes(bytes)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.nested(|decoder| match decoder.scalar::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(decoder),
            _ => Err(CodecError::Invalid("an option's tag (0 or 1)").into()),
        })
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.nested(|decoder| visitor.visit_newtype_struct(decoder))
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.nested(|decoder| {
            let mut elements = Elements::counted(decoder)?;
            let value = visitor.visit_seq(&mut elements)?;
            elements.finish()?;
            Ok(value)
        })
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.nested(|decoder| {
            let mut elements = Elements::counted(decoder)?;
            let value = visitor.visit_map(&mut elements)?;
            elements.finish()?;
            Ok(value)
        })
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.nested(|decoder| decoder.fields(len, visitor))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(fields.len(), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.nested(|decoder| visitor.visit_enum(Variant { decoder, name }))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}

/// An enum, before it is known which variant it is.
struct Variant<'d, 'de, 'a> {
    decoder: &'d mut Decoder<'de, 'a>,
    name: &'static str,
}

impl<'d, 'de, 'a> de::EnumAccess<'de> for Variant<'d, 'de, 'a> {
    type Error = Fault;
    type Variant = &'d mut Decoder<'de, 'a>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Fault> {
        let index = self.decoder.scalar::<u32>()?;
        match seed.deserialize(IntoDeserializer::<de::value::Error>::into_deserializer(
            index,
        )) {
            Ok(variant) => Ok((variant, self.decoder)),
            Err(_) => Err(CodecError::UnknownVariant {
                of: self.name,
                index,
            }
            .into()),
        }
    }
}

/// What a variant holds is stored in the enum, which is charged, and on its level.
impl<'de> de::VariantAccess<'de> for &mut Decoder<'de, '_> {
    type Error = Fault;

    #[inline]
    fn unit_variant(self) -> Result<(), Fault> {
        Ok(())
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Fault> {
        self.fields(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.fields(fields.len(), visitor)
    }
}

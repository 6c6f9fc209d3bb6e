//! `Elements`: what a sequence, map, struct or tuple gives to the visitor that makes a value of it.
//!
//! Invariant: no element is made before the places of all of them are charged, so claims of sequences inside one
//! another do not add up.

use super::super::CodecError;
use super::super::error::Fault;
use super::Decoder;
use serde::de::{self, DeserializeSeed};

/// What a sequence, a map, a struct or a tuple still has to give.
pub(super) struct Elements<'d, 'de, 'a> {
    decoder: &'d mut Decoder<'de, 'a>,
    left: usize,
    /// Whether the places of all of them are paid for. Only the first element says how large one is, and none is
    /// made before it.
    are_charged: bool,
}

impl<'d, 'de, 'a> Elements<'d, 'de, 'a> {
    /// The fields of a struct, tuple or variant, so many by its type. Their places are charged with it.
    #[inline]
    pub(super) fn in_place(decoder: &'d mut Decoder<'de, 'a>, left: usize) -> Self {
        Self {
            decoder,
            left,
            are_charged: true,
        }
    }

    /// Those of a sequence or map, which begins with how many they are.
    #[inline]
    pub(super) fn counted(decoder: &'d mut Decoder<'de, 'a>) -> Result<Self, Fault> {
        let left = decoder.scalar::<usize>()?;
        Ok(Self {
            decoder,
            left,
            are_charged: false,
        })
    }

    /// Takes the next of `bytes` each.
    #[inline]
    fn take(&mut self, bytes: usize) -> Result<bool, Fault> {
        if self.left == 0 {
            return Ok(false);
        }
        if !self.are_charged {
            self.decoder.budget.charge_each(self.left, bytes)?;
            self.are_charged = true;
        }
        self.left -= 1;
        Ok(true)
    }

    /// How many elements to reserve memory for: no more than the rest of the input, or of the budget, could be.
    #[inline]
    fn expected(&self) -> usize {
        let left = self
            .decoder
            .input
            .len()
            .min(self.decoder.budget.bytes_left());
        self.left.min(left)
    }

    /// A visitor that leaves elements would have the next value begin in the middle of this one.
    #[inline]
    pub(super) fn finish(self) -> Result<(), Fault> {
        match self.left {
            0 => Ok(()),
            _ => Err(CodecError::Invalid("a sequence of the length that its type takes").into()),
        }
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de, '_> {
    type Error = Fault;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if !self.take(size_of::<S::Value>())? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.expected())
    }
}

impl<'de> de::MapAccess<'de> for Elements<'_, 'de, '_> {
    type Error = Fault;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Fault> {
        if !self.take(size_of::<S::Value>())? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.decoder).map(Some)
    }

    /// Not used by maps of the standard library, which ask for entries.
    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Fault> {
        self.decoder.budget.charge(size_of::<S::Value>())?;
        seed.deserialize(&mut *self.decoder)
    }

    #[inline]
    fn next_entry_seed<K: DeserializeSeed<'de>, V: DeserializeSeed<'de>>(
        &mut self,
        key: K,
        value: V,
    ) -> Result<Option<(K::Value, V::Value)>, Fault> {
        if !self.take(size_of::<(K::Value, V::Value)>())? {
            return Ok(None);
        }
        let key = key.deserialize(&mut *self.decoder)?;
        Ok(Some((key, value.deserialize(&mut *self.decoder)?)))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.expected())
    }
}

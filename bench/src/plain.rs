//! postcard by itself, appended to a buffer: what someone writes by hand who trusts the peer.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

/// Appends the encoded value.
///
/// # Errors
/// If the value cannot be encoded, such as a sequence of unknown length.
#[inline]
pub fn append<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> postcard::Result<()> {
    postcard::serialize_with_flavor(value, Append(out))
}

/// The same output as the guarded codec's, without its limit.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_appends_what_postcard_makes() {
        let value = ("name", 1u64 << 40, -3i32);
        let mut out = vec![9];
        append(&value, &mut out).unwrap();
        assert_eq!(out[1..], postcard::to_stdvec(&value).unwrap());
        assert_eq!(out[0], 9);
    }
}

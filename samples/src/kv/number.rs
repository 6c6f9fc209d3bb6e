//! Decimal integers as the protocol knows them.
//!
//! Parsing is as strict as Redis': one spelling per number, so no `+`, no leading zero, no
//! blank, no `-0`. What a client stores and what `INCR` computes therefore agree byte for byte.

/// The integer that `text` spells, if it spells one.
#[inline]
pub(super) fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] if digits.first() != Some(&b'0') => {
            0i64.checked_sub_unsigned(parse_u64(digits)?)
        }
        digits => parse_u64(digits)?.try_into().ok(),
    }
}

/// The unsigned integer that `text` spells, if it spells one.
#[inline]
pub(super) fn parse_u64(text: &[u8]) -> Option<u64> {
    match text {
        [b'0'] => return Some(0),
        [b'1'..=b'9', ..] if text.len() <= 20 => {}
        _ => return None,
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The text of an integer, on the stack.
pub(super) struct Decimal {
    bytes: [u8; 20],
    start: usize,
}

impl Decimal {
    #[inline]
    pub(super) fn signed(value: i64) -> Self {
        let mut text = Decimal::unsigned(value.unsigned_abs());
        if value < 0 {
            // 19 digits at most, so the sign has room.
            text.start -= 1;
            text.bytes[text.start] = b'-';
        }
        text
    }

    #[inline]
    pub(super) fn unsigned(mut value: u64) -> Self {
        let mut text = Decimal {
            bytes: [0; 20],
            start: 20,
        };
        loop {
            text.start -= 1;
            text.bytes[text.start] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                return text;
            }
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_spelling_per_number() {
        for bad in [
            "",
            "-",
            "+1",
            "01",
            "-0",
            "-01",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "9223372036854775808",
        ] {
            assert_eq!(parse_i64(bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(parse_i64(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(parse_i64(b"-9223372036854775809"), None);
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(parse_u64(b"18446744073709551616"), None);
        assert_eq!(
            Decimal::signed(i64::MIN).as_bytes(),
            b"-9223372036854775808"
        );
        assert_eq!(
            Decimal::unsigned(u64::MAX).as_bytes(),
            b"18446744073709551615"
        );
    }

    proptest! {
        #[test]
        fn text_and_number_agree(value: i64) {
            let text = Decimal::signed(value);
            prop_assert_eq!(text.as_bytes(), value.to_string().into_bytes());
            prop_assert_eq!(parse_i64(text.as_bytes()), Some(value));
        }

        #[test]
        fn only_what_std_spells_is_accepted(text in "[-+0-9 ]{0,22}") {
            let std = text.parse::<i64>().ok().filter(|n| n.to_string() == text);
            prop_assert_eq!(parse_i64(text.as_bytes()), std);
        }
    }
}

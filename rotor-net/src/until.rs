//! `Until`: what a protocol waits for. And `Want`, the same in the 24 bytes that a stream keeps.

/// What the next [`received`](crate::Protocol::received) shall get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Whatever arrives, at least one byte. The cheapest: what was read is handed on as it is.
    Any,
    /// Exactly so many bytes. None means an empty frame, at once.
    Bytes(usize),
    /// What is before this delimiter, at most so many bytes; the delimiter is consumed. An empty delimiter means
    /// [`Until::Any`].
    Delimiter(&'static [u8], usize),
    /// A line of at most so many bytes, which ends in `\n` or `\r\n`; the end is consumed.
    Line(usize),
}

/// An `Until`, packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Want {
    /// Empty where the kind needs none.
    pub delimiter: &'static [u8],
    /// Bytes wanted, or the limit.
    pub count: u32,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Any,
    Bytes,
    Delimiter,
    Line,
}

impl From<Until> for Want {
    #[inline]
    fn from(until: Until) -> Self {
        // Input limits are below 4 GiB, so what does not fit is beyond them in any case.
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (delimiter, count, kind): (&'static [u8], u32, Kind) = match until {
            Until::Any | Until::Delimiter([], _) => (&[], 0, Kind::Any),
            Until::Bytes(n) => (&[], count(n), Kind::Bytes),
            Until::Delimiter(delimiter, max) => (delimiter, count(max), Kind::Delimiter),
            Until::Line(max) => (b"\n", count(max), Kind::Line),
        };
        Self {
            delimiter,
            count,
            kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_want_is_small_and_odd_ones_mean_something() {
        assert!(size_of::<Want>() <= 24);
        assert_eq!(Want::from(Until::Delimiter(b"", 3)), Want::from(Until::Any));
        assert_eq!(Want::from(Until::Bytes(usize::MAX)).count, u32::MAX);
    }
}

//! What can be wrong with a peer's bytes, worded as in Redis; the connection ends after it.

use super::super::reply::{self, Full, Out};
use std::fmt;

/// Why a peer's bytes are no request. Displays as Redis words it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProtocolError {
    /// `*` was followed by no number, or one above `Limits::args_max`.
    InvalidMultibulkLength,
    /// `$` was followed by no number, or one above `Limits::bulk_bytes_max`.
    InvalidBulkLength,
    /// An argument began with this byte.
    ExpectedDollar(u8),
    /// A line of more than `Limits::inline_bytes_max` bytes.
    TooBigInline,
    /// The length line after `*` never ends.
    TooBigMultibulkCount,
    /// The length line after `$` never ends.
    TooBigBulkCount,
    /// A quote was not closed in an inline request.
    UnbalancedQuotes,
    /// More than `Limits::request_bytes_max` bytes (Redis closes without a word).
    TooBigRequest,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Protocol error: ")?;
        f.write_str(match self {
            ProtocolError::InvalidMultibulkLength => "invalid multibulk length",
            ProtocolError::InvalidBulkLength => "invalid bulk length",
            ProtocolError::ExpectedDollar(byte) => {
                return write!(f, "expected '$', got '{}'", char::from(*byte));
            }
            ProtocolError::TooBigInline => "too big inline request",
            ProtocolError::TooBigMultibulkCount => "too big mbulk count string",
            ProtocolError::TooBigBulkCount => "too big bulk count string",
            ProtocolError::UnbalancedQuotes => "unbalanced quotes in request",
            ProtocolError::TooBigRequest => "too big request",
        })
    }
}

impl std::error::Error for ProtocolError {}

impl ProtocolError {
    /// The last reply of the connection.
    pub fn reply(self, out: &mut impl Out) -> Result<(), Full> {
        match self {
            // The byte as it came, not its Unicode namesake.
            ProtocolError::ExpectedDollar(byte) => {
                let text = [
                    b"ERR Protocol error: expected '$', got '",
                    &[byte][..],
                    b"'",
                ]
                .concat();
                reply::error(out, &text)
            }
            other => reply::error(out, format!("ERR {other}").as_bytes()),
        }
    }
}

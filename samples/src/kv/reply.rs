//! Replies in RESP2, written straight to the connection's output.
//!
//! Short replies are put together on the stack and handed over in one piece, because each
//! `put` has a cost of its own.
//! Format: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

use super::number::Decimal;

/// The output is at its limit. Part of a reply may have been written, so the connection must
/// be closed; Redis does the same at its `client-output-buffer-limit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// Where replies go: the bounded output of a connection.
pub trait Out {
    /// Appends all of `bytes`, or fails.
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full>;
}

/// Unbounded; for tests and tools.
impl Out for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.extend_from_slice(bytes);
        Ok(())
    }
}

/// `+text`. The text must have no line break.
#[inline(always)]
pub fn simple(out: &mut impl Out, text: &str) -> Result<(), Full> {
    match text {
        "OK" => out.put(b"+OK\r\n"),
        "PONG" => out.put(b"+PONG\r\n"),
        _ => {
            out.put(b"+")?;
            out.put(text.as_bytes())?;
            out.put(b"\r\n")
        }
    }
}

/// `-text`, where `text` begins with a code such as `ERR`. As it may quote what a peer sent,
/// line breaks become blanks (at the end, nothing): a reply cannot be split by its contents.
pub fn error(out: &mut impl Out, text: &[u8]) -> Result<(), Full> {
    out.put(b"-")?;
    let end = text
        .iter()
        .rposition(|byte| !matches!(byte, b'\r' | b'\n'))
        .map_or(0, |last| last + 1);
    let text = text.get(..end).unwrap_or(text);
    for (i, line) in text.split(|byte| matches!(byte, b'\r' | b'\n')).enumerate() {
        if i > 0 {
            out.put(b" ")?;
        }
        out.put(line)?;
    }
    out.put(b"\r\n")
}

/// `:value`.
#[inline]
pub fn integer(out: &mut impl Out, value: i64) -> Result<(), Full> {
    framed(out, b':', Decimal::signed(value).as_bytes())
}

/// A count or length as an integer.
#[inline]
pub fn count(out: &mut impl Out, value: usize) -> Result<(), Full> {
    framed(out, b':', Decimal::unsigned(value as u64).as_bytes())
}

/// `$n`, then the bytes.
#[inline]
pub fn bulk(out: &mut impl Out, value: &[u8]) -> Result<(), Full> {
    const SMALL: usize = 64;
    if value.len() > SMALL {
        framed(out, b'$', Decimal::unsigned(value.len() as u64).as_bytes())?;
        out.put(value)?;
        return out.put(b"\r\n");
    }
    // "$nn\r\n" value "\r\n"; one digit leaves the first byte unused.
    let mut text = [0; 5 + SMALL + 2];
    let len = value.len();
    text[..5].copy_from_slice(&[
        b'$',
        b'0' + (len / 10) as u8,
        b'0' + (len % 10) as u8,
        b'\r',
        b'\n',
    ]);
    let start = if len < 10 {
        text[1] = b'$';
        1
    } else {
        0
    };
    text[5..5 + len].copy_from_slice(value);
    text[5 + len] = b'\r';
    text[6 + len] = b'\n';
    out.put(&text[start..7 + len])
}

/// The absent value.
#[inline]
pub fn null(out: &mut impl Out) -> Result<(), Full> {
    out.put(b"$-1\r\n")
}

/// A bulk or the absent value.
#[inline]
pub fn bulk_or_null(out: &mut impl Out, value: Option<&[u8]>) -> Result<(), Full> {
    match value {
        Some(value) => bulk(out, value),
        None => null(out),
    }
}

/// `*len`; that many replies must follow.
pub fn array(out: &mut impl Out, len: usize) -> Result<(), Full> {
    framed(out, b'*', Decimal::unsigned(len as u64).as_bytes())
}

/// An array of bulks.
pub fn bulks(out: &mut impl Out, values: &[&[u8]]) -> Result<(), Full> {
    array(out, values.len())?;
    values.iter().try_for_each(|value| bulk(out, value))
}

/// The answer to one channel of `SUBSCRIBE` and its kin: `kind` is the command in lower case,
/// `channel` is absent when there was nothing to leave, `count` is what the connection is
/// subscribed to now.
pub fn subscription(
    out: &mut impl Out,
    kind: &str,
    channel: Option<&[u8]>,
    count: usize,
) -> Result<(), Full> {
    array(out, 3)?;
    bulk(out, kind.as_bytes())?;
    bulk_or_null(out, channel)?;
    self::count(out, count)
}

/// What a subscriber of `channel` receives.
pub fn message(out: &mut impl Out, channel: &[u8], payload: &[u8]) -> Result<(), Full> {
    bulks(out, &[b"message", channel, payload])
}

/// What a subscriber of `pattern` receives for a message on `channel`.
pub fn pattern_message(
    out: &mut impl Out,
    pattern: &[u8],
    channel: &[u8],
    payload: &[u8],
) -> Result<(), Full> {
    bulks(out, &[b"pmessage", pattern, channel, payload])
}

/// A type byte, a number, a line end: at most 23 bytes.
#[inline]
fn framed(out: &mut impl Out, kind: u8, number: &[u8]) -> Result<(), Full> {
    let mut text = [0; 24];
    let end = 1 + number.len();
    text[0] = kind;
    text[1..end].copy_from_slice(number);
    text[end..end + 2].copy_from_slice(b"\r\n");
    out.put(&text[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bulks_of_every_length() {
        for len in 0..300 {
            let mut out = Vec::new();
            bulk(&mut out, &vec![b'x'; len]).unwrap();
            assert_eq!(
                out,
                format!("${len}\r\n{}\r\n", "x".repeat(len)).into_bytes()
            );
        }
    }

    #[test]
    fn each_kind() {
        let mut out = Vec::new();
        simple(&mut out, "OK").unwrap();
        simple(&mut out, "string").unwrap();
        error(&mut out, b"ERR a\r\nb\r\n").unwrap();
        integer(&mut out, i64::MIN).unwrap();
        count(&mut out, usize::MAX).unwrap();
        null(&mut out).unwrap();
        subscription(&mut out, "unsubscribe", None, 0).unwrap();
        pattern_message(&mut out, b"c*", b"ch", b"hi").unwrap();
        let expected = "+OK\r\n+string\r\n-ERR a  b\r\n:-9223372036854775808\r\n\
            :18446744073709551615\r\n$-1\r\n*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n\
            *4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nch\r\n$2\r\nhi\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}

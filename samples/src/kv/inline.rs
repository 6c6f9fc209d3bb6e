//! Requests typed by hand: one line, arguments parted by blanks, quotes as in Redis.
//!
//! `"..."` knows `\n \r \t \b \a \\ \" \xHH`; `'...'` knows `\'` only; a closing quote must be
//! followed by a blank or the end. Decoding makes new bytes, so these arguments point into a
//! scratch line instead of the input.

use super::resp::Span;

/// A quote was not closed, or was closed inside a word.
pub(super) struct Unbalanced;

/// Splits `line` (without its end) into `text` and one span per argument.
pub(super) fn split(
    line: &[u8],
    text: &mut Vec<u8>,
    spans: &mut Vec<Span>,
) -> Result<(), Unbalanced> {
    text.clear();
    spans.clear();
    let mut rest = line;
    loop {
        while let [b' ' | b'\t'..=b'\r', tail @ ..] = rest {
            rest = tail;
        }
        if rest.is_empty() {
            return Ok(());
        }
        let start = text.len();
        rest = word(rest, text)?;
        spans.push(Span::new(start, text.len() - start));
    }
}

/// Decodes one argument onto `text`; what follows it.
fn word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        rest = match rest {
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [b'"', tail @ ..] => return double_quoted(tail, text),
            [b'\'', tail @ ..] => return single_quoted(tail, text),
            [byte, tail @ ..] => {
                text.push(*byte);
                tail
            }
        }
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, tail) = match rest {
            [b'"', tail @ ..] => return closed(tail),
            [b'\\', b'x', a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                (hex(*a) << 4 | hex(*b), tail)
            }
            [b'\\', escaped, tail @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    other => *other,
                };
                (byte, tail)
            }
            [byte, tail @ ..] => (*byte, tail),
            [] => return Err(Unbalanced),
        };
        text.push(byte);
        rest = tail;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    loop {
        let (byte, tail) = match rest {
            [b'\'', tail @ ..] => return closed(tail),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [byte, tail @ ..] => (*byte, tail),
            [] => return Err(Unbalanced),
        };
        text.push(byte);
        rest = tail;
    }
}

/// After a closing quote.
fn closed(rest: &[u8]) -> Result<&[u8], Unbalanced> {
    match rest {
        [] | [b' ' | b'\t'..=b'\r', ..] => Ok(rest),
        _ => Err(Unbalanced),
    }
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut text, mut spans) = (Vec::new(), Vec::new());
        split(line, &mut text, &mut spans).ok()?;
        Some(spans.iter().map(|span| span.of(&text).to_vec()).collect())
    }

    #[test]
    fn quoting_rules() {
        for (line, expected) in [
            (&b""[..], Some(vec![])),
            (b"  \t ", Some(vec![])),
            (b"get  key ", Some(vec![&b"get"[..], b"key"])),
            (br#"set k "a b""#, Some(vec![b"set", b"k", b"a b"])),
            (br#""\x41\xff\n\q\"""#, Some(vec![b"A\xff\nq\""])),
            (br#""\xg1""#, Some(vec![b"xg1"])),
            (br"'it\'s \n'", Some(vec![br"it's \n"])),
            (br#"a"b c" d"#, Some(vec![b"ab c", b"d"])),
            (br#""" ''"#, Some(vec![b"", b""])),
            (br#""a"b"#, None),
            (b"'a'b", None),
            (br#""a"#, None),
            (br#""a\"#, None),
            (b"'a", None),
        ] {
            let expected = expected.map(|e| e.iter().map(|w| w.to_vec()).collect::<Vec<_>>());
            assert_eq!(words(line), expected, "{}", line.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back(args: Vec<Vec<u8>>) {
            let line: Vec<String> = args
                .iter()
                .map(|arg| arg.iter().map(|b| format!("\\x{b:02x}")).collect::<String>())
                .map(|arg| format!("\"{arg}\""))
                .collect();
            prop_assert_eq!(words(line.join(" ").as_bytes()), Some(args));
        }

        #[test]
        fn any_line_is_fine(line: Vec<u8>) {
            words(&line);
        }
    }
}

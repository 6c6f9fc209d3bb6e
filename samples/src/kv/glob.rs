//! Glob patterns with Redis' rules, for `KEYS`, `SCAN MATCH`, `CONFIG GET` and `PSUBSCRIBE`.
//!
//! `*` any run, `?` any byte, `[abc]`, `[^abc]`, `[a-z]` one byte of a class, `\x` the byte x.
//! Patterns come from peers, so matching must not explode: on a mismatch only the last `*`
//! is retried (an earlier one could not match more than it), which bounds the work by
//! pattern length times text length.

/// Whether the whole of `text` matches `pattern`. Case matters. At worst O(pattern * text).
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
                continue;
            }
            Some(_) => text.get(t).and_then(|byte| one(&pattern[p..], *byte)),
            None if t == text.len() => return true,
            None => None,
        };
        match (step, retry) {
            (Some(len), _) => {
                p += len;
                t += 1;
            }
            // Let the last star take one byte more.
            (None, Some((after_star, from))) if from < text.len() => {
                retry = Some((after_star, from + 1));
                (p, t) = (after_star, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// The length of the first element of `pattern` if `byte` matches it.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern {
        [b'?', ..] => Some(1),
        [b'[', ..] => class(pattern, byte),
        // A lone backslash at the end stands for itself.
        [b'\\', escaped, ..] => (escaped == byte).then_some(2),
        [literal, ..] => (literal == byte).then_some(1),
        [] => None,
    }
}

/// `[...]`: a class that is never closed ends with the pattern, as in Redis.
fn class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern[at.min(pattern.len())..] {
            [] => break,
            [b'\\', escaped, ..] => {
                found |= escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [low, b'-', high, ..] => {
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same rules, by trying every way a star could match.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|n| model(rest, &text[n..])),
            [b'[', rest @ ..] => {
                let Some((byte, after)) = text.split_first() else {
                    return false;
                };
                let (negated, mut rest) = match rest {
                    [b'^', rest @ ..] => (true, rest),
                    rest => (false, rest),
                };
                let mut set = Vec::new();
                rest = loop {
                    match rest {
                        [] => break rest,
                        [b'\\', c, tail @ ..] => {
                            set.push(*c);
                            rest = tail;
                        }
                        [b']', tail @ ..] => break tail,
                        [a, b'-', z, tail @ ..] => {
                            set.extend(*a.min(z)..=*a.max(z));
                            rest = tail;
                        }
                        [c, tail @ ..] => {
                            set.push(*c);
                            rest = tail;
                        }
                    }
                };
                set.contains(byte) != negated && model(rest, after)
            }
            [b'?', rest @ ..] => !text.is_empty() && model(rest, &text[1..]),
            [b'\\', c, rest @ ..] | [c, rest @ ..] => {
                text.first() == Some(c) && model(rest, &text[1..])
            }
        }
    }

    #[test]
    fn examples() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("h?llo", "hello", true),
            ("h*llo", "heeeello", true),
            ("h[ae]llo", "hillo", false),
            ("h[^e]llo", "hallo", true),
            ("h[a-b]llo", "hbllo", true),
            ("h[b-a]llo", "hallo", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("a\\", "a\\", true),
            ("[a", "a", true),
            ("[", "a", false),
            ("[^", "a", true),
            ("[]", "a", false),
            ("*a*b*", "xxaxxbxx", true),
            ("a*", "b", false),
            ("*b", "aab", true),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn many_stars_do_not_explode() {
        let pattern = "a*".repeat(1000) + "b";
        assert!(!matches(pattern.as_bytes(), &[b'a'; 10_000]));
    }

    proptest! {
        #[test]
        fn agrees_with_the_model(
            pattern in "[ab*?\\[\\]^\\\\-]{0,10}",
            text in "[abc\\-^\\]]{0,8}",
        ) {
            prop_assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                model(pattern.as_bytes(), text.as_bytes())
            );
        }

        #[test]
        fn any_bytes_are_fine(pattern: Vec<u8>, text: Vec<u8>) {
            matches(&pattern, &text);
        }
    }
}

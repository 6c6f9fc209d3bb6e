//! Reads an expression: text in, tree out. By recursive descent, as deep as a tree may be and no deeper.

use super::expr::{Expr, Op, POWER, PRODUCT, SIGN, SUM};
use std::fmt;

/// The longest text.
pub const BYTES_MAX: usize = 64 << 10;
/// The deepest tree: each level is one of the codec's, which takes 128, and a request has some of its own.
pub const DEPTH_MAX: usize = 100;

/// Why a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Where, in characters from 1.
    pub at: usize,
    /// What was expected, or exceeded.
    pub words: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {}: {}", self.at, self.words)
    }
}

impl std::error::Error for ParseError {}

/// Reads numbers, names, `+ - * / ^` and parentheses. Powers belong together from the right, all else from the left.
///
/// # Errors
/// If the text is no expression, longer than [`BYTES_MAX`], or nested more deeply than [`DEPTH_MAX`].
pub fn parse(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { text, at: 0 };
    if text.len() > BYTES_MAX {
        return Err(parser.error(format!("longer than {BYTES_MAX} bytes")));
    }
    let (expr, _) = parser.expression(SUM, DEPTH_MAX)?;
    match parser.peek() {
        None => Ok(expr),
        Some(_) => Err(parser.error("expected + - * / ^ or the end")),
    }
}

struct Parser<'t> {
    text: &'t str,
    /// Bytes read.
    at: usize,
}

/// A tree and its depth.
type Deep = (Expr, usize);

impl Parser<'_> {
    /// What binds at least so closely, nested at most so deeply.
    fn expression(&mut self, strength_min: u8, depth_max: usize) -> Result<Deep, ParseError> {
        if depth_max == 0 {
            return Err(self.too_deep());
        }
        let (mut left, mut depth) = self.operand(depth_max)?;
        while let Some(op) = self.peek().and_then(op_of) {
            let strength = op.strength();
            if strength < strength_min {
                break;
            }
            self.at += 1;
            let right_min = match op {
                Op::Power => strength,
                _ => strength + 1,
            };
            let (right, right_depth) = self.expression(right_min, depth_max - 1)?;
            depth = 1 + depth.max(right_depth);
            if depth > depth_max {
                return Err(self.too_deep());
            }
            left = Expr::binary(op, left, right);
        }
        Ok((left, depth))
    }

    fn operand(&mut self, depth_max: usize) -> Result<Deep, ParseError> {
        match self.peek() {
            Some('-') => {
                self.at += 1;
                let (inner, depth) = self.expression(SIGN, depth_max - 1)?;
                Ok((Expr::Negate(Box::new(inner)), depth + 1))
            }
            Some('(') => {
                self.at += 1;
                // Parentheses make no level of the tree, but they do of this function.
                let inner = self.expression(SUM, depth_max - 1)?;
                if self.peek() != Some(')') {
                    return Err(self.error("expected ) or + - * / ^"));
                }
                self.at += 1;
                Ok(inner)
            }
            Some('0'..='9' | '.') => Ok((Expr::Number(self.number()?), 1)),
            Some(char) if is_of_name(char) => {
                let name = self.take_while(is_of_name).to_owned();
                Ok((Expr::Variable(name), 1))
            }
            _ => Err(self.error("expected a number, a name, - or (")),
        }
    }

    fn number(&mut self) -> Result<f64, ParseError> {
        let (start, all) = (self.at, self.text);
        let is_digit = |char: char| char.is_ascii_digit() || char == '.';
        self.take_while(is_digit);
        // An exponent only if digits follow: `2e` is no number, and `2e3` is one.
        let rest = &all[self.at..];
        if let Some(rest) = rest.strip_prefix(['e', 'E']) {
            let signed = rest.strip_prefix(['+', '-']).unwrap_or(rest);
            if signed.starts_with(|char: char| char.is_ascii_digit()) {
                self.at = all.len() - signed.len();
                self.take_while(|char| char.is_ascii_digit());
            }
        }
        let words = &all[start..self.at];
        match words.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            _ => {
                self.at = start;
                Err(self.error(format!("{words} is not a number that can be had")))
            }
        }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &str {
        let rest = &self.text[self.at..];
        let end = rest.find(|char| !is_part(char)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The next character that is no space.
    fn peek(&mut self) -> Option<char> {
        self.take_while(char::is_whitespace);
        self.text[self.at..].chars().next()
    }

    fn too_deep(&self) -> ParseError {
        self.error(format!("nested more deeply than {DEPTH_MAX} levels"))
    }

    fn error(&self, words: impl Into<String>) -> ParseError {
        ParseError {
            at: self.text[..self.at].chars().count() + 1,
            words: words.into(),
        }
    }
}

fn op_of(char: char) -> Option<Op> {
    match char {
        '+' => Some(Op::Add),
        '-' => Some(Op::Subtract),
        '*' => Some(Op::Multiply),
        '/' => Some(Op::Divide),
        '^' => Some(Op::Power),
        _ => None,
    }
}

fn is_of_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

const _: () = assert!(SUM < PRODUCT && PRODUCT < SIGN && SIGN < POWER);

#[cfg(test)]
mod tests {
    use super::super::testing::exprs;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_what_was_read() {
        for (text, shown) in [
            ("1+2*3", "1 + 2 * 3"),
            ("(1+2)*3", "(1 + 2) * 3"),
            ("1-2-3", "1 - 2 - 3"),
            ("1-(2-3)", "1 - (2 - 3)"),
            ("2^3^2", "2 ^ 3 ^ 2"),
            ("(2^3)^2", "(2 ^ 3) ^ 2"),
            ("-2^2", "-2 ^ 2"),
            ("(-2)^2", "(-2) ^ 2"),
            ("2^-x", "2 ^ (-x)"),
            ("--x", "-(-x)"),
            ("-(a+b)", "-(a + b)"),
            ("x / (y * größe_2)", "x / (y * größe_2)"),
            ("1.50e3 + .5 + 2e+1 + 1e-9", "1500 + 0.5 + 20 + 1e-9"),
            ("1e300", "1e300"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), shown, "{text}");
        }
        assert_eq!(
            parse("-2^2").unwrap(),
            Expr::Negate(Box::new(Expr::binary(
                Op::Power,
                Expr::Number(2.0),
                Expr::Number(2.0)
            )))
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, at, words) in [
            ("", 1, "expected a number"),
            ("1 +", 4, "expected a number"),
            ("ä + *", 5, "expected a number"),
            ("(1 + 2", 7, "expected )"),
            ("1 2", 3, "expected + - * / ^"),
            ("1)", 2, "expected + - * / ^"),
            ("1.2.3", 1, "1.2.3 is not a number"),
            ("1e999", 1, "1e999 is not a number"),
            (".", 1, ". is not a number"),
            ("2 $ 3", 3, "expected + - * / ^"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.words.contains(words), "{text}: {error}");
        }
    }

    #[test]
    fn depth_and_length_have_limits_of_every_kind() {
        let nested = |open: &str, levels: usize, close: &str| {
            [open.repeat(levels), "x".to_owned(), close.repeat(levels)].concat()
        };
        for (open, close) in [("(", ")"), ("-", ""), ("1^", ""), ("1-(", ")"), ("", "+1")] {
            let fits = parse(&nested(open, DEPTH_MAX / 2 - 1, close));
            assert!(fits.is_ok(), "{open}{close}: {fits:?}");
            for levels in [DEPTH_MAX + 1, 15_000] {
                let error = parse(&nested(open, levels, close)).unwrap_err();
                assert!(error.words.contains("100 levels"), "{open}{close}: {error}");
            }
        }
        let long = parse(&" ".repeat(BYTES_MAX + 1)).unwrap_err();
        assert!(long.words.contains("65536 bytes"), "{long}");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_as_the_same(expr in exprs()) {
            let shown = expr.to_string();
            let read = parse(&shown).unwrap();
            prop_assert_eq!(read.to_string(), shown);
        }

        #[test]
        fn any_text_is_an_expression_or_an_error(text in "[-+*/^()0-9.e xä]{0,40}") {
            if let Ok(expr) = parse(&text) {
                prop_assert!(expr.depth() <= DEPTH_MAX);
            }
        }
    }
}

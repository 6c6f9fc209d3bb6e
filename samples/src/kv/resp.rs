//! The request parser: RESP arrays of bulks, or inline lines, from one contiguous slice.
//!
//! One [`Parser`] serves all connections of a loop: it owns the scratch memory. A
//! connection keeps 16 bytes of [`Resume`], so that nothing is scanned over and over when a request
//! arrives in pieces: a bulk is skipped by its length; a line remembers how far it was
//! searched; a request of more than a few arguments remembers those found so far. Arguments
//! are ranges of the input, never copies (only inline ones, whose quotes must be
//! decoded). In the steady state nothing is allocated.
//!
//! Like Redis, the two bytes after a length line or a bulk are skipped without a look at
//! them. Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>.

mod args;
mod error;

use super::inline;
use super::limits::Limits;
use super::number::parse_i64;
pub use args::Args;
pub(super) use args::Span;
pub use error::ProtocolError;

/// Requests with at most this many arguments found are parsed anew when more bytes come:
/// that takes less than a read, and then an idle connection needs no memory for them.
const RESTART_MAX: usize = 8;
/// Scratch above this is given back after an unusually large request.
const SPANS_KEPT: usize = 1024;

/// What became of the input, which always begins at the start of a request.
#[derive(Debug)]
pub enum Parsed<'a> {
    /// A request; drop `consumed` bytes of the input before the next call. Without arguments
    /// (an empty line, `*0`) there is nothing to execute.
    Complete {
        /// The command's name and its arguments.
        args: Args<'a>,
        /// Bytes of the input that the request took.
        consumed: usize,
    },
    /// Nothing can be said before at least `more` further bytes arrive.
    Incomplete {
        /// Never zero.
        more: usize,
    },
    /// The peer does not speak the protocol: answer and close.
    Error(ProtocolError),
}

/// What one connection remembers of a request that has not fully arrived.
#[derive(Default)]
pub struct Resume {
    /// No line end in the input before this.
    scanned: u32,
    /// Only for requests of more than a few arguments.
    many: Option<Box<Many>>,
}

struct Many {
    spans: Vec<Span>,
    at: usize,
    left: usize,
}

/// The parser's limits and scratch memory: one per loop.
pub struct Parser {
    limits: Limits,
    spans: Vec<Span>,
    line: Vec<u8>,
}

/// Why parsing stopped before the end of a request.
enum Stop {
    Short(usize),
    Broken(ProtocolError),
}

impl Parser {
    /// A parser with these limits.
    pub fn new(limits: &Limits) -> Self {
        let mut limits = limits.clone();
        // Spans have 32 bits, and `length` relies on ten digits for what is valid.
        limits.request_bytes_max = limits.request_bytes_max.min(u32::MAX as usize);
        limits.bulk_bytes_max = limits.bulk_bytes_max.min(limits.request_bytes_max);
        limits.args_max = limits.args_max.min(limits.request_bytes_max);
        limits.inline_bytes_max = limits.inline_bytes_max.min(limits.request_bytes_max);
        Parser {
            limits,
            spans: Vec::with_capacity(SPANS_KEPT),
            line: Vec::new(),
        }
    }

    /// The request at the start of `input`. Until it is complete, call again with the same
    /// bytes and more after them; `resume` must be the connection's own.
    // Always, these two: they are called from two places, but a server is only ever at one of them.
    #[inline(always)]
    pub fn parse<'a>(&'a mut self, resume: &mut Resume, input: &'a [u8]) -> Parsed<'a> {
        let result = match input.first() {
            Some(b'*') => self.array(resume, input).map(|consumed| (input, consumed)),
            Some(_) => match self.inline(resume.scanned, input) {
                Ok(consumed) => Ok((&self.line[..], consumed)),
                Err(stop) => Err(stop),
            },
            None => Err(Stop::Short(1)),
        };
        match result {
            Ok((bytes, consumed)) => {
                resume.scanned = 0;
                Parsed::Complete {
                    args: Args::new(bytes, &self.spans),
                    consumed,
                }
            }
            Err(Stop::Short(more)) => {
                resume.scanned = input.len() as u32;
                Parsed::Incomplete { more }
            }
            Err(Stop::Broken(error)) => Parsed::Error(error),
        }
    }

    #[inline(always)]
    fn array(&mut self, resume: &mut Resume, input: &[u8]) -> Result<usize, Stop> {
        let scanned = resume.scanned as usize;
        let (mut at, mut left) = match &mut resume.many {
            Some(many) => {
                std::mem::swap(&mut self.spans, &mut many.spans);
                (many.at, many.left)
            }
            None => self.array_start(scanned, input)?,
        };
        while left > 0 {
            match self.argument(scanned, at, input) {
                Ok(next) => {
                    at = next;
                    left -= 1;
                }
                Err(stop) => {
                    self.pause(resume, at, left);
                    return Err(stop);
                }
            }
        }
        if resume.many.is_some() {
            resume.many = None;
        }
        Ok(at)
    }

    /// `*n`: where the arguments begin and how many there are.
    #[inline]
    fn array_start(&mut self, scanned: usize, input: &[u8]) -> Result<(usize, usize), Stop> {
        self.spans.clear();
        if self.spans.capacity() > SPANS_KEPT {
            self.spans.shrink_to(SPANS_KEPT);
        }
        let (count, at) = self.length(scanned, 1, input, ProtocolError::TooBigMultibulkCount)?;
        match count {
            Some(..=0) => Ok((at, 0)),
            Some(count) if count as u64 <= self.limits.args_max as u64 => Ok((at, count as usize)),
            _ => Err(Stop::Broken(ProtocolError::InvalidMultibulkLength)),
        }
    }

    /// `$n` and the bytes: where the next argument begins.
    #[inline]
    fn argument(&mut self, scanned: usize, at: usize, input: &[u8]) -> Result<usize, Stop> {
        match input.get(at) {
            Some(b'$') => {}
            Some(other) => return Err(Stop::Broken(ProtocolError::ExpectedDollar(*other))),
            None => return Err(Stop::Short(at + 1 - input.len())),
        }
        let (len, start) = self.length(scanned, at + 1, input, ProtocolError::TooBigBulkCount)?;
        let len = match len {
            Some(len @ 0..) if len as u64 <= self.limits.bulk_bytes_max as u64 => len as usize,
            _ => return Err(Stop::Broken(ProtocolError::InvalidBulkLength)),
        };
        let end = start.saturating_add(len).saturating_add(2);
        if end > self.limits.request_bytes_max {
            return Err(Stop::Broken(ProtocolError::TooBigRequest));
        }
        if end > input.len() {
            return Err(Stop::Short(end - input.len()));
        }
        self.spans.push(Span::new(start, len));
        Ok(end)
    }

    /// The number (if it is one) on the line from `start`, and where the next line begins.
    #[inline]
    fn length(
        &self,
        scanned: usize,
        start: usize,
        input: &[u8],
        too_big: ProtocolError,
    ) -> Result<(Option<i64>, usize), Stop> {
        // Every valid length has ten digits at most, and nearly every line is one, most of them
        // short: no search for its end. This pass ignores `scanned`, so it also rereads lines
        // before that.
        let digit = |byte: u8| i64::from(byte - b'0');
        match input.get(start..) {
            Some(&[a @ b'0'..=b'9', b'\r', _, ..]) => return Ok((Some(digit(a)), start + 3)),
            Some(&[a @ b'1'..=b'9', b @ b'0'..=b'9', b'\r', _, ..]) => {
                return Ok((Some(digit(a) * 10 + digit(b)), start + 4));
            }
            _ => {}
        }
        let mut value = 0;
        for (i, byte) in input
            .get(start..)
            .unwrap_or(&[])
            .iter()
            .enumerate()
            .take(11)
        {
            match byte {
                b'0'..=b'9' => value = value * 10 + i64::from(byte - b'0'),
                b'\r'
                    if i > 0 && start + i + 1 < input.len() && (input[start] != b'0' || i == 1) =>
                {
                    return Ok((Some(value), start + i + 2));
                }
                _ => break,
            }
        }
        self.unusual_length(scanned, start, input, too_big)
    }

    #[cold]
    fn unusual_length(
        &self,
        scanned: usize,
        start: usize,
        input: &[u8],
        too_big: ProtocolError,
    ) -> Result<(Option<i64>, usize), Stop> {
        let max = self.limits.inline_bytes_max;
        // One byte back: the line end may be there with its second byte still missing.
        let from = start.max(scanned.saturating_sub(1)).min(input.len());
        let window = &input[from..input.len().min(start + max + 1).max(from)];
        match window.iter().position(|byte| *byte == b'\r') {
            Some(i) if from + i + 1 < input.len() => {
                Ok((parse_i64(&input[start..from + i]), from + i + 2))
            }
            Some(_) => Err(Stop::Short(1)),
            None if input.len() > start + max => Err(Stop::Broken(too_big)),
            None => Err(Stop::Short(2)),
        }
    }

    /// Keeps what was found of a large request; a small one starts over.
    #[cold]
    fn pause(&mut self, resume: &mut Resume, at: usize, left: usize) {
        if self.spans.len() > RESTART_MAX {
            let empty = || {
                Box::new(Many {
                    spans: Vec::new(),
                    at,
                    left,
                })
            };
            let many = resume.many.get_or_insert_with(empty);
            (many.at, many.left) = (at, left);
            std::mem::swap(&mut self.spans, &mut many.spans);
        }
    }

    fn inline(&mut self, scanned: u32, input: &[u8]) -> Result<usize, Stop> {
        let max = self.limits.inline_bytes_max;
        let window = &input[..input.len().min(max + 1)];
        let from = window.len().min(scanned as usize);
        let Some(i) = window[from..].iter().position(|byte| *byte == b'\n') else {
            return Err(if input.len() > max {
                Stop::Broken(ProtocolError::TooBigInline)
            } else {
                Stop::Short(1)
            });
        };
        let end = from + i;
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        match inline::split(line, &mut self.line, &mut self.spans) {
            Ok(()) => Ok(end + 1),
            Err(inline::Unbalanced) => Err(Stop::Broken(ProtocolError::UnbalancedQuotes)),
        }
    }
}

#[cfg(test)]
mod tests;

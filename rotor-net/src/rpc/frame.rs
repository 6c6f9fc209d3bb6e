//! Frames: all that travels on a session after the preamble. A frame is a header of sixteen bytes and a body.
//!
//! ```text
//! 0        4     5      6        8          12         16
//! │ body   │kind │flags │ number │ slot     │ sequence │ body …
//! │ bytes  │     │      │        │  of the call's id   │
//! ```
//!
//! All numbers are little endian. `number` is the rank of a call in the server's menu, or the code of a failure.
//!
//! A call's id is chosen by the client: `slot` is a place in its table of calls in flight, which both sides index
//! directly, and `sequence` counts the calls of the connection, one up each time. So a call that is replayed, lost or
//! out of order is noticed, and what is late for a call that is over does not reach the next call in the same place.

use super::error::SessionError;
use std::fmt;
use std::hint::cold_path;

/// Bytes of a header.
pub(crate) const HEADER_BYTES: usize = 16;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Client: who it is, and its limits. The first frame.
    Hello = 1,
    /// Server: its menu and limits. Its first frame.
    Welcome,
    /// Either: the session ends because of this (`number` is a code, the body text).
    Goodbye,
    /// Client: begins a call. [`Opening`] leads its body.
    Call,
    /// Client: the same for a call that has no reply. It takes part in the sequence, and no slot.
    OneWay,
    /// Server: the reply. The call is over.
    Reply,
    /// Server: why there is no reply (`number` is a [`FailCode`]). The call is over.
    Fail,
    /// Either: an item of a stream.
    Item,
    /// Either: no more items. From the server, of a call that replies with items, the call is over.
    End,
    /// Either: so many more bytes of items may be sent; the body is a `u32`.
    Credit,
    /// Client: the call is given up, and over.
    Cancel,
    /// Either: answer with `Pong`.
    Ping,
    Pong,
    /// Server: takes no more calls. Client: sends no more calls.
    CloseStarted,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        const ALL: [Kind; 14] = [
            Kind::Hello,
            Kind::Welcome,
            Kind::Goodbye,
            Kind::Call,
            Kind::OneWay,
            Kind::Reply,
            Kind::Fail,
            Kind::Item,
            Kind::End,
            Kind::Credit,
            Kind::Cancel,
            Kind::Ping,
            Kind::Pong,
            Kind::CloseStarted,
        ];
        ALL.get(usize::from(byte).wrapping_sub(1)).copied()
    }

    /// For errors.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hello => "Hello",
            Self::Welcome => "Welcome",
            Self::Goodbye => "Goodbye",
            Self::Call => "Call",
            Self::OneWay => "OneWay",
            Self::Reply => "Reply",
            Self::Fail => "Fail",
            Self::Item => "Item",
            Self::End => "End",
            Self::Credit => "Credit",
            Self::Cancel => "Cancel",
            Self::Ping => "Ping",
            Self::Pong => "Pong",
            Self::CloseStarted => "CloseStarted",
        }
    }
}

/// A call on its connection.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct CallId {
    pub slot: u32,
    pub sequence: u32,
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} in slot {}", self.sequence, self.slot)
    }
}

/// A frame's header, without the length of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub flags: u8,
    pub number: u16,
    pub id: CallId,
}

impl Header {
    /// A header that says nothing but what it is and of which call.
    #[inline]
    pub fn new(kind: Kind, id: CallId) -> Self {
        Self {
            kind,
            flags: 0,
            number: 0,
            id,
        }
    }

    #[inline]
    pub fn with_number(self, number: u16) -> Self {
        Self { number, ..self }
    }

    #[inline]
    fn bytes(self, body_bytes: u32) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&body_bytes.to_le_bytes());
        bytes[4] = self.kind as u8;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&self.number.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.id.slot.to_le_bytes());
        bytes[12..].copy_from_slice(&self.id.sequence.to_le_bytes());
        bytes
    }

    /// Appends the frame. The body must be shorter than 4 GiB, which the limits of both sides see to.
    #[inline]
    pub fn write(self, body: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes(body.len() as u32));
        out.extend_from_slice(body);
    }

    /// Begins a frame whose body is appended to `out` next; [`finish`] or [`give_up`] ends it.
    #[inline]
    pub fn begin(self, out: &mut Vec<u8>) -> Open {
        let start = out.len();
        out.extend_from_slice(&self.bytes(0));
        Open { start }
    }
}

/// A frame whose body is being written.
#[must_use]
pub(crate) struct Open {
    start: usize,
}

impl Open {
    /// Bytes of the body so far.
    #[inline]
    pub fn body_bytes(&self, out: &[u8]) -> usize {
        out.len() - self.start - HEADER_BYTES
    }

    /// The body is complete.
    #[inline]
    pub fn finish(self, out: &mut [u8]) {
        let body_bytes = self.body_bytes(out) as u32;
        out[self.start..self.start + 4].copy_from_slice(&body_bytes.to_le_bytes());
    }

    /// Takes the frame back.
    pub fn give_up(self, out: &mut Vec<u8>) {
        out.truncate(self.start);
    }
}

/// What is at the front of the input.
#[derive(Debug)]
pub(crate) enum Front<'a> {
    /// A whole frame, and what follows it.
    Frame(Header, &'a [u8], &'a [u8]),
    /// A part of one, which is complete with this many bytes from its beginning.
    Partial(usize),
}

/// Reads the frame at the front.
///
/// # Errors
/// A kind that does not exist, or a body longer than `body_bytes_max`: known as soon as the header is there.
#[inline]
pub(crate) fn front(input: &[u8], body_bytes_max: usize) -> Result<Front<'_>, SessionError> {
    let Some((header, rest)) = input.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(Front::Partial(HEADER_BYTES));
    };
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let body_bytes = word(0) as usize;
    let Some(kind) = Kind::from_byte(header[4]) else {
        cold_path();
        return Err(SessionError::UnknownFrame { kind: header[4] });
    };
    if body_bytes > body_bytes_max {
        cold_path();
        return Err(SessionError::FrameTooLong {
            bytes: body_bytes,
            bytes_max: body_bytes_max,
        });
    }
    match rest.split_at_checked(body_bytes) {
        Some((body, rest)) => {
            let header = Header {
                kind,
                flags: header[5],
                number: u16::from_le_bytes([header[6], header[7]]),
                id: CallId {
                    slot: word(8),
                    sequence: word(12),
                },
            };
            Ok(Front::Frame(header, body, rest))
        }
        None => Ok(Front::Partial(HEADER_BYTES + body_bytes)),
    }
}

/// The call has a deadline.
const DEADLINE: u8 = 1;
/// The call has metadata.
const META: u8 = 2;
/// The call is named, rather than ranked: the server's menu does not have it.
const NAMED: u8 = 4;

/// What leads the body of a call, before its request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opening<'a> {
    /// The caller waits this long, from when it sent this; in milliseconds, rounded up.
    pub deadline_ms: Option<u32>,
    /// What goes along with the call, such as a trace id.
    pub meta: &'a [u8],
    /// Name and version of a call that the server's menu does not have.
    pub named: Option<(&'a str, u16)>,
}

impl<'a> Opening<'a> {
    /// The header of a call that begins so.
    pub fn flags(&self) -> u8 {
        let flag = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
        flag(self.deadline_ms.is_some(), DEADLINE)
            | flag(!self.meta.is_empty(), META)
            | flag(self.named.is_some(), NAMED)
    }

    /// Appends it. Metadata is shorter than 64 KiB, a name than 256 bytes; what is longer is cut, so the caller checks.
    pub fn write(&self, out: &mut Vec<u8>) {
        if let Some(deadline_ms) = self.deadline_ms {
            out.extend_from_slice(&deadline_ms.to_le_bytes());
        }
        if !self.meta.is_empty() {
            let meta = &self.meta[..self.meta.len().min(usize::from(u16::MAX))];
            out.extend_from_slice(&(meta.len() as u16).to_le_bytes());
            out.extend_from_slice(meta);
        }
        if let Some((name, version)) = self.named {
            let name = &name.as_bytes()[..name.len().min(usize::from(u8::MAX))];
            out.extend_from_slice(&version.to_le_bytes());
            out.push(name.len() as u8);
            out.extend_from_slice(name);
        }
    }

    /// Reads it off the front of a body, and answers what follows: the request.
    ///
    /// # Errors
    /// Flags that do not exist, or a body that ends too early or names a call in bytes that are not UTF-8.
    #[inline]
    pub fn read(flags: u8, body: &'a [u8]) -> Result<(Self, &'a [u8]), SessionError> {
        if flags == 0 {
            return Ok((Self::default(), body));
        }
        Self::read_flagged(flags, body).ok_or(SessionError::BadFrame {
            what: "the beginning of a call",
        })
    }

    #[inline(never)]
    fn read_flagged(flags: u8, body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        if flags & !(DEADLINE | META | NAMED) != 0 {
            return None;
        }
        let (mut opening, mut rest) = (Self::default(), body);
        if flags & DEADLINE != 0 {
            let (bytes, after) = rest.split_first_chunk::<4>()?;
            opening.deadline_ms = Some(u32::from_le_bytes(*bytes));
            rest = after;
        }
        if flags & META != 0 {
            let (bytes, after) = rest.split_first_chunk::<2>()?;
            (opening.meta, rest) =
                after.split_at_checked(usize::from(u16::from_le_bytes(*bytes)))?;
        }
        if flags & NAMED != 0 {
            let ([low, high, len], after) = rest.split_first_chunk::<3>()?;
            let (name, after) = after.split_at_checked(usize::from(*len))?;
            let version = u16::from_le_bytes([*low, *high]);
            opening.named = Some((std::str::from_utf8(name).ok()?, version));
            rest = after;
        }
        Some((opening, rest))
    }
}

/// Why there is no reply, as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum FailCode {
    /// The server could not read the request; the body says why.
    BadRequest = 1,
    /// The server does not have the call.
    Unknown,
    /// This peer may not make the call; the body says why.
    Refused,
    /// The deadline passed.
    TimedOut,
    /// The handler panicked.
    Panicked,
    /// The handler dropped its reply.
    Unanswered,
    /// The handler's own words are the body.
    Remote,
    /// The reply is over a limit; the body says which.
    TooLarge,
    /// The server takes no more calls; this one was not begun.
    Draining,
}

impl FailCode {
    pub fn from_number(number: u16) -> Option<Self> {
        const ALL: [FailCode; 9] = [
            FailCode::BadRequest,
            FailCode::Unknown,
            FailCode::Refused,
            FailCode::TimedOut,
            FailCode::Panicked,
            FailCode::Unanswered,
            FailCode::Remote,
            FailCode::TooLarge,
            FailCode::Draining,
        ];
        ALL.get(usize::from(number).wrapping_sub(1)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn headers() -> impl Strategy<Value = Header> {
        (1_u8..=14, any::<(u8, u16, u32, u32)>()).prop_map(
            |(kind, (flags, number, slot, sequence))| Header {
                kind: Kind::from_byte(kind).unwrap(),
                flags,
                number,
                id: CallId { slot, sequence },
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(frames in proptest::collection::vec((headers(), proptest::collection::vec(any::<u8>(), 0..50)), 0..8), cut in any::<prop::sample::Index>()) {
            let mut bytes = Vec::new();
            for (at, (header, body)) in frames.iter().enumerate() {
                if at % 2 == 0 {
                    header.write(body, &mut bytes);
                } else {
                    let open = header.begin(&mut bytes);
                    bytes.extend_from_slice(body);
                    prop_assert_eq!(open.body_bytes(&bytes), body.len());
                    open.finish(&mut bytes);
                }
            }
            let mut rest = &bytes[..];
            for (header, body) in &frames {
                match front(rest, 50) {
                    Ok(Front::Frame(read, read_body, after)) => {
                        prop_assert_eq!((read, read_body), (*header, &body[..]));
                        rest = after;
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            prop_assert!(rest.is_empty());
            // Any beginning of a frame says how long it will be, as far as that is known.
            if let Some((header, body)) = frames.first() {
                let whole = HEADER_BYTES + body.len();
                let have = cut.index(whole);
                let known = if have < HEADER_BYTES { HEADER_BYTES } else { whole };
                let mut one = Vec::new();
                header.write(body, &mut one);
                prop_assert!(matches!(front(&one[..have], 50), Ok(Front::Partial(n)) if n == known));
            }
        }

        #[test]
        fn any_bytes_are_a_frame_a_part_of_one_or_a_named_error(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            match front(&bytes, 1000) {
                Ok(Front::Frame(header, body, rest)) => {
                    prop_assert_eq!(HEADER_BYTES + body.len() + rest.len(), bytes.len());
                    let _ = Opening::read(header.flags, body);
                }
                Ok(Front::Partial(whole)) => prop_assert!(whole > bytes.len() && whole <= HEADER_BYTES + 1000),
                Err(SessionError::UnknownFrame { kind }) => prop_assert!(Kind::from_byte(kind).is_none()),
                Err(SessionError::FrameTooLong { bytes, .. }) => prop_assert!(bytes > 1000),
                Err(other) => prop_assert!(false, "{}", other),
            }
        }

        #[test]
        fn an_opening_is_read_as_written_and_never_out_of_a_part(
            deadline_ms in any::<Option<u32>>(),
            meta in proptest::collection::vec(any::<u8>(), 0..20),
            named in any::<Option<(String, u16)>>(),
            request in proptest::collection::vec(any::<u8>(), 0..9),
        ) {
            let named = named.as_ref().filter(|(name, _)| name.len() < 256).map(|(name, version)| (name.as_str(), *version));
            let opening = Opening { deadline_ms, meta: &meta, named };
            let mut bytes = Vec::new();
            opening.write(&mut bytes);
            let opening_bytes = bytes.len();
            bytes.extend_from_slice(&request);
            prop_assert_eq!(Opening::read(opening.flags(), &bytes), Ok((opening, &request[..])));
            for cut in 0..opening_bytes {
                prop_assert!(Opening::read(opening.flags(), &bytes[..cut]).is_err());
            }
            prop_assert!(Opening::read(opening.flags() | 8, &bytes).is_err());
        }
    }

    #[test]
    fn a_frame_given_up_leaves_nothing() {
        let mut out = vec![7];
        let open = Header::new(Kind::Reply, CallId::default()).begin(&mut out);
        out.push(1);
        open.give_up(&mut out);
        assert_eq!(out, [7]);
    }

    #[test]
    fn codes_and_kinds_are_what_they_say() {
        for number in 0..=u16::MAX {
            let code = FailCode::from_number(number);
            assert!(code.is_none_or(|code| code as u16 == number));
            assert_eq!(code.is_some(), (1..=9).contains(&number));
        }
        for byte in 0..=u8::MAX {
            assert!(Kind::from_byte(byte).is_none_or(|kind| kind as u8 == byte));
        }
        assert_eq!(Kind::from_byte(14), Some(Kind::CloseStarted));
        assert_eq!(Kind::from_byte(15), None);
    }
}

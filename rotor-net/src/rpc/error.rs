//! What goes wrong: with one call (`CallError`), and with a whole session (`SessionError`).

use super::call::CallKind;
use super::codec::CodecError;
use super::frame::FailCode;
use std::fmt;

/// Of what a peer says in words. Each of its calls may get a copy, so this is what a person reads, not what a frame holds.
const WORDS_BYTES_MAX: usize = 1 << 10;

/// Of a text, so much, cut between two characters.
pub(crate) fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(WORDS_BYTES_MAX)]
}

/// What a peer says in words, cut.
pub(crate) fn words(bytes: &[u8]) -> Box<str> {
    // A character that begins before the end has at most three bytes beyond it.
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(WORDS_BYTES_MAX + 3)]);
    cut(&text).into()
}

/// Why a call has no reply. Each says whose doing it was. The server's words are the first 1 KiB of them.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The server's menu does not have what this client calls, or differs in it.
    Unavailable(Box<Mismatch>),
    /// The deadline passed. The server may have done what was asked.
    TimedOut,
    /// The call was given up: its [`Call`](super::Call) or [`Pending`](super::Pending) was dropped or cancelled.
    Cancelled,
    /// The connection is gone, or was never made. Says why.
    Disconnected {
        /// Whether the call had been sent: then the server may have done what was asked.
        was_sent: bool,
        /// What happened to the connection.
        why: Box<str>,
    },
    /// The client was closed by this program.
    Closed,
    /// The server takes no more calls, because it drains. The call was not begun.
    Draining,
    /// Over a limit of this client or of the server: calls that wait, metadata, a call's name. It was not sent.
    Full {
        /// What there are too many of.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// The request, reply or item cannot be encoded, or is over a limit. It was not sent.
    Encode(CodecError),
    /// What the peer sent as a reply or an item is not one. (Digests would have told; they were off.)
    Decode(CodecError),
    /// The server could not read the request; its words.
    BadRequest(Box<str>),
    /// The server does not have the call.
    Unknown,
    /// The server does not allow this peer the call; its words.
    Refused(Box<str>),
    /// The server's handler panicked.
    Panicked,
    /// The server's handler dropped its reply without an answer.
    Unanswered,
    /// What the server's handler said instead of replying.
    Remote(Box<str>),
    /// The reply is over a limit of this side or the server's; the server's words.
    TooLarge(Box<str>),
    /// The machine that the answer is for cannot take it: its loop's inbox is full, or it has ended. The call was not made.
    Unheard,
    /// Misuse: waiting on a thread that runs a loop would stop all its machines.
    OnLoopThread,
    /// Misuse by this program. Says what was expected.
    Misuse(&'static str),
    /// The server has answered before it had all items, and takes no more of them. The answer is what the call has.
    Answered,
    /// A fault of the peer. Says what was expected.
    Protocol(&'static str),
}

impl CallError {
    /// What a server says by a failure frame.
    pub(crate) fn from_wire(code: u16, said: &[u8]) -> Self {
        let words = || words(said);
        match FailCode::from_number(code) {
            Some(FailCode::BadRequest) => Self::BadRequest(words()),
            Some(FailCode::Unknown) => Self::Unknown,
            Some(FailCode::Refused) => Self::Refused(words()),
            Some(FailCode::TimedOut) => Self::TimedOut,
            Some(FailCode::Panicked) => Self::Panicked,
            Some(FailCode::Unanswered) => Self::Unanswered,
            Some(FailCode::Remote) => Self::Remote(words()),
            Some(FailCode::TooLarge) => Self::TooLarge(words()),
            Some(FailCode::Draining) => Self::Draining,
            None => Self::Protocol("a failure of a kind that exists"),
        }
    }

    /// As a server says it: the code, and the words that go with it.
    pub(crate) fn to_wire(&self) -> (FailCode, Box<str>) {
        let none: Box<str> = "".into();
        match self {
            Self::BadRequest(words) => (FailCode::BadRequest, words.clone()),
            Self::Unknown => (FailCode::Unknown, none),
            Self::Refused(words) => (FailCode::Refused, words.clone()),
            Self::TimedOut => (FailCode::TimedOut, none),
            Self::Panicked => (FailCode::Panicked, none),
            Self::Unanswered => (FailCode::Unanswered, none),
            Self::Remote(words) => (FailCode::Remote, words.clone()),
            Self::TooLarge(words) => (FailCode::TooLarge, words.clone()),
            Self::Encode(error) => (FailCode::TooLarge, error.to_string().into()),
            Self::Draining => (FailCode::Draining, none),
            other => (FailCode::Remote, other.to_string().into()),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unavailable(mismatch) => mismatch.fmt(f),
            Self::TimedOut => f.write_str("the call's deadline passed"),
            Self::Cancelled => f.write_str("the call was cancelled"),
            Self::Disconnected { was_sent, why } => {
                let sent = if *was_sent {
                    "the call was sent and may have been done"
                } else {
                    "the call was not sent"
                };
                write!(f, "disconnected ({sent}): {why}")
            }
            Self::Closed => f.write_str("the client is closed"),
            Self::Draining => f.write_str("the server takes no more calls; this one was not begun"),
            Self::Full { what, max } => write!(f, "more than {max} {what}"),
            Self::Encode(error) => write!(f, "not sent: {error}"),
            Self::Decode(error) => {
                write!(f, "the peer sent what is not of the expected type: {error}")
            }
            Self::BadRequest(words) => write!(f, "the server could not read the request: {words}"),
            Self::Unknown => f.write_str("the server does not have this call"),
            Self::Refused(words) => write!(f, "the server refused the call: {words}"),
            Self::Panicked => f.write_str("the server's handler panicked"),
            Self::Unanswered => f.write_str("the server's handler gave no answer"),
            Self::Remote(words) => f.write_str(words),
            Self::TooLarge(words) => write!(f, "the server could not send its reply: {words}"),
            Self::Unheard => f.write_str(
                "not called: the loop of the machine that the answer is for has no room for it, or the machine has ended",
            ),
            Self::OnLoopThread => f.write_str(
                "a call was waited for on a thread that runs a loop, which would stop its machines",
            ),
            Self::Misuse(expected) => {
                write!(f, "misuse in this program; expected: {expected}")
            }
            Self::Answered => f.write_str("the server has answered and takes no more items"),
            Self::Protocol(expected) => {
                write!(f, "the peer broke the protocol; expected: {expected}")
            }
        }
    }
}

impl std::error::Error for CallError {}

impl From<Mismatch> for CallError {
    fn from(mismatch: Mismatch) -> Self {
        Self::Unavailable(Box::new(mismatch))
    }
}

/// How client and server differ in a call, so that it is unavailable.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The server does not offer it.
    NotOffered {
        /// The call.
        call: String,
    },
    /// It is offered, in no version that this client knows.
    NoCommonVersion {
        /// The call.
        call: String,
        /// The client's versions.
        here: Vec<u16>,
        /// The server's, the first 16 of them.
        there: Vec<u16>,
    },
    /// Streams on one side are none on the other.
    Kind {
        /// The call and its version.
        call: String,
        /// The client's kind.
        here: CallKind,
        /// The server's.
        there: CallKind,
    },
    /// A type has another shape.
    Shape {
        /// The call and its version.
        call: String,
        /// Which of its types: `request`, `input` or `output`.
        part: &'static str,
        /// Name of the type here.
        type_here: &'static str,
        /// How the server writes the call, the first 1 KiB of it.
        signature_there: String,
        /// The digest here.
        digest_here: u64,
        /// The server's.
        digest_there: u64,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOffered { call } => write!(f, "the server does not offer `{call}`"),
            Self::NoCommonVersion { call, here, there } => write!(
                f,
                "no common version of `{call}`: here {here:?}, there {there:?}"
            ),
            Self::Kind { call, here, there } => {
                write!(f, "`{call}` is a {here} here and a {there} there")
            }
            Self::Shape {
                call,
                part,
                type_here,
                signature_there,
                digest_here,
                digest_there,
            } => write!(
                f,
                "the {part} type of `{call}`, here `{type_here}`, has another shape there (`{signature_there}`): \
                 digest {digest_here:016x} here, {digest_there:016x} there"
            ),
        }
    }
}

impl std::error::Error for Mismatch {}

/// Why a session ended otherwise than by agreement. Most are a fault of the peer, who is told in a last frame.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionError {
    /// What the peer sent first is not how this protocol begins.
    BadMagic {
        /// What it sent.
        got: [u8; 8],
    },
    /// There is no version of the protocol that both speak.
    NoCommonProtocol {
        /// The peer's oldest and newest.
        theirs: (u8, u8),
        /// Ours.
        ours: (u8, u8),
    },
    /// The peer did not complete the handshake in time.
    HandshakeTimedOut,
    /// Nothing arrived for so many heartbeats.
    Silent {
        /// How many.
        heartbeats: u32,
    },
    /// A frame of a kind that does not exist.
    UnknownFrame {
        /// Its number.
        kind: u8,
    },
    /// A frame that has no place here: of the other side, or before or after its time.
    Unexpected {
        /// What it was.
        frame: &'static str,
    },
    /// A frame that says more than it may.
    FrameTooLong {
        /// Bytes of its body.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A frame that cannot be read.
    BadFrame {
        /// What should have been there.
        what: &'static str,
    },
    /// A call that is not the next in the sequence: replayed, lost or out of order.
    OutOfOrder {
        /// The number that was expected.
        expected: u32,
        /// What came.
        got: u32,
    },
    /// A call in a slot that a call in flight has.
    DuplicateId {
        /// The slot.
        slot: u32,
    },
    /// More calls in flight than allowed.
    TooManyCalls {
        /// The limit.
        in_flight_max: usize,
    },
    /// More bytes of items than credit was given for.
    CreditExceeded {
        /// The slot of the call.
        slot: u32,
    },
    /// A call that is not on the menu, where the policy is to close.
    UnknownCall {
        /// Its rank.
        rank: u16,
    },
    /// The peer reads too slowly, or not at all: too much output waits for it.
    OutputFull {
        /// The limit.
        bytes_max: usize,
    },
    /// This peer is not admitted. Says why.
    NotAdmitted(Box<str>),
    /// The peer ended the session and said why, in 1 KiB at most.
    Goodbye(Box<str>),
}

impl SessionError {
    /// As it travels in a `Goodbye`: numbers so that programs can tell them apart in a log of the wire.
    pub(crate) fn code(&self) -> u16 {
        match self {
            Self::BadMagic { .. } => 1,
            Self::NoCommonProtocol { .. } => 2,
            Self::HandshakeTimedOut => 3,
            Self::Silent { .. } => 4,
            Self::UnknownFrame { .. } => 5,
            Self::Unexpected { .. } => 6,
            Self::FrameTooLong { .. } => 7,
            Self::BadFrame { .. } => 8,
            Self::OutOfOrder { .. } => 9,
            Self::DuplicateId { .. } => 10,
            Self::TooManyCalls { .. } => 11,
            Self::CreditExceeded { .. } => 12,
            Self::UnknownCall { .. } => 13,
            Self::OutputFull { .. } => 14,
            Self::NotAdmitted(_) => 15,
            Self::Goodbye(_) => 16,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadMagic { got } => write!(
                f,
                "the peer does not speak this protocol: it began with \"{}\"",
                got.escape_ascii()
            ),
            Self::NoCommonProtocol { theirs, ours } => write!(
                f,
                "no common version of the protocol: the peer speaks {} to {}, this side {} to {}",
                theirs.0, theirs.1, ours.0, ours.1
            ),
            Self::HandshakeTimedOut => {
                f.write_str("the peer did not complete the handshake in time")
            }
            Self::Silent { heartbeats } => {
                write!(f, "nothing arrived for {heartbeats} heartbeats")
            }
            Self::UnknownFrame { kind } => write!(f, "no frame is of kind {kind}"),
            Self::Unexpected { frame } => write!(f, "a {frame} frame has no place here"),
            Self::FrameTooLong { bytes, bytes_max } => {
                write!(f, "a frame of {bytes} bytes, of at most {bytes_max}")
            }
            Self::BadFrame { what } => write!(f, "a frame does not hold what it should: {what}"),
            Self::OutOfOrder { expected, got } => write!(
                f,
                "call {got} came where call {expected} was expected: replayed, lost or out of order"
            ),
            Self::DuplicateId { slot } => {
                write!(f, "a call came in slot {slot}, where another is in flight")
            }
            Self::TooManyCalls { in_flight_max } => {
                write!(f, "more than {in_flight_max} calls in flight")
            }
            Self::CreditExceeded { slot } => {
                write!(f, "the call in slot {slot} sent items beyond its credit")
            }
            Self::UnknownCall { rank } => write!(f, "no call on the menu has rank {rank}"),
            Self::OutputFull { bytes_max } => write!(
                f,
                "the peer does not read: more than {bytes_max} bytes wait for it"
            ),
            Self::NotAdmitted(why) => write!(f, "not admitted: {why}"),
            Self::Goodbye(why) => write!(f, "the peer ended the session: {why}"),
        }
    }
}

impl std::error::Error for SessionError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_travel_as_they_are() {
        for error in [
            CallError::BadRequest("a".into()),
            CallError::Unknown,
            CallError::Refused("b".into()),
            CallError::TimedOut,
            CallError::Panicked,
            CallError::Unanswered,
            CallError::Remote("c".into()),
            CallError::TooLarge("d".into()),
            CallError::Draining,
        ] {
            let (code, words) = error.to_wire();
            assert_eq!(CallError::from_wire(code as u16, words.as_bytes()), error);
        }
        assert!(matches!(
            CallError::from_wire(999, b""),
            CallError::Protocol(_)
        ));
        assert_eq!(
            CallError::from_wire(FailCode::Remote as u16, b"\xff"),
            CallError::Remote("\u{fffd}".into())
        );
    }

    #[test]
    fn the_peer_is_not_blamed_for_what_it_did_not_do() {
        let blames = |error: CallError| error.to_string().contains("peer");
        assert!(blames(CallError::Protocol("a reply")));
        assert!(!blames(CallError::Misuse("one use of an answer")));
        assert!(!blames(CallError::Answered));
    }

    #[test]
    fn what_a_peer_says_is_cut() {
        let said = [b'x'; WORDS_BYTES_MAX + 1];
        let whole = "x".repeat(WORDS_BYTES_MAX);
        assert_eq!(*words(&said), *whole);
        let error = CallError::from_wire(FailCode::Remote as u16, &said);
        assert_eq!(error, CallError::Remote(whole.into()));
        for before in 0..4 {
            for character in ["\u{e9}", "\u{20ac}", "\u{1d11e}"] {
                let said = "x".repeat(WORDS_BYTES_MAX - before) + character + "more";
                let cut = said.floor_char_boundary(WORDS_BYTES_MAX);
                assert_eq!(*words(said.as_bytes()), said[..cut]);
            }
        }
        assert!(words(&[0xff; 1 << 20]).len() <= WORDS_BYTES_MAX);
    }

    #[test]
    fn errors_are_small() {
        assert!(size_of::<CallError>() <= 32, "{}", size_of::<CallError>());
    }
}

//! `CodecError`: why a value could not be encoded, or bytes are not a value; and `Fault`, which carries it up.

use serde::{de, ser};
use std::fmt::{self, Display, Write};

/// Why a value could not be encoded, or bytes could not be decoded.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodecError {
    /// The value nests deeper than [`depth_max`](super::Limits::depth_max).
    TooDeep {
        /// The limit.
        depth_max: u16,
    },
    /// The value's nesting needs more stack than [`stack_bytes_max`](super::Limits::stack_bytes_max), or than the
    /// fiber has.
    StackUsed {
        /// The smaller of the two.
        stack_bytes_max: usize,
    },
    /// The value takes more memory than [`decoded_bytes_max`](super::Limits::decoded_bytes_max).
    TooLarge {
        /// The limit.
        decoded_bytes_max: usize,
    },
    /// The value's bytes are more than [`encoded_bytes_max`](super::Limits::encoded_bytes_max).
    TooLong {
        /// The limit.
        encoded_bytes_max: usize,
    },
    /// The bytes end before the value does.
    Truncated,
    /// Bytes are left after the value.
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// The bytes are not what the type asks for. Says what that is.
    Invalid(&'static str),
    /// The bytes name a variant that the enum does not have.
    UnknownVariant {
        /// The enum's name.
        of: &'static str,
        /// The variant's number.
        index: u32,
    },
    /// The type asks for something that the format does not have. Says what that is.
    Unsupported(&'static str),
    /// A type's own `Serialize` or `Deserialize` refused. Its words, the first 256 bytes of them: they often repeat what
    /// they refuse, which a peer chose.
    Custom(Box<str>),
}

impl Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep { depth_max } => {
                write!(f, "the value nests deeper than {depth_max} levels")
            }
            Self::StackUsed { stack_bytes_max } => write!(
                f,
                "the value's nesting takes more than {stack_bytes_max} bytes of stack"
            ),
            Self::TooLarge { decoded_bytes_max } => write!(
                f,
                "the value takes more than {decoded_bytes_max} bytes of memory"
            ),
            Self::TooLong { encoded_bytes_max } => {
                write!(
                    f,
                    "the encoded value is longer than {encoded_bytes_max} bytes"
                )
            }
            Self::Truncated => f.write_str("the bytes end before the value does"),
            Self::Trailing { bytes } => write!(f, "bytes are left after the value: {bytes}"),
            Self::Invalid(expected) => write!(f, "the bytes are not {expected}"),
            Self::UnknownVariant { of, index } => {
                write!(f, "the enum `{of}` has no variant number {index}")
            }
            Self::Unsupported(what) => write!(f, "the format does not have {what}"),
            Self::Custom(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for CodecError {}

/// An error on its way up from the depth of a value. As small as can be: room for it is in every result of every level.
#[derive(Debug)]
pub(super) struct Fault(Box<CodecError>);

impl Fault {
    /// What the caller of the codec gets.
    pub(super) fn into_error(self) -> CodecError {
        *self.0
    }

    /// What postcard says of one scalar, string or length that it could not read.
    #[cold]
    pub(super) fn of_reading(error: postcard::Error) -> Self {
        use postcard::Error as E;
        let invalid = |expected| Self::from(CodecError::Invalid(expected));
        match error {
            E::DeserializeUnexpectedEnd => CodecError::Truncated.into(),
            E::DeserializeBadVarint => invalid("an integer of the size that was asked for"),
            E::DeserializeBadBool => invalid("a bool (0 or 1)"),
            E::DeserializeBadChar => invalid("a char (its UTF-8, 1 to 4 bytes)"),
            E::DeserializeBadUtf8 => invalid("a string in UTF-8"),
            // A `usize` that is larger than this machine's.
            _ => invalid("a length that this machine can count to"),
        }
    }

    #[cold]
    fn custom(text: &dyn Display) -> Self {
        let mut words = Words(String::new());
        // It fails when it is cut off.
        let _ = write!(words, "{text}");
        CodecError::Custom(words.0.into_boxed_str()).into()
    }
}

/// The first of what is written.
struct Words(String);

impl Words {
    const BYTES_MAX: usize = 256;
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = text.floor_char_boundary(Self::BYTES_MAX - self.0.len());
        self.0.push_str(&text[..kept]);
        match kept == text.len() {
            true => Ok(()),
            false => Err(fmt::Error),
        }
    }
}

impl From<CodecError> for Fault {
    #[cold]
    fn from(error: CodecError) -> Self {
        Self(Box::new(error))
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(text: T) -> Self {
        Self::custom(&text)
    }
}

impl ser::Error for Fault {
    fn custom<T: Display>(text: T) -> Self {
        Self::custom(&text)
    }
}

//! The arguments of a request, as ranges of the bytes they arrived in.

use std::fmt;

/// The arguments of a request, the command's name first. Cheap to copy.
#[derive(Clone, Copy)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    #[inline]
    pub(in super::super) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Args { bytes, spans }
    }

    /// How many, the name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is not even a name.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The argument at `i`; empty if there is none.
    #[inline]
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.spans.get(i).map_or(&[], |span| span.of(self.bytes))
    }

    /// The arguments from `first` on.
    pub fn from(&self, first: usize) -> Args<'a> {
        Args {
            bytes: self.bytes,
            spans: self.spans.get(first..).unwrap_or(&[]),
        }
    }

    /// All arguments in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| span.of(bytes))
    }

    /// The arguments two by two; an odd last one is left out.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let bytes = self.bytes;
        let (pairs, _) = self.spans.as_chunks::<2>();
        pairs
            .iter()
            .map(move |[key, value]| (key.of(bytes), value.of(bytes)))
    }
}

impl fmt::Debug for Args<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|arg| arg.escape_ascii().to_string()))
            .finish()
    }
}

/// Where an argument is. 32 bits suffice: a request is at most `request_bytes_max` long.
#[derive(Clone, Copy)]
pub(in super::super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    #[inline]
    pub(in super::super) fn new(start: usize, len: usize) -> Span {
        Span {
            start: start as u32,
            len: len as u32,
        }
    }

    #[inline]
    pub(in super::super) fn of(self, bytes: &[u8]) -> &[u8] {
        let (start, len) = (self.start as usize, self.len as usize);
        bytes.get(start..start + len).unwrap_or(&[])
    }
}

//! `Limits`: what one value may take when it is decoded, and when it is encoded.

/// Limits of one value. `Limits::DEFAULT` in constants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Levels of structs, tuples, enums, options, newtypes, sequences and maps inside one another. Default 128: no
    /// data that people write nests deeper.
    pub depth_max: u16,
    /// Stack that encoding or decoding may use, from the call on. In a fiber it is less if less is left of the fiber's
    /// stack, of which 24 KiB stay free for a panic that prints its backtrace. Default 256 KiB: 128 levels take up to
    /// 220 KiB in a debug build, and a thread has 2 MiB. On a thread with less than twice the limit, set it lower.
    ///
    /// It is looked at on every level, so the frames of the last one come on top. A level takes as much as serde's
    /// derived code does. Measured with optimisation, to decode: 30 to 170 bytes small types, 340 an enum of 48 bytes,
    /// 660 a struct of 288 bytes in an option (two levels); 40 to 100 to encode. Without optimisation up to 1.7 KiB.
    /// So in a fiber with 64 KiB such enums are decoded about 120 levels deep, without optimisation 26 to 57.
    pub stack_bytes_max: usize,
    /// Memory that a decoded value may take. Default 16 MiB, so that a frame of 1 MiB may consist of enums that take
    /// a byte on the wire and 16 in memory.
    ///
    /// What is charged:
    /// - each struct, tuple, enum, option, newtype, sequence, map and string: its own size, wherever it is;
    /// - the elements of a sequence: the size of each, at least 1; the entries of a map likewise;
    /// - strings and bytes: their length, borrowed ones too.
    ///
    /// A part of a value that is stored in place is so charged with its owner and again by itself: a `Vec<u64>` is
    /// charged about what it takes, a `Vec` of structs about twice that. What allocators and collections take for
    /// themselves is not charged. With it, collections of the standard library stay within six times the budget (the
    /// worst is a `BTreeSet` of one element, which allocates a node for eleven), but for `LinkedList`s of tiny
    /// elements. On top of that a sequence may reserve up to 1 MiB before its first element is charged.
    pub decoded_bytes_max: usize,
    /// Bytes of one encoded value. Default 1 MiB, as a stream's largest frame.
    pub encoded_bytes_max: usize,
}

impl Limits {
    /// The defaults, as a constant.
    pub const DEFAULT: Self = Self {
        depth_max: 128,
        stack_bytes_max: 256 << 10,
        decoded_bytes_max: 16 << 20,
        encoded_bytes_max: 1 << 20,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

//! `Input`: the data that a protocol waited for.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

/// A frame: what the intent waited for, without its delimiter. Dereferences to the bytes. It is consumed when the
/// handler returns, but for what was [unread](Input::unread).
pub struct Input<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) unread: &'a Cell<Unread>,
}

/// What a handler left of its frame.
#[derive(Clone, Copy, Default)]
pub(crate) struct Unread {
    pub bytes: usize,
    /// Present it again without waiting for more.
    pub later: bool,
}

impl Input<'_> {
    /// The last `n` bytes (or all, if there are fewer) are not consumed: they are presented again, in front of what
    /// follows, once more has arrived; or at once, if the handler's intent names another [`Until`](crate::Until) than
    /// `Any` that they satisfy. A delimiter after them stays as well.
    ///
    /// Costs a copy of these bytes, and nothing if none are left over. What may be left over is limited by
    /// [`Limits::input_bytes_max`](crate::Limits::input_bytes_max).
    #[inline]
    pub fn unread(&self, n: usize) {
        self.leave(n, false);
    }

    /// As [`unread`](Self::unread), but these bytes are presented again without waiting for more: in a later turn of
    /// the loop, when others have had theirs, and not before the waiting output is below its watermark.
    ///
    /// The way to stop after a fair share of many small requests, or after a large answer.
    pub fn later(&self, n: usize) {
        self.leave(n, true);
    }

    #[inline]
    fn leave(&self, n: usize, later: bool) {
        self.unread.set(Unread {
            bytes: n.min(self.data.len()),
            later,
        });
    }
}

impl Deref for Input<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.data
    }
}

impl AsRef<[u8]> for Input<'_> {
    fn as_ref(&self) -> &[u8] {
        self.data
    }
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Input(b\"{}\")", self.data.escape_ascii())
    }
}

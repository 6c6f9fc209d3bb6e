//! `Input`: the data that a protocol waited for.

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;

/// A frame: what the intent waited for, without its delimiter. Dereferences to the bytes. It is consumed when the
/// handler returns, but for what was [unread](Input::unread).
pub struct Input<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) unread: &'a Cell<usize>,
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
        self.unread.set(n.min(self.data.len()));
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

//! `Line`: what items, credits and late answers are put on, from any thread; one side of a session behind it.

use super::frame::Header;

/// The way out of a session, for what belongs to a call in flight.
///
/// Whoever calls this holds no lock, so an implementation may take its own. It runs no user code under it.
pub(crate) trait Line: Send + Sync {
    /// Appends a frame and sees to it that it leaves. False, and nothing appended, if the session is over, or the call as far
    /// as that is known.
    fn push(&self, header: Header, body: &[u8]) -> bool;

    /// Whether so much waits for the peer already that items had better wait, too, whatever their credit: the windows
    /// of all streams together may be more than a connection's output holds. Frames that are pushed all the same are
    /// taken. A line that was full and is no longer tells the flows of its calls by [`Outflow::room`].
    ///
    /// [`Outflow::room`]: super::items::Outflow::room
    fn is_full(&self) -> bool {
        false
    }
}

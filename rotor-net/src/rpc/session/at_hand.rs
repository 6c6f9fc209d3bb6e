//! `at_hand`: the call whose handler runs on this thread now, and the answers that such handlers have given.
//!
//! Most calls are answered by the handler that they are given to. While it runs, such a call is nowhere but here: its
//! answer is appended to this thread's buffer, and neither the table of calls nor the lock that guards it is touched. A
//! call that its handler leaves unanswered is entered in the table afterwards; what another thread has answered by then
//! waits in [`Shared`](super::Shared).
//!
//! Invariant: what is in the buffer is of the session whose key is here, and of its present dispatch.

use super::super::frame::{CallId, Header};
use std::cell::{Cell, RefCell};

thread_local! {
    static DESK: Desk = const {
        Desk {
            session: Cell::new(0),
            call: Cell::new(None),
            frames: RefCell::new(Vec::new()),
        }
    };
}

struct Desk {
    /// The key of the session that is in a dispatch: an address, or 0.
    session: Cell<usize>,
    call: Cell<Option<CallId>>,
    frames: RefCell<Vec<u8>>,
}

/// A buffer that has grown larger is given back.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// A dispatch of this session begins. What one that did not end has left is thrown away.
pub(super) fn enter(session: usize) {
    // While a thread ends there is no desk, and no call is at hand.
    let _ = DESK.try_with(|desk| {
        desk.session.set(session);
        desk.call.set(None);
        desk.frames.borrow_mut().clear();
    });
}

/// The handler of this call is about to run.
#[inline]
pub(super) fn take_up(call: CallId) {
    let _ = DESK.try_with(|desk| desk.call.set(Some(call)));
}

/// The handler has returned: whether its call is still unanswered, and how many bytes of answers wait.
#[inline]
pub(super) fn put_down() -> (bool, usize) {
    let found = DESK.try_with(|desk| (desk.call.take().is_some(), desk.frames.borrow().len()));
    found.unwrap_or((true, 0))
}

/// Whether this call of this session is at hand on this thread.
#[inline]
pub(super) fn holds(session: usize, call: CallId) -> bool {
    let found =
        DESK.try_with(|desk| desk.session.get() == session && desk.call.get() == Some(call));
    found.unwrap_or(false)
}

/// Answers the call that is at hand, if it is this one.
#[inline]
pub(super) fn answer(session: usize, header: Header, body: &[u8]) -> bool {
    if !holds(session, header.id) {
        return false;
    }
    let answered = DESK.try_with(|desk| {
        desk.call.set(None);
        header.write(body, &mut desk.frames.borrow_mut());
    });
    answered.is_ok()
}

/// The dispatch ends: `take` gets the answers of this session, if there are any.
#[inline]
pub(super) fn leave(session: usize, take: impl FnOnce(&[u8])) {
    let _ = DESK.try_with(|desk| {
        if desk.session.get() != session {
            return;
        }
        desk.session.set(0);
        let mut frames = desk.frames.borrow_mut();
        if !frames.is_empty() {
            take(&frames);
            frames.clear();
            if frames.capacity() > KEPT_BYTES_MAX {
                *frames = Vec::new();
            }
        }
    });
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::super::frame::Kind;
    use super::*;

    fn call(sequence: u32) -> CallId {
        CallId { slot: 0, sequence }
    }

    fn reply(sequence: u32) -> Header {
        Header::new(Kind::Reply, call(sequence))
    }

    fn left(session: usize) -> Vec<u8> {
        let mut all = Vec::new();
        leave(session, |frames| all.extend_from_slice(frames));
        all
    }

    #[test]
    fn only_the_call_at_hand_is_answered_and_once() {
        enter(7);
        assert!(!answer(7, reply(1), b"before"));
        take_up(call(1));
        assert!(!answer(8, reply(1), b"another session's"));
        assert!(!answer(7, reply(2), b"another call's"));
        assert!(holds(7, call(1)) && answer(7, reply(1), b"yes"));
        assert!(!answer(7, reply(1), b"again"));
        assert!(!put_down().0);
        take_up(call(2));
        let (is_unanswered, bytes) = put_down();
        assert!(is_unanswered);
        assert!(!answer(7, reply(2), b"after"));
        assert!(left(8).is_empty());
        let frames = left(7);
        assert_eq!(frames.len(), bytes);
        assert!(frames.ends_with(b"yes"));
        assert!(left(7).is_empty());
    }

    /// One client must never get what was meant for another.
    #[test]
    fn what_a_dispatch_that_did_not_end_left_is_thrown_away() {
        enter(7);
        take_up(call(1));
        assert!(answer(7, reply(1), b"secret"));
        enter(8);
        assert!(left(8).is_empty());
        enter(7);
        assert!(left(7).is_empty());
    }
}

//! `at_hand`: the call whose handler runs on this thread now, and the answers that such handlers have given.
//!
//! Most calls are answered by the handler that they are given to. While it runs, such a call is nowhere but here: its
//! answer is appended to this thread's buffer, and neither the table of calls nor the lock that guards it is touched. A
//! call that its handler leaves unanswered is entered in the table afterwards; what another thread has answered by then
//! waits in [`Shared`](super::Shared).
//!
//! Invariant: what is in the buffer is of the session whose key is here, and of its present dispatch. Such a session
//! says when its dispatch has ended, or when itself has.

use super::super::error::CallError;
use super::super::frame::{CallId, Header};
use super::shared::check_length;
use std::cell::{Cell, RefCell};
use std::hint::cold_path;

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

/// A dispatch of this session begins. False if it gets no calls at hand: another session's dispatch, whose handler runs a
/// loop of its own, has not ended; or the thread ends.
pub(super) fn enter(session: usize) -> bool {
    let entered = DESK.try_with(|desk| {
        let is_free = [0, session].contains(&desk.session.get());
        if is_free {
            desk.session.set(session);
        }
        is_free
    });
    entered.unwrap_or(false)
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
    let found = DESK.try_with(|desk| desk.holds(session, call));
    found.unwrap_or(false)
}

/// Where the call's answer is to be written, if it is at hand on this thread.
#[inline]
pub(super) fn draft(session: usize, call: CallId) -> Option<Draft> {
    let found = DESK.try_with(|desk| {
        desk.holds(session, call).then(|| {
            // Whoever writes an answer does not find the call at hand.
            desk.call.set(None);
            desk.frames.take()
        })
    });
    let frames = found.ok()??;
    Some(Draft {
        session,
        call,
        start: frames.len(),
        frames,
        is_complete: false,
    })
}

/// The dispatch has ended, or the session: `take` gets its answers, if there are any.
#[inline]
pub(super) fn leave(session: usize, take: impl FnOnce(&[u8])) {
    let _ = DESK.try_with(|desk| {
        if desk.session.get() != session {
            return;
        }
        desk.session.set(0);
        desk.call.set(None);
        let mut frames = desk.frames.borrow_mut();
        if !frames.is_empty() {
            take(&frames);
            frames.clear();
        }
        if frames.capacity() > KEPT_BYTES_MAX {
            cold_path();
            *frames = Vec::new();
        }
    });
}

impl Desk {
    #[inline]
    fn holds(&self, session: usize, call: CallId) -> bool {
        self.session.get() == session && self.call.get() == Some(call)
    }
}

/// An answer that is being written, after those before it. Dropped without one, its call is still at hand.
pub(super) struct Draft {
    session: usize,
    call: CallId,
    frames: Vec<u8>,
    start: usize,
    is_complete: bool,
}

impl Draft {
    /// Answers: `encode` appends the body, of at most so many bytes.
    #[inline]
    pub fn write(
        mut self,
        header: Header,
        body_bytes_max: usize,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let frame = header.begin(&mut self.frames);
        encode(&mut self.frames)?;
        check_length(frame.body_bytes(&self.frames), body_bytes_max)?;
        frame.finish(&mut self.frames);
        self.is_complete = true;
        Ok(())
    }
}

impl Drop for Draft {
    #[inline]
    fn drop(&mut self) {
        let mut frames = std::mem::take(&mut self.frames);
        // If the thread ends, nobody is left to be answered.
        let _ = DESK.try_with(|desk| {
            if desk.session.get() != self.session {
                return;
            }
            if !self.is_complete {
                cold_path();
                frames.truncate(self.start);
                desk.call.set(Some(self.call));
            }
            desk.frames.replace(frames);
        });
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::super::frame::{HEADER_BYTES, Kind};
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    fn call(sequence: u32) -> CallId {
        CallId { slot: 0, sequence }
    }

    /// Whether it was taken.
    fn answered(session: usize, sequence: u32, body: &[u8]) -> bool {
        try_answer(session, sequence, |out| {
            out.extend_from_slice(body);
            Ok(())
        })
        .is_some_and(|answered| answered.is_ok())
    }

    fn try_answer(
        session: usize,
        sequence: u32,
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), CallError>,
    ) -> Option<Result<(), CallError>> {
        let header = Header::new(Kind::Reply, call(sequence));
        Some(draft(session, call(sequence))?.write(header, 100, encode))
    }

    fn left(session: usize) -> Vec<u8> {
        let mut all = Vec::new();
        leave(session, |frames| all.extend_from_slice(frames));
        all
    }

    #[test]
    fn only_the_call_at_hand_is_answered_and_once() {
        assert!(enter(7));
        assert!(!answered(7, 1, b"before"));
        take_up(call(1));
        assert!(!answered(8, 1, b"another session's"));
        assert!(!answered(7, 2, b"another call's"));
        assert!(holds(7, call(1)) && answered(7, 1, b"yes"));
        assert!(!answered(7, 1, b"again"));
        assert!(!put_down().0);
        take_up(call(2));
        let (is_unanswered, bytes) = put_down();
        assert!(is_unanswered);
        assert!(!answered(7, 2, b"after"));
        assert!(left(8).is_empty());
        let frames = left(7);
        assert_eq!(frames.len(), bytes);
        assert!(frames.ends_with(b"yes"));
        assert_eq!(frames[..4], 3_u32.to_le_bytes());
        assert!(left(7).is_empty());
    }

    /// A later session may have the same key.
    #[test]
    fn a_session_that_ends_within_its_dispatch_leaves_nothing() {
        assert!(enter(7));
        take_up(call(1));
        assert!(answered(7, 1, b"secret"));
        take_up(call(2));
        leave(7, |_| {});
        assert!(enter(7));
        assert!(!holds(7, call(2)));
        assert!(left(7).is_empty());
    }

    /// One client must never get what was meant for another.
    #[test]
    fn a_dispatch_within_another_one_finds_no_desk() {
        assert!(enter(7));
        take_up(call(1));
        assert!(answered(7, 1, b"mine"));
        assert!(!enter(8));
        assert!(left(8).is_empty());
        assert!(enter(7), "the same once more");
        assert!(left(7).ends_with(b"mine"));
        assert!(enter(8));
        assert!(left(8).is_empty());
    }

    #[test]
    fn an_answer_that_fails_or_panics_leaves_the_call_at_hand() {
        assert!(enter(7));
        take_up(call(1));
        let refused = try_answer(7, 1, |out| {
            out.push(1);
            assert!(!answered(7, 1, b"from within"));
            Err(CallError::Unanswered)
        });
        assert_eq!(refused, Some(Err(CallError::Unanswered)));
        let long = try_answer(7, 1, |out| {
            out.extend_from_slice(&[1; 101]);
            Ok(())
        });
        assert_eq!(long, Some(check_length(101, 100)));
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            try_answer(7, 1, |out| {
                out.push(1);
                std::panic::resume_unwind(Box::new(()))
            })
        }));
        assert!(panicked.is_err());
        assert!(answered(7, 1, b"well"));
        let frames = left(7);
        assert_eq!(frames.len(), HEADER_BYTES + 4);
    }
}

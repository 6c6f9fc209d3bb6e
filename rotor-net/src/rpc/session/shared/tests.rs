//! Who is answered when, without threads; the interleavings are in `loom_model`.

use super::super::super::frame::HEADER_BYTES;
use super::*;

struct NoWaker;

impl Rouse for NoWaker {
    fn rouse(&self) {}
}

fn shared() -> Arc<Shared<NoWaker>> {
    let bounds = Bounds {
        client_frame_bytes_max: 1000,
        client_window_bytes: 1000,
        queued_bytes_max: 1000,
        high_bytes: 1000,
    };
    Shared::new(Arc::new(codec::Limits::DEFAULT), bounds)
}

fn call(sequence: u32) -> CallId {
    CallId { slot: 0, sequence }
}

fn reply(sequence: u32) -> Header {
    Header::new(Kind::Reply, call(sequence))
}

/// How many bytes leave.
fn settled_bytes(shared: &Shared<NoWaker>) -> usize {
    let mut bytes = 0;
    let settled = shared.settle(
        || NoWaker,
        |waiting| {
            bytes = waiting.len();
            (bytes, 0)
        },
    );
    settled.unwrap();
    bytes
}

#[test]
fn an_early_answer_is_for_its_own_call_alone() {
    let shared = shared();
    assert!(shared.enter(5, true));
    assert!(shared.put(reply(5), b"five"));
    assert!(shared.put(reply(6), b"six"));
    assert!(!shared.put(reply(5), b"no longer at hand"));
    shared.begin_late(call(7), Time::NEVER).unwrap();
    assert_eq!(settled_bytes(&shared), 0);
    assert!(shared.is_live(call(7)));
    shared.end(call(7), CallError::Cancelled);
    // None outlives its dispatch, either.
    assert!(shared.enter(8, true));
    assert!(shared.put(reply(8), b"eight"));
    assert_eq!(settled_bytes(&shared), 0);
    assert!(shared.enter(8, true));
    shared.begin_late(call(8), Time::NEVER).unwrap();
    assert_eq!(settled_bytes(&shared), 0);
    assert!(shared.put(reply(8), b"now"));
    assert_eq!(settled_bytes(&shared), HEADER_BYTES + 3);
}

#[test]
fn once_a_call_has_begun_none_is_at_hand() {
    let shared = shared();
    assert!(!shared.is_live(call(5)));
    assert!(shared.enter(5, true));
    assert!(shared.is_live(call(5)) && !shared.is_live(call(4)));
    shared
        .begin(call(5), Time::NEVER, Flows::default())
        .unwrap();
    shared.end(call(5), CallError::Cancelled);
    assert!(!shared.is_live(call(5)) && !shared.put(reply(5), b""));
    shared
        .begin(call(6), Time::NEVER, Flows::default())
        .unwrap();
    settled_bytes(&shared);
    assert!(!shared.enter(7, true), "its place may be taken");
    let other = self::shared();
    assert!(other.enter(0, true), "nor does it keep others from it");
    settled_bytes(&other);
    settled_bytes(&shared);
}

/// What was answered before the session ended is for nobody else.
#[test]
fn a_session_that_ends_leaves_no_answer_behind() {
    let (ends, next) = (shared(), shared());
    assert!(ends.enter(0, true));
    at_hand::take_up(call(0));
    ends.reply(call(0), |body| {
        body.push(1);
        Ok(())
    });
    assert!(!next.enter(0, true), "one at a time");
    ends.close();
    at_hand::leave(ends.key(), |frames| panic!("{frames:?}"));
    assert!(next.enter(0, true));
    assert_eq!(settled_bytes(&next), 0);
}

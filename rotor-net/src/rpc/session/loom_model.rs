//! Every interleaving of a session with who answers its calls elsewhere. Run with
//! `RUSTFLAGS="--cfg loom" cargo test --release --all-features --lib loom`.

use super::super::codec::Limits;
use super::super::error::CallError;
use super::super::frame::{CallId, Front, Header, Kind, front};
use super::super::items::{ItemSender, Outflow, Side};
use super::calls::Flows;
use super::shared::{Bounds, Rouse, Shared};
use loom::sync::Notify;
use loom::thread;
use rotor_fsm::Time;
use std::sync::Arc;
use std::task::{Wake, Waker};

/// Where the session, and who waits for it, sleep; loom reports a deadlock if nobody rings.
#[derive(Clone)]
struct Bell(Arc<Notify>);

impl Bell {
    fn new() -> Self {
        Self(Arc::new(Notify::new()))
    }
}

impl Rouse for Bell {
    fn rouse(&self) {
        self.0.notify();
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

const ID: CallId = CallId {
    slot: 0,
    sequence: 7,
};

struct Session {
    shared: Arc<Shared<Bell>>,
    bell: Bell,
    left: Vec<u8>,
}

impl Session {
    fn new(high_bytes: usize) -> Self {
        let bounds = Bounds {
            client_frame_bytes_max: 1000,
            client_window_bytes: 1000,
            queued_bytes_max: 1000,
            high_bytes,
        };
        Self {
            shared: Shared::new(Arc::new(Limits::DEFAULT), bounds),
            bell: Bell::new(),
            left: Vec::new(),
        }
    }

    /// At rest, with this call in flight.
    fn with_call(deadline: Time) -> Self {
        let mut session = Self::new(100);
        let begun = session.shared.begin(ID, deadline, Flows::default());
        begun.unwrap();
        session.settle();
        session
    }

    /// The end of a handler: everything leaves.
    fn settle(&mut self) {
        let settled = self.shared.settle(
            || self.bell.clone(),
            |waiting| {
                self.left.extend_from_slice(waiting);
                (waiting.len(), 0)
            },
        );
        assert!(!settled.unwrap().has_rest);
    }

    /// What has left.
    fn kinds(&self) -> Vec<Kind> {
        let (mut kinds, mut left) = (Vec::new(), &self.left[..]);
        while !left.is_empty() {
            match front(left, 1000) {
                Ok(Front::Frame(header, _, rest)) => {
                    kinds.push(header.kind);
                    left = rest;
                }
                other => panic!("{other:?}"),
            }
        }
        kinds
    }

    /// Sleeps until so many frames have left.
    fn until(&mut self, frames: usize) -> Vec<Kind> {
        while self.kinds().len() < frames {
            self.bell.0.wait();
            self.settle();
        }
        self.kinds()
    }
}

#[test]
fn loom_no_reply_is_left_behind_whenever_it_comes() {
    loom::model(|| {
        let mut session = Session::new(100);
        for slot in 0..2 {
            let id = CallId {
                slot,
                sequence: slot,
            };
            session
                .shared
                .begin(id, Time::NEVER, Flows::default())
                .unwrap();
        }
        let threads = [0, 1].map(|slot| {
            let shared = session.shared.clone();
            thread::spawn(move || {
                let id = CallId {
                    slot,
                    sequence: slot,
                };
                assert!(shared.put(Header::new(Kind::Reply, id), b"reply"));
            })
        });
        session.settle();
        assert_eq!(session.until(2), [Kind::Reply; 2]);
        for thread in threads {
            thread.join().unwrap();
        }
        session.settle();
        assert_eq!(session.kinds().len(), 2, "each once");
    });
}

#[test]
fn loom_a_reply_and_a_deadline_make_one_answer() {
    loom::model(|| {
        let mut session = Session::new(100);
        let deadline = Time::from_nanos(5);
        session
            .shared
            .begin(ID, deadline, Flows::default())
            .unwrap();
        session.settle();
        let replying = thread::spawn({
            let shared = session.shared.clone();
            move || shared.put(Header::new(Kind::Reply, ID), b"")
        });
        assert_eq!(session.shared.expire(deadline), Time::NEVER);
        let was_in_time = replying.join().unwrap();
        session.settle();
        let answer = if was_in_time { Kind::Reply } else { Kind::Fail };
        assert_eq!(session.kinds(), [answer]);
        assert!(!session.shared.is_live(ID));
    });
}

#[test]
fn loom_a_reply_that_meets_the_end_of_the_session_goes_nowhere() {
    loom::model(|| {
        let mut session = Session::with_call(Time::NEVER);
        let replying = thread::spawn({
            let shared = session.shared.clone();
            move || shared.put(Header::new(Kind::Reply, ID), b"")
        });
        session.shared.close();
        replying.join().unwrap();
        assert!(!session.shared.put(Header::new(Kind::Reply, ID), b""));
        session.settle();
        assert_eq!(session.kinds(), []);
    });
}

#[test]
fn loom_a_sender_that_waits_for_room_is_told_of_it() {
    loom::model(|| {
        let mut session = Session::new(15);
        let flows = Flows {
            inflow: None,
            outflow: Some(Outflow::new()),
        };
        session
            .shared
            .begin(ID, Time::NEVER, flows.clone())
            .unwrap();
        let outflow = flows.outflow.unwrap();
        outflow.open(session.shared.clone(), ID, 1000, 1000, 0);
        // The line is full now.
        session
            .shared
            .say(Header::new(Kind::Pong, CallId::default()), &[]);
        let sending = thread::spawn(move || {
            let limits = Arc::new(Limits::DEFAULT);
            let encode = |_, byte: u8, _: &Limits, out: &mut Vec<u8>| {
                out.push(byte);
                Ok::<_, CallError>(())
            };
            let mut items = ItemSender::new(outflow, encode, limits, Side::Server);
            let bell = Arc::new(Bell::new());
            while items.send(7).is_err() {
                items.wake_when_ready(Waker::from(bell.clone()));
                bell.0.wait();
            }
            items.end().unwrap();
        });
        session.settle();
        assert_eq!(session.until(3), [Kind::Pong, Kind::Item, Kind::End]);
        sending.join().unwrap();
    });
}

/// The call is in no table then: the session enters it when its handler has returned without an answer.
#[test]
fn loom_an_answer_that_comes_before_its_handler_has_returned_leaves_once() {
    loom::model(|| {
        let mut session = Session::new(100);
        session.shared.enter(ID.sequence, false);
        let shared = session.shared.clone();
        let other = thread::spawn(move || {
            assert!(shared.is_live(ID));
            assert!(shared.put(Header::new(Kind::Reply, ID), b"x"));
        });
        session.shared.begin_late(ID, Time::NEVER).unwrap();
        session.settle();
        assert_eq!(session.until(1), [Kind::Reply]);
        other.join().unwrap();
        session.settle();
        assert_eq!(session.kinds(), [Kind::Reply]);
    });
}

/// Becoming busy takes no lock: who answers meanwhile may not see it, and wakes the session, or does, and need not.
#[test]
fn loom_an_answer_while_a_dispatch_begins_and_ends_is_looked_at() {
    loom::model(|| {
        let mut session = Session::with_call(Time::NEVER);
        let shared = session.shared.clone();
        let other = thread::spawn(move || assert!(shared.put(Header::new(Kind::Reply, ID), b"x")));
        for had_calls in [true, false] {
            session.shared.enter(ID.sequence + 1, had_calls);
            session.settle();
        }
        assert_eq!(session.until(1), [Kind::Reply]);
        other.join().unwrap();
    });
}

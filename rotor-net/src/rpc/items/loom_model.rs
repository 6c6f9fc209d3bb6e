//! Every interleaving of a session with the program's half of a stream. Run with
//! `RUSTFLAGS="--cfg loom" cargo test --release --all-features --lib loom`.

use super::super::error::CallError;
use super::super::frame::Kind;
use super::testing::*;
use super::{SendItemError, Side, cost};
use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

/// Where the models' threads sleep; loom reports a deadlock if nobody rings.
struct Bell(Notify);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.notify();
    }
}

/// Polls until it is ready, and sleeps in between.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let bell = Arc::new(Bell(Notify::new()));
    let waker = Waker::from(bell.clone());
    loop {
        if let Poll::Ready(result) = poll(&mut Context::from_waker(&waker)) {
            return result;
        }
        bell.0.wait();
    }
}

#[test]
fn loom_a_sender_that_waits_for_the_call_and_for_credit_gets_both() {
    loom::model(|| {
        let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
        let session = thread::spawn({
            let line = line.clone();
            move || {
                open_out(&outflow, &line, 1);
                outflow.credit(100);
            }
        });
        for n in 0..2 {
            wait(|cx| sender.poll_ready(cx)).unwrap();
            sender.send(vec![n]).unwrap();
        }
        sender.end().unwrap();
        session.join().unwrap();
        let kinds: Vec<_> = line.frames().into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, [Kind::Item, Kind::Item, Kind::End]);
    });
}

#[test]
fn loom_a_sender_that_waits_hears_of_the_end_with_its_reason() {
    loom::model(|| {
        let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
        open_out(&outflow, &line, 1);
        let session = thread::spawn({
            let line = line.clone();
            move || {
                outflow.close(CallError::TimedOut);
                line.set_over();
            }
        });
        let ended = loop {
            let item = match sender.send(vec![1]) {
                Ok(()) => continue,
                Err(SendItemError::NoCredit(item)) => item,
                Err(other) => break other,
            };
            match wait(|cx| sender.poll_ready(cx)) {
                Ok(()) => panic!("no credit came for {item:?}"),
                Err(why) => break SendItemError::Ended(why),
            }
        };
        assert_eq!(ended, SendItemError::Ended(CallError::TimedOut));
        session.join().unwrap();
    });
}

#[test]
fn loom_a_sender_held_back_by_a_full_line_goes_on_when_it_has_room() {
    loom::model(|| {
        let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
        open_out(&outflow, &line, 100);
        line.set_full(true);
        let session = thread::spawn({
            let line = line.clone();
            move || {
                line.set_full(false);
                outflow.room();
            }
        });
        wait(|cx| sender.poll_ready(cx)).unwrap();
        sender.send(vec![1]).unwrap();
        sender.end().unwrap();
        session.join().unwrap();
        assert_eq!(line.frames().len(), 2);
    });
}

#[test]
fn loom_an_end_is_sent_once_whenever_the_call_is() {
    loom::model(|| {
        let caller = Caller::new(None);
        let (line, (outflow, sender)) = (Tape::new(), sender(Side::Client(caller.clone())));
        let session = thread::spawn({
            let line = line.clone();
            move || open_out(&outflow, &line, 1)
        });
        sender.end().unwrap();
        session.join().unwrap();
        assert_eq!(line.frames(), [(Kind::End, vec![])]);
        assert_eq!(caller.log(), ["start"]);
    });
}

#[test]
fn loom_a_receiver_that_waits_gets_all_items_and_then_the_end() {
    loom::model(|| {
        let (line, (inflow, mut receiver)) = (Tape::new(), receiver(100, Side::Server));
        open_in(&inflow, &line);
        let session = thread::spawn(move || {
            inflow.push(&encoded(&[1])).unwrap();
            inflow.push(&encoded(&[2])).unwrap();
            inflow.end(Ok(()));
        });
        let mut got = Vec::new();
        while let Some(item) = wait(|cx| receiver.poll_next(cx)) {
            got.push(item.unwrap());
        }
        assert_eq!(got, [[1], [2]]);
        session.join().unwrap();
    });
}

/// A machine asks to be woken, and looks only when it is.
#[test]
fn loom_a_machine_that_asked_is_woken() {
    loom::model(|| {
        let (inflow, mut receiver) = receiver(100, Side::Server);
        open_in(&inflow, &Tape::new());
        let session = thread::spawn(move || inflow.push(&encoded(&[1])).unwrap());
        let bell = Arc::new(Bell(Notify::new()));
        receiver.wake_when_ready(bell.clone());
        let got = loop {
            bell.0.wait(); // Once perhaps for nothing.
            if let Poll::Ready(got) = receiver.try_next() {
                break got;
            }
        };
        assert_eq!(got, Some(Ok(vec![1])));
        session.join().unwrap();
    });
}

#[test]
fn loom_a_machine_that_asked_is_woken_for_credit() {
    loom::model(|| {
        let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
        open_out(&outflow, &line, 0);
        let session = thread::spawn(move || outflow.credit(1));
        let bell = Arc::new(Bell(Notify::new()));
        sender.wake_when_ready(bell.clone());
        loop {
            bell.0.wait(); // Once perhaps for nothing.
            if sender.send(vec![1]).is_ok() {
                break;
            }
        }
        sender.end().unwrap();
        session.join().unwrap();
    });
}

/// Whether an item comes before the receiver is gone, while it goes, or after: its credit comes back.
#[test]
fn loom_the_credit_of_what_nobody_wants_comes_back() {
    loom::model(|| {
        let window = 2 * cost(encoded(&[1]).len()) as u32;
        let (line, (inflow, receiver)) = (Tape::new(), receiver(window, Side::Server));
        open_in(&inflow, &line);
        let session = thread::spawn({
            let inflow = inflow.clone();
            move || {
                for _ in 0..2 {
                    inflow.push(&encoded(&[1])).unwrap();
                }
            }
        });
        drop(receiver);
        session.join().unwrap();
        assert_eq!(line.credits().into_iter().sum::<u32>(), window);
    });
}

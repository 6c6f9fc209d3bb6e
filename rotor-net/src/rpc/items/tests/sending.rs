//! The sender's half.

use super::super::super::codec::CodecError;
use super::super::super::error::CallError;
use super::super::super::frame::{FailCode, Kind};
use super::super::{SendItemError, Side, cost};
use super::Count;
use super::testing::*;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};

fn item(body: &[u8]) -> (Kind, Vec<u8>) {
    (Kind::Item, encoded(body))
}

fn end() -> (Kind, Vec<u8>) {
    (Kind::End, Vec::new())
}

#[test]
fn items_leave_in_order_in_their_version_and_the_end_after_them() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1000);
    for n in 0..3 {
        sender.send(vec![n]).unwrap();
    }
    sender.end().unwrap();
    let sent = [item(&[0]), item(&[1]), item(&[2]), end()];
    assert_eq!(line.frames(), sent);
}

/// Credit may be overdrawn by one item, and what is given pays that back first.
#[test]
fn without_credit_the_item_comes_back() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1);
    sender.send(vec![1; 10]).unwrap();
    assert_eq!(sender.send(vec![2]), Err(SendItemError::NoCredit(vec![2])));
    let owed = cost(encoded(&[1; 10]).len()) - 1;
    outflow.credit(owed as u32);
    assert_eq!(sender.send(vec![2]), Err(SendItemError::NoCredit(vec![2])));
    outflow.credit(1);
    sender.send(vec![2]).unwrap();
    assert_eq!(sender.send(vec![3]), Err(SendItemError::NoCredit(vec![3])));
    assert_eq!(line.frames(), [item(&[1; 10]), item(&[2])]);
    outflow.close(CallError::TimedOut);
}

#[test]
fn credit_beyond_all_measure_does_no_harm() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, u32::MAX);
    for _ in 0..3 {
        outflow.credit(u32::MAX);
        sender.send(vec![1]).unwrap();
    }
    outflow.close(CallError::TimedOut);
}

#[test]
fn a_callers_first_use_begins_the_call_once() {
    let caller = Caller::new(None);
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Client(caller.clone())));
    assert!(caller.log().is_empty());
    assert_eq!(sender.send(vec![1]), Err(SendItemError::NoCredit(vec![1])));
    assert_eq!(sender.send(vec![1]), Err(SendItemError::NoCredit(vec![1])));
    assert_eq!(caller.log(), ["start"]);
    open_out(&outflow, &line, 100);
    sender.send(vec![1]).unwrap();
    sender.end().unwrap();
    assert_eq!(line.frames(), [item(&[1]), end()]);
    assert!(caller.log().is_empty());
}

#[test]
fn a_call_that_cannot_begin_says_so_to_every_use() {
    let closed = CallError::Closed;
    let caller = Caller::new(Some(closed.clone()));
    let (_, mut sender) = sender(Side::Client(caller.clone()));
    let ended = SendItemError::Ended(closed.clone());
    assert_eq!(sender.send(vec![1]), Err(ended));
    let (_count, waker) = Count::new();
    let ready = sender.poll_ready(&mut Context::from_waker(&waker));
    assert_eq!(ready, Poll::Ready(Err(closed.clone())));
    assert!(sender.is_over());
    assert_eq!(sender.end(), Err(closed));
    assert_eq!(caller.log(), ["start"]);
}

#[test]
fn an_end_before_the_call_was_sent_follows_it() {
    let caller = Caller::new(None);
    let (line, (outflow, sender)) = (Tape::new(), sender(Side::Client(caller.clone())));
    sender.end().unwrap();
    assert_eq!(caller.log(), ["start"]);
    open_out(&outflow, &line, 100);
    assert_eq!(line.frames(), [end()]);
    assert!(caller.log().is_empty());
}

#[test]
fn what_is_refused_leaves_the_stream_alive_and_its_credit_alone() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 2);
    let too_long = CallError::Encode(CodecError::TooLong {
        encoded_bytes_max: ITEM_BYTES_MAX,
    });
    let refused = sender.send(vec![1; ITEM_BYTES_MAX]);
    assert_eq!(refused, Err(SendItemError::Refused(too_long)));
    // Over the codec's own limit.
    let refused = sender.send(vec![1; 2 << 20]);
    assert!(matches!(
        refused,
        Err(SendItemError::Refused(CallError::Encode(_)))
    ));
    let panicked = catch_unwind(AssertUnwindSafe(|| sender.send(b"panic".to_vec())));
    panicked.unwrap_err();
    sender.send(vec![1]).unwrap();
    sender.end().unwrap();
    assert_eq!(line.frames(), [item(&[1]), end()]);
}

/// The longest that a peer takes, to the byte.
#[test]
fn an_item_of_the_greatest_length_passes() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1);
    let lead = encoded(&[1; 900]).len() - 900;
    sender.send(vec![1; ITEM_BYTES_MAX - lead]).unwrap();
    let sent = line.frames();
    assert_eq!(sent[0].1.len(), ITEM_BYTES_MAX);
    outflow.close(CallError::TimedOut);
}

/// A peer refuses what is longer than its window, so it is not sent; the stream lives.
#[test]
fn an_item_longer_than_the_window_is_refused_here() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    let too_long = CallError::Encode(CodecError::TooLong {
        encoded_bytes_max: 2000,
    });
    outflow.open(line.clone(), ID, 2000, 1 << 20, VERSION);
    let refused = SendItemError::Refused(too_long);
    assert_eq!(sender.send(vec![1; 2000]), Err(refused));
    sender.send(vec![1; 1000]).unwrap();
    assert_eq!(line.frames(), [item(&[1; 1000])]);
}

#[test]
fn a_call_that_is_over_ends_the_stream_with_its_first_reason() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1000);
    sender.send(vec![1]).unwrap();
    assert!(!sender.is_over());
    line.set_over();
    outflow.close(CallError::TimedOut);
    outflow.close(CallError::Cancelled);
    outflow.credit(5);
    assert!(sender.is_over());
    // Credit is left, so it is the line that says so.
    let ended = SendItemError::Ended(CallError::TimedOut);
    assert_eq!(sender.send(vec![2]), Err(ended));
    assert_eq!(sender.end(), Err(CallError::TimedOut));
    assert_eq!(line.frames(), [item(&[1])]);
}

#[test]
fn a_line_that_refuses_ends_the_stream_even_if_nobody_has_said_why() {
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1000);
    line.set_over();
    let ended = SendItemError::Ended(CallError::Cancelled);
    assert_eq!(sender.send(vec![2]), Err(ended));
    assert_eq!(sender.end(), Err(CallError::Cancelled));
}

#[test]
fn a_handlers_sender_that_is_dropped_fails_the_call() {
    let (line, (outflow, sender_)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1000);
    drop(sender_);
    let (header, words) = line.next().unwrap();
    assert_eq!((header.kind, header.id), (Kind::Fail, ID));
    assert_eq!(
        CallError::from_wire(header.number, &words),
        CallError::Unanswered
    );

    let (outflow, mut sender_) = sender(Side::Server);
    open_out(&outflow, &line, 1000);
    let panicked = catch_unwind(AssertUnwindSafe(move || {
        sender_.send(vec![1]).unwrap();
        panic!("as asked");
    }));
    panicked.unwrap_err();
    assert_eq!(line.next().unwrap().0.kind, Kind::Item);
    assert_eq!(line.next().unwrap().0.number, FailCode::Panicked as u16);

    // A call that is over needs no failure.
    let (outflow, sender_) = sender(Side::Server);
    open_out(&outflow, &line, 1000);
    outflow.close(CallError::Cancelled);
    drop(sender_);
    assert!(line.frames().is_empty());
}

#[test]
fn a_callers_sender_that_is_dropped_cancels_the_call() {
    let caller = Caller::new(None);
    let (_, sender_) = sender(Side::Client(caller.clone()));
    drop(sender_);
    assert_eq!(caller.log(), ["cancel"]);

    let (line, (outflow, mut sender_)) = (Tape::new(), sender(Side::Client(caller.clone())));
    open_out(&outflow, &line, 100);
    sender_.send(vec![1]).unwrap();
    sender_.fail(CallError::Remote("no".into()));
    assert_eq!(caller.log(), ["start", "cancel"]);
    assert_eq!(line.frames(), [item(&[1])]);

    let (outflow, sender_) = sender(Side::Client(caller.clone()));
    outflow.close(CallError::TimedOut);
    drop(sender_);
    assert!(caller.log().is_empty());
}

/// A peer that gets a longer frame than it takes would end the session.
#[test]
fn the_words_of_a_failure_are_cut_to_what_the_peer_takes() {
    let (line, (outflow, sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1000);
    let words = "x".to_owned() + &"é".repeat(ITEM_BYTES_MAX);
    sender.fail(CallError::Remote(words.as_str().into()));
    let (header, said) = line.next().unwrap();
    assert_eq!(header.number, FailCode::Remote as u16);
    assert_eq!(said.len(), ITEM_BYTES_MAX - 1);
    assert!(words.as_bytes().starts_with(&said) && std::str::from_utf8(&said).is_ok());
}

#[test]
fn a_full_line_holds_items_back_until_it_has_room() {
    let (count, waker) = Count::new();
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    open_out(&outflow, &line, 1000);
    line.set_full(true);
    assert_eq!(sender.send(vec![1]), Err(SendItemError::NoCredit(vec![1])));
    let mut cx = Context::from_waker(&waker);
    assert!(sender.poll_ready(&mut cx).is_pending());
    outflow.room();
    assert_eq!(count.take(), 1);
    assert!(sender.poll_ready(&mut cx).is_pending(), "still full");
    line.set_full(false);
    outflow.room();
    assert_eq!(count.take(), 1);
    assert_eq!(sender.poll_ready(&mut cx), Poll::Ready(Ok(())));
    sender.send(vec![1]).unwrap();
    // The end may leave all the same.
    line.set_full(true);
    sender.end().unwrap();
    assert_eq!(line.frames(), [item(&[1]), end()]);
}

#[test]
fn who_waits_is_woken_once_by_whatever_it_waits_for() {
    let (count, waker) = Count::new();
    let (line, (outflow, mut sender)) = (Tape::new(), sender(Side::Server));
    sender.wake_when_ready(waker.clone());
    assert_eq!(count.take(), 0);
    open_out(&outflow, &line, 1);
    assert_eq!(count.take(), 1);
    sender.wake_when_ready(waker.clone());
    assert_eq!(count.take(), 1, "it can be sent at once");
    sender.send(vec![1]).unwrap();
    sender.wake_when_ready(waker.clone());
    assert_eq!(count.take(), 0);
    outflow.credit(1000);
    outflow.credit(1000);
    assert_eq!(count.take(), 1);
    sender.send(vec![1]).unwrap();
    line.set_full(true);
    sender.wake_when_ready(waker.clone());
    outflow.close(CallError::TimedOut);
    assert_eq!(count.take(), 1);
    let mut cx = Context::from_waker(&waker);
    // Ready or not, it can find out.
    line.set_full(false);
    line.set_over();
    let ready = sender.poll_ready(&mut cx);
    let sent = sender.send(vec![1]);
    assert!(matches!(ready, Poll::Ready(Ok(()) | Err(_))));
    assert_eq!(sent, Err(SendItemError::Ended(CallError::TimedOut)));
}

/// A session and the flows of its calls must not keep each other alive.
#[test]
fn a_flow_that_is_closed_lets_its_line_go() {
    let line = Tape::new();
    let (outflow, sender_) = sender(Side::Server);
    open_out(&outflow, &line, 1000);
    assert_eq!(Arc::strong_count(&line), 2);
    outflow.close(CallError::Cancelled);
    assert_eq!(Arc::strong_count(&line), 1);
    open_out(&outflow, &line, 1000);
    assert_eq!(Arc::strong_count(&line), 1);
    drop(sender_);
}

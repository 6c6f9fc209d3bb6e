//! The receiver's half.

use super::super::super::error::CallError;
use super::super::inflow::Exceeded;
use super::super::{ItemReceiver, Side, cost};
use super::Count;
use super::testing::*;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What comes until nothing does.
fn all(receiver: &mut ItemReceiver<Vec<u8>>) -> Vec<Result<Vec<u8>, CallError>> {
    let mut got = Vec::new();
    while let Poll::Ready(Some(item)) = receiver.try_next() {
        got.push(item);
    }
    got
}

#[test]
fn items_come_in_order_then_the_end_then_nothing() {
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(1000, Side::Server));
    open_in(&inflow, &line);
    assert_eq!(receiver.try_next(), Poll::Pending);
    for n in 0..3 {
        inflow.push(&encoded(&[n])).unwrap();
    }
    assert_eq!(receiver.try_next(), Poll::Ready(Some(Ok(vec![0]))));
    inflow.push(&encoded(&[3])).unwrap();
    inflow.end(Ok(()));
    inflow.end(Err(CallError::Cancelled));
    inflow.push(b"late").unwrap();
    assert_eq!(all(&mut receiver), [Ok(vec![1]), Ok(vec![2]), Ok(vec![3])]);
    assert!(receiver.is_over());
    assert_eq!(receiver.try_next(), Poll::Ready(None));
    assert!(line.frames().is_empty());
}

#[test]
fn an_error_comes_after_the_items_and_once() {
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(1000, Side::Server));
    open_in(&inflow, &line);
    inflow.push(&encoded(&[1])).unwrap();
    inflow.end(Err(CallError::TimedOut));
    inflow.end(Ok(()));
    assert_eq!(all(&mut receiver), [Ok(vec![1]), Err(CallError::TimedOut)]);
    assert_eq!(receiver.try_next(), Poll::Ready(None));
}

#[test]
fn credit_is_given_back_when_half_the_window_was_consumed() {
    let item_cost = cost(encoded(&[1; 10]).len()) as u32;
    let window = 4 * item_cost;
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(window, Side::Server));
    open_in(&inflow, &line);
    for _ in 0..4 {
        inflow.push(&encoded(&[1; 10])).unwrap();
    }
    assert_eq!(inflow.push(&encoded(&[1; 10])), Err(Exceeded));
    assert!(receiver.try_next().is_ready());
    assert!(line.frames().is_empty());
    assert!(receiver.try_next().is_ready());
    assert_eq!(line.credits(), [2 * item_cost]);
    assert_eq!(all(&mut receiver).len(), 2);
    assert_eq!(line.credits(), [2 * item_cost]);
    // Nothing more will be sent, so nothing needs credit.
    for _ in 0..4 {
        inflow.push(&encoded(&[1; 10])).unwrap();
    }
    inflow.end(Ok(()));
    assert_eq!(all(&mut receiver).len(), 4);
    assert!(line.frames().is_empty());
}

/// Whatever credit is left: so a stream holds no more than two windows.
#[test]
fn an_item_longer_than_the_window_is_refused() {
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(2000, Side::Server));
    open_in(&inflow, &line);
    assert_eq!(inflow.push(&[0; 2001]), Err(Exceeded));
    inflow.push(&[0; 2000]).unwrap();
    assert!(receiver.try_next().is_ready());
}

/// What is refused is not kept.
#[test]
fn an_item_without_credit_is_refused_and_one_that_overdraws_is_not() {
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(1, Side::Server));
    open_in(&inflow, &line);
    inflow.push(&encoded(&[1; 500])).unwrap();
    assert_eq!(inflow.push(&encoded(&[2])), Err(Exceeded));
    assert_eq!(all(&mut receiver), [Ok(vec![1; 500])]);
    let spent = cost(encoded(&[1; 500]).len()) as u32;
    assert_eq!(line.credits(), [spent]);
    inflow.push(&encoded(&[3])).unwrap();
    assert_eq!(all(&mut receiver), [Ok(vec![3])]);

    let (inflow, _receiver) = self::receiver(0, Side::Server);
    assert_eq!(inflow.push(b""), Err(Exceeded));
}

/// Unit items have no bytes, and still cost their frame.
#[test]
fn items_without_bytes_use_credit_up() {
    let (inflow, _receiver) = receiver(cost(0) as u32 * 5, Side::Server);
    for _ in 0..5 {
        inflow.push(b"").unwrap();
    }
    assert_eq!(inflow.push(b""), Err(Exceeded));
}

#[test]
fn a_callers_first_use_begins_the_call_once() {
    let caller = Caller::new(None);
    let (inflow, receiver) = receiver(100, Side::Client(caller.clone()));
    let mut receiver = receiver.within(Duration::from_secs(2)).with_meta(&[1, 2]);
    assert_eq!(caller.log(), ["within 2s", "meta [1, 2]"]);
    receiver.start();
    assert_eq!(receiver.try_next(), Poll::Pending);
    assert_eq!(caller.log(), ["start"]);
    inflow.end(Ok(()));
    assert_eq!(receiver.try_next(), Poll::Ready(None));
    drop(receiver);
    assert!(caller.log().is_empty());
}

#[test]
fn a_call_that_cannot_begin_says_so_first() {
    let caller = Caller::new(Some(CallError::Closed));
    let (_, mut receiver) = receiver(100, Side::Client(caller.clone()));
    assert_eq!(all(&mut receiver), [Err(CallError::Closed)]);
    assert_eq!(receiver.try_next(), Poll::Ready(None));
    drop(receiver);
    assert_eq!(caller.log(), ["start"]);
}

#[test]
fn a_callers_receiver_that_is_dropped_before_the_end_cancels_the_call() {
    let caller = Caller::new(None);
    let (_, receiver_) = receiver(100, Side::Client(caller.clone()));
    drop(receiver_);
    assert_eq!(caller.log(), ["cancel"]);

    let (line, (inflow, mut receiver_)) =
        (Tape::new(), receiver(100, Side::Client(caller.clone())));
    receiver_.start();
    open_in(&inflow, &line);
    inflow.push(&encoded(&[1])).unwrap();
    drop(receiver_);
    assert_eq!(caller.log(), ["start", "cancel"]);

    // The end has come, if only to the session.
    let (inflow, receiver_) = receiver(100, Side::Client(caller.clone()));
    inflow.end(Ok(()));
    drop(receiver_);
    assert!(caller.log().is_empty());
}

/// So that the client can go on to its end.
#[test]
fn what_a_handler_does_not_want_is_thrown_away_for_credit() {
    let item_cost = cost(encoded(&[1; 10]).len()) as u32;
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(4 * item_cost, Side::Server));
    open_in(&inflow, &line);
    for _ in 0..3 {
        inflow.push(&encoded(&[1; 10])).unwrap();
    }
    assert!(receiver.try_next().is_ready());
    inflow.push(&encoded(&[1; 10])).unwrap();
    drop(receiver);
    // One consumed, two taken, one waiting.
    assert_eq!(line.credits(), [4 * item_cost]);
    for _ in 0..20 {
        inflow.push(&encoded(&[1; 10])).unwrap();
    }
    assert_eq!(line.credits(), [2 * item_cost; 10]);
    inflow.end(Ok(()));

    // Nothing was consumed: there is nothing to be given.
    let (inflow, receiver) = self::receiver(1, Side::Server);
    open_in(&inflow, &line);
    drop(receiver);
    assert!(line.frames().is_empty());
}

#[test]
fn an_item_that_cannot_be_read_is_the_last() {
    let caller = Caller::new(None);
    for side in [Side::Server, Side::Client(caller.clone())] {
        let (line, (inflow, mut receiver)) = (Tape::new(), receiver(40, side));
        open_in(&inflow, &line);
        inflow.push(b"\x02").unwrap();
        inflow.push(&encoded(&[1])).unwrap();
        let got = all(&mut receiver);
        assert!(matches!(got[..], [Err(CallError::Decode(_))]), "{got:?}");
        assert!(receiver.is_over());
        // Both are given back, the second unread.
        let spent = cost(1) + cost(encoded(&[1]).len());
        assert_eq!(line.credits(), [spent as u32]);
        inflow.push(&encoded(&[1; 30])).unwrap();
        assert_eq!(line.credits().len(), 1);
        assert_eq!(receiver.try_next(), Poll::Ready(None));
    }
    assert_eq!(caller.log(), ["start", "cancel"]);
}

#[test]
fn who_waits_is_woken_once_by_whatever_it_waits_for() {
    let (count, waker) = Count::new();
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(1000, Side::Server));
    open_in(&inflow, &line);
    receiver.wake_when_ready(waker.clone());
    assert_eq!(count.take(), 0);
    inflow.push(&encoded(&[1])).unwrap();
    inflow.push(&encoded(&[2])).unwrap();
    assert_eq!(count.take(), 1);
    receiver.wake_when_ready(waker.clone());
    assert_eq!(count.take(), 1, "it is there already");
    assert!(receiver.try_next().is_ready());
    receiver.wake_when_ready(waker.clone());
    assert_eq!(count.take(), 1, "it was taken with the first");
    assert_eq!(all(&mut receiver).len(), 1);
    let mut cx = Context::from_waker(&waker);
    assert!(receiver.poll_next(&mut cx).is_pending());
    inflow.end(Ok(()));
    assert_eq!(count.take(), 1);
    receiver.wake_when_ready(waker.clone());
    assert_eq!(count.take(), 1, "the end is something, too");
    assert_eq!(receiver.poll_next(&mut cx), Poll::Ready(None));
    receiver.wake_when_ready(waker);
    assert_eq!(count.take(), 1, "and so is what is after it");
}

#[test]
fn an_idle_stream_holds_little_and_one_that_flows_allocates_nothing() {
    let (line, (inflow, mut receiver)) = (Tape::new(), receiver(64 << 10, Side::Server));
    assert_eq!(receiver.buffered_bytes(), 0);
    open_in(&inflow, &line);
    let (small, large) = (encoded(&[1; 100]), encoded(&[1; 900]));
    let round = |receiver: &mut ItemReceiver<_>, item: &[u8], times| {
        for _ in 0..times {
            inflow.push(item).unwrap();
        }
        assert!(all(receiver).len() >= times);
        receiver.buffered_bytes()
    };
    round(&mut receiver, &small, 4);
    let held = round(&mut receiver, &small, 4);
    assert!((1..=2 << 10).contains(&held), "{held}");
    for _ in 0..100 {
        assert_eq!(round(&mut receiver, &small, 4), held);
    }
    for _ in 0..3 {
        let held = round(&mut receiver, &large, 30);
        assert!(held <= 1 << 10, "{held}");
    }
    // Both buffers have grown.
    (0..15).for_each(|_| inflow.push(&large).unwrap());
    assert!(receiver.try_next().is_ready());
    let held = round(&mut receiver, &large, 15);
    assert!(held <= 1 << 10, "{held}");
    inflow.push(&large).unwrap();
    inflow.push(&large).unwrap();
    assert!(receiver.try_next().is_ready());
    inflow.push(&large).unwrap();
    drop(receiver);
    assert_eq!(inflow.buffered_bytes(), 0);
}

/// A session and the flows of its calls must not keep each other alive.
#[test]
fn a_flow_that_has_ended_lets_its_line_go() {
    let (line, (inflow, _receiver)) = (Tape::new(), receiver(100, Side::Server));
    open_in(&inflow, &line);
    open_in(&inflow, &line);
    assert_eq!(Arc::strong_count(&line), 2);
    inflow.end(Ok(()));
    assert_eq!(Arc::strong_count(&line), 1);
    open_in(&inflow, &line);
    assert_eq!(Arc::strong_count(&line), 1);
}

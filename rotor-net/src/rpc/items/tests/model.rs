//! Streams against models: both halves with a slow wire between them, and one half with a peer that does as it likes.

use super::super::super::error::CallError;
use super::super::super::frame::Kind;
use super::super::inflow::Exceeded;
use super::super::{SendItemError, Side, cost};
use super::testing::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use std::task::Poll;

#[derive(Clone, Debug)]
enum Step {
    Send(usize),
    /// The first frame on the way to the receiver arrives.
    Deliver,
    Receive,
    /// The first credit on the way to the sender arrives.
    Credit,
    Full(bool),
    /// The receiver is dropped.
    Desert,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0usize..60).prop_map(Step::Send),
        4 => Just(Step::Deliver),
        3 => Just(Step::Receive),
        2 => Just(Step::Credit),
        1 => any::<bool>().prop_map(Step::Full),
        1 => prop::bool::weighted(0.1).prop_map(|yes| if yes { Step::Desert } else { Step::Receive }),
    ];
    proptest::collection::vec(step, 0..200)
}

fn item_cost(len: usize) -> i64 {
    cost(encoded(&vec![0; len]).len()) as i64
}

proptest! {
    /// A sender that keeps the rules is never found to break them, sends exactly while it has credit, is at most a window
    /// and an item ahead, and can always go on once everything has arrived and was consumed.
    #[test]
    fn two_halves_make_a_stream(window in 1u32..300, steps in steps()) {
        let (there, back) = (Tape::new(), Tape::new());
        let (outflow, mut sender) = sender(Side::Server);
        let (inflow, receiver) = receiver(window, Side::Server);
        open_out(&outflow, &there, window);
        open_in(&inflow, &back);
        let mut receiver = Some(receiver);
        let (mut sent, mut credit, mut full) = (VecDeque::new(), i64::from(window), false);
        let (mut serial, mut ahead) = (0_u8, 0);
        for step in steps {
            match step {
                Step::Send(len) => {
                    serial = serial.wrapping_add(1);
                    let item = vec![serial; len];
                    match sender.send(item.clone()) {
                        Ok(()) => {
                            prop_assert!(credit > 0 && !full);
                            credit -= item_cost(len);
                            ahead += item_cost(len);
                            prop_assert!(ahead < i64::from(window) + item_cost(len));
                            sent.push_back(item);
                        }
                        refused => {
                            prop_assert_eq!(refused, Err(SendItemError::NoCredit(item)));
                            prop_assert!(credit <= 0 || full);
                        }
                    }
                }
                Step::Deliver => {
                    if let Some((header, body)) = there.next() {
                        prop_assert_eq!(header.kind, Kind::Item);
                        prop_assert_eq!(inflow.push(&body), Ok(()));
                        if receiver.is_none() {
                            ahead -= cost(body.len()) as i64;
                        }
                    }
                }
                Step::Receive => {
                    if let Some(Poll::Ready(got)) = receiver.as_mut().map(|one| one.try_next()) {
                        let item = sent.pop_front().unwrap();
                        ahead -= item_cost(item.len());
                        prop_assert_eq!(got, Some(Ok(item)));
                    }
                }
                Step::Credit => {
                    if let Some((header, body)) = back.next() {
                        prop_assert_eq!(header.kind, Kind::Credit);
                        let bytes = u32::from_le_bytes(body.try_into().unwrap());
                        credit += i64::from(bytes);
                        outflow.credit(bytes);
                    }
                }
                Step::Full(is_full) => {
                    full = is_full;
                    there.set_full(full);
                    outflow.room();
                }
                Step::Desert => {
                    receiver = None;
                    ahead = 0; // Not known here any more how much is on the way, so this is a lower bound.
                }
            }
            prop_assert!(credit <= i64::from(window));
        }
        // All arrives, and is consumed: at least half of the window is free.
        there.set_full(false);
        while let Some((_, body)) = there.next() {
            prop_assert_eq!(inflow.push(&body), Ok(()));
        }
        if let Some(receiver) = &mut receiver {
            for item in sent {
                prop_assert_eq!(receiver.try_next(), Poll::Ready(Some(Ok(item))));
            }
            prop_assert_eq!(receiver.try_next(), Poll::Pending);
        }
        credit += back.credits().into_iter().map(|bytes| {
            outflow.credit(bytes);
            i64::from(bytes)
        }).sum::<i64>();
        prop_assert!(credit > i64::from(window) / 2 && credit <= i64::from(window));
        prop_assert_eq!(sender.send(vec![1]), Ok(()));
        sender.end().unwrap();
        prop_assert_eq!(there.frames(), [(Kind::Item, encoded(&[1])), (Kind::End, vec![])]);
    }

    /// A peer that sends what it likes is caught exactly at the first item for which it has no credit.
    #[test]
    fn credit_that_is_exceeded_is_noticed_and_nothing_else_is(
        window in 0u32..200,
        steps in proptest::collection::vec(proptest::option::weighted(0.7, 0usize..50), 0..100),
    ) {
        let back = Tape::new();
        let (inflow, mut receiver) = receiver(window, Side::Server);
        open_in(&inflow, &back);
        let (mut credit, mut held) = (i64::from(window), 0);
        for step in steps {
            match step {
                Some(len) if credit > 0 => {
                    prop_assert_eq!(inflow.push(&encoded(&vec![1; len])), Ok(()));
                    credit -= item_cost(len);
                    held += item_cost(len);
                    prop_assert!(held < i64::from(window) + item_cost(len));
                }
                Some(len) => prop_assert_eq!(inflow.push(&encoded(&vec![1; len])), Err(Exceeded)),
                None => {
                    if let Poll::Ready(Some(Ok(item))) = receiver.try_next() {
                        held -= item_cost(item.len());
                    }
                    credit += back.credits().into_iter().map(i64::from).sum::<i64>();
                }
            }
        }
        while receiver.try_next().is_ready() {}
        credit += back.credits().into_iter().map(i64::from).sum::<i64>();
        prop_assert!(credit > i64::from(window) / 2 || window == 0);
        inflow.end(Err(CallError::Cancelled));
    }
}

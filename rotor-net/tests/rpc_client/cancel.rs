//! Giving calls up, by dropping what waits for them.

use super::*;
use rotor_net::rpc::{ItemSender, SendItemError};

/// Waits for a call, then for the word that it was given up.
fn expect_cancelled(peer: &mut Peer) -> Frame {
    let call = peer.expect(CALL);
    let cancel = peer.expect(CANCEL);
    assert_eq!((cancel.slot, cancel.sequence), (call.slot, call.sequence));
    assert!(cancel.body.is_empty());
    call
}

#[test]
fn dropping_a_call_that_was_sent_tells_the_server_and_frees_its_slot() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = expect_cancelled(&mut peer);
        let next = peer.expect(CALL);
        assert_eq!((next.slot, next.sequence), (0, 1));
        // The answer to the first is late, and ignored.
        peer.answer(&call, 1);
        peer.answer(&next, 2);
        peer.double();
    });
    let channel = connect(&server);
    let call = channel.unary::<Double>(1).start();
    let_it_be_sent(&channel);
    drop(call);
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(2));
    drop(channel);
    server.join();
}

#[test]
fn a_call_whose_answer_goes_to_a_function_is_cancelled_by_dropping_its_handle() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = expect_cancelled(&mut peer);
        peer.answer(&call, 1);
        peer.double();
    });
    let channel = connect(&server);
    let call = channel
        .unary::<Double>(1)
        .done(|_| panic!("nobody wants to hear this"))
        .unwrap();
    let_it_be_sent(&channel);
    drop(call);
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

/// What was begun before has been sent, as far as there was room: a call whose time is up fails when the connection's
/// thread comes to it, and is not sent itself.
pub fn let_it_be_sent(channel: &Channel) {
    let (tell, heard) = std::sync::mpsc::channel();
    let late = channel.unary::<Double>(0).within(Duration::ZERO);
    let late = late.done(move |result| tell.send(result).unwrap()).unwrap();
    let result = heard.recv_timeout(PATIENCE).unwrap();
    assert_eq!(result, Err(CallError::TimedOut));
    drop(late);
}

#[test]
fn a_call_that_is_given_up_while_it_waits_is_never_begun() {
    let server = scripted(|listener| {
        let mut welcome = service::welcome();
        welcome.in_flight_max = 1;
        let mut peer = listener.greet_with(&welcome);
        assert_eq!(number(&expect_cancelled(&mut peer)), 1);
        assert_eq!(number(&peer.expect(CALL)), 3);
    });
    let channel = connect(&server);
    let first = channel.unary::<Double>(1).start();
    let second = channel.unary::<Double>(2).start();
    let third = channel.unary::<Double>(3).start();
    let_it_be_sent(&channel);
    drop(second);
    drop(first);
    assert!(why(&third.wait().unwrap_err()).0);
    server.join();
}

#[test]
fn dropping_the_receiver_of_a_stream_cancels_it() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.send(&item(&call, 1));
        assert_eq!(peer.expect(CANCEL).sequence, call.sequence);
        // Late ones do not matter.
        peer.send(&item(&call, 2));
        peer.send(&call.answer(END, 0, &[]));
        peer.double();
    });
    let channel = connect(&server);
    let mut items = channel.server_stream::<Count>(3);
    assert_eq!(items.next_blocking(), Some(Ok(1)));
    drop(items);
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn an_upload_that_is_cut_off_does_not_look_complete() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        peer.expect(CALL);
        peer.expect(ITEM);
        peer.expect(CANCEL);
        peer.double();
    });
    let channel = connect(&server);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    numbers.send_blocking(1).unwrap();
    drop(numbers);
    assert_eq!(sum.wait(), Err(CallError::Cancelled));
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn dropping_the_pending_reply_of_an_upload_ends_its_sender() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        expect_cancelled_after_items(&mut peer);
        peer.double();
    });
    let channel = connect(&server);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    numbers.send_blocking(1).unwrap();
    drop(sum);
    assert!(numbers.is_over());
    expect_ended(&mut numbers);
    drop(numbers);
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn both_ends_of_a_both_way_call_know_of_each_others_end() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        for _ in 0..2 {
            expect_cancelled_after_items(&mut peer);
        }
        peer.double();
    });
    let channel = connect(&server);
    let (mut ours, theirs) = channel.both_streams::<Chat>(0);
    ours.send_blocking(1).unwrap();
    drop(theirs);
    expect_ended(&mut ours);
    drop(ours);
    let (mut ours, mut theirs) = channel.both_streams::<Chat>(0);
    ours.send_blocking(1).unwrap();
    drop(ours);
    assert_eq!(theirs.next_blocking(), Some(Err(CallError::Cancelled)));
    assert_eq!(theirs.next_blocking(), None);
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop((theirs, channel));
    server.join();
}

/// Until the connection's thread comes to it, items are taken and leave for nothing.
fn expect_ended(sender: &mut ItemSender<u32>) {
    eventually("ended", || {
        let sent = sender.send(2);
        matches!(sent, Err(SendItemError::Ended(CallError::Cancelled)))
    });
}

fn expect_cancelled_after_items(peer: &mut Peer) {
    let mut call = peer.next().unwrap();
    while call.kind == ITEM {
        // Of the call before, which was cancelled while it was sent.
        call = peer.next().unwrap();
    }
    assert_eq!(call.kind, CALL);
    let mut next = peer.expect(ITEM);
    while next.kind == ITEM {
        next = peer.next().unwrap();
    }
    assert_eq!((next.kind, next.sequence), (CANCEL, call.sequence));
}

#[test]
fn a_deadline_that_passes_fails_the_call_and_tells_the_server() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        for _ in 0..3 {
            let call = peer.expect(CALL);
            assert!(call.deadline_ms().is_some_and(|ms| ms <= 20));
            assert_eq!(peer.expect(CANCEL).sequence, call.sequence);
        }
        peer.double();
    });
    let channel = connect(&server);
    let start = Instant::now();
    let (tell, heard) = std::sync::mpsc::channel();
    let call = channel.unary::<Double>(1).within(ms(20));
    let call = call.done(move |result| tell.send(result).unwrap()).unwrap();
    assert_eq!(
        heard.recv_timeout(PATIENCE).unwrap(),
        Err(CallError::TimedOut)
    );
    assert!(start.elapsed() >= ms(20) && call.is_over());
    let mut items = channel.server_stream::<Count>(1).within(ms(20));
    assert_eq!(items.next_blocking(), Some(Err(CallError::TimedOut)));
    let (mut numbers, sum) = channel.client_stream::<Sum>(1);
    let sum = sum.within(ms(20)).start();
    eventually("ended", || numbers.is_over());
    assert!(matches!(
        numbers.send(1),
        Err(SendItemError::Ended(CallError::TimedOut))
    ));
    assert_eq!(sum.wait(), Err(CallError::TimedOut));
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop((numbers, channel));
    server.join();
}

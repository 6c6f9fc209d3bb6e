//! The five kinds of calls, and the order of things.

use super::*;
use rotor_net::rpc::SendItemError;

#[test]
fn a_unary_call_sends_its_request_and_gets_its_reply() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        assert_eq!((call.number, call.flags), (service::DOUBLE, 0));
        assert_eq!((call.slot, call.sequence), (0, 0));
        assert_eq!(number(&call), 21);
        peer.answer(&call, 42);
        peer.double();
    });
    let channel = connect(&server);
    assert_eq!(channel.unary::<Double>(21).wait(), Ok(42));
    assert_eq!(channel.unary::<Double>(300).wait(), Ok(600));
    drop(channel);
    server.join();
}

#[test]
fn the_hello_says_the_clients_limits_and_its_credential() {
    let server = scripted(|listener| {
        let mut peer = listener.accept();
        let hello = peer.hello();
        let said: (u32, u32, &[u8]) = postcard::from_bytes(&hello.body).unwrap();
        assert_eq!(said, (1234, 777, &b"let me in"[..]));
        peer.send(&service::welcome().bytes());
        peer.double();
    });
    let mut config = ClientConfig {
        window_bytes: 777,
        credential: b"let me in".to_vec(),
        ..once()
    };
    config.codec.encoded_bytes_max = 1234;
    let channel = connect_with(&server, config);
    assert_eq!(channel.unary::<Double>(1).wait(), Ok(2));
    drop(channel);
    server.join();
}

#[test]
fn slots_are_the_lowest_free_ones_and_sequences_count_on() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let calls: Vec<_> = (0..3).map(|_| peer.expect(CALL)).collect();
        let ids: Vec<_> = calls
            .iter()
            .map(|call| (call.slot, call.sequence))
            .collect();
        assert_eq!(ids, [(0, 0), (1, 1), (2, 2)]);
        peer.answer(&calls[1], 10);
        let next = peer.expect(CALL);
        assert_eq!((next.slot, next.sequence), (1, 3));
        for call in [&next, &calls[2], &calls[0]] {
            peer.answer(call, call.sequence);
        }
        peer.double();
    });
    let channel = connect(&server);
    let [a, b, c] = [1, 2, 3].map(|n| channel.unary::<Double>(n).start());
    assert_eq!(b.wait(), Ok(10));
    let d = channel.unary::<Double>(4).start();
    assert_eq!((a.wait(), c.wait(), d.wait()), (Ok(0), Ok(2), Ok(3)));
    drop(channel);
    server.join();
}

#[test]
fn answers_come_in_the_order_of_completion() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let calls: Vec<_> = (0..5).map(|_| peer.expect(CALL)).collect();
        for at in [3, 0, 4, 2, 1] {
            peer.answer(&calls[at], at as u32);
        }
        peer.double();
    });
    let channel = connect(&server);
    let (tell, heard) = std::sync::mpsc::channel();
    for n in 0..5 {
        let tell = tell.clone();
        let call = channel.unary::<Double>(n).done(move |result| {
            tell.send(result.unwrap()).unwrap();
        });
        call.unwrap().detach();
    }
    let order: Vec<_> = (0..5)
        .map(|_| heard.recv_timeout(PATIENCE).unwrap())
        .collect();
    assert_eq!(order, [3, 0, 4, 2, 1]);
    drop(channel);
    server.join();
}

#[test]
fn items_of_a_server_stream_come_in_order_and_end() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        assert_eq!((call.number, number(&call)), (service::COUNT, 3));
        for n in 0..3 {
            peer.send(&item(&call, n));
        }
        peer.send(&call.answer(END, 0, &[]));
        let next = peer.expect(CALL);
        assert_eq!((next.slot, next.sequence), (0, 1), "the slot is free again");
        peer.answer(&next, 8);
        peer.double();
    });
    let channel = connect(&server);
    let mut items = channel.server_stream::<Count>(3);
    for n in 0..3 {
        assert_eq!(items.next_blocking(), Some(Ok(n)));
    }
    assert_eq!(items.next_blocking(), None);
    assert_eq!(items.next_blocking(), None);
    assert_eq!(channel.unary::<Double>(4).wait(), Ok(8));
    drop(channel);
    server.join();
}

#[test]
fn items_of_a_client_stream_arrive_in_order_before_their_end_and_the_reply_follows() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        assert_eq!((call.number, number(&call)), (service::SUM, 5));
        let mut sum = 5;
        loop {
            let next = peer.next().unwrap();
            assert_eq!((next.slot, next.sequence), (call.slot, call.sequence));
            match next.kind {
                ITEM => sum += number(&next),
                END => break,
                other => panic!("{other}"),
            }
        }
        peer.answer(&call, sum);
        peer.double();
    });
    let channel = connect(&server);
    let (mut numbers, sum) = channel.client_stream::<Sum>(5);
    for n in 1..=10 {
        numbers.send_blocking(n).unwrap();
    }
    numbers.end().unwrap();
    assert_eq!(sum.wait(), Ok(60));
    drop(channel);
    server.join();
}

#[test]
fn a_client_stream_that_ends_before_the_call_was_sent_is_sent_whole() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        assert_eq!(peer.expect(END).slot, call.slot);
        peer.answer(&call, 7);
        peer.double();
    });
    let channel = connect(&server);
    let (numbers, sum) = channel.client_stream::<Sum>(0);
    numbers.end().unwrap();
    assert_eq!(sum.wait(), Ok(7));
    drop(channel);
    server.join();
}

#[test]
fn both_sides_stream() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        loop {
            let next = peer.next().unwrap();
            match next.kind {
                ITEM => peer.send(&item(&call, 10 * number(&next))),
                END => break,
                other => panic!("{other}"),
            }
        }
        peer.send(&call.answer(END, 0, &[]));
        peer.double();
    });
    let channel = connect(&server);
    let (mut ours, mut theirs) = channel.both_streams::<Chat>(0);
    for n in 0..5 {
        ours.send_blocking(n).unwrap();
        assert_eq!(theirs.next_blocking(), Some(Ok(10 * n)));
    }
    ours.end().unwrap();
    assert_eq!(theirs.next_blocking(), None);
    drop(channel);
    server.join();
}

#[test]
fn a_server_that_answers_early_ends_the_clients_stream() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.expect(ITEM);
        peer.answer(&call, 1);
        peer.double();
    });
    let channel = connect(&server);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    numbers.send_blocking(1).unwrap();
    assert_eq!(sum.wait(), Ok(1));
    assert!(numbers.is_over());
    assert!(matches!(numbers.send(2), Err(SendItemError::Ended(_))));
    drop((numbers, channel));
    server.join();
}

#[test]
fn one_way_calls_have_a_place_in_the_sequence_and_no_slot() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let first = peer.expect(ONE_WAY);
        assert_eq!((first.number, number(&first)), (service::TOUCH, 1));
        assert_eq!((first.slot, first.sequence), (u32::MAX, 0));
        let call = peer.expect(CALL);
        assert_eq!((call.slot, call.sequence), (0, 1));
        assert_eq!(peer.expect(ONE_WAY).sequence, 2);
        peer.answer(&call, 1);
        peer.double();
    });
    let channel = connect(&server);
    channel.one_way::<Touch>(1).unwrap();
    let call = channel.unary::<Double>(0).start();
    channel.one_way::<Touch>(2).unwrap();
    assert_eq!(call.wait(), Ok(1));
    drop(channel);
    server.join();
}

#[test]
fn one_way_calls_right_before_the_last_handle_is_dropped_are_sent() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        for n in 0..10 {
            assert_eq!(number(&peer.expect(ONE_WAY)), n);
        }
        peer.expect(CLOSE_STARTED);
        peer.expect_end();
    });
    let channel = connect(&server);
    for n in 0..10 {
        channel.one_way::<Touch>(n).unwrap();
    }
    drop(channel);
    server.join();
}

#[test]
fn a_call_is_not_made_before_it_is_waited_for_or_started() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        assert_eq!(number(&peer.expect(CALL)), 2);
    });
    let channel = connect(&server);
    drop(channel.unary::<Double>(1));
    drop(channel.server_stream::<Count>(1));
    drop(channel.client_stream::<Sum>(1).1);
    let call = channel.unary::<Double>(2).start();
    assert!(why(&call.wait().unwrap_err()).0);
    server.join();
}

#[test]
fn what_a_server_says_instead_of_a_reply_is_the_calls_error() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        for code in 1..=9 {
            let call = peer.expect(CALL);
            peer.send(&call.answer(FAIL, code, b"words"));
        }
        peer.double();
    });
    let channel = connect(&server);
    let errors: Vec<_> = (1..=10)
        .map(|_| channel.unary::<Double>(1).wait().unwrap_err())
        .collect();
    let words = || Box::<str>::from("words");
    assert_eq!(
        errors[..8],
        [
            CallError::BadRequest(words()),
            CallError::Unknown,
            CallError::Refused(words()),
            CallError::TimedOut,
            CallError::Panicked,
            CallError::Unanswered,
            CallError::Remote(words()),
            CallError::TooLarge(words()),
        ]
    );
    assert_eq!(errors[8], CallError::Draining);
    // It drains, so the next is not even sent.
    assert_eq!(errors[9], CallError::Draining);
    drop(channel);
    server.join();
}

#[test]
fn a_stream_that_the_server_fails_ends_with_its_error_after_its_items() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.send(&item(&call, 1));
        peer.send(&call.answer(FAIL, UNKNOWN, b""));
        peer.double();
    });
    let channel = connect(&server);
    let mut items = channel.server_stream::<Count>(3);
    assert_eq!(items.next_blocking(), Some(Ok(1)));
    assert_eq!(items.next_blocking(), Some(Err(CallError::Unknown)));
    assert_eq!(items.next_blocking(), None);
    drop(channel);
    server.join();
}

#[test]
fn a_reply_that_is_none_fails_its_call_alone() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.send(&call.answer(REPLY, 0, &[0xff; 20]));
        peer.double();
    });
    let channel = connect(&server);
    let error = channel.unary::<Double>(1).wait().unwrap_err();
    assert!(matches!(error, CallError::Decode(_)), "{error}");
    assert_eq!(channel.unary::<Double>(1).wait(), Ok(2));
    drop(channel);
    server.join();
}

#[test]
fn metadata_and_deadlines_lead_the_request() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        assert_eq!((call.flags, number(&call)), (3, 9));
        let ms = call.deadline_ms().unwrap();
        assert!((1..=60_000).contains(&ms), "{ms}");
        assert_eq!(call.body[4..], [&[5, 0][..], b"trace", &[9]].concat());
        peer.answer(&call, 0);
        let call = peer.expect(CALL);
        assert_eq!((call.flags, number(&call)), (3, 8));
        peer.send(&call.answer(END, 0, &[]));
        peer.double();
    });
    let channel = connect(&server);
    let call = channel.unary::<Double>(9).within(ms(60_000));
    assert_eq!(call.with_meta(b"trace").wait(), Ok(0));
    let items = channel.server_stream::<Count>(8).within(ms(60_000));
    assert_eq!(items.with_meta(b"trace").next_blocking(), None);
    drop(channel);
    server.join();
}

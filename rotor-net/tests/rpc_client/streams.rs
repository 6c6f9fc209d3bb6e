//! Streams: credit both ways.

use super::*;
use rotor_net::rpc::SendItemError;

/// What an item of one byte costs.
const COST: u32 = 17;

#[test]
fn a_sender_sends_as_far_as_its_credit_goes() {
    let server = scripted(|listener| {
        let mut welcome = service::welcome();
        welcome.window_bytes = 2 * COST;
        let mut peer = listener.greet_with(&welcome);
        let call = peer.expect(CALL);
        for n in 0..2 {
            assert_eq!(number(&peer.expect(ITEM)), n);
        }
        // The client has nothing left to send with: the next frame is this one.
        peer.expect(ONE_WAY);
        peer.send(&call.answer(CREDIT, 0, &COST.to_le_bytes()));
        assert_eq!(number(&peer.expect(ITEM)), 2);
        peer.expect(ONE_WAY);
        peer.send(&call.answer(CREDIT, 0, &COST.to_le_bytes()));
        assert_eq!(number(&peer.expect(ITEM)), 3);
        peer.expect(END);
        peer.answer(&call, 0);
        peer.double();
    });
    let channel = connect(&server);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    numbers.send_blocking(0).unwrap();
    numbers.send(1).unwrap();
    assert!(matches!(numbers.send(2), Err(SendItemError::NoCredit(2))));
    channel.one_way::<Touch>(0).unwrap();
    numbers.send_blocking(2).unwrap();
    channel.one_way::<Touch>(0).unwrap();
    numbers.send_blocking(3).unwrap();
    numbers.end().unwrap();
    assert_eq!(sum.wait(), Ok(0));
    drop(channel);
    server.join();
}

#[test]
fn a_receiver_gives_credit_when_half_of_its_window_was_consumed() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        for n in 0..4 {
            peer.send(&item(&call, n));
        }
        let credit = peer.expect(CREDIT);
        assert_eq!((credit.slot, credit.sequence), (call.slot, call.sequence));
        assert_eq!(credit.body, (2 * COST).to_le_bytes());
        assert_eq!(peer.expect(CREDIT).body, (2 * COST).to_le_bytes());
        for n in 4..8 {
            peer.send(&item(&call, n));
        }
        peer.send(&call.answer(END, 0, &[]));
        while peer.next().is_some_and(|frame| frame.kind == CREDIT) {}
    });
    let config = ClientConfig {
        window_bytes: 4 * COST,
        ..once()
    };
    let channel = connect_with(&server, config);
    let mut items = channel.server_stream::<Count>(0);
    for n in 0..8 {
        assert_eq!(items.next_blocking(), Some(Ok(n)));
    }
    assert_eq!(items.next_blocking(), None);
    channel.one_way::<Touch>(0).unwrap();
    drop(channel);
    server.join();
}

#[test]
fn items_beyond_the_credit_end_the_session() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        for n in 0..3 {
            peer.send(&item(&call, n));
        }
        assert_eq!(
            peer.goodbye(),
            "the call in slot 0 sent items beyond its credit"
        );
        peer.expect_end();
    });
    let config = ClientConfig {
        window_bytes: 2 * COST,
        ..once()
    };
    let channel = connect_with(&server, config);
    let mut items = channel.server_stream::<Count>(0);
    items.start();
    server.join();
    // What had credit is delivered before the end is.
    assert_eq!(items.next_blocking(), Some(Ok(0)));
    assert_eq!(items.next_blocking(), Some(Ok(1)));
    let error = items.next_blocking().unwrap().unwrap_err();
    assert!(why(&error).1.contains("beyond its credit"), "{error}");
}

#[test]
fn a_slow_stream_does_not_stall_others() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let slow = peer.expect(CALL);
        for n in 0..4 {
            peer.send(&item(&slow, n));
        }
        peer.double();
    });
    let config = ClientConfig {
        window_bytes: 4 * COST,
        ..once()
    };
    let channel = connect_with(&server, config);
    let mut slow = channel.server_stream::<Count>(0);
    slow.start();
    for n in 0..100 {
        assert_eq!(channel.unary::<Double>(n).wait(), Ok(2 * n));
    }
    assert_eq!(slow.next_blocking(), Some(Ok(0)));
    drop((slow, channel));
    server.join();
}

#[test]
fn a_server_that_is_killed_ends_its_streams_by_name() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        let upload = peer.expect(CALL);
        peer.expect(ITEM);
        peer.send(&item(&call, 1));
        peer.send(&upload.answer(CREDIT, 0, &1_u32.to_le_bytes()));
        // In the middle of a frame.
        peer.send(&item(&call, 2)[..9]);
    });
    let channel = connect(&server);
    let mut items = channel.server_stream::<Count>(0);
    items.start();
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    numbers.send_blocking(1).unwrap();
    server.join();
    assert_eq!(items.next_blocking(), Some(Ok(1)));
    let error = items.next_blocking().unwrap().unwrap_err();
    assert!(why(&error).0, "{error}");
    assert_eq!(items.next_blocking(), None);
    assert!(why(&sum.wait().unwrap_err()).0);
    assert!(matches!(numbers.send(2), Err(SendItemError::Ended(_))));
}

/// However much credit there is, what a peer does not read waits in the program that sends it, not in memory.
#[test]
fn a_server_that_gives_credit_and_does_not_read_makes_senders_wait() {
    let (let_go, go) = std::sync::mpsc::channel::<()>();
    let server = scripted(move |listener| {
        let mut welcome = service::welcome();
        welcome.window_bytes = u32::MAX;
        let mut peer = listener.greet_with(&welcome);
        let call = peer.expect(CALL);
        go.recv_timeout(PATIENCE).unwrap();
        let mut sum = 0;
        loop {
            match peer.next().unwrap() {
                end if end.kind == END => break,
                item => sum += number(&item),
            }
        }
        peer.answer(&call, sum);
        peer.double();
    });
    let queued_bytes_max = 100_000;
    let config = ClientConfig {
        queued_bytes_max,
        ..once()
    };
    let channel = connect_with(&server, config);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    numbers.send_blocking(1).unwrap();
    let mut sent = 1;
    let full = loop {
        match numbers.send(1) {
            Ok(()) => sent += 1,
            Err(SendItemError::NoCredit(_)) => {
                // The connection's thread may be about to write what is there; the kernel takes a few megabytes.
                std::thread::sleep(ms(50));
                if matches!(numbers.send(1), Err(SendItemError::NoCredit(_))) {
                    break sent;
                }
                sent += 1;
            }
            other => panic!("{other:?}"),
        }
        assert!(sent < 10_000_000, "it never waits");
    };
    assert!(full > 1000, "{full}");
    let_go.send(()).unwrap();
    for _ in 0..1000 {
        numbers.send_blocking(1).unwrap();
    }
    numbers.end().unwrap();
    assert_eq!(sum.wait(), Ok(full + 1000));
    drop(channel);
    server.join();
}

#[test]
fn an_answer_before_all_items_have_come_is_no_fault() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.answer(&call, 5);
        peer.double();
    });
    let channel = connect(&server);
    let (mut numbers, sum) = channel.client_stream::<Sum>(0);
    assert_eq!(sum.wait(), Ok(5));
    let ended = numbers.send(1);
    assert!(matches!(
        ended,
        Err(SendItemError::Ended(CallError::Answered))
    ));
    drop((numbers, channel));
    server.join();
}

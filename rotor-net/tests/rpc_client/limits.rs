//! Limits: what waits, what is in flight, what is large.

use super::*;
use rotor_net::rpc::codec::CodecError;
use rotor_net::rpc::{Call, SendItemError};

#[test]
fn more_calls_than_may_be_in_flight_wait_and_are_made() {
    let server = scripted(|listener| {
        let mut peer = listener.greet_with(&Welcome {
            in_flight_max: 3,
            ..service::welcome()
        });
        let mut in_flight = Vec::new();
        for n in 0..100 {
            if in_flight.len() == 3 {
                let call: Frame = in_flight.remove(0);
                let reply = number(&call);
                peer.answer(&call, reply);
            }
            let call = peer.expect(CALL);
            assert!(call.slot < 3 && call.sequence == n, "{call:?}");
            assert_eq!(number(&call), n);
            in_flight.push(call);
        }
        for call in in_flight {
            peer.answer(&call, number(&call));
        }
        peer.double();
    });
    let channel = connect(&server);
    let calls: Vec<_> = (0..100)
        .map(|n| channel.unary::<Double>(n).start())
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait(), Ok(n as u32));
    }
    drop(channel);
    server.join();
}

#[test]
fn the_clients_own_limit_counts_where_it_is_lower() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let first = peer.expect(CALL);
        let second = peer.expect(CALL);
        // Nothing else comes: the next thing is that one of them is given up.
        assert_eq!(peer.expect(CANCEL).sequence, first.sequence);
        let third = peer.expect(CALL);
        assert_eq!(third.slot, first.slot);
        peer.answer(&second, 2);
        peer.answer(&third, 3);
        peer.double();
    });
    let config = ClientConfig {
        in_flight_max: 2,
        ..once()
    };
    let channel = connect_with(&server, config);
    let [first, second, third] = [1, 2, 3].map(|n| channel.unary::<Double>(n).start());
    std::thread::sleep(ms(20));
    drop(first);
    assert_eq!((second.wait(), third.wait()), (Ok(2), Ok(3)));
    drop(channel);
    server.join();
}

#[test]
fn too_many_calls_that_wait_are_refused_at_once_and_have_room_later() {
    let server = scripted(|listener| {
        let mut peer = listener.greet_with(&Welcome {
            in_flight_max: 1,
            ..service::welcome()
        });
        peer.expect(CALL);
        peer.expect(CANCEL);
        peer.double();
    });
    let config = ClientConfig {
        waiting_max: 3,
        ..once()
    };
    let channel = connect_with(&server, config);
    let in_flight = channel.unary::<Double>(0).start();
    // Once it is in flight it waits no more.
    let (tell, heard) = std::sync::mpsc::channel();
    for n in [1, 2, 3] {
        eventually("room to wait", || {
            let tell = tell.clone();
            let call = channel.unary::<Double>(n);
            let call = call.done(move |result| tell.send(result).unwrap());
            call.map(Call::detach).is_ok()
        });
    }
    let full = CallError::Full {
        what: "calls that wait",
        max: 3,
    };
    assert_eq!(full.to_string(), "more than 3 calls that wait");
    assert_eq!(channel.unary::<Double>(4).wait(), Err(full.clone()));
    assert_eq!(channel.one_way::<Touch>(4), Err(full.clone()));
    let refused = channel.unary::<Double>(4).done(|_| panic!("not called"));
    assert_eq!(refused.unwrap_err(), full);
    let items = channel.server_stream::<Count>(4).next_blocking();
    assert_eq!(items, Some(Err(full.clone())));
    let (mut numbers, sum) = channel.client_stream::<Sum>(4);
    assert!(matches!(numbers.send(1), Err(SendItemError::Ended(error)) if error == full));
    assert_eq!(sum.wait(), Err(full));
    drop(in_flight);
    for n in [1, 2, 3] {
        assert_eq!(heard.recv_timeout(PATIENCE).unwrap(), Ok(2 * n));
    }
    assert_eq!(channel.unary::<Double>(4).wait(), Ok(8));
    drop((numbers, channel));
    server.join();
}

#[test]
fn what_is_over_the_servers_limits_is_not_sent() {
    let server = scripted(|listener| {
        let mut peer = listener.greet_with(&Welcome {
            frame_bytes_max: 20,
            ..service::welcome()
        });
        let call = peer.expect(CALL);
        assert_eq!((call.sequence, call.body.len()), (0, 20));
        peer.send(&call.answer(REPLY, 0, &[]));
        let upload = peer.expect(CALL);
        assert_eq!((upload.sequence, upload.slot), (1, 0));
        peer.answer(&upload, 1);
        peer.double();
    });
    let channel = connect(&server);
    let raw = |bytes| channel.raw("double", 1, vec![7; bytes]);
    let too_long = |max| {
        Err(CallError::Encode(CodecError::TooLong {
            encoded_bytes_max: max,
        }))
    };
    assert_eq!(raw(21).wait(), too_long(20));
    assert_eq!(raw(20).wait(), Ok(Vec::new()));
    // What leads the request counts as well.
    assert_eq!(raw(20).within(PATIENCE).wait(), too_long(20));
    let meta = raw(1).with_meta(&[1; 11]).wait();
    let full = CallError::Full {
        what: "bytes of metadata",
        max: 10,
    };
    assert_eq!(meta, Err(full));
    let (_numbers, sum) = channel.client_stream::<Sum>(0);
    assert_eq!(sum.wait(), Ok(1));
    drop((_numbers, channel));
    server.join();
}

/// A value that nests deeper than the codec allows fails its own call.
#[test]
fn what_cannot_be_encoded_is_not_sent() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        assert_eq!(peer.expect(CALL).sequence, 0);
    });
    let mut config = once();
    config.codec.encoded_bytes_max = 2;
    let channel = connect_with(&server, config);
    let error = channel.unary::<Double>(u32::MAX).wait().unwrap_err();
    assert!(matches!(error, CallError::Encode(_)), "{error}");
    assert!(why(&channel.unary::<Double>(1).wait().unwrap_err()).0);
    server.join();
}

#[test]
fn limits_of_nothing_are_limits_of_little() {
    let server = scripted(|listener| {
        let mut peer = listener.accept();
        let hello = peer.hello();
        let (_, window_bytes, _): (u32, u32, Vec<u8>) = postcard::from_bytes(&hello.body).unwrap();
        assert_eq!(window_bytes, 1);
        peer.send(&service::welcome().bytes());
        // A heartbeat of nothing is one of a millisecond.
        let next = |peer: &mut Peer| loop {
            match peer.next().expect("more comes") {
                ping if ping.kind == PING => {}
                frame => return frame,
            }
        };
        let call = next(&mut peer);
        assert_eq!(call.kind, CALL);
        for n in 0..5 {
            peer.send(&item(&call, n));
            assert_eq!(next(&mut peer).kind, CREDIT);
        }
        peer.send(&call.answer(END, 0, &[]));
        peer.double();
    });
    let config = ClientConfig {
        window_bytes: 0,
        queued_bytes_max: 0,
        in_flight_max: 0,
        heartbeat: Duration::ZERO,
        silent_heartbeats_max: u32::MAX,
        ..once()
    };
    let channel = connect_with(&server, config);
    let mut items = channel.server_stream::<Count>(0);
    for n in 0..5 {
        assert_eq!(items.next_blocking(), Some(Ok(n)));
    }
    assert_eq!(items.next_blocking(), None);
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

/// With a full output calls wait; nothing is lost, and none is refused.
#[test]
fn calls_wait_where_the_server_does_not_read() {
    const CALLS: usize = 3000;
    const BYTES: usize = 9000;
    let (let_go, go) = std::sync::mpsc::channel::<()>();
    let server = scripted(move |listener| {
        let mut peer = listener.greet_with(&Welcome {
            in_flight_max: u32::MAX,
            ..service::welcome()
        });
        go.recv_timeout(PATIENCE).unwrap();
        for n in 0..CALLS {
            let call = peer.expect(CALL);
            assert_eq!((call.sequence, call.body.len()), (n as u32, BYTES));
            peer.send(&call.answer(REPLY, 0, &[]));
        }
        peer.double();
    });
    let config = ClientConfig {
        in_flight_max: CALLS,
        queued_bytes_max: 50_000,
        ..once()
    };
    let channel = connect_with(&server, config);
    let calls: Vec<_> = (0..CALLS)
        .map(|_| channel.raw("double", 1, vec![1; BYTES]).start())
        .collect();
    let_go.send(()).unwrap();
    for call in calls {
        assert_eq!(call.wait(), Ok(Vec::new()));
    }
    drop(channel);
    server.join();
}

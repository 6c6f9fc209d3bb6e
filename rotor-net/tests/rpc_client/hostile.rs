//! Servers that break the protocol: the client names what was wrong, tells them, and goes on.

use super::*;
use crate::world::World;
use rotor_fsm::sim::check;
use rotor_net::rpc::codec::CodecError;
use rotor_net::rpc::{Method, NoItems, ServiceInfo, Wire};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;
use std::task::Poll;

/// Whatever is said first instead of a handshake, and what the client says of it.
fn refused_greeting(bytes: Vec<u8>) -> String {
    let server = scripted(move |listener| {
        let mut peer = listener.accept();
        peer.hello();
        peer.send(&bytes);
        // Until the client closes, or it would hear that first.
        while peer.next().is_some() {}
    });
    let error = Channel::connect_with(&server.at, once()).unwrap_err();
    server.join();
    let (was_sent, why) = why(&error);
    assert!(!was_sent);
    why.to_owned()
}

#[test]
fn another_protocol_is_noticed_at_once() {
    let why = refused_greeting(b"HTTP/1.1 400 Bad Request\r\n".to_vec());
    assert!(why.contains("began with \"HTTP/1.1\""), "{why}");
    let why = refused_greeting(b"\xf7rotos".to_vec());
    assert!(why.contains("does not speak this protocol"), "{why}");
}

#[test]
fn a_newer_protocol_is_refused_and_a_common_one_spoken() {
    let why = refused_greeting(b"\xf7rotor\x09\x02".to_vec());
    assert!(
        why.contains("the peer speaks 2 to 9, this side 1 to 1"),
        "{why}"
    );
    let server = scripted(|listener| {
        let mut peer = listener.accept();
        peer.hello();
        let mut bytes = service::welcome().bytes();
        bytes[6] = 200;
        peer.send(&bytes);
        peer.double();
    });
    let channel = connect(&server);
    assert_eq!(channel.server().unwrap().protocol_version, 1);
    assert_eq!(channel.unary::<Double>(1).wait(), Ok(2));
    drop(channel);
    server.join();
}

#[test]
fn a_broken_welcome_is_named() {
    let greet = |frame: Vec<u8>| refused_greeting([PREAMBLE, &frame].concat());
    let nonsense = greet(frame(WELCOME, 0, (0, 0), &[0xff; 40]));
    assert!(
        nonsense.contains("a server's limits and menu"),
        "{nonsense}"
    );
    let mut bytes = vec![0; 16];
    bytes[..5].copy_from_slice(&[1, 0, 16, 0, WELCOME]);
    let long = greet(bytes);
    assert!(
        long.contains("a frame of 1048577 bytes, of at most 1048576"),
        "{long}"
    );
    let other = greet(bare(REPLY));
    assert!(other.contains("a Reply frame has no place here"), "{other}");
    let early = greet(bare(CLOSE_STARTED));
    assert!(
        early.contains("a CloseStarted frame has no place here"),
        "{early}"
    );
    let goodbye = greet(frame(GOODBYE, 15, (0, 0), b"not admitted: no badge"));
    assert!(
        goodbye.contains("the peer ended the session: not admitted: no badge"),
        "{goodbye}"
    );
    let nothing_allowed = Welcome {
        in_flight_max: 0,
        ..service::welcome()
    };
    let none = refused_greeting(nothing_allowed.bytes());
    assert!(none.contains("limits of the server"), "{none}");
}

#[test]
fn a_server_that_closes_instead_of_greeting_is_named() {
    let server = scripted(|listener| {
        listener.accept().hello();
    });
    let error = Channel::connect_with(&server.at, once()).unwrap_err();
    assert!(why(&error).1.contains("closed the connection"), "{error}");
    server.join();
}

/// What is said of a frame that comes while a call of each kind is in flight: a unary one in slot 0, a server stream in
/// slot 1, an upload in slot 2.
fn refused_frame(bytes: Vec<u8>) -> String {
    let server = scripted(move |listener| {
        let mut peer = listener.greet();
        for _ in 0..3 {
            peer.expect(CALL);
        }
        peer.send(&bytes);
        let said = peer.goodbye();
        peer.expect_end();
        // The next thing is that it closes, so that the client need not wait.
        drop(peer);
        assert!(!said.is_empty());
    });
    let channel = connect(&server);
    let unary = channel.unary::<Double>(0).start();
    let mut items = channel.server_stream::<Count>(0);
    items.start();
    let (_numbers, sum) = channel.client_stream::<Sum>(0);
    let sum = sum.start();
    let error = unary.wait().unwrap_err();
    assert_eq!(sum.wait(), Err(error.clone()));
    assert_eq!(items.next_blocking(), Some(Err(error.clone())));
    server.join();
    let (was_sent, why) = why(&error);
    assert!(was_sent);
    why.to_owned()
}

/// What is said at the end is copied for every call, so it is cut.
#[test]
fn a_goodbye_without_end_is_cut() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        peer.expect(CALL);
        peer.send(&frame(GOODBYE, 15, (0, 0), &[0xff; 900_000]));
        while peer.next().is_some() {}
    });
    let channel = connect(&server);
    let error = channel.unary::<Double>(0).wait().unwrap_err();
    let shown = why(&error).1.strip_prefix("the peer ended the session: ");
    // Each byte is shown by three, and all of them are no more than 1 KiB.
    assert_eq!(shown, Some(&*"\u{fffd}".repeat(341)));
    server.join();
}

#[test]
fn frames_that_have_no_place_end_the_session_by_name() {
    let none = |frame: &str| format!("a {frame} frame has no place here");
    for (bytes, expected) in [
        (bare(HELLO), none("Hello")),
        (bare(WELCOME), none("Welcome")),
        (bare(CALL), none("Call")),
        (bare(ONE_WAY), none("OneWay")),
        (bare(CANCEL), none("Cancel")),
        // Not what the call is answered with.
        (frame(ITEM, 0, (0, 0), &[1]), none("Item")),
        (frame(END, 0, (0, 0), &[]), none("End")),
        (frame(REPLY, 0, (1, 1), &[1]), none("Reply")),
        (frame(CREDIT, 0, (1, 1), &[0; 4]), none("Credit")),
        (frame(ITEM, 0, (2, 2), &[1]), none("Item")),
        // Calls that were never made.
        (frame(REPLY, 0, (0, 3), &[1]), none("Reply")),
        (frame(FAIL, 1, (9, 3), &[]), none("Fail")),
        (frame(ITEM, 0, (u32::MAX, 4), &[1]), none("Item")),
        (
            frame(15, 0, (0, 0), &[]),
            "no frame is of kind 15".to_owned(),
        ),
        (frame(0, 0, (0, 0), &[]), "no frame is of kind 0".to_owned()),
        (
            frame(CREDIT, 0, (2, 2), &[0; 5]),
            "a frame does not hold what it should: a credit of four bytes".to_owned(),
        ),
        (
            [&[0xff; 4][..], &bare(REPLY)[4..]].concat(),
            "a frame of 4294967295 bytes, of at most 1048576".to_owned(),
        ),
    ] {
        assert_eq!(refused_frame(bytes), expected);
    }
}

#[test]
fn late_and_repeated_answers_are_ignored() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let first = peer.expect(CALL);
        peer.answer(&first, 1);
        let second = peer.expect(CALL);
        for late in [REPLY, FAIL, ITEM, END, CREDIT] {
            peer.send(&first.answer(late, 1, &[1]));
            peer.send(&frame(late, 1, (77, 0), &[1]));
        }
        peer.answer(&second, 2);
        peer.double();
    });
    let channel = connect(&server);
    assert_eq!(channel.unary::<Double>(0).wait(), Ok(1));
    assert_eq!(channel.unary::<Double>(0).wait(), Ok(2));
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn a_frame_in_tiny_pieces_is_read_as_one() {
    let server = scripted(|listener| {
        let mut peer = listener.accept();
        peer.hello();
        for byte in service::welcome().bytes().chunks(3) {
            peer.send(byte);
        }
        let call = peer.expect(CALL);
        let reply = call.answer(REPLY, 0, &[7]);
        let two = [&bare(PING)[..], &reply].concat();
        for byte in two.chunks(1) {
            peer.send(byte);
        }
        peer.expect(PONG);
        peer.double();
    });
    let channel = connect(&server);
    assert_eq!(channel.unary::<Double>(0).wait(), Ok(7));
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

#[test]
fn a_large_reply_arrives_whole() {
    let large: Vec<u8> = (0..900_000_u32).map(|n| n as u8).collect();
    let sent = large.clone();
    let server = scripted(move |listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        peer.send(&call.answer(REPLY, 0, &sent));
        peer.double();
    });
    let channel = connect(&server);
    assert!(channel.raw("double", 1, vec![1]).wait() == Ok(large));
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

/// Nests without end.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Nest {
    Leaf,
    In(Box<Nest>),
}

/// A call that is answered by a `T`.
struct Get<T>(PhantomData<fn(T)>);

impl<T: Wire> Method for Get<T> {
    type Request = u32;
    type Input = NoItems;
    type Output = T;
    const INDEX: usize = service::DOUBLE as usize;
    fn service() -> &'static ServiceInfo {
        Double::service()
    }
}

#[test]
fn replies_that_would_take_all_stack_or_time_are_refused_and_the_connection_lives() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let deep = [&[1; 100_000][..], &[0]].concat();
        let long = postcard::to_stdvec(&1_000_000_000_000_000_000_u64).unwrap();
        for reply in [deep, long, vec![1, 1, 0]] {
            let call = peer.expect(CALL);
            peer.send(&call.answer(REPLY, 0, &reply));
        }
        peer.double();
    });
    let channel = connect(&server);
    let deep = channel.unary::<Get<Nest>>(0).wait();
    assert!(
        matches!(deep, Err(CallError::Decode(CodecError::TooDeep { .. }))),
        "{deep:?}"
    );
    let long = channel.unary::<Get<Vec<()>>>(0).wait();
    assert!(matches!(long, Err(CallError::Decode(_))), "{long:?}");
    let inside = Nest::In(Box::new(Nest::In(Box::new(Nest::Leaf))));
    assert_eq!(channel.unary::<Get<Nest>>(0).wait(), Ok(inside));
    assert_eq!(channel.unary::<Double>(3).wait(), Ok(6));
    drop(channel);
    server.join();
}

/// Each item that is taken gives credit, which the server does not read. All else that is sent waits for the server; the
/// credits could not, and are limited by this alone.
#[test]
fn credits_that_are_not_read_end_the_session() {
    const STREAMS: u32 = 300;
    check(0..5, |sim| {
        let config = ClientConfig {
            window_bytes: 1,
            queued_bytes_max: 1,
            ..once()
        };
        let mut world = World::new(sim, config);
        let listener = world.listen();
        let mut streams: Vec<_> = (0..STREAMS)
            .map(|n| world.channel.server_stream::<Count>(n))
            .collect();
        streams.iter_mut().for_each(|items| items.start());
        let peer = world.accept(listener, ms(1000)).unwrap();
        let welcome = Welcome {
            in_flight_max: STREAMS,
            ..service::welcome()
        };
        world.send(peer, &welcome.bytes());
        world.sim.run_for(ms(1000));
        let calls: Vec<_> = (0..STREAMS).map(|_| world.expect(peer, CALL)).collect();
        world.sim.pause(peer);
        let mut ended = None;
        // They fill what is on the way, what the socket has, and then what may wait.
        for _ in 0..100 {
            let items: Vec<_> = calls.iter().map(|call| item(call, 1)).collect();
            world.sim.send(peer, &items.concat());
            world.sim.run_for(ms(500));
            for items in &mut streams {
                match items.try_next() {
                    Poll::Ready(Some(Ok(1))) => {}
                    Poll::Ready(Some(Err(error))) => ended = Some(error),
                    other => assert!(ended.is_some(), "{other:?}"),
                }
            }
            if ended.is_some() {
                break;
            }
        }
        let error = ended.expect("the session ends");
        assert_eq!(
            why(&error),
            (
                true,
                "the peer does not read: more than 65536 bytes wait for it"
            )
        );
    });
}

/// A server that asks for signs of life without end and does not read them gets one now and then.
#[test]
fn pings_that_are_not_read_do_not_pile_up() {
    let server = scripted(|listener| {
        let mut peer = listener.greet();
        let call = peer.expect(CALL);
        let pings = bare(PING).repeat(1000);
        for _ in 0..1000 {
            peer.send(&pings);
        }
        peer.answer(&call, 1);
        let mut pongs = 0;
        loop {
            let frame = peer.next().unwrap();
            match frame.kind {
                PONG => pongs += 1,
                ONE_WAY => break,
                other => panic!("{other}"),
            }
        }
        // One for each piece that was read, at most.
        assert!((1..100_000).contains(&pongs), "{pongs}");
    });
    let channel = connect(&server);
    assert_eq!(channel.unary::<Double>(0).wait(), Ok(1));
    channel.one_way::<Touch>(0).unwrap();
    drop(channel);
    server.join();
}

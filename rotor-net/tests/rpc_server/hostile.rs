//! What breaks the protocol: the session ends, and says why.

use crate::bench::*;
use crate::wire::*;
use rotor_net::Limits;
use rotor_net::rpc::SessionConfig;

/// What a peer gets that sends this after its greeting, and how the server's machine ended.
fn fault(bytes: &[u8]) -> (u16, String) {
    let running = start();
    let mut peer = running.greeted();
    peer.client.send(bytes);
    let (code, words) = peer.goodbye();
    drop(peer);
    assert_eq!(running.end(), format!("failed: {words}"));
    running.greeted().echo(0, b"others are served");
    (code, words)
}

fn echo(slot: u32, sequence: u32) -> Vec<u8> {
    Frame::call(ECHO, slot, sequence, [0]).bytes()
}

fn keep(slot: u32, sequence: u32) -> Vec<u8> {
    Frame::call(KEEP, slot, sequence, [1]).bytes()
}

#[test]
fn calls_out_of_order_replayed_or_lost() {
    let out_of_order = |expected, got| {
        let words = format!(
            "call {got} came where call {expected} was expected: replayed, lost or out of order"
        );
        (9, words)
    };
    let fault_after_one = |bytes: &[u8]| {
        let running = start();
        let mut peer = running.greeted();
        peer.echo(0, b"first");
        peer.client.send(bytes);
        peer.goodbye()
    };
    assert_eq!(fault(&echo(0, 1)), out_of_order(0, 1), "lost");
    assert_eq!(fault_after_one(&echo(0, 0)), out_of_order(1, 0), "replayed");
    assert_eq!(
        fault_after_one(&echo(0, 2)),
        out_of_order(1, 2),
        "reordered"
    );
    let one_way = Frame {
        kind: ONE_WAY,
        ..Frame::call(NOTE, NO_SLOT, 5, [1])
    };
    assert_eq!(
        fault(&one_way.bytes()),
        out_of_order(0, 5),
        "of the same sequence"
    );
}

#[test]
fn calls_in_a_slot_that_is_taken_or_that_there_is_not() {
    let duplicate = "a call came in slot 7, where another is in flight";
    assert_eq!(
        fault(&[keep(7, 0), echo(7, 1)].concat()),
        (10, duplicate.into())
    );
    let many = "more than 256 calls in flight";
    assert_eq!(fault(&echo(256, 0)), (11, many.into()));
    assert_eq!(fault(&echo(u32::MAX, 0)), (11, many.into()));
    let config = SessionConfig {
        in_flight_max: usize::MAX,
        ..SessionConfig::default()
    };
    let running = start_with(config, Limits::default());
    let mut peer = running.greeted();
    peer.client.send(echo(u32::MAX, 0));
    assert_eq!(peer.goodbye().0, 11, "the slot of calls without one");
    let all: Vec<u8> = (0..256).flat_map(|n| keep(n, n)).collect();
    let running = start();
    let mut peer = running.greeted();
    peer.client.send(all);
    for _ in 0..256 {
        let (_, reply) = running.kept_reply();
        reply.ok(1);
    }
    for _ in 0..256 {
        assert_eq!(peer.read().kind, REPLY, "as many as allowed");
    }
}

#[test]
fn frames_that_are_too_long_by_their_header() {
    let frame = Frame::call(ECHO, 0, 0, vec![0; 100]).bytes();
    let running = start_with(
        SessionConfig::default(),
        Limits {
            input_bytes_max: 115,
            ..Limits::default()
        },
    );
    let mut peer = running.greeted();
    peer.client.send(&frame[..16]);
    assert_eq!(
        peer.goodbye(),
        (7, "a frame of 100 bytes, of at most 99".into())
    );
    let header = [&u32::MAX.to_le_bytes()[..], &echo(0, 0)[4..16]].concat();
    assert_eq!(fault(&header).0, 7);
    // The longest that fits does.
    let mut peer = running.greeted();
    let mut request = vec![98];
    request.resize(99, 5);
    let sequence = peer.call_with(ECHO, 0, (0, Vec::new()), &request);
    assert_eq!(peer.reply::<Vec<u8>>(0, sequence), [5; 98]);
}

#[test]
fn frames_of_no_kind_or_of_the_other_side() {
    let unexpected = |frame: &str| (6, format!("a {frame} frame has no place here"));
    assert_eq!(
        fault(&Frame::plain(0).bytes()),
        (5, "no frame is of kind 0".into())
    );
    assert_eq!(
        fault(&Frame::plain(15).bytes()),
        (5, "no frame is of kind 15".into())
    );
    for (kind, name) in [(WELCOME, "Welcome"), (REPLY, "Reply"), (FAIL, "Fail")] {
        assert_eq!(fault(&Frame::plain(kind).bytes()), unexpected(name));
    }
}

#[test]
fn calls_of_another_kind_than_the_menu_says() {
    let unexpected = |frame: &str| (6, format!("a {frame} frame has no place here"));
    assert_eq!(
        fault(&Frame::call(NOTE, 0, 0, [1]).bytes()),
        unexpected("Call")
    );
    let one_way = Frame {
        kind: ONE_WAY,
        ..Frame::call(ECHO, NO_SLOT, 0, [0])
    };
    assert_eq!(fault(&one_way.bytes()), unexpected("OneWay"));
    let in_slot = Frame {
        kind: ONE_WAY,
        ..Frame::call(NOTE, 0, 0, [1])
    };
    assert_eq!(fault(&in_slot.bytes()).0, 8);
}

#[test]
fn calls_that_do_not_begin_as_they_say() {
    let begin = |flags: u8, body: &[u8]| {
        let frame = Frame {
            flags,
            ..Frame::call(ECHO, 0, 0, body)
        };
        let words = "a frame does not hold what it should: the beginning of a call";
        assert_eq!(fault(&frame.bytes()), (8, words.into()));
    };
    begin(8, &[0; 20]);
    begin(DEADLINE, &[0; 3]);
    begin(META, &[3, 0, 1, 2]);
    begin(NAMED, &[1, 0, 2, b'a']);
    begin(NAMED, &[1, 0, 1, 0xff]);
}

#[test]
fn a_frame_that_is_cut_off() {
    let running = start();
    for cut in [1, 15, 16, 20] {
        let mut peer = running.greeted();
        let frame = Frame::call(ECHO, 0, 0, [8; 9]).bytes();
        peer.client.send(&frame[..cut]);
        let frames = peer.rest();
        let [last] = &frames[..] else {
            panic!("{frames:?}");
        };
        assert_eq!((last.kind, last.number), (GOODBYE, 8));
    }
}

#[test]
fn what_was_answered_before_a_fault_still_arrives_and_nothing_after_it_is_done() {
    let running = start();
    let mut peer = running.greeted();
    let bytes = [echo(0, 0), keep(1, 1), Frame::plain(99).bytes(), echo(2, 2)];
    peer.client.send(bytes.concat());
    assert_eq!(peer.reply::<Vec<u8>>(0, 0), b"");
    assert_eq!(peer.goodbye().0, 5);
    assert_eq!(running.handled(), 2);
    assert!(running.kept_reply().1.is_cancelled());
}

#[test]
fn a_client_may_say_why_it_goes() {
    let running = start();
    let mut peer = running.greeted();
    peer.send(&Frame {
        number: 4,
        ..Frame::new(GOODBYE, 0, 0, *b"tired of \xff waiting")
    });
    assert_eq!(peer.client.rest(), b"", "it knows already");
    drop(peer);
    assert_eq!(
        running.end(),
        "failed: the peer ended the session: tired of \u{fffd} waiting"
    );
    let mut peer = running.greeted();
    peer.send(&Frame::new(GOODBYE, 0, 0, vec![b'x'; 100_000]));
    drop(peer);
    assert!(running.end().len() < 2000);
}

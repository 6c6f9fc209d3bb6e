//! What becomes of single calls.

use crate::bench::*;
use crate::common::eventually;
use crate::wire::*;
use rotor_net::Limits;
use rotor_net::rpc::{CallError, SessionConfig};
use std::io::Read;
use std::thread;

#[test]
fn replies_of_one_dispatch_leave_in_one_write() {
    let running = start();
    let mut peer = running.greeted();
    let bytes: Vec<u8> = (0..64)
        .flat_map(|n| Frame::call(ECHO, n, n, encoded(&vec![n as u8; 40])).bytes())
        .collect();
    peer.client.send(bytes);
    let mut replies = [0; 64 * (HEADER_BYTES + 41) + 1];
    let read = peer.client.0.get_mut().read(&mut replies).unwrap();
    assert_eq!(read, replies.len() - 1, "all in one read");
    for (n, frame) in (0..).zip(frames(&replies[..read])) {
        assert_eq!((frame.kind, frame.slot, frame.sequence), (REPLY, n, n));
        assert_eq!(decoded::<Vec<u8>>(&frame.body), [n as u8; 40]);
    }
}

#[test]
fn calls_are_answered_in_the_order_of_completion_from_any_thread() {
    let running = start();
    let mut peer = running.greeted();
    let calls = [0, 1, 2].map(|slot| peer.call(KEEP, slot, &(slot * 10)));
    let mut replies = [0, 1, 2].map(|_| Some(running.kept_reply()));
    peer.echo(3, b"others do not wait");
    for at in [2, 0, 1] {
        let (number, reply) = replies[at].take().unwrap();
        thread::spawn(move || reply.ok(number + 1)).join().unwrap();
        let answered = peer.reply::<u32>(at as u32, calls[at]);
        assert_eq!(answered, at as u32 * 10 + 1);
    }
    // Many threads at once.
    for slot in 0..100 {
        peer.call(KEEP, slot, &slot);
    }
    let replies: Vec<_> = (0..100).map(|_| running.kept_reply()).collect();
    let threads = replies
        .into_iter()
        .map(|(n, reply)| thread::spawn(move || reply.ok(n)));
    let threads: Vec<_> = threads.collect();
    let mut answered: Vec<u32> = (0..100)
        .map(|_| {
            let frame = peer.read();
            assert_eq!(
                (frame.kind, decoded::<u32>(&frame.body)),
                (REPLY, frame.slot)
            );
            frame.slot
        })
        .collect();
    answered.sort_unstable();
    assert!(answered.into_iter().eq(0..100));
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_reply_that_is_dropped_fails_its_call_at_once() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(DROP, 0, &());
    assert_eq!(peer.failure(0, sequence), (UNANSWERED, String::new()));
    let sequence = peer.call(IGNORE, 0, &());
    assert_eq!(
        peer.failure(0, sequence).0,
        UNANSWERED,
        "the handler took nothing"
    );
    let sequence = peer.call(KEEP, 0, &1_u32);
    drop(running.kept_reply());
    assert_eq!(peer.failure(0, sequence).0, UNANSWERED, "by another thread");
    let sequence = peer.call(KEEP, 0, &1_u32);
    let (_, reply) = running.kept_reply();
    let panicking = thread::spawn(move || {
        let _reply = reply;
        panic!("asked to");
    });
    assert!(panicking.join().is_err());
    assert_eq!(peer.failure(0, sequence).0, PANICKED, "by another thread");
}

#[test]
fn a_handler_that_panics_fails_its_call_and_the_connection_lives() {
    let running = start();
    let mut peer = running.greeted();
    let kept = peer.call(KEEP, 1, &1_u32);
    let sequence = peer.call(PANIC, 0, &());
    assert_eq!(peer.failure(0, sequence).0, PANICKED);
    peer.echo(0, b"still here");
    // What was given away before the panic still answers.
    let given = peer.call(KEEP_AND_PANIC, 0, &());
    let (_, first) = running.kept_reply();
    let (_, second) = running.kept_reply();
    second.ok(8);
    assert_eq!(peer.reply::<u32>(0, given), 8);
    first.ok(7);
    assert_eq!(peer.reply::<u32>(1, kept), 7);
}

#[test]
fn failures_are_told_in_the_handlers_words() {
    let running = start();
    let mut peer = running.greeted();
    let mut fail = |error: CallError| {
        let sequence = peer.call(KEEP, 0, &1_u32);
        running.kept_reply().1.fail(error);
        peer.failure(0, sequence)
    };
    assert_eq!(
        fail(CallError::Remote("no disk".into())),
        (REMOTE, "no disk".into())
    );
    assert_eq!(
        fail(CallError::Refused("not you".into())),
        (REFUSED, "not you".into())
    );
    let (code, words) = fail(CallError::Full {
        what: "jobs",
        max: 3,
    });
    assert_eq!((code, &*words), (REMOTE, "more than 3 jobs"));
    let small = Hello {
        frame_bytes_max: 10,
        ..Hello::default()
    };
    let (mut peer, _) = Peer::greeted_with(running.server.addr, &small);
    let sequence = peer.call(KEEP, 0, &1_u32);
    running
        .kept_reply()
        .1
        .fail(CallError::Remote("123456789äöü".into()));
    assert_eq!(
        peer.failure(0, sequence).1,
        "123456789",
        "what the client takes"
    );
}

#[test]
fn a_request_that_cannot_be_read_fails_its_call() {
    let running = start();
    let mut peer = running.greeted();
    let mut refused = |rank, request: &[u8]| {
        let sequence = peer.call_with(rank, 0, (0, Vec::new()), request);
        let (code, words) = peer.failure(0, sequence);
        assert_eq!(code, BAD_REQUEST);
        words
    };
    assert!(refused(ECHO, &[]).contains("end before"));
    assert!(refused(ECHO, &[1, 2, 3]).contains("left after the value: 1"));
    assert!(refused(ECHO, &[200, 1, 2]).contains("end before"));
    assert!(refused(TREE, &[7]).contains("no variant number 7"));
    // 100,000 levels, and 10^18 elements that take no bytes.
    let mut deep = vec![1; 100_000];
    deep.push(0);
    assert!(refused(TREE, &deep).contains("nests deeper than 128"));
    let many = encoded(&1_000_000_000_000_000_000_u64);
    assert!(refused(UNITS, &many).contains("16777216 bytes of memory"));
    let sequence = peer.call(UNITS, 0, &vec![(); 1000]);
    assert_eq!(peer.reply::<u64>(0, sequence), 1000);
}

#[test]
fn a_reply_over_a_limit_fails_its_call() {
    let running = start();
    let small = Hello {
        frame_bytes_max: 100,
        ..Hello::default()
    };
    let (mut peer, _) = Peer::greeted_with(running.server.addr, &small);
    let sequence = peer.call(BIG, 0, &99_u32);
    assert_eq!(peer.reply::<Vec<u8>>(0, sequence).len(), 99);
    let sequence = peer.call(BIG, 0, &100_u32);
    let (code, words) = peer.failure(0, sequence);
    assert_eq!(code, TOO_LARGE);
    assert!(
        words.contains("longer than 100 bytes"),
        "the client's: {words}"
    );
    // As much when it comes late.
    let sequence = peer.call(KEEP_BIG, 0, &());
    let Kept::Big(reply) = running.kept() else {
        panic!("no call");
    };
    reply.ok(vec![1; 100]);
    assert_eq!(peer.failure(0, sequence), (code, words));
    let mut peer = running.greeted();
    let sequence = peer.call(BIG, 0, &(2_u32 << 20));
    let (code, words) = peer.failure(0, sequence);
    assert_eq!(code, TOO_LARGE);
    assert!(
        words.contains("longer than 1048576 bytes"),
        "the codec's: {words}"
    );
    peer.echo(0, b"and on");
}

#[test]
fn a_reply_may_be_larger_than_what_the_stream_holds() {
    let limits = Limits {
        output_bytes_max: 10_000,
        ..Limits::default()
    };
    let running = start_with(SessionConfig::default(), limits);
    let mut peer = running.greeted();
    let calls = [0, 1, 2].map(|slot| peer.call(BIG, slot, &500_000_u32));
    for (slot, sequence) in (0..).zip(calls) {
        assert_eq!(peer.reply::<Vec<u8>>(slot, sequence).len(), 500_000);
    }
    peer.client.half_close();
    assert_eq!(peer.client.rest(), b"");
    // Nothing is lost at the end, either.
    let mut peer = running.greeted();
    peer.call(KEEP_BIG, 0, &());
    let Kept::Big(reply) = running.kept() else {
        panic!("no call");
    };
    peer.send(&Frame::plain(CLOSE_STARTED));
    peer.send(&Frame::plain(PING));
    assert_eq!(
        peer.read().kind,
        PONG,
        "it knows that this was the last call"
    );
    reply.ok(vec![1; 500_000]);
    let replies = peer.rest();
    assert_eq!((replies.len(), replies[0].body.len()), (1, 500_003));
}

#[test]
fn older_versions_are_served_through_their_converters() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(TWICE, 0, &200_u64);
    assert_eq!(peer.reply::<u64>(0, sequence), 400);
    let sequence = peer.call(TWICE_1, 0, &(100_u8,));
    assert_eq!(peer.reply::<(u8,)>(0, sequence), (200,));
    let sequence = peer.call(TWICE_1, 0, &(200_u8,));
    assert_eq!(peer.failure(0, sequence), (REMOTE, "too much for 1".into()));
}

#[test]
fn handlers_may_use_the_thread_pool() {
    let running = start();
    let mut peer = running.greeted();
    let mut pool = |number: u32| {
        peer.call(POOL, 0, &number);
        peer.read()
    };
    assert_eq!(decoded::<u32>(&pool(41).body), 42);
    assert_eq!((pool(13).number, pool(14).number), (PANICKED, PANICKED));
    assert_eq!(decoded::<u32>(&pool(1).body), 2);
}

#[test]
fn a_call_that_is_cancelled_is_over_and_its_slot_free() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(KEEP, 0, &1_u32);
    let (_, reply) = running.kept_reply();
    assert!(!reply.is_cancelled());
    peer.send(&Frame::new(CANCEL, 0, sequence, []));
    eventually("the reply hears of it", || reply.is_cancelled());
    let second = peer.call(KEEP, 0, &2_u32);
    let (_, other) = running.kept_reply();
    reply.ok(1);
    assert!(
        !other.is_cancelled(),
        "the next call in that slot is another"
    );
    // A late cancel of the first is no cancel of the second.
    peer.send(&Frame::new(CANCEL, 0, sequence, []));
    peer.echo(1, b"after it");
    other.ok(2);
    assert_eq!(peer.reply::<u32>(0, second), 2, "only that");
}

#[test]
fn a_connection_that_ends_cancels_its_calls() {
    let running = start();
    let mut peer = running.greeted();
    peer.call(KEEP, 0, &1_u32);
    let (_, reply) = running.kept_reply();
    peer.client.reset();
    eventually("the reply hears of it", || reply.is_cancelled());
    reply.ok(1);
    running.greeted().echo(0, b"others");
}

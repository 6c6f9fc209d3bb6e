//! Calls that arrive together, in one input: the answers of those that are answered at once, and of those that are not.

use crate::bench::*;
use crate::common::eventually;
use crate::wire::*;
use rotor_net::Limits;
use rotor_net::rpc::{SessionConfig, Unknown};

/// Sends frames in one write, numbered as calls where they are some.
struct Input<'a> {
    peer: &'a mut Peer,
    bytes: Vec<u8>,
}

impl<'a> Input<'a> {
    fn to(peer: &'a mut Peer) -> Self {
        let bytes = Vec::new();
        Self { peer, bytes }
    }

    fn call(mut self, rank: u16, slot: u32, request: &impl serde::Serialize) -> Self {
        let sequence = self.peer.next_sequence;
        self.peer.next_sequence += 1;
        let mut frame = Frame::call(rank, slot, sequence, encoded(request));
        if slot == NO_SLOT {
            frame.kind = ONE_WAY;
        }
        self.bytes.extend(frame.bytes());
        self
    }

    /// A call that is answered at once.
    fn echo(self, slot: u32) -> Self {
        self.call(ECHO, slot, &vec![1_u8; 9])
    }

    fn frame(mut self, frame: &Frame) -> Self {
        self.bytes.extend(frame.bytes());
        self
    }

    fn send(self) {
        self.peer.client.send(self.bytes);
    }
}

/// Kind and sequence of the next frames.
fn answers(peer: &mut Peer, count: usize) -> Vec<(u8, u32)> {
    let frames = (0..count).map(|_| peer.read());
    frames.map(|frame| (frame.kind, frame.sequence)).collect()
}

#[test]
fn replies_leave_in_the_order_of_completion() {
    let running = start();
    let mut peer = running.greeted();
    Input::to(&mut peer)
        .echo(0)
        .call(NOTHING, 1, &())
        .echo(0)
        .call(KEEP, 2, &1_u32)
        .echo(0)
        .call(ELSEWHERE, 0, &1_u32)
        .call(PANIC, 3, &())
        .echo(0)
        .send();
    let reply = running.kept_reply().1;
    let expected = [
        (REPLY, 0),
        (FAIL, 1),
        (REPLY, 2),
        (REPLY, 4),
        (REPLY, 5),
        (FAIL, 6),
        (REPLY, 7),
    ];
    assert_eq!(answers(&mut peer, 7), expected);
    reply.ok(1);
    assert_eq!(answers(&mut peer, 1), [(REPLY, 3)]);
}

#[test]
fn a_call_may_be_answered_elsewhere_before_its_handler_returns() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(ELSEWHERE, 0, &7_u32);
    assert_eq!(peer.reply::<u32>(0, sequence), 7);
    let mut input = Input::to(&mut peer);
    for slot in 0..100 {
        input = match slot % 3 {
            0 => input.call(ELSEWHERE, slot, &1_u32),
            _ => input.echo(slot),
        };
    }
    input.send();
    let expected: Vec<_> = (1..101).map(|sequence| (REPLY, sequence)).collect();
    assert_eq!(answers(&mut peer, 100), expected);
}

#[test]
fn a_slot_is_free_again_within_the_input() {
    let running = start();
    let mut peer = running.greeted();
    Input::to(&mut peer)
        .call(KEEP, 0, &1_u32)
        .frame(&Frame::new(CANCEL, 0, 0, []))
        .echo(0)
        .echo(0)
        .send();
    assert_eq!(answers(&mut peer, 2), [(REPLY, 1), (REPLY, 2)]);
    let (_, reply) = running.kept_reply();
    assert!(reply.is_cancelled());
    reply.ok(1);
    Input::to(&mut peer)
        .echo(0)
        .call(KEEP, 0, &1_u32)
        .echo(0)
        .send();
    assert_eq!(answers(&mut peer, 1), [(REPLY, 3)]);
    let words = "a call came in slot 0, where another is in flight";
    assert_eq!(peer.goodbye().1, words);
    assert!(running.kept_reply().1.is_cancelled());
    let mut peer = running.greeted();
    Input::to(&mut peer).call(SUM, 0, &()).echo(0).send();
    assert_eq!(peer.goodbye().1, words);
}

/// They are copied nowhere, however large.
#[test]
fn answers_to_one_way_calls_go_nowhere() {
    let running = start_with(
        SessionConfig {
            unknown: Unknown::Proxy,
            queued_bytes_max: 100_000,
            ..SessionConfig::default()
        },
        Limits::default(),
    );
    let mut peer = running.greeted();
    let mut input = Input::to(&mut peer);
    for _ in 0..20 {
        // The proxy answers with four times as many bytes.
        input = input.call(500, NO_SLOT, &vec![200_u8; 5000]);
    }
    input.echo(0).send();
    assert_eq!(answers(&mut peer, 1), [(REPLY, 20)]);
}

/// Reading stops in time.
#[test]
fn answers_given_at_once_are_never_more_than_may_wait() {
    let config = SessionConfig {
        queued_bytes_max: 1000,
        ..SessionConfig::default()
    };
    let running = start_with(config, Limits::default());
    let mut peer = running.greeted();
    let mut input = Input::to(&mut peer);
    for slot in 0..100 {
        input = match slot % 10 {
            9 => input.call(BIG, slot, &450_u32),
            _ => input.echo(slot),
        };
    }
    input.send();
    let expected: Vec<_> = (0..100).map(|sequence| (REPLY, sequence)).collect();
    assert_eq!(answers(&mut peer, 100), expected);
    let sequence = peer.call(BIG, 0, &500_u32);
    assert_eq!(peer.failure(0, sequence).0, TOO_LARGE);
}

/// Cancelling frees the place of a call, but not what the service still does for it.
#[test]
fn what_a_service_keeps_of_cancelled_calls_is_bounded() {
    let config = SessionConfig {
        in_flight_max: 10,
        ..SessionConfig::default()
    };
    let running = start_with(config, Limits::default());
    let mut peer = running.greeted();
    for _ in 0..100 {
        let sequence = peer.call(KEEP, 0, &1_u32);
        peer.send(&Frame::new(CANCEL, 0, sequence, []));
    }
    peer.send(&Frame::plain(PING));
    let mut refused = 0;
    loop {
        let frame = peer.read();
        match frame.kind {
            PONG => break,
            _ => assert_eq!((frame.kind, frame.number), (FAIL, REFUSED)),
        }
        refused += 1;
    }
    let kept: Vec<_> = running.kept.try_iter().collect();
    assert_eq!((kept.len(), refused), (41, 59));
    let mut others = running.greeted();
    others.echo(0, b"others are not refused");
    drop(kept);
    peer.echo(0, b"nor is it, now");
}

#[test]
fn a_session_has_the_codec_limits_of_its_service() {
    let mut config = SessionConfig::default();
    config.codec.depth_max = 3;
    config.codec.decoded_bytes_max = 1000;
    let running = start_with(config, Limits::default());
    let mut peer = running.greeted();
    let sequence = peer.call_with(TREE, 0, (0, vec![]), &[1, 1, 1, 0]);
    let (code, words) = peer.failure(0, sequence);
    assert_eq!(code, BAD_REQUEST);
    assert!(words.contains("nests deeper than 3"), "{words}");
    let sequence = peer.call(ECHO, 0, &vec![1_u8; 1001]);
    let (code, words) = peer.failure(0, sequence);
    assert_eq!(code, BAD_REQUEST);
    assert!(words.contains("1000 bytes of memory"), "{words}");
    eventually("both were handled", || running.handled() == 2);
    peer.echo(0, &[1; 900]);
}

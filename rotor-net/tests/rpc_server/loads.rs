//! Peers that take more than they give, and many calls at once: memory stays bounded, and others are served.

use crate::bench::*;
use crate::common::PATIENCE;
use crate::wire::*;
use rotor_net::Limits;
use rotor_net::rpc::{Reply, SessionConfig};
use std::io::Write;
use std::thread;
use std::time::Duration;

/// Sends calls of this until the connection takes no more; answers how many, and the bytes of the last that are missing.
/// They are long, so that it is soon full.
fn flood(peer: &mut Peer, rank: u16, request: &[u8]) -> (u32, Vec<u8>) {
    let (flags, opening) = opening(None, &[b'm'; 1000], None);
    let body = [&opening[..], request].concat();
    let socket = peer.client.socket().try_clone().unwrap();
    let patience = Some(Duration::from_millis(300));
    socket.set_write_timeout(patience).unwrap();
    let mut socket = &socket;
    for n in 0.. {
        let call = Frame::call(rank, n % 200, n, &body[..]);
        let bytes = Frame { flags, ..call }.bytes();
        let mut sent = 0;
        while sent < bytes.len() {
            match socket.write(&bytes[sent..]) {
                Ok(more) => sent += more,
                Err(_) => {
                    socket.set_write_timeout(Some(PATIENCE)).unwrap();
                    return (n + 1, bytes[sent..].to_vec());
                }
            }
        }
        assert!(n < 10_000_000, "the server reads on and on");
    }
    unreachable!()
}

#[test]
fn a_peer_that_never_reads_is_no_longer_read_and_then_gets_everything() {
    let running = start();
    let mut peer = running.greeted();
    let (sent, missing) = flood(&mut peer, BIG, &encoded(&10_000_u32));
    let handled = running.handled() as u32;
    assert!(
        handled < sent / 2,
        "{handled} of {sent} calls were answered"
    );
    assert!(handled * 10_000 < 32 << 20, "{handled} replies wait");
    for _ in 0..100 {
        running.greeted().echo(0, b"others are served");
    }
    assert_eq!(running.handled() as u32, handled + 100);
    let mut writer = peer.client.socket().try_clone().unwrap();
    let finisher = thread::spawn(move || writer.write_all(&missing).unwrap());
    for n in 0..sent {
        let frame = peer.read();
        assert_eq!(
            (frame.kind, frame.sequence, frame.body.len()),
            (REPLY, n, 10_002)
        );
        assert!(frame.slot == n % 200);
    }
    finisher.join().unwrap();
}

impl Running {
    fn kept_big(&self) -> Reply<Vec<u8>> {
        match self.kept() {
            Kept::Big(reply) => reply,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn late_replies_to_a_peer_that_does_not_read_end_its_session() {
    let config = SessionConfig {
        queued_bytes_max: 4 << 20,
        ..SessionConfig::default()
    };
    let running = start_with(config, Limits::default());
    let mut peer = running.greeted();
    let mut replies = Vec::new();
    for slot in 0..50 {
        peer.call(KEEP_BIG, slot, &());
        replies.push(running.kept_big());
    }
    let waiting = replies.pop().unwrap();
    for reply in replies {
        reply.ok(vec![1; 1_000_000]);
    }
    crate::common::eventually("the session is over", || waiting.is_cancelled());
    waiting.ok(vec![]);
    drop(peer);
    let words = "failed: the peer does not read: more than 4194304 bytes wait for it";
    assert_eq!(running.end(), words);
    running.greeted().echo(0, b"others are served");
}

#[test]
fn late_replies_to_a_peer_that_reads_all_arrive() {
    let running = start();
    let mut peer = running.greeted();
    let mut replies = Vec::new();
    for slot in 0..12 {
        peer.call(KEEP_BIG, slot, &());
        replies.push(running.kept_big());
    }
    // Together more than the stream holds, at once.
    for reply in replies {
        reply.ok(vec![1; 1_000_000]);
    }
    for slot in 0..12 {
        assert_eq!(peer.reply::<Vec<u8>>(slot, slot).len(), 1_000_000);
    }
    peer.echo(0, b"and on");
}

#[test]
fn more_calls_than_a_turn_takes_are_all_answered() {
    let running = start();
    let mut peer = running.greeted();
    let bytes: Vec<u8> = (0..5000)
        .flat_map(|n| Frame::call(TWICE, n % 256, n, encoded(&u64::from(n))).bytes())
        .collect();
    peer.client.send(bytes);
    for n in 0..5000 {
        assert_eq!(peer.reply::<u64>(n % 256, n), u64::from(n) * 2);
    }
}

#[test]
fn pings_without_end_are_answered_no_faster_than_they_are_read() {
    let running = start();
    let mut peer = running.greeted();
    let socket = peer.client.socket().try_clone().unwrap();
    let patience = Some(Duration::from_millis(300));
    socket.set_write_timeout(patience).unwrap();
    let pings = Frame::plain(PING).bytes().repeat(4096);
    let mut sent = 0;
    while let Ok(more) = (&socket).write(&pings[sent % 16..]) {
        sent += more;
        assert!(sent < 100 << 20, "the server reads on and on");
    }
    running.greeted().echo(0, b"others are served");
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    let missing = pings[sent % 16..16].to_vec();
    let whole = sent.div_ceil(16);
    let finisher = thread::spawn(move || {
        if missing.len() < 16 {
            (&socket).write_all(&missing).unwrap();
        }
    });
    for _ in 0..whole {
        assert_eq!(peer.read(), Frame::plain(PONG));
    }
    finisher.join().unwrap();
}

#[test]
fn calls_that_come_together_are_not_all_answered_before_some_has_left() {
    let config = SessionConfig {
        queued_bytes_max: 400_000,
        ..SessionConfig::default()
    };
    let running = start_with(config, Limits::default());
    let mut peer = running.greeted();
    let bytes: Vec<u8> = (0..200)
        .flat_map(|n| Frame::call(BIG, n, n, encoded(&10_000_u32)).bytes())
        .collect();
    peer.client.send(bytes);
    for n in 0..200 {
        assert_eq!(peer.reply::<Vec<u8>>(n, n).len(), 10_000);
    }
}

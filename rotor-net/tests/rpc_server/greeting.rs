//! How sessions begin, and how they do not.

use crate::bench::{Bench, Running, desk, start, start_with};
use crate::wire::{Frame, HELLO, Hello, Peer, encoded, preamble};
use rotor_net::Limits;
use rotor_net::rpc::{Session, SessionConfig, Unknown};
use std::time::Duration;

/// What a peer gets that begins with these bytes: the server's preamble and a goodbye.
fn begins_badly(running: &Running, bytes: &[u8]) -> (u16, String) {
    let mut peer = Peer::silent(running.server.addr);
    peer.client.send(bytes);
    assert_eq!(peer.client.exactly(8), preamble());
    peer.goodbye()
}

#[test]
fn a_greeting_is_answered_with_the_menu_and_the_limits() {
    let running = start_with(
        SessionConfig {
            in_flight_max: 7,
            window_bytes: 1234,
            meta_bytes_max: 99,
            unknown: Unknown::Proxy,
            ..SessionConfig::default()
        },
        Limits {
            input_bytes_max: 5000,
            ..Limits::default()
        },
    );
    let (mut peer, welcome) = Peer::greeted_with(running.server.addr, &Hello::default());
    assert_eq!(welcome.frame_bytes_max, 5000 - 16, "the stream's limit");
    assert_eq!((welcome.window_bytes, welcome.in_flight_max), (1234, 7));
    assert_eq!((welcome.meta_bytes_max, welcome.takes_unknown), (99, true));
    assert_eq!((&*welcome.service, welcome.entries.len()), ("bench", 21));
    let (name, version, kind, digests, signature) = &welcome.entries[13];
    assert_eq!((&**name, *version, *kind), ("twice", 2, 0));
    assert_eq!((*digests, &**signature), ([0; 3], "twice(…)"));
    assert_eq!(
        (&*welcome.entries[14].0, welcome.entries[14].1),
        ("twice", 1)
    );
    peer.echo(0, b"and on it goes");
    // The other connections of the server get the same.
    let (_, second) = Peer::greeted_with(running.server.addr, &Hello::default());
    assert_eq!(second.frame_bytes_max, 5000 - 16);
    let (_, other) = Peer::greeted_with(start().server.addr, &Hello::default());
    assert_eq!(other.frame_bytes_max, (1 << 20) - 16);
}

#[test]
fn a_greeting_may_come_in_pieces_and_with_calls_behind_it() {
    let running = start();
    let mut peer = Peer::silent(running.server.addr);
    let call = Frame::call(crate::bench::ECHO, 0, 0, encoded(&b"early".to_vec()));
    let bytes = [Hello::default().bytes(), call.bytes()].concat();
    let (last, bytes) = bytes.split_last().unwrap();
    for byte in bytes {
        peer.client.send([*byte]);
    }
    assert_eq!(peer.client.exactly(8), preamble());
    assert_eq!(peer.read().kind, crate::wire::WELCOME);
    peer.client.send([*last]);
    assert_eq!(peer.reply::<Vec<u8>>(0, 0), b"early");
}

#[test]
fn a_peer_of_another_kind_is_told_at_its_first_byte() {
    let running = start();
    let (code, words) = begins_badly(&running, b"GET / HTTP/1.1\r\n");
    assert_eq!(code, 1);
    assert!(words.contains("\"GET / HT\""), "{words}");
    assert!(running.end().contains("does not speak this protocol"));
    assert_eq!(begins_badly(&running, b"\xf6").0, 1);
    assert_eq!(begins_badly(&running, b"\xf7rotoR").0, 1);
}

#[test]
fn a_newer_protocol_is_met_where_both_can_and_else_refused() {
    let running = start();
    let mut newer = Hello::default().bytes();
    newer[6..8].copy_from_slice(&[9, 1]);
    let mut peer = Peer::silent(running.server.addr);
    peer.client.send(&newer);
    assert_eq!(peer.client.exactly(8), preamble());
    assert_eq!(peer.read().kind, crate::wire::WELCOME);
    peer.echo(0, b"version 1 then");

    newer[6..8].copy_from_slice(&[9, 2]);
    let (code, words) = begins_badly(&running, &newer);
    assert_eq!(code, 2);
    assert!(words.contains("speaks 2 to 9, this side 1 to 1"), "{words}");
    newer[6..8].copy_from_slice(&[0, 0]);
    assert_eq!(begins_badly(&running, &newer).0, 2);
}

#[test]
fn what_is_no_greeting_ends_the_session() {
    let running = start();
    let begin = |frame: Frame| begins_badly(&running, &[preamble(), frame.bytes()].concat());
    let (code, words) = begin(Frame::call(0, 0, 0, []));
    assert_eq!((code, &*words), (6, "a Call frame has no place here"));
    assert_eq!(begin(Frame::plain(99)).0, 5, "no such frame");
    assert_eq!(begin(Frame::plain(0)).0, 5);
    assert_eq!(
        begin(Frame::new(HELLO, 0, 0, [255; 30])).0,
        8,
        "not readable"
    );
    assert_eq!(begin(Frame::new(HELLO, 0, 0, [0; 8193])).0, 7, "too long");
    // Its length is enough to know.
    let header = [&(u32::MAX).to_le_bytes()[..], &[HELLO; 12]].concat();
    assert_eq!(begins_badly(&running, &[preamble(), header].concat()).0, 7);
}

#[test]
fn a_second_greeting_has_no_place() {
    let running = start();
    let mut peer = running.greeted();
    peer.send(&Frame::new(HELLO, 0, 0, encoded(&(1, 1, Vec::<u8>::new()))));
    assert_eq!(
        peer.goodbye(),
        (6, "a Hello frame has no place here".into())
    );
}

#[test]
fn a_peer_that_is_not_admitted_is_told_why() {
    let running = start();
    let hello = |credential: &[u8]| Hello {
        credential: credential.to_vec(),
        ..Hello::default()
    };
    let (code, words) = begins_badly(&running, &hello(b"wrong").bytes());
    assert_eq!(
        (code, &*words),
        (15, "not admitted: the credential is wrong")
    );
    assert_eq!(
        running.end(),
        "failed: not admitted: the credential is wrong"
    );
    Peer::greeted_with(running.server.addr, &hello(b"right"))
        .0
        .echo(0, b"hello");
    // A panic there costs that connection only.
    let mut peer = Peer::silent(running.server.addr);
    peer.client.send(hello(b"panic").bytes());
    let mut end = Vec::new();
    let _ = std::io::Read::read_to_end(&mut peer.client.0, &mut end);
    assert_eq!(end, b"");
    running.greeted().echo(0, b"still there");
}

#[test]
fn a_peer_that_opens_and_says_nothing_is_sent_away() {
    let config = SessionConfig {
        handshake: Duration::from_millis(50),
        ..SessionConfig::default()
    };
    let running = start_with(config, Limits::default());
    let mut silent = Peer::silent(running.server.addr);
    assert_eq!(silent.client.exactly(8), preamble());
    assert_eq!(silent.goodbye().0, 3);
    // One that dawdles, too; one that has greeted is left alone.
    let mut greeted = running.greeted();
    let hello = Hello::default().bytes();
    let mut slow = Peer::silent(running.server.addr);
    slow.client.send(&hello[..hello.len() - 1]);
    assert_eq!(slow.client.exactly(8), preamble());
    assert_eq!(slow.goodbye().0, 3);
    greeted.echo(0, b"here");
}

#[test]
fn a_peer_that_leaves_before_it_greets_leaves_nothing_behind() {
    let running = start();
    let mut peer = Peer::silent(running.server.addr);
    peer.client.half_close();
    assert_eq!(peer.client.rest(), b"");
    drop(peer);
    assert_eq!(running.end(), "done");
    let mut cut = Peer::silent(running.server.addr);
    cut.client.send(b"\xf7rot");
    cut.client.half_close();
    assert_eq!(cut.client.exactly(8), preamble());
    assert_eq!(cut.goodbye().0, 8);
}

#[test]
fn a_session_is_a_protocol_like_any_other_and_has_defaults() {
    let server = crate::common::start::<Session<Bench>>(Limits::default(), || desk(false).0);
    let (mut peer, welcome) = Peer::greeted_with(server.addr, &Hello::default());
    let defaults = SessionConfig::default();
    assert_eq!(welcome.window_bytes, defaults.window_bytes);
    assert_eq!(welcome.in_flight_max as usize, defaults.in_flight_max);
    peer.echo(0, b"by default");
}

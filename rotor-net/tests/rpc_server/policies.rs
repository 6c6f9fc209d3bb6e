//! What goes along with calls, which are let in, and what becomes of those that nobody knows.

use crate::bench::*;
use crate::wire::*;
use rotor_net::Limits;
use rotor_net::rpc::{SessionConfig, Unknown};

fn with(config: SessionConfig) -> Running {
    start_with(config, Limits::default())
}

#[test]
fn a_handler_knows_its_caller() {
    let running = start();
    let known = Hello {
        credential: b"me".to_vec(),
        ..Hello::default()
    };
    let (mut peer, _) = Peer::greeted_with(running.server.addr, &known);
    let port = peer.client.socket().local_addr().unwrap().port();
    let mut peek = |opening| {
        let sequence = peer.call_with(PEEK, 0, opening, &[]);
        peer.reply::<(Vec<u8>, Option<u64>, u16, Vec<u8>)>(0, sequence)
    };
    let nothing = (vec![], None, port, b"me".to_vec());
    assert_eq!(peek(opening(None, b"", None)), nothing);
    let (meta, left, ..) = peek(opening(Some(60_000), b"trace 7", None));
    assert_eq!((meta, left), (b"trace 7".to_vec(), Some(60_000)));
}

#[test]
fn deadlines_are_no_longer_than_the_server_lets_them_be() {
    let running = with(SessionConfig {
        deadline_max: std::time::Duration::from_secs(30),
        ..SessionConfig::default()
    });
    let mut peer = running.greeted();
    for (asked, given) in [
        (None, 30_000),
        (Some(60_000), 30_000),
        (Some(20_000), 20_000),
    ] {
        let sequence = peer.call_with(PEEK, 0, opening(asked, b"", None), &[]);
        let (_, left, ..) = peer.reply::<(Vec<u8>, Option<u64>, u16, Vec<u8>)>(0, sequence);
        assert_eq!(left, Some(given));
    }
}

#[test]
fn metadata_has_a_limit() {
    let running = with(SessionConfig {
        meta_bytes_max: 10,
        ..SessionConfig::default()
    });
    let mut peer = running.greeted();
    let sequence = peer.call_with(PEEK, 0, opening(None, &[1; 10], None), &[]);
    assert_eq!(peer.read().sequence, sequence);
    let sequence = peer.call_with(PEEK, 0, opening(None, &[1; 11], None), &[]);
    let (code, words) = peer.failure(0, sequence);
    assert_eq!(
        (code, &*words),
        (BAD_REQUEST, "11 bytes of metadata, of at most 10")
    );
    assert_eq!(running.handled(), 1);
}

#[test]
fn a_call_that_is_not_allowed_is_refused_in_words() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call_with(PEEK, 0, opening(None, b"forbidden", None), &[]);
    assert_eq!(
        peer.failure(0, sequence),
        (REFUSED, "no peek for you".into())
    );
    peer.call_with(
        NOTE,
        NO_SLOT,
        opening(None, b"forbidden", None),
        &encoded(&1),
    );
    let sequence = peer.call_with(PEEK, 0, opening(None, b"panic", None), &[]);
    assert_eq!(peer.failure(0, sequence).0, PANICKED);
    peer.echo(0, b"fine");
    assert_eq!(running.handled(), 1, "only that was begun");
}

#[test]
fn one_way_calls_get_no_answer_whatever_happens() {
    let running = start();
    let mut peer = running.greeted();
    peer.call(NOTE, NO_SLOT, &7_u32);
    peer.call_with(NOTE, NO_SLOT, (0, vec![]), b"");
    peer.call(NOTHING, NO_SLOT, &());
    peer.call(NOTE, NO_SLOT, &8_u32);
    peer.echo(0, b"the first answer");
    assert_eq!(running.notes.try_iter().collect::<Vec<_>>(), [7, 8]);
}

#[test]
fn unknown_calls_are_refused() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(NOTHING, 0, &());
    assert_eq!(peer.failure(0, sequence).0, UNKNOWN);
    let sequence = peer.call_with(0, 0, opening(None, b"", Some(("echo", 1))), &[0]);
    assert_eq!(
        peer.failure(0, sequence).0,
        UNKNOWN,
        "by name, where names are not taken"
    );
    peer.echo(0, b"fine");
}

#[test]
fn unknown_calls_end_the_session() {
    let running = with(SessionConfig {
        unknown: Unknown::Close,
        ..SessionConfig::default()
    });
    let mut peer = running.greeted();
    peer.call(u16::MAX, 0, &());
    let goodbye = (13, "no call on the menu has rank 65535".into());
    assert_eq!(peer.goodbye(), goodbye);
    let mut peer = running.greeted();
    peer.call(u16::MAX, NO_SLOT, &());
    assert_eq!(peer.goodbye(), goodbye, "also one that has no reply");
}

#[test]
fn unknown_calls_are_handed_on_raw() {
    let running = with(SessionConfig {
        unknown: Unknown::Proxy,
        ..SessionConfig::default()
    });
    let mut peer = running.greeted();
    let sequence = peer.call_with(500, 0, opening(None, b"", None), b"abc");
    let frame = peer.read();
    assert_eq!((frame.kind, frame.sequence), (REPLY, sequence));
    assert_eq!(frame.words(), "- 0 Some(500) [97, 98, 99]");
    let named = opening(Some(5_000), b"meta", Some(("far", 3)));
    peer.call_with(0, 0, named, b"");
    assert_eq!(peer.read().words(), "far 3 None []");
    let sequence = peer.call_with(500, 0, opening(None, b"", None), b"fail");
    assert_eq!(peer.failure(0, sequence).0, REMOTE);
    let sequence = peer.call_with(500, 0, opening(None, b"", None), b"drop");
    assert_eq!(peer.failure(0, sequence).0, UNANSWERED);
    peer.call_with(500, NO_SLOT, opening(None, b"", None), b"");
    peer.echo(0, b"fine");
    assert_eq!(running.handled(), 6);
}

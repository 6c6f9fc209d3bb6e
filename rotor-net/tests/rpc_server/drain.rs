//! Ends by agreement: nothing is lost.

use crate::bench::*;
use crate::common::PATIENCE;
use crate::wire::*;

#[test]
fn a_server_that_drains_completes_what_is_in_flight_and_begins_nothing() {
    let running = start();
    let mut peer = running.greeted();
    let kept = peer.call(KEEP, 0, &1_u32);
    let streamed = peer.call(ITEMS, 1, &());
    let (_, reply) = running.kept_reply();
    let Kept::Items(mut items) = running.kept() else {
        panic!("no items");
    };
    running.server.thread.shutdown(PATIENCE);
    assert_eq!(peer.read(), Frame::plain(CLOSE_STARTED));
    let handled = running.handled();
    let refused = peer.call(ECHO, 2, b"");
    assert_eq!(peer.failure(2, refused).0, DRAINING);
    peer.call(NOTE, NO_SLOT, &1_u32);
    items.send(b"still".to_vec()).unwrap();
    assert_eq!(peer.read().kind, ITEM);
    peer.send(&Frame::plain(CLOSE_STARTED));
    items.end().unwrap();
    assert_eq!(peer.read(), Frame::new(END, 1, streamed, []));
    reply.ok(5);
    assert_eq!(peer.reply::<u32>(0, kept), 5);
    assert_eq!(peer.client.rest(), b"", "and then it closes");
    assert_eq!(running.handled(), handled, "nothing was begun");
    drop(peer);
    running.server.thread.join().unwrap();
}

#[test]
fn a_drain_waits_for_the_clients_word() {
    let running = start();
    let mut one = running.greeted();
    let mut other = running.greeted();
    running.server.thread.shutdown(PATIENCE);
    assert_eq!(one.read(), Frame::plain(CLOSE_STARTED));
    assert_eq!(other.read(), Frame::plain(CLOSE_STARTED));
    // It may have sent calls that the server has not seen yet.
    let sequence = one.call(ECHO, 0, b"");
    assert_eq!(one.failure(0, sequence).0, DRAINING);
    one.send(&Frame::plain(CLOSE_STARTED));
    assert_eq!(one.client.rest(), b"");
    // An end of file is as good.
    assert_eq!(other.rest(), []);
    drop((one, other));
    running.server.thread.join().unwrap();
}

#[test]
fn a_connection_that_has_not_greeted_does_not_hold_up_a_drain() {
    let running = start();
    let mut silent = Peer::silent(running.server.addr);
    let greeted = running.greeted();
    running.server.thread.shutdown(PATIENCE);
    assert_eq!(silent.client.rest(), b"");
    greeted.client.half_close();
    drop((silent, greeted));
    running.server.thread.join().unwrap();
}

#[test]
fn a_client_that_makes_no_more_calls_gets_what_is_in_flight() {
    let running = start();
    let mut peer = running.greeted();
    let kept = peer.call(KEEP, 0, &1_u32);
    let (_, reply) = running.kept_reply();
    peer.send(&Frame::plain(CLOSE_STARTED));
    peer.send(&Frame::plain(PING));
    assert_eq!(peer.read(), Frame::plain(PONG), "it goes on until then");
    reply.ok(3);
    assert_eq!(peer.reply::<u32>(0, kept), 3);
    assert_eq!(peer.client.rest(), b"");
    drop(peer);
    assert_eq!(running.end(), "done");
    // The same, said by the end of the file.
    let mut peer = running.greeted();
    let kept = peer.call(KEEP, 0, &1_u32);
    let (_, reply) = running.kept_reply();
    peer.client.half_close();
    reply.ok(4);
    assert_eq!(peer.reply::<u32>(0, kept), 4);
    assert_eq!(peer.client.rest(), b"");
    drop(peer);
    assert_eq!(running.end(), "done");
}

#[test]
fn a_call_after_the_last_one_breaks_the_protocol() {
    let running = start();
    let mut peer = running.greeted();
    peer.call(KEEP, 0, &1_u32);
    let _reply = running.kept_reply();
    peer.send(&Frame::plain(CLOSE_STARTED));
    peer.call(ECHO, 1, b"");
    assert_eq!(peer.goodbye(), (6, "a Call frame has no place here".into()));
}

#[test]
fn a_client_with_nothing_in_flight_is_let_go_at_its_word() {
    let running = start();
    let mut peer = running.greeted();
    peer.echo(0, b"one");
    peer.send(&Frame::plain(CLOSE_STARTED));
    assert_eq!(peer.client.rest(), b"");
    drop(peer);
    assert_eq!(running.end(), "done");
}

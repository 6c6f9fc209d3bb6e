//! Streams of items, both ways.

use crate::bench::*;
use crate::common::eventually;
use crate::wire::*;
use rotor_net::Limits;
use rotor_net::rpc::{CallError, ItemReceiver, ItemSender, Reply, SendItemError, SessionConfig};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

impl Running {
    fn kept_items(&self) -> ItemSender<Vec<u8>> {
        match self.kept() {
            Kept::Items(items) => items,
            other => panic!("{other:?}"),
        }
    }

    fn kept_sum(&self) -> (ItemReceiver<Vec<u8>>, Reply<u32>) {
        match self.kept() {
            Kept::Sum(items, reply) => (items, reply),
            other => panic!("{other:?}"),
        }
    }
}

/// An item's frame.
fn item(slot: u32, sequence: u32, bytes: &[u8]) -> Frame {
    Frame::new(ITEM, slot, sequence, encoded(bytes))
}

fn credit(slot: u32, sequence: u32, bytes: u32) -> Frame {
    Frame::new(CREDIT, slot, sequence, bytes.to_le_bytes())
}

fn window(window_bytes: u32) -> SessionConfig {
    SessionConfig {
        window_bytes,
        ..SessionConfig::default()
    }
}

#[test]
fn items_leave_in_order_and_the_end_after_them() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(ITEMS, 3, &());
    let mut items = running.kept_items();
    let sender = thread::spawn(move || {
        for n in 0..200_u8 {
            items.send_blocking(vec![n; 50]).unwrap();
        }
        items.end().unwrap();
    });
    for n in 0..200 {
        assert_eq!(peer.read(), item(3, sequence, &[n; 50]));
    }
    assert_eq!(peer.read(), Frame::new(END, 3, sequence, []));
    sender.join().unwrap();
    // The call is over, so its slot is free.
    peer.echo(3, b"next");
    let sequence = peer.call(ONE_ITEM, 3, &());
    assert_eq!(peer.read(), item(3, sequence, b"only"));
    assert_eq!(peer.read().kind, END);
    peer.echo(3, b"next");
}

#[test]
fn items_wait_for_credit_and_hold_up_nobody_else() {
    let running = start();
    let narrow = Hello {
        window_bytes: 100,
        ..Hello::default()
    };
    let (mut peer, _) = Peer::greeted_with(running.server.addr, &narrow);
    let sequence = peer.call(ITEMS, 0, &());
    let mut items = running.kept_items();
    // Each costs 16 bytes and 34.
    for n in 0..2 {
        items.send(vec![n; 33]).unwrap();
    }
    let refused = items.send(vec![2; 33]);
    assert_eq!(refused, Err(SendItemError::NoCredit(vec![2; 33])));
    for n in 0..2 {
        assert_eq!(peer.read(), item(0, sequence, &[n; 33]));
    }
    peer.echo(1, b"not held up");
    let sender = thread::spawn(move || {
        items.send_blocking(vec![2; 33]).unwrap();
        // It may overdraw by one.
        items.send(vec![3; 33]).unwrap();
        assert!(matches!(
            items.send(vec![4; 33]),
            Err(SendItemError::NoCredit(_))
        ));
        items.end().unwrap();
    });
    peer.echo(2, b"not held up");
    peer.send(&credit(0, sequence, 51));
    for n in 2..4 {
        assert_eq!(peer.read(), item(0, sequence, &[n; 33]));
    }
    assert_eq!(peer.read().kind, END);
    sender.join().unwrap();
}

#[test]
fn a_sender_ends_as_it_says() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(ITEMS, 0, &());
    running
        .kept_items()
        .fail(CallError::Remote("enough".into()));
    assert_eq!(peer.failure(0, sequence), (REMOTE, "enough".into()));
    let sequence = peer.call(ITEMS, 0, &());
    drop(running.kept_items());
    assert_eq!(peer.failure(0, sequence).0, UNANSWERED, "what was cut off");
    let small = Hello {
        frame_bytes_max: 50,
        ..Hello::default()
    };
    let (mut peer, _) = Peer::greeted_with(running.server.addr, &small);
    let sequence = peer.call(ITEMS, 0, &());
    let mut items = running.kept_items();
    assert!(matches!(
        items.send(vec![1; 50]),
        Err(SendItemError::Refused(_))
    ));
    items.send(vec![1; 49]).unwrap();
    assert_eq!(peer.read(), item(0, sequence, &[1; 49]));
}

#[test]
fn items_of_the_client_are_received_and_replied_to() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(SUM, 0, &());
    for n in 0..10 {
        peer.send(&item(0, sequence, &[n]));
    }
    peer.send(&Frame::new(END, 0, sequence, []));
    let (mut items, reply) = running.kept_sum();
    for n in 0..10 {
        assert_eq!(items.next_blocking(), Some(Ok(vec![n])));
    }
    assert_eq!(items.next_blocking(), None);
    reply.ok(10);
    assert_eq!(peer.reply::<u32>(0, sequence), 10);
}

#[test]
fn what_is_consumed_is_given_back_as_credit() {
    let running = start_with(window(1000), Limits::default());
    let mut peer = running.greeted();
    let sequence = peer.call(SUM, 0, &());
    let (mut items, _reply) = running.kept_sum();
    for n in 0..10 {
        peer.send(&item(0, sequence, &[n; 83]));
    }
    for _ in 0..10 {
        assert!(items.next_blocking().is_some_and(|item| item.is_ok()));
    }
    // Half the window at a time.
    for _ in 0..2 {
        assert_eq!(peer.read(), credit(0, sequence, 500));
    }
    peer.echo(1, b"no more of it");
    // Nobody receives any more: credit is given all the same.
    drop(items);
    for n in 0..10 {
        peer.send(&item(0, sequence, &[n; 83]));
    }
    for _ in 0..2 {
        assert_eq!(peer.read(), credit(0, sequence, 500));
    }
}

#[test]
fn items_beyond_the_credit_end_the_session() {
    let running = start_with(window(100), Limits::default());
    let mut peer = running.greeted();
    let sequence = peer.call(SUM, 5, &());
    let (mut items, reply) = running.kept_sum();
    for n in 0..2 {
        peer.send(&item(5, sequence, &[n; 80]));
    }
    peer.echo(0, b"overdrawn by one");
    peer.send(&item(5, sequence, &[3; 80]));
    let words = "the call in slot 5 sent items beyond its credit";
    assert_eq!(peer.goodbye(), (12, words.into()));
    drop(peer);
    assert_eq!(running.end(), format!("failed: {words}"));
    // What came within the credit is still delivered, then the end.
    assert_eq!(items.next_blocking(), Some(Ok(vec![0; 80])));
    assert_eq!(items.next_blocking(), Some(Ok(vec![1; 80])));
    let last = items.next_blocking();
    assert!(
        matches!(last, Some(Err(CallError::Disconnected { .. }))),
        "{last:?}"
    );
    assert!(reply.is_cancelled());
}

#[test]
fn both_sides_may_send_items() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(CHAT, 0, &());
    let Kept::Chat(mut incoming, mut outgoing) = running.kept() else {
        panic!("no chat");
    };
    for n in 0..5 {
        peer.send(&item(0, sequence, &[n]));
        let said = incoming.next_blocking().unwrap().unwrap();
        outgoing.send([&said[..], b"!"].concat()).unwrap();
        assert_eq!(peer.read(), item(0, sequence, &[n, b'!']));
    }
    peer.send(&Frame::new(END, 0, sequence, []));
    assert_eq!(incoming.next_blocking(), None);
    outgoing.send(b"last".to_vec()).unwrap();
    outgoing.end().unwrap();
    assert_eq!(peer.read(), item(0, sequence, b"last"));
    assert_eq!(peer.read(), Frame::new(END, 0, sequence, []));
    peer.echo(0, b"over");
    // The server may end first; the client's items are late then, and no fault.
    let sequence = peer.call(CHAT, 0, &());
    let Kept::Chat(mut incoming, outgoing) = running.kept() else {
        panic!("no chat");
    };
    outgoing.end().unwrap();
    assert_eq!(peer.read().kind, END);
    assert!(matches!(incoming.next_blocking(), Some(Err(_))));
    peer.send(&item(0, sequence, b"late"));
    peer.send(&Frame::new(END, 0, sequence, []));
    peer.echo(0, b"no fault");
}

#[test]
fn a_cancelled_stream_is_over_on_both_halves() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(CHAT, 0, &());
    let Kept::Chat(mut incoming, mut outgoing) = running.kept() else {
        panic!("no chat");
    };
    peer.send(&Frame::new(CANCEL, 0, sequence, []));
    eventually("the sender hears of it", || outgoing.is_over());
    assert_eq!(
        outgoing.send(vec![]),
        Err(SendItemError::Ended(CallError::Cancelled))
    );
    assert_eq!(incoming.next_blocking(), Some(Err(CallError::Cancelled)));
    assert_eq!(incoming.try_next(), Poll::Ready(None));
    peer.echo(0, b"the slot is free");
}

#[test]
fn a_client_that_is_gone_mid_stream_is_noticed() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(CHAT, 0, &());
    peer.send(&item(0, sequence, b"before"));
    let Kept::Chat(mut incoming, mut outgoing) = running.kept() else {
        panic!("no chat");
    };
    peer.echo(1, b"it has arrived");
    peer.client.reset();
    eventually("the sender hears of it", || outgoing.is_over());
    assert!(matches!(
        outgoing.send(vec![]),
        Err(SendItemError::Ended(CallError::Disconnected { .. }))
    ));
    assert_eq!(incoming.next_blocking(), Some(Ok(b"before".to_vec())));
    assert!(matches!(
        incoming.next_blocking(),
        Some(Err(CallError::Disconnected { .. }))
    ));
    assert_eq!(incoming.next_blocking(), None);
}

/// How a session ends for these frames, if it does. The first is a call, whose halves are kept meanwhile.
fn fault(frames: &[Frame]) -> Option<(u16, String)> {
    let running = start();
    let mut peer = running.greeted();
    let bytes = frames.iter().flat_map(Frame::bytes);
    let bytes = bytes.chain(Frame::plain(PING).bytes());
    peer.client.send(bytes.collect::<Vec<_>>());
    let _kept = running.kept();
    let answer = peer.read();
    match answer.kind {
        GOODBYE => Some((answer.number, answer.words())),
        PONG => None,
        _ => panic!("{answer:?}"),
    }
}

#[test]
fn items_of_calls_without_any_break_the_protocol() {
    let end = || Frame::new(END, 0, 0, []);
    let unexpected = |frame: &str| Some((6, format!("a {frame} frame has no place here")));
    let keep = || Frame::call(KEEP, 0, 0, [1]);
    let sum = || Frame::call(SUM, 0, 0, []);
    let items = || Frame::call(ITEMS, 0, 0, []);
    assert_eq!(fault(&[keep(), item(0, 0, b"")]), unexpected("Item"));
    assert_eq!(fault(&[keep(), end()]), unexpected("End"));
    assert_eq!(fault(&[keep(), credit(0, 0, 1)]), unexpected("Credit"));
    assert_eq!(fault(&[sum(), credit(0, 0, 1)]), unexpected("Credit"));
    assert_eq!(fault(&[items(), item(0, 0, b"")]), unexpected("Item"));
    assert_eq!(fault(&[items(), credit(0, 0, 1)]), None);
    assert_eq!(fault(&[sum(), end()]), None);
    assert_eq!(fault(&[sum(), end(), end()]), unexpected("End"));
    assert_eq!(fault(&[sum(), end(), item(0, 0, b"")]), unexpected("Item"));
    let short = Frame::new(CREDIT, 0, 0, [1, 2, 3]);
    let what = "a frame does not hold what it should: credit in four bytes";
    assert_eq!(fault(&[items(), short]), Some((8, what.into())));
}

#[test]
fn frames_of_calls_of_the_future_break_the_protocol() {
    let unexpected = |frame: &str| Some((6, format!("a {frame} frame has no place here")));
    let sum = || Frame::call(SUM, 0, 0, []);
    for (kind, name) in [
        (ITEM, "Item"),
        (END, "End"),
        (CREDIT, "Credit"),
        (CANCEL, "Cancel"),
    ] {
        let of = |slot, sequence| Frame::new(kind, slot, sequence, [1, 0, 0, 0]);
        assert_eq!(fault(&[sum(), of(0, 1)]), unexpected(name));
        assert_eq!(fault(&[sum(), of(0, 1 << 31)]), unexpected(name));
        assert_eq!(
            fault(&[sum(), of(1, 0)]),
            None,
            "of no call now: late at most"
        );
        assert_eq!(fault(&[sum(), of(u32::MAX, 0)]), None);
    }
}

#[test]
fn many_wide_streams_to_a_slow_reader_wait_instead_of_ending_it() {
    let limits = Limits {
        output_bytes_max: 256 << 10,
        ..Limits::default()
    };
    let config = SessionConfig {
        queued_bytes_max: 512 << 10,
        ..SessionConfig::default()
    };
    let running = start_with(config, limits);
    let wide = Hello {
        window_bytes: u32::MAX,
        ..Hello::default()
    };
    let (mut peer, _) = Peer::greeted_with(running.server.addr, &wide);
    for slot in 0..8 {
        peer.call(ITEMS, slot, &());
    }
    const EACH: usize = 400;
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (mut items, sent) = (running.kept_items(), sent.clone());
            thread::spawn(move || {
                for _ in 0..EACH {
                    items.send_blocking(vec![7; 10_000]).unwrap();
                    sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                }
                items.end().unwrap();
            })
        })
        .collect();
    // Until nothing moves any more: the kernel's buffers are full, and ours at their mark.
    let mut before = usize::MAX;
    eventually("it comes to rest", || {
        thread::sleep(std::time::Duration::from_millis(50));
        let now = sent.load(std::sync::atomic::Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < 8 * EACH, "all was sent to nobody");
    let (mut items, mut ends) = (0, 0);
    while ends < 8 {
        match peer.read().kind {
            ITEM => items += 1,
            END => ends += 1,
            other => panic!("a frame of kind {other}"),
        }
    }
    assert_eq!(items, 8 * EACH);
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    peer.echo(0, b"and on");
}

#[test]
fn a_client_that_ends_before_its_items_do_is_noticed_and_still_answered() {
    let running = start();
    let mut peer = running.greeted();
    let sequence = peer.call(SUM, 0, &());
    peer.send(&item(0, sequence, &[1]));
    let (mut items, reply) = running.kept_sum();
    assert_eq!(items.next_blocking(), Some(Ok(vec![1])));
    let waiting = thread::spawn(move || items.next_blocking());
    peer.client.half_close();
    let end = waiting.join().unwrap();
    assert!(
        matches!(end, Some(Err(CallError::Disconnected { .. }))),
        "{end:?}"
    );
    reply.ok(1);
    let replies = frames(&peer.client.rest());
    assert_eq!((replies.len(), replies[0].kind), (1, REPLY));
}

/// A waker is code of the program, called where items arrive.
#[test]
fn a_waker_that_panics_is_a_matter_of_its_stream() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("asked to"));
        }
    }
    let running = start();
    let mut peer = running.greeted();
    let kept = peer.call(KEEP, 1, &1_u32);
    let sequence = peer.call(SUM, 0, &());
    let reply = running.kept_reply().1;
    let (mut items, _sum) = running.kept_sum();
    let bomb = Waker::from(Arc::new(Bomb));
    let mut cx = Context::from_waker(&bomb);
    assert!(items.poll_next(&mut cx).is_pending());
    peer.send(&item(0, sequence, &[1]));
    peer.echo(2, b"the connection lives");
    assert_eq!(items.next_blocking(), Some(Ok(vec![1])));
    assert!(items.poll_next(&mut cx).is_pending());
    reply.ok(5);
    assert_eq!(peer.reply::<u32>(1, kept), 5);
    // Its end is told all others as well.
    peer.call(ITEMS, 2, &());
    let mut sender = running.kept_items();
    peer.client.reset();
    eventually("the sender hears of it", || sender.send(vec![1]).is_err());
    let end = items.next_blocking();
    assert!(matches!(end, Some(Err(_))), "{end:?}");
}

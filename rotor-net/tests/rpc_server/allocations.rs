//! R12 for sessions: in the steady state a call allocates nothing, on the loop's thread nor where it is answered.

use crate::bench::*;
use crate::common::eventually;
use crate::counting::{allocations, count_here};
use crate::wire::*;
use rotor_net::Limits;
use rotor_net::rpc::{ItemReceiver, ItemSender, Reply, SessionConfig};
use std::sync::MutexGuard;

/// The connections take turns, as all that counts is counted together.
#[test]
fn r12_calls_and_items_allocate_nothing_in_the_steady_state() {
    let running = start_counted(SessionConfig::default(), Limits::default(), true);
    let mut mixed = Mixed::new(&running);
    let mut parking = running.greeted();
    let mut answering = running.greeted();
    let mut chat = Chat::new(&running);
    let mut round = || {
        mixed.round(&running);
        answered_by_another_call(&running, &mut parking, &mut answering);
        chat.round();
    };
    (0..100).for_each(|_| round());
    let before = allocations();
    assert!(before > 0, "nothing is counted");
    (0..200).for_each(|_| round());
    assert_eq!(
        allocations() - before,
        0,
        "allocations in {} calls, and {} items each way",
        200 * 116,
        200 * ITEMS_EACH_WAY
    );
}

const REPLY_BYTES: usize = HEADER_BYTES + 1;

/// A connection with calls that are answered at once, one by one and many together, and calls that are answered by
/// another thread.
struct Mixed {
    peer: Peer,
}

impl Mixed {
    fn new(running: &Running) -> Self {
        Self {
            peer: running.greeted(),
        }
    }

    fn send(&mut self, rank: u16, calls: u32) {
        let (flags, opening) = opening(Some(60_000), b"trace", None);
        let body = [&opening[..], &encoded(&7_u64)].concat();
        let first = self.peer.next_sequence;
        self.peer.next_sequence += calls;
        let frames = (0..calls).flat_map(|slot| {
            let call = Frame {
                flags,
                ..Frame::call(rank, slot, first + slot, body.clone())
            };
            call.bytes()
        });
        self.peer.client.send(frames.collect::<Vec<_>>());
    }

    fn take(&mut self, replies: usize) {
        self.peer.client.exactly(replies * REPLY_BYTES);
    }

    fn round(&mut self, running: &Running) {
        self.send(TWICE, 1);
        self.take(1);
        self.send(TWICE, 64);
        self.take(64);
        for _ in 0..10 {
            self.peer.call(NOTE, NO_SLOT, &1_u32);
        }
        self.send(PARK, 20);
        let mut parked = all_parked(running);
        count_here(true);
        for (n, reply) in (0..).zip(parked.drain(..)) {
            reply.ok(n);
        }
        count_here(false);
        drop(parked);
        self.take(20);
    }
}

/// Calls that are answered by a handler of another connection.
fn answered_by_another_call(running: &Running, parking: &mut Peer, answering: &mut Peer) {
    for slot in 0..20 {
        parking.call(PARK, slot, &());
    }
    drop(all_parked(running));
    let sequence = answering.call(TWICE, 0, &3_u64);
    assert_eq!(answering.reply::<u64>(0, sequence), 6);
    for _ in 0..20 {
        let frame = parking.read();
        assert_eq!((frame.kind, decoded::<u64>(&frame.body)), (REPLY, 3));
    }
}

const ITEMS_EACH_WAY: usize = 20;

/// A call whose items go both ways, in a thread that waits for them.
struct Chat {
    peer: Peer,
    sequence: u32,
    incoming: ItemReceiver<Vec<u8>>,
    outgoing: ItemSender<Vec<u8>>,
}

impl Chat {
    fn new(running: &Running) -> Self {
        let mut peer = running.greeted();
        let sequence = peer.call(CHAT, 0, &());
        let Kept::Chat(incoming, outgoing) = running.kept() else {
            panic!("no chat");
        };
        let mut chat = Self {
            peer,
            sequence,
            incoming,
            outgoing,
        };
        // All buffers, of which receiving has two, grow to what a round may take at the worst.
        (0..2).for_each(|_| chat.talk(vec![0; 600], 1));
        chat
    }

    /// Without bytes in them, the items themselves allocate nothing.
    fn round(&mut self) {
        self.talk(Vec::new(), ITEMS_EACH_WAY);
    }

    /// What is received is sent back.
    fn talk(&mut self, item: Vec<u8>, times: usize) {
        let item = Frame::new(ITEM, 0, self.sequence, encoded(&item));
        let bytes = item.bytes();
        self.peer.client.send(bytes.repeat(times));
        let credit = (bytes.len() * times) as u32;
        count_here(true);
        for _ in 0..times {
            let said = self.incoming.next_blocking().unwrap().unwrap();
            self.outgoing.send_blocking(said).unwrap();
        }
        count_here(false);
        let mut came = 0;
        while came < times {
            let frame = self.peer.read();
            came += usize::from(frame.kind == ITEM);
            assert!(frame == item || frame.kind == CREDIT, "{frame:?}");
        }
        let credit = Frame::new(CREDIT, 0, self.sequence, credit.to_le_bytes());
        self.peer.send(&credit);
    }
}

/// The 20 replies that wait to be given.
fn all_parked(running: &Running) -> MutexGuard<'_, Vec<Reply<u64>>> {
    eventually("all are parked", || {
        running.desk.parked.lock().unwrap().len() == 20
    });
    running.desk.parked.lock().unwrap()
}

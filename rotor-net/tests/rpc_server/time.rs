//! Deadlines and heartbeats, in virtual time.

use crate::bench::*;
use crate::wire::*;
use rotor_fsm::sim::{PeerId, Sim};
use rotor_net::prelude::*;
use rotor_net::rpc::{CallError, SendItemError, Session, SessionConfig, session};
use rotor_net::{AcceptSeed, Service};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A server at port 7 in a simulation, and one peer that has greeted.
pub struct World {
    pub sim: Sim,
    pub peer: PeerId,
    pub kept: Receiver<Kept>,
    pub sequence: u32,
    /// Of a frame that has not arrived whole.
    pub partial: Vec<u8>,
}

impl World {
    pub fn new(seed: u64, config: SessionConfig) -> Self {
        let mut sim = Sim::new(seed);
        let (desk, kept, _) = desk(false);
        let config = Arc::new(config);
        let made = sim.add::<Service<Session<Bench>>>(Config::default(), |setup| {
            let streams = Streams::new(Limits::default());
            let at = Addr::Tcp(([127, 0, 0, 1], 7).into());
            let seed = AcceptSeed::new(at, &streams, &setup.spawner(), move |_| {
                session(Bench::default(), &config)
            });
            setup.add::<Accept<Session<Bench>>>(seed)?;
            Ok(desk)
        });
        made.expect("the server starts");
        sim.run_for(ms(1));
        let peer = sim.connect(Addr::Tcp(([127, 0, 0, 1], 7).into()));
        let mut world = Self {
            sim,
            peer,
            kept,
            sequence: 0,
            partial: Vec::new(),
        };
        world.sim.send(peer, &Hello::default().bytes());
        world.sim.run_for(ms(20));
        let welcome = world.sim.take_received(peer);
        assert_eq!(welcome[..8], preamble());
        world
    }

    fn send(&mut self, frame: &Frame) {
        self.sim.send(self.peer, &frame.bytes());
    }

    fn call(&mut self, rank: u16, slot: u32, deadline_ms: Option<u32>, request: &[u8]) {
        let (flags, opening) = opening(deadline_ms, b"", None);
        let sequence = self.sequence;
        self.sequence += 1;
        self.send(&Frame {
            flags,
            ..Frame::call(rank, slot, sequence, [&opening[..], request].concat())
        });
    }

    /// What has arrived from the server since it was last asked.
    pub fn frames(&mut self) -> Vec<Frame> {
        self.partial.extend(self.sim.take_received(self.peer));
        let mut frames = Vec::new();
        while let Some((frame, whole)) = Frame::parse(&self.partial) {
            self.partial.drain(..whole);
            frames.push(frame);
        }
        frames
    }

    /// Runs so long, and answers what arrived.
    fn after(&mut self, duration: Duration) -> Vec<Frame> {
        self.sim.run_for(duration);
        self.frames()
    }

    /// Runs until something arrives; answers when that was.
    fn until_frames(&mut self) -> (Duration, Vec<Frame>) {
        let start = self.sim.now();
        for _ in 0..100_000 {
            self.sim.run_for(ms(1));
            let frames = self.frames();
            if !frames.is_empty() {
                return (self.sim.now().since(start), frames);
            }
        }
        panic!("nothing arrives");
    }
}

/// No heartbeats in a test of deadlines.
fn quiet() -> SessionConfig {
    SessionConfig {
        heartbeat: Duration::MAX,
        ..SessionConfig::default()
    }
}

fn timed_out(slot: u32, sequence: u32) -> Frame {
    Frame {
        number: TIMED_OUT,
        ..Frame::new(FAIL, slot, sequence, [])
    }
}

#[test]
fn a_call_past_its_deadline_fails_and_its_slot_is_free() {
    let mut world = World::new(1, quiet());
    world.call(KEEP, 0, Some(1000), &encoded(&1_u32));
    let (after, frames) = world.until_frames();
    assert_eq!(frames, [timed_out(0, 0)]);
    assert!((ms(1000)..ms(1050)).contains(&after), "{after:?}");
    let Ok(Kept::Reply(_, reply)) = world.kept.try_recv() else {
        panic!("not begun");
    };
    assert!(reply.is_cancelled());
    reply.ok(1);
    world.call(ECHO, 0, Some(1000), &encoded(b"" as &[u8]));
    let frames = world.after(ms(2000));
    assert_eq!(
        (frames.len(), frames[0].kind, frames[0].sequence),
        (1, REPLY, 1)
    );
}

#[test]
fn each_call_has_its_own_deadline_whatever_their_order() {
    let mut world = World::new(2, quiet());
    let waits = [700, 300, 900, 500, 300];
    for (slot, wait) in (0..).zip(waits) {
        world.call(KEEP, slot, Some(wait), &encoded(&slot));
    }
    world.call(KEEP, 9, None, &encoded(&9_u32));
    let mut slots = |until| {
        let frames = world.after(until);
        frames
            .iter()
            .map(|frame| (frame.number, frame.slot))
            .collect::<Vec<_>>()
    };
    assert_eq!(slots(ms(290)), []);
    let mut both = slots(ms(110));
    both.sort_unstable();
    assert_eq!(both, [(TIMED_OUT, 1), (TIMED_OUT, 4)]);
    assert_eq!(slots(ms(200)), [(TIMED_OUT, 3)]);
    assert_eq!(slots(ms(200)), [(TIMED_OUT, 0)]);
    assert_eq!(slots(ms(200)), [(TIMED_OUT, 2)]);
    assert_eq!(slots(ms(60_000)), []);
    assert_eq!(world.kept.try_iter().count(), 6);
}

#[test]
fn a_call_whose_deadline_has_passed_on_the_way_is_not_begun() {
    let mut world = World::new(3, quiet());
    world.call(KEEP, 0, Some(0), &encoded(&1_u32));
    assert_eq!(world.after(ms(50)), [timed_out(0, 0)]);
    assert!(world.kept.try_recv().is_err());
}

#[test]
fn streams_end_at_the_deadline_on_both_halves() {
    let mut world = World::new(4, quiet());
    world.call(CHAT, 0, Some(1000), &[]);
    world.send(&Frame::new(ITEM, 0, 0, encoded(b"in time" as &[u8])));
    assert_eq!(world.after(ms(900)), []);
    let Ok(Kept::Chat(mut incoming, mut outgoing)) = world.kept.try_recv() else {
        panic!("not begun");
    };
    outgoing.send(vec![1]).unwrap();
    assert_eq!(world.after(ms(50)).len(), 1);
    assert_eq!(world.after(ms(500)), [timed_out(0, 0)]);
    let over = Err(SendItemError::Ended(CallError::TimedOut));
    assert_eq!(outgoing.send(vec![2]), over);
    let mut received = std::iter::from_fn(|| match incoming.try_next() {
        std::task::Poll::Ready(item) => item,
        std::task::Poll::Pending => panic!("not over"),
    });
    assert_eq!(received.next(), Some(Ok(b"in time".to_vec())));
    assert_eq!(received.next(), Some(Err(CallError::TimedOut)));
    assert_eq!(received.next(), None);
    // What the client sends before it knows is late, and no fault.
    world.send(&Frame::new(ITEM, 0, 0, encoded(b"late" as &[u8])));
    world.send(&Frame::new(CANCEL, 0, 0, []));
    world.send(&Frame::plain(PING));
    assert_eq!(world.after(ms(50)), [Frame::plain(PONG)]);
}

fn beating() -> SessionConfig {
    SessionConfig {
        heartbeat: ms(1000),
        silent_heartbeats_max: 3,
        ..SessionConfig::default()
    }
}

#[test]
fn a_silent_peer_is_asked_and_then_gone() {
    let mut world = World::new(5, beating());
    // The first look finds the greeting.
    for _ in 0..3 {
        let (after, frames) = world.until_frames();
        assert_eq!(frames, [Frame::plain(PING)]);
        assert!((ms(900)..ms(1100)).contains(&after), "{after:?}");
    }
    let (_, frames) = world.until_frames();
    let [goodbye] = &frames[..] else {
        panic!("{frames:?}");
    };
    assert_eq!((goodbye.kind, goodbye.number), (GOODBYE, 4));
    assert_eq!(goodbye.words(), "nothing arrived for 4 heartbeats");
    world.sim.run_for(ms(10));
    assert!(world.sim.saw_eof(world.peer));
}

#[test]
fn any_sign_of_life_will_do() {
    let mut world = World::new(6, beating());
    // An answer now and then.
    for _ in 0..20 {
        let (_, frames) = world.until_frames();
        assert_eq!(frames, [Frame::plain(PING)]);
        world.send(&Frame::plain(PONG));
    }
    // A frame that comes slowly, byte by byte.
    let frame = Frame::call(ECHO, 0, 0, encoded(&vec![1_u8; 30])).bytes();
    for byte in &frame[..40] {
        world.sim.send(world.peer, &[*byte]);
        assert_eq!(world.after(ms(900)), [], "heard, so not asked");
    }
    world.sim.send(world.peer, &frame[40..]);
    assert_eq!(world.after(ms(100))[0].kind, REPLY);
    // Calls, of course.
    world.sequence = 1;
    for n in 0..20 {
        world.call(ECHO, 0, None, &encoded(b"" as &[u8]));
        let frames = world.after(ms(500));
        assert_eq!(
            (frames.len(), frames[0].kind, frames[0].sequence),
            (1, REPLY, n + 1)
        );
    }
}

#[test]
fn without_heartbeats_silence_is_nothing() {
    let mut world = World::new(7, quiet());
    assert_eq!(world.after(ms(3_600_000)), []);
    world.call(ECHO, 0, None, &encoded(b"" as &[u8]));
    assert_eq!(world.after(ms(100)).len(), 1);
}

#[test]
fn a_client_that_went_without_a_word_does_not_hold_its_calls_for_ever() {
    let mut world = World::new(8, beating());
    world.call(KEEP, 0, None, &encoded(&1_u32));
    world.sim.run_for(ms(50));
    let Ok(Kept::Reply(_, reply)) = world.kept.try_recv() else {
        panic!("not begun");
    };
    world.sim.shutdown(world.peer);
    world.sim.run_for(ms(100));
    assert!(!reply.is_cancelled(), "it may still read");
    world.sim.run_for(ms(20_000));
    assert!(reply.is_cancelled());
    assert!(world.sim.saw_eof(world.peer));
}

//! Who does not read slows the other side down (L1), and a peer that sends a lot does not starve the rest.

use crate::{Dice, local, ms, serve};
use rotor_fsm::sim::{Ended, Sim, SimConfig, check, check_with};
use rotor_net::prelude::*;
use std::cell::Cell;

/// Answers each byte with a hundred.
struct Hundredfold;

#[derive(Default)]
struct Most {
    queued: usize,
    bytes: usize,
}

impl Protocol for Hundredfold {
    type Context = Most;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Hundredfold).read(Until::Bytes(1)))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&[data[0]; 100])?;
        conn.ctx.queued = conn.ctx.queued.max(conn.out.queued());
        conn.ctx.bytes += 1;
        Ok(Intent::of(self))
    }
}

#[test]
fn l1_a_peer_that_does_not_read_is_not_read_either() {
    check(0..500, |sim| {
        let mut dice = Dice::of(sim);
        let high = 200 + dice.below(5000) as usize;
        let limits = Limits {
            output_bytes_max: 20_000,
            output_high_bytes: high,
            output_low_bytes: high / 2,
            calls_per_dispatch: 1 + dice.below(500) as u32,
            ..Limits::default()
        };
        let (server, _) = serve::<Hundredfold>(sim, limits, Most::default());
        let sent = dice.text(20_000);
        let peer = sim.connect(local(7));
        sim.pause(peer);
        sim.send(peer, &sent);
        sim.shutdown(peer);
        assert_eq!(sim.run(ms(60_000)), Ended::Idle);
        let answered = sim.context(&server, |most| most.bytes).unwrap();
        assert!(
            answered * 100 <= high + 100 + 65_536,
            "what the network holds, and a watermark: {answered}"
        );
        // It reads in turns.
        for _ in 0..dice.below(20) {
            sim.resume(peer);
            sim.run_for(ms(dice.below(10)));
            sim.pause(peer);
            sim.run_for(ms(dice.below(10)));
        }
        sim.resume(peer);
        assert_eq!(sim.run(ms(600_000)), Ended::Idle);
        let most = sim.context(&server, |most| most.queued).unwrap();
        assert!(
            most <= high + 100,
            "{most} queued with a watermark of {high}"
        );
        let all: Vec<u8> = sent.iter().flat_map(|&byte| [byte; 100]).collect();
        assert!(*sim.received(peer) == all && sim.saw_eof(peer));
    });
}

/// Sends so many chunks, each as soon as there is room.
struct Producer {
    left: usize,
}

const CHUNK: usize = 700;
const ROOM: usize = 2000;

impl Producer {
    fn go_on(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        assert!(conn.out.queued() < ROOM, "called without room");
        if self.left == 0 {
            return Ok(Intent::done());
        }
        conn.out.write(&[b'p'; CHUNK])?;
        conn.ctx.queued = conn.ctx.queued.max(conn.out.queued());
        Ok(Intent::of(Producer {
            left: self.left - 1,
        })
        .flushed_below(ROOM))
    }
}

impl Protocol for Producer {
    type Context = Most;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        Producer { left: 100 }.go_on(conn)
    }

    fn received(self, _: Input, _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(self))
    }

    fn flushed(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        self.go_on(conn)
    }
}

#[test]
fn a_producer_is_called_whenever_there_is_room_and_only_then() {
    check(0..500, |sim| {
        let mut dice = Dice::of(sim);
        let calls_per_dispatch = 1 + dice.below(4) as u32;
        let limits = Limits {
            calls_per_dispatch,
            ..Limits::default()
        };
        let (server, streams) = serve::<Producer>(sim, limits, Most::default());
        let peer = sim.connect(local(7));
        if dice.below(2) == 0 {
            sim.pause(peer);
            sim.run_for(ms(50));
            assert!(!sim.saw_eof(peer));
            sim.resume(peer);
        }
        let complete = |sim: &mut Sim| sim.saw_eof(peer);
        assert_eq!(sim.run_until(ms(10_000), complete), Ended::Met);
        assert_eq!(sim.received(peer).len(), 100 * CHUNK);
        assert!(sim.context(&server, |most| most.queued).unwrap() < ROOM + CHUNK);
        sim.close(peer);
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        assert_eq!(streams.open(), 0);
    });
}

/// A producer whose peer goes away hears of it though it reads nothing.
struct Deaf;

impl Protocol for Deaf {
    type Context = Vec<String>;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Deaf).pause().flushed_below(ROOM))
    }

    fn received(self, _: Input, _: &mut Conn<Self>) -> Result<Intent<Self>> {
        panic!("it reads nothing")
    }

    fn flushed(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&[b'd'; CHUNK])?;
        Ok(Intent::of(self).flushed_below(ROOM))
    }

    fn failed(self, failure: Failure, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.push(format!("{failure:?}"));
        Err(failure.into())
    }
}

#[test]
fn a_failed_write_is_told_to_a_protocol_that_does_not_read() {
    check(0..300, |sim| {
        let mut dice = Dice::of(sim);
        let (server, streams) = serve::<Deaf>(sim, Limits::default(), Vec::new());
        let peer = sim.connect(local(7));
        sim.run_for(ms(10 + dice.below(50)));
        assert_eq!(streams.open(), 1);
        sim.reset(peer);
        sim.run_for(ms(1000));
        assert_eq!(streams.open(), 0);
        let told = sim.context(&server, std::mem::take).unwrap();
        assert!(told.len() == 1 && told[0].starts_with("Write"), "{told:?}");
    });
}

/// Counts lines; the order in which connections were served is noted.
struct Fair {
    number: u32,
}

impl Protocol for Fair {
    type Context = Vec<u32>;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Fair {
            number: conn.id().index(),
        })
        .line(10))
    }

    fn received(self, _: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.push(self.number);
        Ok(Intent::of(self))
    }
}

#[test]
fn a_pipelining_peer_does_not_starve_another() {
    // All that a peer sends arrives at once.
    let mut config = SimConfig::default();
    config.buffer_bytes = (65_536, 65_536);
    config.pieces_max = 1;
    config.partial_percent = 0;
    config.short_read_percent = 0;
    let overlapped = Cell::new(0);
    check_with(0..200, &config, |sim| {
        let limits = Limits {
            calls_per_dispatch: 10,
            ..Limits::default()
        };
        let (server, _) = serve::<Fair>(sim, limits, Vec::new());
        for _ in 0..2 {
            let peer = sim.connect(local(7));
            sim.send(peer, &b"\n".repeat(5000));
        }
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        let order = sim.context(&server, std::mem::take).unwrap();
        assert_eq!(order.len(), 10_000);
        // While both had something to do, each had its share in turn.
        let begun = order.iter().position(|&number| number != order[0]);
        let ended = order
            .iter()
            .rposition(|&number| Some(&number) != order.last());
        let Some(both) = order.get(begun.unwrap()..ended.unwrap()) else {
            return;
        };
        overlapped.set(overlapped.get() + 1);
        let longest = both.chunk_by(|a, b| a == b).map(<[u32]>::len).max();
        assert!(longest.unwrap_or(0) <= 30, "{longest:?} in a row");
    });
    // One seed, or those where both came at the same time.
    assert!(overlapped.get() > 20 || std::env::var_os("ROTOR_SIM_SEED").is_some());
}

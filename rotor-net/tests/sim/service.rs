//! The server: the connection limit (L6), and the drain.

use crate::{Dice, local, ms, serve};
use rotor_fsm::sim::{Ended, check};
use rotor_net::prelude::*;

/// Greets; says goodbye when asked to finish.
struct Polite;

impl Protocol for Polite {
    type Context = (usize, usize);
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.0 += 1;
        conn.ctx.1 = conn.ctx.1.max(conn.ctx.0);
        conn.out.write(b"hello\n")?;
        Ok(Intent::of(Polite))
    }

    fn received(self, _: Input, _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(self))
    }

    fn eof(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.0 -= 1;
        Ok(Intent::done())
    }

    fn finish(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(b"bye\n")?;
        Ok(Intent::done())
    }
}

#[test]
fn l6_accepting_pauses_at_the_limit_and_resumes() {
    check(0..300, |sim| {
        let mut dice = Dice::of(sim);
        let max = 1 + dice.below(4) as usize;
        let limits = Limits {
            connections: max,
            ..Limits::default()
        };
        let (server, streams) = serve::<Polite>(sim, limits, (0, 0));
        let mut peers: Vec<_> = (0..max + dice.below(12) as usize)
            .map(|_| sim.connect(local(7)))
            .collect();
        sim.run_for(ms(1000));
        assert_eq!(streams.open(), max);
        let count = peers.len();
        let mut served = 0;
        while !peers.is_empty() {
            let (greeted, waiting): (Vec<_>, Vec<_>) = peers
                .into_iter()
                .partition(|&peer| !sim.received(peer).is_empty());
            assert!(
                greeted.len() <= max && !greeted.is_empty(),
                "{} of {max}",
                greeted.len()
            );
            served += greeted.len();
            for peer in greeted {
                sim.shutdown(peer);
                sim.run_for(ms(dice.below(20)));
            }
            peers = waiting;
            sim.run_for(ms(200));
        }
        assert_eq!(served, count);
        let most = sim.context(&server, |ctx| ctx.1);
        assert_eq!((most, streams.open()), (Some(max), 0));
        assert_eq!(
            sim.run(ms(10_000)),
            Ended::Idle,
            "a listener that waits for nothing sleeps"
        );
    });
}

#[test]
fn a_drain_lets_every_protocol_finish() {
    check(0..300, |sim| {
        let mut dice = Dice::of(sim);
        let (mut server, streams) = serve::<Polite>(sim, Limits::default(), (0, 0));
        sim.shutdown_on_signals(&server).unwrap();
        let peers: Vec<_> = (0..dice.below(10)).map(|_| sim.connect(local(7))).collect();
        sim.run_for(ms(100));
        for &peer in &peers {
            assert_eq!(&*sim.received(peer), b"hello\n");
        }
        sim.raise(libc::SIGTERM);
        sim.run_for(ms(100));
        for &peer in &peers {
            assert_eq!(&*sim.received(peer), b"hello\nbye\n");
            assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
            sim.close(peer);
        }
        sim.run(ms(1000));
        assert!(sim.is_over(&server) && streams.open() == 0);
        sim.take_result(&server).unwrap().unwrap();
        let _ = &mut server;
    });
}

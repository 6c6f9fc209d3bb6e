//! Protocols on the simulator: the machine code that runs on libuv, in seeded worlds where bytes arrive in pieces,
//! buffers are small and connections break.

#![allow(clippy::field_reassign_with_default)] // the other way is not open to us: it is non-exhaustive

mod clients;
mod ends;
mod flow;
mod frames;
mod service;

use rotor_fsm::sim::{Sim, SimLoop};
use rotor_net::prelude::*;
use rotor_net::{AcceptSeed, Service};
use std::time::Duration;

/// An address on this machine.
fn local(port: u16) -> Addr {
    Addr::Tcp(([127, 0, 0, 1], port).into())
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Chance for scenarios, from the simulation's seed but apart from what the simulation draws.
struct Dice(u64);

impl Dice {
    fn of(sim: &Sim) -> Self {
        Dice(sim.seed() ^ 0xd1ce)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    /// Fewer than `n` letters.
    fn text_below(&mut self, n: u64) -> Vec<u8> {
        let n = self.below(n);
        self.text(n)
    }

    fn text(&mut self, n: u64) -> Vec<u8> {
        (0..n).map(|_| b'a' + self.below(26) as u8).collect()
    }
}

/// A server of `P` at port 7, whose connections are counted in what is returned beside it.
fn serve<P: Protocol<Seed: Default>>(
    sim: &mut Sim,
    limits: Limits,
    context: P::Context,
) -> (SimLoop<Service<P>>, Streams) {
    let streams = Streams::new(limits);
    let made = sim.add::<Service<P>>(Config::default(), |setup| {
        let seed = AcceptSeed::new(local(7), &streams, &setup.spawner(), |_| P::Seed::default());
        setup.add::<Accept<P>>(seed)?;
        Ok(context)
    });
    let server = made.expect("the server starts");
    sim.run_for(ms(1));
    (server, streams)
}

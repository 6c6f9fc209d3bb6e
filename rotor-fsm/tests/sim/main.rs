//! Tests on the simulator: of the machines' side of the library, and of the simulator itself, by many seeds.

mod backpressure;
mod deadlines;
mod echo;
mod faults;
mod messages;
mod parts;
mod seam;
mod waking;
mod world;

use rotor_fsm::Addr;
use std::time::Duration;

/// An address on this machine.
fn local(port: u16) -> Addr {
    Addr::Tcp(([127, 0, 0, 1], port).into())
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One seed is being replayed: then tests that count over many seeds have nothing to say.
fn is_replay() -> bool {
    std::env::var_os("ROTOR_SIM_SEED").is_some()
}

/// Chance for scenarios, from the simulation's seed but apart from what the simulation draws.
struct Dice(u64);

impl Dice {
    fn of(sim: &rotor_fsm::sim::Sim) -> Self {
        Dice(sim.seed() ^ 0x5eed)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

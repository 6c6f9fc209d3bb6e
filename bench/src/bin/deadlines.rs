//! What a deadline costs while a million are live: arming, moving, cancelling and firing one.
//!
//! The timing wheel is private to `rotor-fsm`, so its source is included here as it is. Keys are
//! visited in random order, so that every step pays for the cache misses that a million machines
//! would cause. Each figure is the median of several rounds on memory that was touched before.

use rotor_bench::args::Args;
use rotor_bench::rate::median;
use std::hint::black_box;
use std::time::Instant;

#[allow(dead_code)]
#[path = "../../../rotor-fsm/src/deadline/mod.rs"]
mod deadline;

use deadline::Deadlines;

/// Deadlines are due within a minute, in milliseconds, like most idle timeouts.
const SPAN: u64 = 60_000;

const STEPS: [&str; 6] = ["arm", "move-later", "move", "cancel", "arm-again", "fire"];

fn main() {
    let mut args = Args::from_env();
    let live = args.option("--live").unwrap_or(1_000_000).max(1);
    let rounds = args.option("--rounds").unwrap_or(7);
    args.finish();

    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut deadlines, mut now) = (Deadlines::new(0), 0);
    round(&mut deadlines, &mut now, live, &mut random);
    let mut figures = vec![Vec::new(); STEPS.len()];
    for _ in 0..rounds {
        let nanos = round(&mut deadlines, &mut now, live, &mut random);
        for (figure, nanos) in figures.iter_mut().zip(nanos) {
            figure.push(nanos);
        }
    }
    for (name, figure) in STEPS.iter().zip(&mut figures) {
        println!("{name} {:.1} ns", median(figure));
    }
}

/// Every step once for every key, then all of them fire. Nanoseconds per key, step by step.
fn round(d: &mut Deadlines, now: &mut u64, live: u32, random: &mut Random) -> [f64; STEPS.len()] {
    let at = *now;
    let arm = per_key(random, live, |key, random| {
        d.arm(key, at + 1 + random % SPAN)
    });
    let later = per_key(random, live, |key, random| {
        d.arm(key, at + SPAN + random % 8)
    });
    let moved = per_key(random, live, |key, random| {
        d.arm(key, at + 1 + random % SPAN)
    });
    let cancel = per_key(random, live, |key, _| d.cancel(key));
    let again = per_key(random, live, |key, random| {
        d.arm(key, at + 1 + random % SPAN)
    });
    let start = Instant::now();
    while d.len() > 0 {
        *now += 1;
        while let Some(key) = d.pop(*now) {
            black_box(key);
        }
    }
    let fire = start.elapsed().as_nanos() as f64 / f64::from(live);
    [arm, later, moved, cancel, again, fire]
}

/// Does `step` for each key, in an order and with random numbers that are drawn before the clock
/// starts: reading them one after the other costs next to nothing.
fn per_key(random: &mut Random, live: u32, mut step: impl FnMut(u32, u64)) -> f64 {
    let plan = random.plan(live);
    let start = Instant::now();
    for &(key, random) in &plan {
        step(key, random);
    }
    start.elapsed().as_nanos() as f64 / f64::from(live)
}

/// xorshift64*: random enough, and the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// All keys in random order, each with a random number.
    fn plan(&mut self, keys: u32) -> Vec<(u32, u64)> {
        let mut plan: Vec<_> = (0..keys).map(|key| (key, self.next() >> 16)).collect();
        for at in (1..plan.len()).rev() {
            plan.swap(at, (self.next() % (at as u64 + 1)) as usize);
        }
        plan
    }
}

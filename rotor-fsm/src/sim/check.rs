//! Runs a scenario by the thousand seeds; a failure names its seed and shows how it came to it.

use super::{Sim, SimConfig};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The environment variable that replays one seed alone.
const SEED: &str = "ROTOR_SIM_SEED";
/// Lines of trace that a failure prints; a replay prints all that were kept.
const TAIL: usize = 60;

/// Runs `scenario` in a fresh simulation for each seed. Where it panics, the seed and the tail of the trace are
/// printed and the panic goes on. With `ROTOR_SIM_SEED=n` in the environment only that seed runs, and a failure
/// prints its whole trace.
///
/// # Panics
/// With what the scenario panics with; or if `ROTOR_SIM_SEED` is not a number.
pub fn check(seeds: Range<u64>, scenario: impl Fn(&mut Sim)) {
    check_with(seeds, &SimConfig::default(), scenario);
}

/// [`check`] in a world of another nature.
///
/// # Panics
/// As [`check`].
pub fn check_with(seeds: Range<u64>, config: &SimConfig, scenario: impl Fn(&mut Sim)) {
    let replayed = std::env::var(SEED)
        .ok()
        .map(|text| match text.parse::<u64>() {
            Ok(seed) => seed,
            Err(_) => panic!("{SEED} is {text:?}, which is not a seed: expected a number"),
        });
    match replayed {
        Some(seed) => check_one(seed, config, usize::MAX, &scenario),
        None => seeds.for_each(|seed| check_one(seed, config, TAIL, &scenario)),
    }
}

fn check_one(seed: u64, config: &SimConfig, tail: usize, scenario: &impl Fn(&mut Sim)) {
    let mut sim = Sim::with_config(seed, config.clone());
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| scenario(&mut sim))) {
        report(seed, tail, &sim);
        // Torn down first, so that what machines print while they drop is not taken for the next test's.
        drop(sim);
        resume_unwind(payload);
    }
}

fn report(seed: u64, tail: usize, sim: &Sim) {
    eprintln!("the end of the trace ({} entries in all):", sim.trace_len());
    eprint!("{}", sim.trace_tail(tail));
    eprintln!(
        "seed {seed} failed at {:?}; {SEED}={seed} replays it alone",
        sim.now()
    );
}

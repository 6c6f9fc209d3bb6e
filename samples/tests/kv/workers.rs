//! Several workers in the simulator: what one client sees is what it would see with one worker, whatever happens on
//! the way from worker to worker.
#![allow(clippy::field_reassign_with_default)] // the other way is not open to us: it is non-exhaustive

mod all_keys;
mod detour;
mod messages;
mod mishaps;

use crate::sim::clients_get_what_the_model_says;
use crate::world::{ms, start_with_inboxes, start_workers};
use detour::detour;
use rotor_fsm::sim::{Sim, SimConfig, check, check_with};
use samples::kv::Limits;

pub fn several(sim: &Sim) -> usize {
    2 + (sim.seed() % 3) as usize
}

fn with_several_workers(sim: &mut Sim) {
    let servers = start_workers(sim, several(sim), &Limits::default());
    clients_get_what_the_model_says(sim, &servers);
}

#[test]
fn replies_are_right_and_in_order_whatever_the_shards() {
    check(0..1500, with_several_workers);
}

#[test]
fn the_same_through_very_small_buffers() {
    let mut config = SimConfig::default();
    config.buffer_bytes = (1, 40);
    config.pieces_max = 9;
    config.partial_percent = 60;
    config.short_read_percent = 60;
    check_with(0..40, &config, with_several_workers);
}

#[test]
fn the_same_with_few_commands_under_way() {
    check(0..500, |sim| {
        let limits = Limits {
            awaited_max: 1 + (sim.seed() % 5) as usize,
            ..Limits::default()
        };
        let servers = start_workers(sim, several(sim), &limits);
        clients_get_what_the_model_says(sim, &servers);
    });
}

/// Requests and replies find inboxes full, again and again: none is lost, none overtakes another.
#[test]
fn the_same_through_full_inboxes() {
    check(0..500, |sim| {
        let inbox = 1 + (sim.seed() % 2) as usize;
        let servers = start_with_inboxes(sim, several(sim), &Limits::default(), inbox);
        clients_get_what_the_model_says(sim, &servers);
    });
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    for seed in 0..20 {
        let run = || {
            let mut sim = Sim::new(seed);
            with_several_workers(&mut sim);
            (sim.trace_hash(), sim.trace_len())
        };
        assert_eq!(run(), run());
    }
}

#[test]
fn the_same_with_slow_shards() {
    check(0..500, |sim| {
        let servers = start_workers(sim, several(sim), &Limits::default());
        for worker in 0..servers.loops.len() {
            let longest = ms(30 * (sim.seed() + worker as u64) % 70);
            detour(sim, &servers, worker, Some(longest));
        }
        clients_get_what_the_model_says(sim, &servers);
    });
}

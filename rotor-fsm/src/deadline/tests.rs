//! Edges by hand, then random programs against a plain map, then a million at once.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::wheel::Entry;
use super::*;

/// Under an interpreter or an emulator the same tests run on less.
fn is_slow() -> bool {
    cfg!(miri) || std::env::var_os("ROTOR_VALGRIND").is_some_and(|value| value == "1")
}

fn armed(now: u64, dues: &[u64]) -> Deadlines {
    let mut deadlines = Deadlines::new(now);
    for (key, &due) in dues.iter().enumerate() {
        deadlines.arm(key as u32, due);
    }
    deadlines
}

/// Everything due at `now`, however many calls that takes.
fn drain(deadlines: &mut Deadlines, now: u64) -> Vec<u32> {
    let mut keys = Vec::new();
    loop {
        keys.extend(std::iter::from_fn(|| deadlines.pop(now)));
        if deadlines.next().is_none_or(|tick| tick > now) {
            return keys;
        }
    }
}

/// The most wake-ups for nothing that arming at `now` for `due` may cause.
fn idle_wakes_max(now: u64, due: u64) -> u64 {
    1 + u64::from(due.saturating_sub(now).max(1).ilog2() / 6)
}

#[test]
fn an_entry_takes_twenty_bytes() {
    assert_eq!(size_of::<Entry>(), 20);
}

#[test]
fn empty_has_nothing() {
    let mut d = Deadlines::new(7);
    assert_eq!(
        (d.next(), d.pop(u64::MAX), d.len(), d.due(3)),
        (None, None, 0, None)
    );
    d.cancel(3);
    assert_eq!(d.len(), 0);
}

#[test]
fn due_now_fires_now_and_only_once() {
    let mut d = armed(100, &[100]);
    assert_eq!((d.next(), d.due(0), d.len()), (Some(100), Some(100), 1));
    assert_eq!(d.pop(99), None);
    assert_eq!(d.pop(100), Some(0));
    assert_eq!(
        (d.pop(100), d.next(), d.due(0), d.len()),
        (None, None, None, 0)
    );
}

#[test]
fn past_due_fires_at_once_but_keeps_its_tick() {
    let mut d = armed(1_000, &[0, 999, 1_001]);
    assert_eq!(d.due(1), Some(999));
    assert!(d.next().is_some_and(|tick| tick <= 1_000));
    let mut keys = drain(&mut d, 1_000);
    keys.sort_unstable();
    assert_eq!(keys, [0, 1]);
    assert_eq!(d.next(), Some(1_001));
}

#[test]
fn one_tick_before_is_too_early_on_every_level() {
    for level in 0..11 {
        for offset in [0, 1, 63] {
            let due = (1_u64 << (6 * level)) + offset;
            let mut d = armed(0, &[due]);
            assert_eq!(d.next(), Some(due));
            assert_eq!(d.pop(due - 1), None);
            assert_eq!(d.pop(due), Some(0));
        }
    }
}

#[test]
fn same_tick_fires_together_whenever_armed() {
    let mut d = armed(0, &[5_000]);
    assert_eq!(d.pop(4_990), None);
    d.arm(1, 5_000);
    d.arm(2, 9_000);
    d.arm(2, 5_000);
    let mut keys = drain(&mut d, 5_000);
    keys.sort_unstable();
    assert_eq!(keys, [0, 1, 2]);
}

#[test]
fn order_holds_across_levels_in_one_great_step() {
    let mut dues: Vec<u64> = (0..64)
        .flat_map(|bit| [1 << bit, (1 << bit) + 3, (1 << bit) - 1])
        .collect();
    let mut d = armed(0, &dues);
    let fired: Vec<u64> = drain(&mut d, u64::MAX - 1)
        .iter()
        .map(|&key| dues[key as usize])
        .collect();
    dues.sort_unstable();
    assert_eq!(fired, dues);
    assert_eq!(d.wheel.audit(), 0);
}

#[test]
fn never_is_not_armed_and_the_last_tick_is() {
    let mut d = armed(3, &[u64::MAX, u64::MAX - 1, 50]);
    assert_eq!((d.len(), d.due(0), d.due(1)), (2, None, Some(u64::MAX - 1)));
    d.arm(2, u64::MAX);
    assert_eq!((d.len(), d.due(2)), (1, None));
    assert!(d.next().is_some_and(|tick| tick < u64::MAX));
    assert_eq!(d.pop(u64::MAX - 2), None);
    assert_eq!(d.pop(u64::MAX - 1), Some(1));
    assert_eq!(d.pop(u64::MAX), None);
    d.arm(4, 10);
    d.arm(5, u64::MAX - 1);
    assert_eq!(drain(&mut d, u64::MAX).len(), 2);
}

/// At the very last tick even "never" has come; what was cancelled must still not fire.
#[test]
fn a_cancelled_deadline_does_not_fire_at_the_end_of_time() {
    let mut d = armed(0, &[u64::MAX - 1]);
    assert_eq!(drain(&mut d, u64::MAX), [0]);
    d.arm(0, 5);
    d.cancel(0);
    assert_eq!((d.pop(u64::MAX), d.len()), (None, 0));
}

#[test]
fn a_cancelled_deadline_never_fires_and_leaves_no_trace() {
    let mut d = armed(0, &[10, 10, 10]);
    d.cancel(1);
    d.cancel(1);
    assert_eq!((d.len(), d.due(1)), (2, None));
    let mut keys = drain(&mut d, 10);
    keys.sort_unstable();
    assert_eq!(keys, [0, 2]);
    assert_eq!(d.wheel.audit(), 0);
}

#[test]
fn cancelling_and_arming_again_piles_nothing_up() {
    let mut d = Deadlines::new(0);
    for turn in 0..10_000 {
        for key in 0..10 {
            d.arm(key, turn + 1_000 + u64::from(key) * 300);
            d.cancel(key);
        }
        assert_eq!((d.pop(turn), d.next()), (None, None));
    }
    assert!(d.wheel.audit() <= 10);
}

#[test]
fn moving_goes_by_the_last_word() {
    let mut d = armed(0, &[500]);
    d.arm(0, 100_000);
    assert_eq!(drain(&mut d, 99_999), []);
    d.arm(0, 100_500);
    d.arm(0, 100_001);
    assert_eq!((d.len(), d.due(0)), (1, Some(100_001)));
    assert_eq!(d.pop(100_000), None);
    assert_eq!(d.pop(100_001), Some(0));
    assert_eq!(d.pop(u64::MAX), None);
}

#[test]
fn moving_earlier_out_of_a_shared_slot_keeps_the_rest() {
    for moved in 0..3 {
        let mut d = armed(0, &[70_000, 70_001, 70_002]);
        d.arm(moved, 5);
        assert_eq!(d.wheel.audit(), 3);
        assert_eq!(drain(&mut d, 5), [moved]);
        assert_eq!(drain(&mut d, 80_000).len(), 2);
    }
}

#[test]
fn handlers_may_rearm_cancel_and_stop_inside_a_pass() {
    let mut d = armed(0, &[10, 20, 30, 40]);
    let mut fired = Vec::new();
    while let Some(key) = d.pop(35) {
        fired.push(key);
        match key {
            0 => d.arm(9, 15),
            9 => d.arm(9, 36),
            1 => d.cancel(2),
            _ => {}
        }
    }
    assert_eq!(fired, [0, 9, 1]);
    assert_eq!(
        (d.pop(36), d.pop(40), d.pop(u64::MAX)),
        (Some(9), Some(3), None)
    );
}

#[test]
fn rearming_for_now_fires_again_while_time_stands_still() {
    let mut d = armed(0, &[10]);
    for _ in 0..1_000 {
        assert_eq!(d.pop(10), Some(0));
        assert_eq!(d.pop(10), None);
        d.arm(0, 10);
        assert!(d.next().is_some_and(|tick| tick <= 10));
    }
    d.arm(0, 11);
    assert_eq!((d.pop(10), d.pop(10), d.next()), (None, None, Some(11)));
}

#[test]
fn a_clock_that_steps_back_fires_nothing_early() {
    let mut d = armed(0, &[100, 5_000]);
    assert_eq!(d.pop(4_500), Some(0));
    assert_eq!(d.pop(4_500), None);
    d.arm(0, 4_200);
    assert_eq!(d.pop(4_100), None);
    assert_eq!(drain(&mut d, 4_500), [0]);
    assert_eq!(drain(&mut d, 5_000), [1]);
}

#[test]
fn a_clock_that_steps_back_halfway_through_a_long_slot_fires_nothing_early() {
    let keys = STEPS_MAX as u32 + 1;
    let mut d = Deadlines::new(0);
    d.arm(0, 4096);
    (1..keys).for_each(|key| d.arm(key, 4200));
    assert_eq!(
        (d.pop(4096), d.next()),
        (None, Some(4096)),
        "the first key comes last"
    );
    assert_eq!(d.pop(4095), None);
    assert_eq!(d.pop(4096), Some(0));
}

/// The slot that was last emptied is filled again a full circle later; it must not count as being emptied still.
#[test]
fn a_slot_that_comes_round_again_is_like_any_other() {
    let mut d = armed(0, &[5 * 64 + 7]);
    assert_eq!(drain(&mut d, 5 * 64 + 7), [0]);
    assert_eq!(drain(&mut d, 4096), []);
    let due = 4096 + 5 * 64 + 7;
    for key in 0..10 {
        d.arm(key, due);
    }
    assert_eq!((d.pop(4097), d.next()), (None, Some(4096 + 5 * 64)));
    assert_eq!(drain(&mut d, due).len(), 10);
}

#[test]
fn a_lone_deadline_wakes_the_loop_exactly_once() {
    let mut d = Deadlines::new(0);
    for message in 0..1_000 {
        assert_eq!(d.pop(message), None);
        d.arm(0, message + 60_000);
    }
    let wake = d.next();
    assert!(wake.is_some_and(|tick| tick <= 60_999));
    let mut wakes = 0;
    while let Some(tick) = d.next() {
        wakes += 1;
        d.pop(tick);
    }
    assert_eq!(wakes, 1);
}

#[test]
fn a_long_slot_is_worked_off_in_bounded_calls() {
    let keys = 3 * STEPS_MAX as u32;
    let mut d = Deadlines::new(0);
    for key in 0..keys {
        d.arm(key, 4096 + 64 + u64::from(key % 4000));
    }
    for call in 1..=3 {
        assert_eq!(d.next(), Some(4096));
        assert_eq!(d.pop(4100), None, "call {call} only refiles");
        d.arm(0, 4160 + call);
        assert_eq!(d.wheel.audit(), keys as usize);
    }
    assert_eq!(d.pop(4100), None);
    assert_eq!(d.next(), Some(4160));
    assert_eq!(drain(&mut d, 10_000).len(), keys as usize);
}

#[derive(Debug, Clone)]
enum Step {
    Arm { key: u32, due: Tick },
    Cancel { key: u32 },
    Advance { to: Tick, fires_max: usize },
}

#[derive(Debug, Clone, Copy)]
enum Tick {
    Ahead(u64),
    Behind(u64),
    At(u64),
}

impl Tick {
    fn from(self, now: u64) -> u64 {
        match self {
            Tick::Ahead(ticks) => now.saturating_add(ticks),
            Tick::Behind(ticks) => now.saturating_sub(ticks),
            Tick::At(tick) => tick,
        }
    }
}

/// Distances close by, around the edges of levels, and anywhere.
fn distance() -> impl Strategy<Value = u64> {
    let edge = (0_u32..64, 0_u64..3).prop_map(|(bit, off)| (1_u64 << bit).saturating_add(off) - 1);
    prop_oneof![4 => 0_u64..200, 4 => 0_u64..20_000, 2 => 0_u64..1_000_000, 1 => edge]
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_u32..24;
    let due = prop_oneof![
        12 => distance().prop_map(Tick::Ahead),
        1 => distance().prop_map(Tick::Behind),
        1 => (0_u64..3).prop_map(|off| Tick::At(u64::MAX - off)),
    ];
    let to = prop_oneof![
        8 => (0_u64..3_000).prop_map(Tick::Ahead),
        1 => distance().prop_map(Tick::Ahead),
        1 => (0_u64..100).prop_map(Tick::Behind),
    ];
    let fires_max = prop_oneof![Just(usize::MAX), 0_usize..6];
    prop_oneof![
        6 => (key.clone(), due).prop_map(|(key, due)| Step::Arm { key, due }),
        1 => key.prop_map(|key| Step::Cancel { key }),
        3 => (to, fires_max).prop_map(|(to, fires_max)| Step::Advance { to, fires_max }),
    ]
}

/// What the deadlines must do, plainly: for each key its due tick and the tick it may fire at.
struct Model {
    dues: BTreeMap<u32, (u64, u64)>,
    /// Time as far as it was taken: an earlier tick counts as this one.
    floor: u64,
}

impl Model {
    fn arm(&mut self, key: u32, due: u64) {
        self.dues.remove(&key);
        if due != u64::MAX {
            self.dues.insert(key, (due, due.max(self.floor)));
        }
    }

    fn first(&self) -> Option<u64> {
        self.dues.values().map(|&(_, fires)| fires).min()
    }

    /// Takes what is due from both and compares. A model's pass ends as the real one does: empty, or stopped.
    fn advance(&mut self, real: &mut Deadlines, now: u64, fires_max: usize) {
        for _ in 0..fires_max {
            let expected = self.first().filter(|&tick| tick <= now);
            let Some(key) = real.pop(now) else {
                assert_eq!(expected, None, "lost at {now}");
                self.floor = self.floor.max(now);
                assert!(
                    real.next()
                        .is_none_or(|tick| tick > now || now < self.floor)
                );
                return;
            };
            let (due, fires) = self.dues.remove(&key).expect("only what is armed fires");
            assert!(due <= now, "early");
            assert_eq!(Some(fires), expected, "out of order");
            self.floor = fires;
        }
    }

    fn compare(&self, real: &Deadlines) {
        assert_eq!(real.len(), self.dues.len());
        assert_eq!(real.next().is_none(), self.dues.is_empty());
        assert!(real.next() <= self.first(), "next() is late");
        for key in 0..25 {
            assert_eq!(real.due(key), self.dues.get(&key).map(|&(due, _)| due));
        }
        assert!(real.wheel.audit() >= self.dues.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if is_slow() { 8 } else { 512 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_programs_match_the_model(
        start in prop_oneof![Just(0), 0_u64..1 << 40, Just(u64::MAX - 100_000)],
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut real = Deadlines::new(start);
        let mut model = Model { dues: BTreeMap::new(), floor: start };
        let mut now = start;
        for step in steps {
            match step {
                Step::Arm { key, due } => {
                    let due = due.from(now);
                    real.arm(key, due);
                    model.arm(key, due);
                }
                Step::Cancel { key } => {
                    real.cancel(key);
                    model.dues.remove(&key);
                }
                Step::Advance { to, fires_max } => {
                    now = to.from(now);
                    model.advance(&mut real, now, fires_max);
                }
            }
            model.compare(&real);
        }
        model.advance(&mut real, u64::MAX, usize::MAX);
        model.compare(&real);
        prop_assert_eq!((real.len(), real.wheel.audit()), (0, 0));
    }

    #[test]
    fn a_sleeping_loop_wakes_for_nothing_no_more_than_promised(
        steps in prop::collection::vec((0_u32..40, distance(), 0_u32..8), 1..300),
    ) {
        let mut d = Deadlines::new(0);
        let (mut now, mut idle_wakes, mut idle_wakes_allowed) = (0_u64, 0_u64, 0_u64);
        let mut wake = |d: &mut Deadlines, now: &mut u64| {
            let Some(tick) = d.next() else { return false };
            assert!(tick >= *now, "nothing was armed overdue");
            *now = tick;
            if drain(d, *now).is_empty() {
                idle_wakes += 1;
            }
            assert!(d.next().is_none_or(|next| next > *now), "no progress");
            true
        };
        for (key, ahead, then) in steps {
            let due = now.saturating_add(ahead);
            d.arm(key, due);
            idle_wakes_allowed += idle_wakes_max(now, due);
            if then == 0 {
                d.cancel(key);
            }
            if then > 4 {
                wake(&mut d, &mut now);
            }
        }
        while wake(&mut d, &mut now) {}
        prop_assert!(idle_wakes <= idle_wakes_allowed, "{idle_wakes} of {idle_wakes_allowed}");
    }
}

/// xorshift: numbers that are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn a_million_live_deadlines_match_a_plain_table() {
    let keys: u32 = if is_slow() { 3_000 } else { 1_000_000 };
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut real = Deadlines::new(0);
    let mut table: Vec<u64> = (0..keys).map(|_| 1 + random.below(120_000)).collect();
    for (key, &due) in table.iter().enumerate() {
        real.arm(key as u32, due);
    }
    let mut now = 0;
    for round in 0..24 {
        for _ in 0..keys / 4 {
            let key = random.below(keys.into()) as u32;
            let due = match random.below(10) {
                0 => u64::MAX,
                1..=6 => now + 60_000,
                _ => now + random.below(1 << (6 + round)),
            };
            real.arm(key, due);
            table[key as usize] = due;
        }
        now += 1 + random.below(8_000);
        let mut last = 0;
        for key in drain(&mut real, now) {
            let due = std::mem::replace(&mut table[key as usize], u64::MAX);
            assert!(last <= due && due <= now, "{last} then {due} at {now}");
            last = due;
        }
        assert!(table.iter().all(|&due| due > now), "one was lost");
        assert_eq!(
            real.len(),
            table.iter().filter(|&&due| due != u64::MAX).count()
        );
    }
    assert_eq!(
        drain(&mut real, u64::MAX).len(),
        table.iter().filter(|&&due| due != u64::MAX).count()
    );
    assert_eq!((real.len(), real.wheel.audit()), (0, 0));
}

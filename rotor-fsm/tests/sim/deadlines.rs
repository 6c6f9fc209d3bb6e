//! Deadlines in virtual time against a model: never early, none lost, none twice, in order.

use crate::{Dice, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, check};
use std::time::Duration;

/// Has one deadline, which messages move.
struct Sleeper {
    number: usize,
    due: Option<Time>,
}

enum Order {
    At(Time),
    After(Duration),
    Clear,
    Keep,
}

/// Who woke when, and what was due when.
#[derive(Default)]
struct Log {
    fired: Vec<(usize, Time, Time)>,
    /// The deadline each sleeper has now, as told by itself.
    due: Vec<Option<Time>>,
}

impl Machine for Sleeper {
    type Context = Log;
    type Message = Order;
    type Seed = usize;

    fn create(number: usize, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Sleeper { number, due: None }))
    }

    fn wakeup(mut self, order: Order, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let answer = |due: Option<Time>, number| Response::of(Sleeper { number, due });
        let number = self.number;
        let response = match order {
            Order::At(time) => {
                self.due = Some(time);
                answer(self.due, number).deadline(time)
            }
            Order::After(duration) => {
                self.due = Some(scope.now() + duration);
                answer(self.due, number).after(duration)
            }
            Order::Clear => {
                self.due = None;
                answer(None, number).no_deadline()
            }
            Order::Keep => answer(self.due, number),
        };
        scope.ctx.due[number] = self.due;
        Ok(response)
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let now = scope.now();
        let due = self.due.expect("fired without a deadline, or twice");
        scope.ctx.fired.push((self.number, due, now));
        scope.ctx.due[self.number] = None;
        Ok(Response::of(Sleeper {
            number: self.number,
            due: None,
        }))
    }
}

#[test]
fn r13_never_early_none_lost_and_in_order() {
    check(0..2000, |sim| {
        let mut dice = Dice::of(sim);
        let count = 1 + dice.below(12) as usize;
        let log = Log {
            fired: Vec::new(),
            due: vec![None; count],
        };
        let loop_ = sim.add::<Sleeper>(Config::default(), |_| Ok(log)).unwrap();
        let sleepers: Vec<_> = (0..count)
            .map(|n| sim.spawn::<Sleeper, Sleeper>(&loop_, n).unwrap())
            .collect();
        for _ in 0..dice.below(30) {
            // Further away than a message takes, so that the model knows the order.
            let ahead = ms(2) + Duration::from_nanos(dice.below(200_000_000));
            let order = match dice.below(8) {
                0..=2 => Order::At(sim.now() + ahead),
                3..=5 => Order::After(ahead),
                6 => Order::Clear,
                _ => Order::Keep,
            };
            sleepers[dice.below(count as u64) as usize]
                .send(order)
                .unwrap();
            if dice.below(3) == 0 {
                sim.run_for(Duration::from_nanos(dice.below(50_000_000)));
            }
        }
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        let (fired, due) = sim
            .context(&loop_, |log| {
                (std::mem::take(&mut log.fired), log.due.clone())
            })
            .unwrap();
        assert!(
            due.iter().all(Option::is_none),
            "a deadline was lost: {due:?}"
        );
        for (number, due, now) in &fired {
            assert!(
                now >= due,
                "sleeper {number} woke {:?} early",
                due.since(*now)
            );
            // A tick, and the turns of a loop that had something else to do.
            assert!(
                now.since(*due) < ms(3),
                "sleeper {number} woke {:?} late",
                now.since(*due)
            );
        }
        let tick = |time: &Time| time.as_nanos().div_ceil(1_000_000);
        assert!(
            fired.is_sorted_by_key(|(_, due, _)| tick(due)),
            "out of order: {fired:?}"
        );
    });
}

/// Counts down with a deadline that it sets itself.
struct Countdown(u32);

impl Machine for Countdown {
    type Context = Vec<Time>;
    type Message = Never;
    type Seed = u32;

    fn create(from: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let now = scope.now();
        scope.ctx.push(now);
        Ok(Response::of(Countdown(from)).after(Duration::from_secs(3600)))
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let now = scope.now();
        scope.ctx.push(now);
        match self.0 {
            0 => Ok(Response::done()),
            n => Ok(Response::of(Countdown(n - 1)).after(Duration::from_secs(3600))),
        }
    }
}

#[test]
fn a_year_of_virtual_time_takes_no_time() {
    check(0..5, |sim| {
        let loop_ = sim
            .add::<Countdown>(Config::default(), |_| Ok(Vec::new()))
            .unwrap();
        sim.spawn::<Countdown, Countdown>(&loop_, 24 * 365).unwrap();
        assert_eq!(sim.run(Duration::from_secs(366 * 24 * 3600)), Ended::Over);
        assert!(matches!(sim.take_result(&loop_), Some(Ok(()))));
        let times = sim.context(&loop_, |times| times.clone()).unwrap();
        assert_eq!(times.len(), 24 * 365 + 2);
        for pair in times.windows(2) {
            let slept = pair[1].since(pair[0]);
            assert!((Duration::from_secs(3600)..Duration::from_secs(3601)).contains(&slept));
        }
    });
}

#[test]
fn running_for_a_time_passes_that_time_even_if_nothing_happens() {
    check(0..3, |sim| {
        let before = sim.now();
        assert_eq!(sim.run_for(ms(5)), Ended::Idle);
        assert_eq!(sim.now().since(before), ms(5));
        let loop_ = sim
            .add::<Countdown>(Config::default(), |_| Ok(Vec::new()))
            .unwrap();
        sim.spawn::<Countdown, Countdown>(&loop_, 1).unwrap();
        assert_eq!(sim.run(ms(1000)), Ended::Time);
        assert_eq!(sim.now().since(before), ms(1005));
        assert_eq!(sim.run_until(ms(1), |_| true), Ended::Met);
    });
}

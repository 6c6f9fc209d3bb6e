//! R13 on libuv: never early, never for good when never was meant, and a pass over due deadlines is bounded.

use crate::common::*;
use rotor_fsm::prelude::*;
use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

fn spin(duration: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < duration {
        std::hint::spin_loop();
    }
}

/// Deadlines of all lengths, armed both ways, on a loop whose handlers take their time, so that its clock is stale.
#[test]
fn r13_a_deadline_is_never_early() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let fired = Rc::new(Cell::new(0));
    let machines = sized(400, 40);
    for n in 0..machines {
        let fired = fired.clone();
        let mut wait = Duration::from_micros((n as u64 * 7919) % 40_000);
        let mut left = 3;
        let mut due = Instant::now();
        let mut asked = None;
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
                if let On::Timeout = on {
                    assert!(Instant::now() >= due, "early");
                    assert!(asked.is_none_or(|at| scope.now() >= at), "early");
                    fired.set(fired.get() + 1);
                    left -= 1;
                    if left == 0 {
                        return done();
                    }
                }
                if n % 16 == 0 {
                    spin(ms(1));
                }
                wait += Duration::from_micros(333);
                if n % 2 == 0 {
                    due = Instant::now() + wait;
                    after(wait)
                } else {
                    // The turn's time lags behind the clock, and the deadline counts from it.
                    let at = scope.now() + wait;
                    asked = Some(at);
                    Ok(Response::of(()).deadline(at))
                }
            }))
            .unwrap();
    }
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(fired.get(), 3 * machines);
}

/// U18 as seen from here: a handler that took long, and then a short deadline.
#[test]
fn r13_after_counts_from_the_end_of_the_handler() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut armed = Instant::now();
    let mut left = 5;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            if let On::Timeout = on {
                assert!(armed.elapsed() >= ms(20), "early");
                left -= 1;
            }
            if left == 0 {
                return done();
            }
            let _stale = scope.now();
            spin(ms(25));
            armed = Instant::now();
            after(ms(20))
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
}

#[test]
fn r13_never_is_never() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut patient = Vec::new();
    for n in 0..5 {
        let script = act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => Ok(match n {
                0 => Response::of(()).after(Duration::MAX),
                1 => Response::of(()).deadline(Time::from_nanos(u64::MAX)),
                2 => Response::of(()).after(Duration::from_nanos(u64::MAX)),
                3 => Response::of(()).after(Duration::from_nanos(u64::MAX - 1)),
                _ => Response::of(()).deadline(scope.now() + Duration::from_nanos(u64::MAX / 2)),
            }),
            On::Timeout => panic!("never has come"),
            _ => done(),
        });
        patient.push(main_loop.spawn::<Noting>(script).unwrap());
    }
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(50)),
            _ => {
                for machine in &patient {
                    machine.send(0)?;
                }
                done()
            }
        }))
        .unwrap();
    let cpu = thread_cpu();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(main_loop.stats().ended, 6);
    // A deadline beyond the timer's range must not become one that is always due.
    assert!(thread_cpu() - cpu < ms(45), "the loop spun");
}

/// A thousand deadlines of one tick: messages go on between the passes.
#[test]
fn r13_an_expiry_pass_is_bounded() {
    let _dog = watchdog();
    let config = Config {
        timeouts_per_turn: 10,
        ..Config::default()
    };
    let mut main_loop = noting(config);
    let fired = Rc::new(Cell::new(0));
    let seen = fired.clone();
    let witness = main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Message(_) => {
                scope.ctx.push(seen.get().to_string());
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    let due = Rc::new(Cell::new(None));
    for _ in 0..1000 {
        let (fired, due, witness) = (fired.clone(), due.clone(), witness.clone());
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    let at = due.get().unwrap_or(scope.now() + ms(20));
                    due.set(Some(at));
                    Ok(Response::of(()).deadline(at))
                }
                _ => {
                    if fired.get() == 0 {
                        witness.send(1)?;
                    }
                    fired.set(fired.get() + 1);
                    done()
                }
            }))
            .unwrap();
    }
    main_loop.run().unwrap();
    assert_eq!(fired.get(), 1000);
    let seen: u32 = notes(&mut main_loop)[0].parse().unwrap();
    assert!((1..=20).contains(&seen), "{seen} fired in one pass");
}

/// Moving a deadline later, again and again, keeps it from firing, and the last place counts.
#[test]
fn r13_a_moved_deadline_fires_where_it_was_moved_to() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut due = Instant::now();
    let mut moves = 0;
    let idle = main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Timeout => {
                assert!(Instant::now() >= due && moves == 31, "early");
                done()
            }
            _ => {
                moves += 1;
                due = Instant::now() + ms(400);
                after(ms(400))
            }
        }))
        .unwrap();
    main_loop
        .spawn::<Noting>({
            let mut left = 30;
            act(move |on, _: &mut NotingScope<'_>| {
                if let On::Timeout = on {
                    left -= 1;
                    idle.send(0)?;
                }
                if left == 0 { done() } else { after(ms(2)) }
            })
        })
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(main_loop.stats().deadlines, 0);
}

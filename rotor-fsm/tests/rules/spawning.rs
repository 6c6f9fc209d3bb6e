//! R3: how machines come to be, from handlers, set-up and other threads.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{Full, SpawnError};
use std::cell::Cell;
use std::rc::Rc;

fn births_bounded(creates_per_turn: usize) -> Config {
    Config {
        creates_per_turn,
        ..Config::default()
    }
}

/// `create` runs after the handler that spawned, in the order of spawning, and never inside another handler.
#[test]
fn r3_create_runs_after_the_handler_first_in_first_out() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    fn named(name: &'static str, children: &'static [&'static str]) -> Script<Vec<String>, u32> {
        act(move |_, scope: &mut NotingScope<'_>| {
            scope.ctx.push(format!("{name} begins"));
            for child in children {
                scope.spawn(named(child, if *child == "b" { &["d"] } else { &[] }))?;
            }
            scope.ctx.push(format!("{name} ends"));
            done()
        })
    }
    main_loop.spawn::<Noting>(named("a", &["b", "c"])).unwrap();
    main_loop.run().unwrap();
    let expected = [
        "a begins", "a ends", "b begins", "b ends", "c begins", "c ends", "d begins", "d ends",
    ];
    assert_eq!(notes(&mut main_loop), expected);
}

/// A handler that spawns a thousand does not keep messages waiting until all are created.
#[test]
fn r3_creates_per_turn_are_bounded() {
    let _dog = watchdog();
    let mut main_loop = noting(births_bounded(10));
    let created = Rc::new(Cell::new(0));
    let count = created.clone();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for _ in 0..1000 {
                    let count = count.clone();
                    scope.spawn(act(move |_, _: &mut NotingScope<'_>| {
                        count.set(count.get() + 1);
                        done()
                    }))?;
                }
                scope.notifier().send(0)?;
                stay()
            }
            _ => {
                scope.ctx.push(count.get().to_string());
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(created.get(), 1000);
    let seen: u32 = notes(&mut main_loop)[0].parse().unwrap();
    assert!(seen <= 30, "{seen} creates before a message was delivered");
}

/// However far down the line a seed is, a message finds a machine there.
#[test]
fn r3_a_message_to_a_seed_runs_create_first() {
    let _dog = watchdog();
    let mut main_loop = noting(births_bounded(1));
    let mut last = None;
    for n in 0..5 {
        let script = act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.ctx.push(format!("create {n}"));
                if n < 4 { done() } else { stay() }
            }
            On::Message(m) => {
                scope.ctx.push(format!("message {m}"));
                done()
            }
            on => panic!("{on:?}"),
        });
        last = Some(main_loop.spawn::<Noting>(script).unwrap());
    }
    last.unwrap().send(7).unwrap();
    main_loop.run().unwrap();
    let expected = [
        "create 0",
        "create 1",
        "create 2",
        "create 3",
        "create 4",
        "message 7",
    ];
    assert_eq!(notes(&mut main_loop), expected);
}

/// Its id is known at once, and it is the one that the new machine has.
#[test]
fn r3_a_spawn_answers_the_new_machines_id_at_once() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(|_, scope: &mut NotingScope<'_>| {
            let own = Rc::new(Cell::new(None));
            let spawned = scope.spawn({
                let own = own.clone();
                act(move |on, scope: &mut NotingScope<'_>| match on {
                    On::Create => {
                        own.set(Some(scope.id()));
                        stay()
                    }
                    On::Message(n) => {
                        assert_eq!(own.get(), Some(scope.id()));
                        scope.ctx.push(n.to_string());
                        done()
                    }
                    _ => stay(),
                })
            })?;
            assert_eq!(own.get(), None, "created inside the handler");
            let to = scope.notifier_of(spawned);
            assert_eq!(to.id(), spawned.id());
            to.send(3)?;
            done()
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["3"]);
}

#[test]
fn r3_a_full_table_gives_the_seed_back() {
    let _dog = watchdog();
    let config = Config {
        machines_max: 3,
        ..Config::default()
    };
    let census = Census::default();
    let citizen = census.one();
    let mut main_loop = noting(config);
    main_loop
        .spawn::<Noting>(act(move |_, scope: &mut NotingScope<'_>| {
            let idle = || act(|_, _: &mut NotingScope<'_>| done());
            scope.spawn(idle())?;
            scope.spawn(idle())?;
            scope.ctx.push("spawned two".into());
            let Err(Full(mut seed)) = scope.spawn(act(|_, scope: &mut NotingScope<'_>| {
                scope.ctx.push("the refused one".into());
                done()
            })) else {
                panic!("a fourth of three")
            };
            // It is the seed itself.
            let _ = seed(On::Create, scope)?;
            let _mine = &citizen;
            done()
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["spawned two", "the refused one"]);
    assert_eq!((main_loop.stats().panics, census.alive()), (0, 0));
    // Full turns into an error by `?`.
    let error: Error = Full(()).into();
    assert_eq!(error.to_string(), "the table or queue is full");
}

#[test]
fn r3_other_threads_spawn_through_the_handle() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        machines_max: 2,
        ..Config::default()
    });
    let handle = main_loop.handle();
    let other = std::thread::spawn(move || {
        // The seed cannot travel, but what makes it can.
        let first = handle.spawn_with::<Noting>(|| {
            let text = Rc::new("spawned".to_owned());
            act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Message(0) => done(),
                On::Message(n) => {
                    scope.ctx.push(format!("{text} {n}"));
                    stay()
                }
                _ => stay(),
            })
        });
        let first = first.wait().unwrap();
        first.send(1).unwrap();
        let polled = handle.spawn_with::<Noting>(|| {
            act(|on, _: &mut NotingScope<'_>| match on {
                On::Message(_) => done(),
                _ => stay(),
            })
        });
        let mut second = None;
        wait_until("the second is made", || {
            second = polled.try_wait();
            second.is_some()
        });
        let third = handle.spawn_with::<Noting>(|| act(|_, _: &mut NotingScope<'_>| done()));
        assert_eq!(third.wait().unwrap_err(), SpawnError::Full);
        second.unwrap().unwrap().send(0).unwrap();
        first.send(0).unwrap();
        handle
    });
    // A loop that never had a machine waits for one (R7).
    main_loop.run().unwrap();
    let handle = other.join().unwrap();
    assert_eq!(notes(&mut main_loop), ["spawned 1"]);
    let waits = handle.spawn_with::<Noting>(|| act(|_, _: &mut NotingScope<'_>| done()));
    assert!(waits.try_wait().is_none(), "nobody runs the loop");
    drop(main_loop);
    assert_eq!(waits.wait().unwrap_err(), SpawnError::Closed);
    let late = handle.spawn_with::<Noting>(|| act(|_, _: &mut NotingScope<'_>| done()));
    assert_eq!(late.try_wait().unwrap().unwrap_err(), SpawnError::Closed);
    assert_eq!(late.wait().unwrap_err(), SpawnError::Closed);
}

/// More orders than a turn follows: the rest is for the next turns, without anybody asking again.
#[test]
fn r3_orders_of_other_threads_are_followed_over_several_turns() {
    let _dog = watchdog();
    let mut main_loop = noting(births_bounded(2));
    let handle = main_loop.handle();
    let orders: Vec<_> = (0..20)
        .map(|n| {
            handle.spawn_with::<Noting>(move || {
                act(move |on, scope: &mut NotingScope<'_>| match on {
                    On::Create => {
                        scope.ctx.push(n.to_string());
                        if n == 19 {
                            scope.shutdown(ms(0));
                        }
                        stay()
                    }
                    _ => done(),
                })
            })
        })
        .collect();
    main_loop.run().unwrap();
    let expected: Vec<String> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(notes(&mut main_loop), expected);
    assert!(orders.into_iter().all(|order| order.wait().is_ok()));
}

/// The function that makes the seed is user code: its panic costs that machine, not the loop, and no place.
#[test]
fn r3_a_seed_function_that_panics_takes_no_place() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        machines_max: 1,
        ..Config::default()
    });
    let handle = main_loop.handle();
    let bad = handle.spawn_with::<Noting>(|| panic!("no seed"));
    let good = handle.spawn_with::<Noting>(|| act(|_, _: &mut NotingScope<'_>| done()));
    main_loop.run().unwrap();
    assert!(bad.wait().is_err());
    assert!(good.wait().is_ok());
    assert_eq!(main_loop.stats().panics, 1);
}

/// `Setup::add` hands out notifiers before there is a context, and messages wait for it.
#[test]
fn r3_setup_promises_machines() {
    let _dog = watchdog();
    let mut first = None;
    let mut main_loop = Loop::<Noting>::new(Config::default(), |setup| {
        let machine = setup.add::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.ctx.push("create".into());
                stay()
            }
            _ => {
                scope.ctx.push("message".into());
                done()
            }
        }))?;
        machine.send(1)?;
        first = Some(machine);
        Ok(vec!["context".to_owned()])
    })
    .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["context", "create", "message"]);
    assert!(!first.unwrap().is_live());
}

#[test]
fn r3_what_a_failed_setup_promised_is_closed() {
    let _dog = watchdog();
    let census = Census::default();
    let (citizen, letter) = (census.one(), census.one());
    let mut promised = None;
    type Postal = Act<(), Citizen>;
    let failed = Loop::<Postal>::new(Config::default(), |setup| {
        let machine = setup.add::<Postal>(act(move |_, _: &mut Scope<'_, Postal>| {
            let _mine = &citizen;
            stay()
        }))?;
        machine.send(letter)?;
        promised = Some(machine);
        Err(Error::msg("no context"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "no context");
    assert!(
        promised
            .unwrap()
            .send(census.one())
            .unwrap_err()
            .is_closed()
    );
    assert_eq!(census.alive(), 0);
}

//! Machines that are asked to finish one by one, jobs whose end is an event, and how many machines there are.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, Sim, check};
use rotor_fsm::{IoErrorKind, MachineId};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// Notes that it was asked to finish, and goes on until it has been asked `times`.
fn asked(name: &'static str, times: u32) -> Script<Vec<String>, u32> {
    let mut left = times;
    act(move |on, scope: &mut NotingScope<'_>| match on {
        On::Finish => {
            scope.ctx.push(name.into());
            left -= 1;
            if left == 0 { done() } else { stay() }
        }
        _ => stay(),
    })
}

/// Exactly those that were named, after the handler that named them; as often as they were named.
#[test]
fn ask_to_finish_asks_whom_it_names() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let [a, b, c] =
                    [("a", 2), ("b", 1), ("c", 1)].map(|(name, times)| asked(name, times));
                let a = scope.spawn(a)?.id();
                let b = scope.spawn(b)?.id();
                let _not_asked = scope.spawn(c)?;
                for id in [a, b, a] {
                    scope.ask_to_finish(id)?;
                }
                scope.ctx.push("asked".into());
                after(ms(30))
            }
            On::Timeout => {
                // Itself too.
                scope.ask_to_finish(scope.id())?;
                scope.ctx.push("asked itself".into());
                stay()
            }
            _ => {
                scope.ctx.push("finish".into());
                scope.shutdown(ms(10_000));
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    let expected = ["asked", "a", "b", "a", "asked itself", "finish", "c"];
    assert_eq!(notes(&mut main_loop), expected);
    assert_eq!(main_loop.stats().ended, 4);
}

/// The machine that has its slot now is another one. Neither is one found that never was.
#[test]
fn ask_to_finish_of_a_stale_id_changes_nothing() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut stale: Option<MachineId> = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let brief = act(|_, _: &mut NotingScope<'_>| done());
                stale = Some(scope.spawn(brief)?.id());
                after(ms(5))
            }
            On::Timeout if scope.ctx.is_empty() => {
                let successor = scope.spawn(asked("the successor", 1))?.id();
                let stale = stale.unwrap();
                assert_eq!(
                    (successor.index(), successor != stale),
                    (stale.index(), true)
                );
                for _ in 0..3 {
                    scope.ask_to_finish(stale)?;
                }
                scope.ctx.push("asked".into());
                after(ms(30))
            }
            On::Timeout => {
                assert_eq!(scope.ctx.len(), 1);
                scope.shutdown(ms(10_000));
                stay()
            }
            _ => done(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["asked", "the successor"]);
}

/// Sends itself a message a turn, until it is told to stop.
fn ticking(mut tick: impl FnMut() -> bool + 'static) -> Script<Vec<String>, u32> {
    act(move |on, scope: &mut NotingScope<'_>| {
        if let On::Message(_) | On::Create = on {
            if !tick() {
                return done();
            }
            scope.notifier().send(0)?;
        }
        stay()
    })
}

/// Thousands are asked in as many turns as it takes, a bounded number each; others get their turns in between.
#[test]
fn ask_to_finish_is_bounded_per_turn() {
    let _dog = watchdog();
    let (many, bound) = (sized(3000, 300), sized(100, 20));
    let mut main_loop = noting(Config {
        creates_per_turn: bound,
        ..Config::default()
    });
    let (finished, alive) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let seen = Rc::new(RefCell::new(Vec::new()));
    let mut asker = {
        let (finished, alive) = (finished.clone(), alive.clone());
        let mut ids = Vec::new();
        Some(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for _ in 0..many {
                    let (finished, alive) = (finished.clone(), alive.clone());
                    let spawned =
                        scope.spawn(act(move |on, _: &mut NotingScope<'_>| match on {
                            On::Finish => {
                                finished.set(finished.get() + 1);
                                done()
                            }
                            _ => {
                                alive.set(alive.get() + 1);
                                stay()
                            }
                        }))?;
                    ids.push(spawned.id());
                }
                after(ms(1))
            }
            On::Timeout if alive.get() < many => after(ms(1)),
            _ => {
                for id in ids.drain(..) {
                    scope.ask_to_finish(id)?;
                }
                done()
            }
        }))
    };
    main_loop.spawn::<Noting>(asker.take().unwrap()).unwrap();
    let (ticks, so_far) = (seen.clone(), finished.clone());
    main_loop
        .spawn::<Noting>(ticking(move || {
            ticks.borrow_mut().push(so_far.get());
            so_far.get() < many
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(
        (finished.get(), main_loop.stats().ended),
        (many, many as u64 + 2)
    );
    let seen = seen.borrow();
    let most = seen.windows(2).map(|two| two[1] - two[0]).max();
    assert_eq!(most, Some(bound), "asked in one turn");
}

/// The loop does not sleep on those that a bound left over.
#[test]
fn ask_to_finish_needs_no_waking_for_the_rest() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        creates_per_turn: 1,
        ..Config::default()
    });
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for name in ["a", "b", "c", "d"] {
                    let spawned = scope.spawn(asked(name, 1))?;
                    scope.ask_to_finish(spawned.id())?;
                }
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["a", "b", "c", "d"]);
}

#[test]
fn ask_to_finish_survives_a_panic_in_one() {
    let _dog = watchdog();
    let mut main_loop = noting_on(Config::default());
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let panics = || {
                    act(|on, _: &mut NotingScope<'_>| match on {
                        On::Finish => panic!("on purpose"),
                        _ => stay(),
                    })
                };
                for script in [
                    asked("a", 1),
                    panics(),
                    asked("b", 1),
                    panics(),
                    asked("c", 1),
                ] {
                    let id = scope.spawn(script)?.id();
                    scope.ask_to_finish(id)?;
                }
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["a", "b", "c"]);
    let stats = main_loop.stats();
    assert_eq!((stats.panics, stats.ended), (2, 6));
}

/// One that is still a seed is created first, then asked; that another seed before it panics does not lose the question.
#[test]
fn ask_to_finish_reaches_a_seed() {
    let _dog = watchdog();
    let mut main_loop = noting_on(Config {
        creates_per_turn: 1,
        ..Config::default()
    });
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for name in ["first", "second"] {
                    scope.spawn(act(move |_, _: &mut NotingScope<'_>| {
                        panic!("{name}, on purpose")
                    }))?;
                }
                let spawned = scope.spawn(act(|on, scope: &mut NotingScope<'_>| {
                    scope.ctx.push(format!("{on:?}"));
                    match on {
                        On::Create => after(ms(200)),
                        _ => done(),
                    }
                }))?;
                scope.ask_to_finish(spawned.id())?;
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["Create", "Finish"]);
    assert_eq!(main_loop.stats().panics, 2);
}

/// The same on a loop of the simulator.
#[test]
fn ask_to_finish_works_in_the_simulator() {
    check(0..20, |sim| {
        let on = sim
            .add::<Noting>(Config::default(), |_| Ok(Vec::new()))
            .unwrap();
        let asker = act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for name in ["a", "b"] {
                    let id = scope.spawn(asked(name, 1))?.id();
                    scope.ask_to_finish(id)?;
                }
                done()
            }
            _ => stay(),
        });
        sim.spawn::<Noting, Noting>(&on, asker).unwrap();
        assert_eq!(sim.run(ms(1000)), Ended::Over);
        assert_eq!(sim.context(&on, |notes| notes.concat()).unwrap(), "ab");
    });
}

/// Other threads see how many machines a loop has: seeds included, and none when it is over.
#[test]
fn machines_are_counted_for_other_threads() {
    let _dog = watchdog();
    let thread = LoopThread::<Act<(), u32>>::spawn(Config::default(), |_| Ok(())).unwrap();
    let handle = (*thread).clone();
    assert_eq!(handle.machines(), 0);
    let staying = || {
        act(|on, _: &mut Scope<'_, Act<(), u32>>| match on {
            On::Message(_) => done(),
            _ => stay(),
        })
    };
    let machines: Vec<_> = (0..10)
        .map(|_| thread.spawn_with(staying).wait().unwrap())
        .collect();
    wait_until("all are counted", || handle.machines() == 10);
    for machine in &machines[..4] {
        machine.send(1).unwrap();
    }
    wait_until("ends are counted", || handle.machines() == 6);
    thread.shutdown(ms(0));
    thread.join().unwrap();
    assert_eq!(handle.machines(), 0);
}

/// `then` keeps the result, and the event follows it; each its own.
#[test]
fn work_io_is_told_after_its_result_is_kept() {
    let _dog = watchdog();
    let jobs = sized(50, 10) as u32;
    let kept = Rc::new(RefCell::new(VecDeque::new()));
    let here = std::thread::current().id();
    let mut main_loop = noting(Config::default());
    let mut sum = 0;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for n in 1..=jobs {
                    let kept = kept.clone();
                    let job = move || {
                        assert_ne!(std::thread::current().id(), here);
                        n
                    };
                    scope.work_io(job, move |n| {
                        assert_eq!(std::thread::current().id(), here);
                        kept.borrow_mut().push_back(n);
                    })?;
                }
                stay()
            }
            On::Io(Io::Worked, _) => {
                sum += kept.borrow_mut().pop_front().expect("a result");
                assert!(kept.borrow().is_empty(), "one event for each");
                scope.ctx.push(String::new());
                if scope.ctx.len() as u32 == jobs {
                    assert_eq!(sum, jobs * (jobs + 1) / 2);
                    return done();
                }
                stay()
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop).len() as u32, jobs);
}

/// A job that panics ends its machine by name; a panic of `then` is the machine's own. Nobody else minds.
#[test]
fn work_io_that_panics_ends_its_machine() {
    let _dog = watchdog();
    let (config, ends) = hooked();
    let mut main_loop = noting_on(config);
    for way in 0..3 {
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    let job = move || assert_ne!(way, 0, "in the pool, on purpose");
                    let then = move |()| assert_ne!(way, 1, "in the second half, on purpose");
                    scope.work_io(job, then)?;
                    stay()
                }
                On::Io(Io::Worked, _) => {
                    scope.ctx.push(way.to_string());
                    done()
                }
                on => panic!("{on:?}"),
            }))
            .unwrap();
    }
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["2"]);
    let mut reasons = reasons(&ends);
    reasons.sort();
    assert_eq!(
        reasons[..2],
        ["done", "failed: a job in the thread pool panicked"]
    );
    assert!(reasons[2].contains("in the second half"), "{}", reasons[2]);
    assert_eq!(main_loop.stats().panics, 1);
}

/// Holds threads of the pool until it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn pass(&self) {
        let open = self.0.0.lock().unwrap();
        let _open = self.0.1.wait_while(open, |open| !*open).unwrap();
    }

    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

/// Jobs that have not started end with their machine; one that runs finds nobody to tell. There is a limit to them.
#[test]
fn work_io_is_cancelled_with_its_machine() {
    let _dog = watchdog();
    let (census, gate) = (Census::default(), Gate::default());
    let ran = Arc::new(AtomicUsize::new(0));
    // More than there are threads in the pool, whatever UV_THREADPOOL_SIZE says up to 32.
    let (blockers, mut back) = (32, 0);
    let mut main_loop = noting(Config {
        jobs_max: blockers + 3,
        ..Config::default()
    });
    main_loop
        .spawn::<Noting>({
            let gate = gate.clone();
            act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    for _ in 0..blockers {
                        let gate = gate.clone();
                        scope.work_io(move || gate.pass(), |()| ())?;
                    }
                    stay()
                }
                On::Io(Io::Worked, _) => {
                    back += 1;
                    if back == blockers { done() } else { stay() }
                }
                on => panic!("{on:?}"),
            })
        })
        .unwrap();
    main_loop
        .spawn::<Noting>({
            let (ran, census) = (ran.clone(), census.clone());
            act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    for _ in 0..3 {
                        let (ran, in_job, in_then) = (ran.clone(), census.one(), census.one());
                        let job = move || {
                            let _mine = &in_job;
                            ran.fetch_add(1, Ordering::Relaxed);
                        };
                        let then = move |()| {
                            let _mine = &in_then;
                            panic!("for a machine that has ended")
                        };
                        scope.work_io(job, then)?;
                    }
                    let refused = scope.work_io(|| (), |()| ()).unwrap_err();
                    assert_eq!(refused.kind(), IoErrorKind::Limit);
                    after(ms(5))
                }
                On::Timeout => done(),
                on => panic!("{on:?}"),
            })
        })
        .unwrap();
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(30)),
            _ => {
                gate.open();
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    drop(main_loop);
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!(census.alive(), 0);
}

/// A part of a composition, whose jobs are told to it and to no other part.
struct Miner;
struct Idler;

impl Machine for Miner {
    type Context = Vec<String>;
    type Message = &'static str;
    type Seed = ();

    fn create((): (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.work_io(|| 1, |_| ())?;
        Ok(Response::of(Miner))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.push(format!("{event:?}"));
        // The other kind, of the same part.
        scope.work(|| 2, |_| "a message")?;
        Ok(Response::of(self))
    }

    fn wakeup(self, text: &'static str, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.push(text.into());
        Ok(Response::done())
    }
}

impl Machine for Idler {
    type Context = Vec<String>;
    type Message = u8;
    type Seed = ();

    fn create((): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Idler))
    }

    fn finish(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.push("finish".into());
        Ok(Response::done())
    }
}

compose! { enum Mine(Vec<String>) { Miner(Miner), Idler(Idler) } }

#[test]
fn work_io_and_ask_to_finish_in_a_composition() {
    let _dog = watchdog();
    let mut main_loop = Loop::<Mine>::new(Config::default(), |_| Ok(Vec::new())).unwrap();
    main_loop.spawn::<Idler>(()).unwrap();
    main_loop.spawn::<Miner>(()).unwrap();
    let handle = main_loop.handle();
    let watching = std::thread::spawn(move || {
        // Over when only the idler is left, which waits for the shutdown.
        wait_until("the miner has ended", || handle.machines() == 1);
        handle.shutdown(ms(10_000));
    });
    main_loop.run().unwrap();
    watching.join().unwrap();
    let notes = std::mem::take(main_loop.context().unwrap());
    assert_eq!(notes, ["Worked", "a message", "finish"]);
}

/// In the simulator a job takes virtual time, and everything follows from the seed.
#[test]
fn work_io_is_deterministic_in_the_simulator() {
    fn run(sim: &mut Sim) -> (Vec<String>, u64) {
        let on = sim
            .add::<Noting>(Config::default(), |_| Ok(Vec::new()))
            .unwrap();
        let jobs = 8;
        let kept = Rc::new(RefCell::new(VecDeque::new()));
        let machine = act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for n in 0..jobs {
                    let kept = kept.clone();
                    scope.work_io(move || n, move |n| kept.borrow_mut().push_back(n))?;
                }
                stay()
            }
            On::Io(Io::Worked, _) => {
                let n = kept.borrow_mut().pop_front().unwrap();
                let at = scope.now();
                scope.ctx.push(format!("{n} at {at:?}"));
                if scope.ctx.len() == jobs {
                    done()
                } else {
                    stay()
                }
            }
            on => panic!("{on:?}"),
        });
        let before = sim.now();
        sim.spawn::<Noting, Noting>(&on, machine).unwrap();
        assert_eq!(sim.run(ms(60_000)), Ended::Over);
        assert!(sim.now() > before);
        let notes = sim.context(&on, std::mem::take).unwrap();
        assert_eq!(notes.len(), jobs);
        (notes, sim.trace_hash())
    }
    let all: Vec<_> = (0..50).map(|seed| run(&mut Sim::new(seed))).collect();
    for (seed, first) in all.iter().enumerate() {
        assert_eq!(run(&mut Sim::new(seed as u64)), *first);
    }
    assert!(all.iter().any(|one| one.0 != all[0].0), "seeds differ");
}

/// As many may wait to be asked as there may be machines: who asks in a loop is told, and memory stays bounded.
#[test]
fn r11_ask_to_finish_has_a_limit() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        machines_max: 3,
        ..Config::default()
    });
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let id = scope.id();
                let asked = (0..5).filter(|_| scope.ask_to_finish(id).is_ok());
                let asked = asked.count();
                scope.ctx.push(format!("{asked} taken"));
                stay()
            }
            On::Finish => {
                scope.ctx.push("asked".to_owned());
                match scope.ctx.len() {
                    4 => done(),
                    _ => stay(),
                }
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(
        notes(&mut main_loop),
        ["3 taken", "asked", "asked", "asked"]
    );
}

/// Another turn comes after what else the loop has to do, without a handle, once for each asking; and not to a machine
/// that has ended or to a later one in its slot.
#[test]
fn another_turn_comes_once_and_in_a_later_turn() {
    fn turner(name: &'static str, turns: u32) -> Script<Vec<String>, u32> {
        let mut left = turns;
        act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.another_turn();
                scope.ctx.push(format!("{name} begins"));
                // One that ends with a turn owed, and leaves its slot to the next.
                if turns == 0 { done() } else { stay() }
            }
            On::Io(Io::Again, HandleId::NONE) => {
                scope.ctx.push(format!("{name} {left}"));
                left -= 1;
                if left == 0 {
                    return done();
                }
                scope.another_turn();
                stay()
            }
            other => panic!("{other:?}"),
        })
    }
    let program = |scope: &mut NotingScope<'_>| -> Result<()> {
        scope.spawn(turner("a", 2))?;
        scope.spawn(turner("gone", 0))?;
        scope.spawn(turner("b", 1))?;
        Ok(())
    };
    let expected = ["a begins", "gone begins", "b begins", "a 2", "b 1", "a 1"];
    let starter = move || {
        act(move |_, scope: &mut NotingScope<'_>| {
            program(scope)?;
            done()
        })
    };

    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    main_loop.spawn::<Noting>(starter()).unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), expected);

    check(0..20, |sim| {
        let on = sim
            .add::<Noting>(Config::default(), |_| Ok(Vec::new()))
            .unwrap();
        sim.spawn::<Noting, Noting>(&on, starter()).unwrap();
        assert_eq!(sim.run(ms(1000)), Ended::Over);
        assert_eq!(sim.context(&on, |notes| notes.clone()).unwrap(), expected);
    });
}

//! R8: loops on threads of their own.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{ErrorKind, Verdict, is_loop_thread};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

type Quiet = Act<(), u32>;
type QuietScope<'a> = Scope<'a, Quiet>;

/// Sends what it is told, ends at 0.
fn telling(tell: mpsc::Sender<u32>) -> Script<(), u32> {
    act(move |on, _: &mut QuietScope<'_>| match on {
        On::Message(0) => done(),
        On::Message(n) => {
            tell.send(n)?;
            stay()
        }
        _ => stay(),
    })
}

/// When `spawn` returns, the loop takes messages and spawns; `join` returns when the loop has ended by itself.
#[test]
fn r8_a_loop_thread_can_be_talked_to_at_once() {
    let _dog = watchdog();
    for _ in 0..sized(50, 5) {
        let (tell, told) = mpsc::channel();
        let mut machine = None;
        let (hand, handed) = mpsc::channel();
        let thread = LoopThread::<Quiet>::spawn(Config::default(), move |setup| {
            hand.send(setup.add::<Quiet>(telling(tell))?)?;
            Ok(())
        })
        .unwrap();
        machine.replace(handed.try_recv().expect("set-up has run"));
        let machine = machine.unwrap();
        machine.send(1).unwrap();
        assert_eq!(told.recv_timeout(patience()), Ok(1));
        let (tell, told) = mpsc::channel();
        let second = thread.spawn_with::<Quiet>(move || telling(tell));
        second.wait().unwrap().send(2).unwrap();
        assert_eq!(told.recv_timeout(patience()), Ok(2));
        machine.send(0).unwrap();
        thread.shutdown(Duration::ZERO);
        thread.join().unwrap();
        assert!(machine.send(3).unwrap_err().is_closed());
    }
}

#[test]
fn r8_a_failed_setup_is_returned_and_what_it_promised_is_closed() {
    let _dog = watchdog();
    let (hand, handed) = mpsc::channel();
    let failed = LoopThread::<Quiet>::spawn(Config::default(), move |setup| {
        let machine = setup.add::<Quiet>(act(|_, _: &mut QuietScope<'_>| stay()))?;
        hand.send(machine)?;
        Err(Error::msg("no context today"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "no context today");
    assert!(handed.recv().unwrap().send(1).unwrap_err().is_closed());
}

#[test]
fn r8_a_setup_that_panics_is_an_error() {
    let _dog = watchdog();
    let failed = LoopThread::<Quiet>::spawn(Config::default(), |_| panic!("in set-up"));
    assert_eq!(failed.unwrap_err().kind(), Some(ErrorKind::LoopPanicked));
}

#[test]
fn r8_join_returns_what_run_returned() {
    let _dog = watchdog();
    let stopping = || Config {
        on_end: Some(Box::new(|_, _| Verdict::Stop)),
        ..Config::default()
    };
    for panics in [false, true] {
        let thread = LoopThread::<Quiet>::spawn(stopping(), move |setup| {
            setup.add::<Quiet>(act(move |_, _: &mut QuietScope<'_>| {
                if panics {
                    panic!("on its thread")
                }
                Err(Error::msg("on its thread"))
            }))?;
            Ok(())
        })
        .unwrap();
        let error = thread.join().unwrap_err();
        if panics {
            assert_eq!(error.kind(), Some(ErrorKind::LoopPanicked));
        } else {
            assert_eq!(error.to_string(), "on its thread");
        }
    }
}

#[test]
fn r8_a_dropped_loop_thread_shuts_its_loop_down() {
    let _dog = watchdog();
    let census = Census::default();
    let citizen = census.one();
    let thread = LoopThread::<Quiet>::spawn(Config::default(), move |setup| {
        setup.add::<Quiet>(act(move |_, _: &mut QuietScope<'_>| {
            let _mine = &citizen;
            stay()
        }))?;
        Ok(())
    })
    .unwrap();
    let handle = (*thread).clone();
    drop(thread);
    assert_eq!(census.alive(), 0);
    let late = handle.spawn_with::<Quiet>(|| act(|_, _: &mut QuietScope<'_>| done()));
    assert!(late.wait().is_err());
}

#[test]
fn r8_threads_are_named_and_pinned() {
    let _dog = watchdog();
    let (tell, told) = mpsc::channel();
    let config = Config {
        thread_name: "my-loop".to_owned(),
        core: Some(0),
        ..Config::default()
    };
    let thread = LoopThread::<Quiet>::spawn(config, move |_| {
        // SAFETY: the set is live and as large as said.
        let cores = unsafe {
            let mut set: libc::cpu_set_t = std::mem::zeroed();
            assert_eq!(
                libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set),
                0
            );
            libc::CPU_COUNT(&set)
        };
        tell.send((std::thread::current().name().map(str::to_owned), cores))?;
        Ok(())
    })
    .unwrap();
    assert_eq!(told.recv().unwrap(), (Some("my-loop".to_owned()), 1));
    drop(thread);
    let nowhere = Config {
        core: Some(100_000),
        ..Config::default()
    };
    let failed = LoopThread::<Quiet>::spawn(nowhere, |_| Ok(()));
    assert!(
        failed
            .unwrap_err()
            .to_string()
            .contains("cannot pin to core 100000")
    );
}

/// A loop per thread, talking to each other in a ring.
#[test]
fn r8_loops_talk_to_each_other() {
    let _dog = watchdog();
    let (tell, told) = mpsc::channel();
    let hops = sized(10_000, 500) as u32;
    let rings: Vec<_> = (0..3)
        .map(|_| LoopThread::<Quiet>::spawn(Config::default(), |_| Ok(())).unwrap())
        .collect();
    // Each knows the next one once it is told, by way of a slot that the threads share.
    let next: std::sync::Arc<[std::sync::OnceLock<Notifier<u32>>]> =
        (0..3).map(|_| std::sync::OnceLock::new()).collect();
    for (n, ring) in rings.iter().enumerate() {
        let (next, tell) = (next.clone(), tell.clone());
        let made = ring.spawn_with::<Quiet>({
            let next = next.clone();
            move || {
                act(move |on, _: &mut QuietScope<'_>| {
                    match on {
                        On::Message(0) => tell.send(0)?,
                        On::Message(left) => next[(n + 1) % 3].get().unwrap().send(left - 1)?,
                        _ => {}
                    }
                    stay()
                })
            }
        });
        next[n].set(made.wait().unwrap()).unwrap();
    }
    next[0].get().unwrap().send(hops).unwrap();
    assert_eq!(told.recv_timeout(patience()), Ok(0));
    // Every hop, and the first message. Loops count by the turn, so the last may take a moment.
    wait_until("all are counted", || {
        let delivered: u64 = rings.iter().map(|ring| ring.messages().delivered).sum();
        delivered == u64::from(hops) + 1
    });
}

/// Where loops run, and only while they do.
#[test]
fn a_thread_knows_whether_a_loop_runs_on_it() {
    let _dog = watchdog();
    assert!(!is_loop_thread());
    for panics in [false, true] {
        let config = Config {
            on_end: Some(Box::new(|_, _| Verdict::Stop)),
            ..Config::default()
        };
        let mut main_loop = Loop::<Quiet>::new(config, |_| {
            assert!(!is_loop_thread());
            Ok(())
        })
        .unwrap();
        main_loop
            .spawn::<Quiet>(act(move |_, _: &mut QuietScope<'_>| {
                assert!(is_loop_thread());
                let elsewhere = std::thread::spawn(is_loop_thread).join().unwrap();
                assert!(!elsewhere && !panics, "as planned");
                // A loop inside of a handler of another one's machine.
                let mut inner = Loop::<Quiet>::new(Config::default(), |_| Ok(()))?;
                inner.spawn::<Quiet>(act(|_, _: &mut QuietScope<'_>| done()))?;
                inner.run()?;
                assert!(is_loop_thread(), "the outer one still runs");
                done()
            }))
            .unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| main_loop.run()));
        match outcome {
            Err(payload) => assert!(panics && payload_text(payload) == "as planned"),
            Ok(result) => assert!(!panics && result.is_ok()),
        }
        assert!(!is_loop_thread());
    }
}

#[test]
fn a_simulated_loop_counts_as_one_that_runs() {
    let mut sim = rotor_fsm::sim::Sim::new(1);
    let on = sim.add::<Quiet>(Config::default(), |_| Ok(())).unwrap();
    let asked = act(|_, _: &mut QuietScope<'_>| {
        assert!(is_loop_thread());
        done()
    });
    sim.spawn::<Quiet, Quiet>(&on, asked).unwrap();
    assert_eq!(sim.run(ms(10)), rotor_fsm::sim::Ended::Over);
    assert_eq!(sim.stats(&on).panics, 0);
    assert!(!is_loop_thread());
}

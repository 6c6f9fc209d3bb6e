//! The rest of a machine's environment: thread-pool work, signals, standard input, chance, panics.

use crate::ms;
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, SimConfig, check, check_with};
use rotor_fsm::{ErrorKind, Reason, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Hands out jobs and collects their results.
struct Boss {
    left: u32,
}

impl Machine for Boss {
    type Context = (Vec<u32>, Arc<AtomicU32>);
    type Message = u32;
    type Seed = (u32, bool);

    fn create((jobs, panics): (u32, bool), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        for n in 0..jobs {
            let ran = scope.ctx.1.clone();
            let job = move || {
                ran.fetch_add(1, Ordering::Relaxed);
                assert!(!panics, "a job that panics, on purpose");
                n * n
            };
            scope.work(job, |result| result)?;
        }
        Ok(Response::of(Boss { left: jobs }))
    }

    fn wakeup(self, result: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.0.push(result);
        match self.left {
            1 => Ok(Response::done()),
            n => Ok(Response::of(Boss { left: n - 1 })),
        }
    }
}

#[test]
fn r10_work_takes_virtual_time_and_every_result_comes_once() {
    check(0..300, |sim| {
        let loop_ = sim
            .add::<Boss>(Config::default(), |_| Ok(Default::default()))
            .unwrap();
        sim.spawn::<Boss, Boss>(&loop_, (20, false)).unwrap();
        let before = sim.now();
        assert_eq!(sim.run(ms(60_000)), Ended::Over);
        assert!(sim.now() > before);
        let mut results = sim.context(&loop_, |(results, _)| results.clone()).unwrap();
        results.sort_unstable();
        assert_eq!(results, (0..20).map(|n| n * n).collect::<Vec<_>>());
    });
}

#[test]
fn a_job_that_panics_ends_its_machine_and_the_jobs_that_wait_never_run() {
    let config = SimConfig {
        work_threads: 1,
        ..SimConfig::default()
    };
    // The panic is expected: it need not be printed a hundred times.
    check_with(0..5, &config, |sim| {
        let config = Config {
            on_end: Some(Box::new(|_, reason| match reason {
                Reason::Failed(error) if error.kind() == Some(ErrorKind::WorkPanicked) => {
                    Verdict::Stop
                }
                other => panic!("{other:?}"),
            })),
            ..Config::default()
        };
        let ran = Arc::new(AtomicU32::new(0));
        let counter = ran.clone();
        let loop_ = sim
            .add::<Boss>(config, |_| Ok((Vec::new(), counter)))
            .unwrap();
        sim.spawn::<Boss, Boss>(&loop_, (20, true)).unwrap();
        assert_eq!(sim.run(ms(60_000)), Ended::Over);
        let result = sim.take_result(&loop_).unwrap();
        assert_eq!(result.unwrap_err().kind(), Some(ErrorKind::WorkPanicked));
        // The next may have started before the loop heard of the panic.
        assert!(ran.load(Ordering::Relaxed) <= 2);
    });
}

/// Collects lines of standard input, and signals.
struct Console {
    _stdin: Socket,
    _signal: rotor_fsm::SignalWatch,
}

impl Machine for Console {
    type Context = (Vec<u8>, Vec<i32>, bool);
    type Message = Never;
    type Seed = i32;

    fn create(signum: i32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Console {
            _stdin: scope.stdin()?,
            _signal: scope.signal(signum)?,
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match event {
            Io::Read(bytes) => scope.ctx.0.extend_from_slice(&bytes),
            Io::Eof => scope.ctx.2 = true,
            Io::Signal(signum) => scope.ctx.1.push(signum),
            other => return Err(Error::msg(format!("{other:?}"))),
        }
        Ok(Response::of(self))
    }
}

#[test]
fn standard_input_and_signals_are_the_tests_to_give() {
    check(0..100, |sim| {
        let loop_ = sim
            .add::<Console>(Config::default(), |_| Ok(Default::default()))
            .unwrap();
        let keyboard = sim.stdin();
        sim.send(keyboard, b"typed ");
        sim.run_for(ms(100));
        sim.spawn::<Console, Console>(&loop_, 10).unwrap();
        sim.run_for(ms(100));
        sim.send(keyboard, b"ahead");
        sim.raise(12);
        sim.raise(10);
        sim.run_for(ms(100));
        sim.shutdown(keyboard);
        assert_eq!(sim.run(ms(100)), Ended::Idle);
        let (typed, signals, eof) = sim.context(&loop_, |ctx| ctx.clone()).unwrap();
        assert_eq!(
            (&typed[..], &signals[..], eof),
            (&b"typed ahead"[..], &[10][..], true)
        );
    });
}

#[test]
fn a_signal_that_cannot_be_watched_is_misuse_and_fails_at_the_call() {
    for signum in [0, 9, 19, 65, -1] {
        check(0..1, |sim| {
            let loop_ = sim
                .add::<Console>(Config::default(), |_| Ok(Default::default()))
                .unwrap();
            sim.spawn::<Console, Console>(&loop_, signum).unwrap();
            sim.run(ms(10));
            assert!(sim.is_over(&loop_) && sim.descriptors() == 0);
        });
    }
}

#[test]
fn r7_sigterm_shuts_down_a_loop_that_asked_for_it() {
    check(0..100, |sim| {
        let loop_ = sim
            .add::<Console>(Config::default(), |_| Ok(Default::default()))
            .unwrap();
        sim.shutdown_on_signals(&loop_).unwrap();
        sim.spawn::<Console, Console>(&loop_, 10).unwrap();
        assert_eq!(sim.run(ms(100)), Ended::Idle);
        sim.raise(15);
        assert_eq!(sim.run(ms(100)), Ended::Over);
        assert!(matches!(sim.take_result(&loop_), Some(Ok(()))));
    });
}

/// Panics when it is told to.
struct Bomb;

impl Machine for Bomb {
    type Context = ();
    type Message = ();
    type Seed = ();

    fn create((): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Bomb))
    }

    fn wakeup(self, (): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        panic!("the bomb went off")
    }
}

#[test]
#[should_panic(expected = "the bomb went off")]
fn a_panic_that_the_end_hook_stops_for_reaches_the_test() {
    check(5..6, |sim| {
        let config = Config {
            on_end: Some(Box::new(|_, _| Verdict::Stop)),
            ..Config::default()
        };
        let loop_ = sim.add::<Bomb>(config, |_| Ok(())).unwrap();
        let bomb = sim.spawn::<Bomb, Bomb>(&loop_, ()).unwrap();
        sim.run(ms(1));
        bomb.send(()).unwrap();
        sim.run(ms(1));
    });
}

#[test]
fn r6_without_such_a_hook_only_the_machine_ends() {
    check(0..1, |sim| {
        let loop_ = sim.add::<Bomb>(Config::default(), |_| Ok(())).unwrap();
        let bomb = sim.spawn::<Bomb, Bomb>(&loop_, ()).unwrap();
        sim.spawn::<Bomb, Bomb>(&loop_, ()).unwrap();
        bomb.send(()).unwrap();
        assert_eq!(sim.run(ms(1)), Ended::Idle);
        let stats = sim.stats(&loop_);
        assert_eq!((stats.machines, stats.ended, stats.panics), (1, 1, 1));
    });
}

#[test]
fn r7_a_simulation_drops_its_machines_contexts_and_messages() {
    struct Holder(#[expect(dead_code)] Arc<()>);
    impl Machine for Holder {
        type Context = Arc<()>;
        type Message = Arc<()>;
        type Seed = Arc<()>;
        fn create(seed: Arc<()>, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
            Ok(Response::of(Holder(seed)))
        }
    }
    let token = Arc::new(());
    check(0..20, |sim| {
        let context = token.clone();
        let loop_ = sim
            .add::<Holder>(Config::default(), |_| Ok(context))
            .unwrap();
        let created = sim.spawn::<Holder, Holder>(&loop_, token.clone()).unwrap();
        sim.run(ms(10));
        sim.spawn::<Holder, Holder>(&loop_, token.clone()).unwrap();
        created.send(token.clone()).unwrap();
        assert_eq!(Arc::strong_count(&token), 5);
    });
    assert_eq!(Arc::strong_count(&token), 1);
}

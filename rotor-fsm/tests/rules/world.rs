//! R10: the world as machines see it: the thread pool, signals, standard input, chance.

use crate::common::*;
use crate::limits::Gate;
use rotor_fsm::prelude::*;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The job runs on another thread, what follows on this one, and its result arrives as a message.
#[test]
fn r10_work_comes_back_as_a_message() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let here = std::thread::current().id();
    let mut results = HashSet::new();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for n in 0..50u32 {
                    scope.work(
                        move || (n * n, std::thread::current().id()),
                        move |(square, there)| {
                            assert_ne!(there, here);
                            assert_eq!(std::thread::current().id(), here);
                            square
                        },
                    )?;
                }
                stay()
            }
            On::Message(square) => {
                assert!(results.insert(square));
                if results.len() == 50 { done() } else { stay() }
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
}

/// A job that has not started when its machine ends never runs; one that runs is let finish, and its result dropped.
#[test]
fn r10_unstarted_work_is_cancelled_when_its_machine_ends() {
    let _dog = watchdog();
    let census = Census::default();
    let gate = Gate::default();
    let ran = Arc::new(AtomicUsize::new(0));
    let started = Arc::new(AtomicUsize::new(0));
    let mut main_loop = noting(Config::default());
    // Many more than there are pool threads, whatever UV_THREADPOOL_SIZE says up to 32.
    let blockers = 32;
    main_loop
        .spawn::<Noting>({
            let (gate, started) = (gate.clone(), started.clone());
            let mut back = 0;
            act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    for _ in 0..blockers {
                        let (gate, started) = (gate.clone(), started.clone());
                        let job = move || {
                            started.fetch_add(1, Ordering::Relaxed);
                            gate.pass();
                        };
                        scope.work(job, |()| 0)?;
                    }
                    stay()
                }
                On::Message(_) => {
                    back += 1;
                    if back == blockers { done() } else { stay() }
                }
                _ => stay(),
            })
        })
        .unwrap();
    main_loop
        .spawn::<Noting>({
            let (ran, census) = (ran.clone(), census.clone());
            act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    for _ in 0..5 {
                        let (ran, in_job, in_then) = (ran.clone(), census.one(), census.one());
                        let job = move || {
                            let _mine = &in_job;
                            ran.fetch_add(1, Ordering::Relaxed);
                        };
                        let then = move |()| {
                            let _mine = &in_then;
                            panic!("for a machine that has ended")
                        };
                        scope.work(job, then)?;
                    }
                    after(ms(5))
                }
                _ => done(),
            })
        })
        .unwrap();
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(30)),
            _ => {
                assert!(started.load(Ordering::Relaxed) > 0);
                gate.open();
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    drop(main_loop);
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    assert_eq!(census.alive(), 0);
}

/// A job that panics ends its machine, by name, and no other.
#[test]
fn r10_a_job_that_panics_ends_its_machine() {
    let _dog = watchdog();
    let (config, ends) = hooked();
    let mut main_loop = noting(config);
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.work(|| panic!("in the pool"), |()| 1)?;
                stay()
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.work(|| std::thread::sleep(ms(20)), |()| 1)?;
                stay()
            }
            _ => {
                scope.ctx.push("the other's".into());
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["the other's"]);
    let mut reasons = reasons(&ends);
    reasons.sort();
    assert_eq!(
        reasons,
        ["done", "failed: a job in the thread pool panicked"]
    );
}

/// A loop is dropped while its jobs run, wait, and are done but not heard of.
#[test]
fn r10_a_loop_dropped_with_work_under_way_drops_all_of_it() {
    let _dog = watchdog();
    let census = Census::default();
    {
        let mut main_loop = noting(Config {
            on_end: Some(Box::new(|_, _| rotor_fsm::Verdict::Stop)),
            ..Config::default()
        });
        let citizens = census.clone();
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
                if let On::Create = on {
                    for n in 0..20 {
                        let (a, b) = (citizens.one(), citizens.one());
                        let job = move || {
                            let _mine = &a;
                            std::thread::sleep(ms(n % 4));
                        };
                        let then = move |()| {
                            let _mine = &b;
                            0
                        };
                        scope.work(job, then)?;
                    }
                }
                stay()
            }))
            .unwrap();
        main_loop
            .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| done()))
            .unwrap();
        main_loop.run().unwrap();
    }
    assert_eq!(census.alive(), 0);
}

#[test]
fn r10_a_signal_is_an_event() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut watch = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                assert!(scope.signal(100_000).is_err());
                assert!(scope.signal(libc::SIGKILL).is_err());
                let opened = scope.signal(libc::SIGUSR1)?;
                // SAFETY: sends a signal that is being watched to this process.
                assert_eq!(unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) }, 0);
                watch = Some(opened);
                stay()
            }
            On::Io(Io::Signal(signum), on) => {
                assert_eq!(on, watch.as_ref().unwrap().id());
                scope.ctx.push(signum.to_string());
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), [libc::SIGUSR1.to_string()]);
}

/// SIGTERM and SIGINT ask everybody to finish, when the loop was told to.
#[test]
fn r7_signals_shut_the_loop_down() {
    let _dog = watchdog();
    for signum in [libc::SIGTERM, libc::SIGINT] {
        let mut main_loop = noting(Config::default());
        main_loop.shutdown_on_signals().unwrap();
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    // SAFETY: sends a signal that is being watched to this process.
                    assert_eq!(unsafe { libc::kill(libc::getpid(), signum) }, 0);
                    stay()
                }
                On::Finish => {
                    scope.ctx.push("finish".into());
                    done()
                }
                _ => stay(),
            }))
            .unwrap();
        main_loop.run().unwrap();
        assert_eq!(notes(&mut main_loop), ["finish"]);
    }
}

/// `run` is the one-line start: it ends with its machines, and with the first one's error or panic.
#[test]
fn r7_run_starts_and_reports() {
    let _dog = watchdog();
    rotor_fsm::run::<Noting>(
        Vec::new(),
        act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                // A later machine's failure is told on standard error, and no reason to stop.
                scope.spawn(act(|_, _: &mut NotingScope<'_>| {
                    Err(Error::msg("expected"))
                }))?;
                after(ms(2))
            }
            _ => done(),
        }),
    )
    .unwrap();
    let error = rotor_fsm::run::<Noting>(
        Vec::new(),
        act(|_, _: &mut NotingScope<'_>| Err(Error::msg("the first"))),
    );
    assert_eq!(error.unwrap_err().to_string(), "the first");
    let panic = std::panic::catch_unwind(|| {
        rotor_fsm::run::<Noting>(
            Vec::new(),
            act(|_, _: &mut NotingScope<'_>| panic!("the first's")),
        )
    });
    assert_eq!(payload_text(panic.unwrap_err()), "the first's");
}

/// Standard input is a stream that is only read: piped, from a file, and closed at once.
#[test]
fn r10_standard_input_is_a_stream() {
    let _dog = watchdog();
    const NAME: &str = "world::r10_standard_input_is_a_stream";
    if std::env::var_os("ROTOR_TEST_ROLE").is_some() {
        return read_stdin();
    }
    let reader = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
            .env("ROTOR_TEST_ROLE", "reader")
            .stdout(Stdio::piped());
        command
    };
    let mut piped = reader().stdin(Stdio::piped()).spawn().unwrap();
    let mut input = piped.stdin.take().unwrap();
    for n in 0..10u8 {
        input.write_all(&[b'0' + n]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(input);
    let path = std::env::temp_dir().join(format!("rotor-stdin-{}", std::process::id()));
    let long = "from a file, ".repeat(20_000);
    std::fs::write(&path, &long).unwrap();
    let file = reader()
        .stdin(std::fs::File::open(&path).unwrap())
        .spawn()
        .unwrap();
    let nothing = reader().stdin(Stdio::null()).spawn().unwrap();
    for (mut child, bytes) in [(piped, 10), (file, long.len()), (nothing, 0)] {
        let mut output = String::new();
        let mut pipe = child.stdout.take().unwrap();
        pipe.read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success(), "{output}");
        assert!(output.contains(&format!("read {bytes} bytes")), "{output}");
    }
    std::fs::remove_file(path).unwrap();
}

fn read_stdin() {
    let mut main_loop = noting(Config::default());
    let (mut stdin, mut bytes) = (None, 0);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                stdin = Some(scope.stdin()?);
                stay()
            }
            On::Io(Io::Read(read), on) => {
                assert_eq!(on, stdin.as_ref().unwrap().id());
                bytes += read.len();
                stay()
            }
            On::Io(Io::Eof, _) => {
                scope.ctx.push(format!("read {bytes} bytes"));
                done()
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    println!("{}", notes(&mut main_loop).concat());
    assert_eq!(main_loop.stats().panics, 0);
}

#[test]
fn r10_random_numbers_come_from_the_scope() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(|_, scope: &mut NotingScope<'_>| {
            let drawn: HashSet<u64> = (0..1000).map(|_| scope.random()).collect();
            assert_eq!(drawn.len(), 1000);
            done()
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
}

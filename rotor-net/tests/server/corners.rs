//! Corners: starts that fail half-way, hooks that panic, odd settings; and, in parts of their own, ends and successors.

mod ends;
mod successors;

use crate::common::{Client, PATIENCE, eventually};
use crate::drain::line_after;
use crate::talk::*;
use rotor_fsm::prelude::*;
use rotor_net::prelude::*;
use rotor_net::server::{Dispatch, Notice, Restarts, Server, WorkerState};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rotor-corner-{name}-{}", std::process::id()))
}

/// Does this on another thread; it must not hang.
fn within<T: Send + 'static>(what: &str, job: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, wait) = channel();
    std::thread::spawn(move || done.send(job()));
    wait.recv_timeout(PATIENCE)
        .unwrap_or_else(|_| panic!("it hangs: {what}"))
}

/// Runs this test again, in a process of its own, and expects success.
fn in_child(test: &str, mark: &str, set: &[(&str, &str)]) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--nocapture", "--test-threads=1"])
        .env(mark, "1")
        .envs(set.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > PATIENCE * 2 {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

#[test]
fn a_notice_hook_that_panics_harms_nobody() {
    let server = start(
        builder()
            .config(fragile)
            .restarts(Restarts {
                backoff: Duration::from_millis(1),
                ..Restarts::default()
            })
            .on_notice(|notice| panic!("not interested in {notice}")),
    );
    let addr = addr_of(&server);
    let mut client = Client::connect(addr);
    client.send("panic\n");
    assert!(client.rest().is_empty());
    eventually("the worker is back", || {
        let stats = server.stats();
        let is_up = |w: &rotor_net::server::WorkerStats| w.state == WorkerState::Up;
        stats.workers.iter().all(is_up) && stats.workers.iter().any(|w| w.lives == 2)
    });
    let mut client = Client::connect(addr);
    assert_eq!(client.ask("who").len(), 1);
    let report = within("a drain", move || server.drain(Duration::from_secs(5)));
    assert_eq!(client.line(), "bye");
    assert_eq!(report.unwrap().cut, 0);
}

/// Nothing of the server is left running, nor does the start hang.
#[test]
fn a_thread_that_cannot_be_started_fails_the_start() {
    const CHILD: &str = "ROTOR_TEST_NO_THREADS";
    let test = "a_thread_that_cannot_be_started";
    if std::env::var_os(CHILD).is_none() {
        // Stacks of 1 GiB each, so that a few fit and many do not.
        return in_child(test, CHILD, &[("RUST_MIN_STACK", "1073741824")]);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kib: u64 = size
        .and_then(|size| size.trim().strip_suffix(" kB"))
        .and_then(|size| size.parse().ok())
        .unwrap();
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::As);
    limit.current = Some((kib << 10) + (5 << 30));
    rustix::process::setrlimit(rustix::process::Resource::As, limit).unwrap();
    let all = builder().workers(16).connections(64);
    let error = all
        .start(context, |connection, _| connection.stream(()))
        .unwrap_err();
    assert!(error.to_string().contains("os error"), "{error}");
    // What was started has ended: there is room again.
    let server = start(builder().workers(1).connections(64));
    assert_eq!(Client::connect(addr_of(&server)).ask("who"), "0");
}

/// A worker that serves and dies while others still start is like any other that dies: it is started again.
#[test]
fn a_worker_that_fails_while_others_start_is_restarted() {
    struct Bomb;
    impl Machine for Bomb {
        type Context = Ctx;
        type Message = Never;
        type Seed = ();
        fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
            panic!("it goes off")
        }
    }
    rotor_fsm::compose! { enum App(Ctx) { Bomb(Bomb), Talk(Stream<Talk>) } }
    let lives = Arc::new(AtomicUsize::new(0));
    let server = Server::<Stream<Talk>>::builder()
        .on::<App>()
        .listen("127.0.0.1:0")
        .workers(2)
        .config(fragile)
        .on_notice(|_| ())
        .restarts(Restarts {
            backoff: Duration::from_millis(1),
            ..Restarts::default()
        })
        .start(
            move |worker| {
                if worker.index() == 0 && lives.fetch_add(1, Ordering::SeqCst) == 0 {
                    worker.add::<Bomb>(()).unwrap();
                }
                if worker.index() == 1 {
                    eventually("it has failed", || lives.load(Ordering::SeqCst) > 1);
                }
                Ok(Ctx {
                    worker: worker.index(),
                    heard: 0,
                })
            },
            |connection, _| connection.stream(()),
        )
        .unwrap();
    eventually("both serve", || {
        let workers = server.stats().workers;
        workers.iter().all(|w| w.state == WorkerState::Up) && workers[0].lives == 2
    });
}

#[test]
fn odd_numbers_are_brought_into_range() {
    let server = start(
        builder()
            .workers(0)
            .connections(0)
            .preallocate(0)
            .fds_max(0),
    );
    let stats = server.stats();
    assert_eq!((stats.workers.len(), stats.connections_max), (1, 1));
    for _ in 0..3 {
        assert_eq!(Client::connect(addr_of(&server)).ask("who"), "0");
    }
    drop(server);
    let server = start(
        builder()
            .workers(1)
            .connections(usize::MAX)
            .fds_max(usize::MAX),
    );
    let stats = server.stats();
    assert!(stats.connections_max < stats.fd_limit.now, "{stats:?}");
    assert_eq!(Client::connect(addr_of(&server)).ask("who"), "0");
    let report = server.drain(Duration::MAX).unwrap();
    assert_eq!(report.cut, 0);
}

#[test]
fn memory_that_nobody_has_is_not_set_aside() {
    let server = start(builder().workers(1).connections(10).preallocate(usize::MAX));
    assert_eq!(Client::connect(addr_of(&server)).ask("who"), "0");
}

#[test]
fn odd_addresses_are_served_or_refused_by_name() {
    let refused = |at: &str, again: &str| {
        let both = builder().listen(at).listen(again);
        let error = both.start(context, |c, _| c.stream(())).unwrap_err();
        error.to_string()
    };
    let probe = start(builder());
    let at = addr_of(&probe).to_string();
    drop(probe);
    assert!(refused(&at, &at).contains("in use"));
    let unix = path("twice.sock");
    let name = format!("unix:{}", unix.display());
    assert!(refused(&name, &name).contains("in use"));
    assert!(!unix.exists(), "left behind");
    let long = format!("unix:/tmp/{}", "x".repeat(200));
    refused("127.0.0.1:0", &long);

    // Workers with sockets of their own may have several at one address.
    let server = start(
        builder()
            .listen(&at)
            .listen(&at)
            .dispatch(Dispatch::ReusePort),
    );
    assert_eq!(server.addresses().len(), 2);
    assert_eq!(Client::connect(at.parse().unwrap()).ask("who").len(), 1);
    drop(server);

    let server = start(builder().listen("[::1]:0"));
    let Addr::Tcp(six) = server.addresses()[1] else {
        panic!("{:?}", server.addresses())
    };
    assert!(six.is_ipv6());
    assert_eq!(Client::connect(six).ask("who").len(), 1);
}

/// Two addresses, workers that listen themselves, and room for fewer than come.
#[test]
fn crowds_at_several_listeners_are_all_served_within_the_limit() {
    for dispatch in [
        Dispatch::LeastLoaded,
        Dispatch::RoundRobin,
        Dispatch::ReusePort,
    ] {
        let two = builder().listen("127.0.0.1:0").dispatch(dispatch);
        let server = start(two.connections(2));
        let addrs: Vec<_> = server.addresses().to_vec();
        let crowd: Vec<_> = (0..8)
            .map(|n| {
                let Addr::Tcp(addr) = addrs[n % 2] else {
                    panic!("{addrs:?}")
                };
                std::thread::spawn(move || {
                    for _ in 0..20 {
                        assert_eq!(Client::connect(addr).ask("who").len(), 1);
                    }
                })
            })
            .collect();
        while crowd.iter().any(|one| !one.is_finished()) {
            assert!(server.stats().connections <= 2);
            std::thread::sleep(Duration::from_millis(1));
        }
        for one in crowd {
            one.join().unwrap();
        }
        eventually("all have left", || server.stats().connections == 0);
        let stats = server.stats();
        assert_eq!((stats.accepted, stats.shed), (160, 0));
        assert!(stats.workers.iter().all(|w| w.connections == 0));
    }
}

/// Servers that start, fail to start, serve, drain and stop leave no descriptor behind.
#[test]
fn nothing_is_left_open() {
    const CHILD: &str = "ROTOR_TEST_LEAKS";
    if std::env::var_os(CHILD).is_none() {
        return in_child("nothing_is_left_open", CHILD, &[]);
    }
    let fds = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let one_round = |round: usize| {
        let control = path("leaks-control");
        let dispatch = [Dispatch::LeastLoaded, Dispatch::ReusePort][round % 2];
        let server = || {
            builder()
                .dispatch(dispatch)
                .takeover(control.clone())
                .on_notice(|_| ())
        };
        let old = start(server());
        let failed = server().start(
            |worker| match worker.index() {
                0 => context(worker),
                _ => Err(Error::msg("not today")),
            },
            |c, _| c.stream(()),
        );
        assert!(failed.is_err());
        let new = start(server());
        old.join().unwrap();
        let clients: Vec<_> = (0..5).map(|_| Client::connect(addr_of(&new))).collect();
        match round % 3 {
            0 => drop(new.drain(Duration::from_secs(1)).unwrap()),
            1 => drop(new.stop().unwrap()),
            _ => drop(new),
        }
        drop(clients);
    };
    one_round(0);
    let before = fds();
    (0..12).for_each(one_round);
    assert_eq!(fds(), before);
}

/// A signal that comes while workers are still being made ends the start, and what it had begun.
#[test]
fn a_signal_during_the_start_is_heeded() {
    const CHILD: &str = "ROTOR_TEST_EARLY_SIGNAL";
    if std::env::var_os(CHILD).is_some() {
        let begun = builder()
            .drain_on_signals(Duration::from_secs(3600))
            .takeover(path("early-control"))
            .on_notice(|_| ());
        let started = begun.start(
            |worker| {
                if worker.index() == 1 {
                    println!("starting");
                    std::thread::sleep(Duration::from_millis(300));
                }
                context(worker)
            },
            |connection, _| connection.stream(()),
        );
        let ended = started.and_then(Server::join);
        println!("ended {}", ended.is_ok());
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["a_signal_during", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    line_after(&mut said, "starting");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = within("the child", move || {
        let ended = line_after(&mut said, "ended ");
        std::io::copy(&mut said, &mut std::io::sink()).unwrap();
        ended
    });
    assert!(["true", "false"].contains(&&*ended));
    assert!(child.wait().unwrap().success());
}

//! R7: when a loop ends, what a shutdown asks, and in which order everything is dropped.

use crate::common::*;
use rotor_fsm::prelude::*;
use std::cell::RefCell;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Instant;

#[test]
fn r7_a_loop_ends_with_its_last_machine_and_can_run_again() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    for round in 0..3 {
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => after(ms(1)),
                _ => {
                    scope.ctx.push(round.to_string());
                    done()
                }
            }))
            .unwrap();
        main_loop.run().unwrap();
    }
    // Nothing to wait for.
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["0", "1", "2"]);
    assert_eq!(main_loop.stats().ended, 3);
}

#[test]
fn r7_a_loop_that_never_had_a_machine_waits_for_one() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let handle = main_loop.handle();
    let other = std::thread::spawn(move || {
        std::thread::sleep(ms(30));
        handle
            .spawn_with::<Noting>(|| {
                act(|_, scope: &mut NotingScope<'_>| {
                    scope.ctx.push("came".into());
                    done()
                })
            })
            .wait()
            .unwrap();
    });
    main_loop.run().unwrap();
    other.join().unwrap();
    assert_eq!(notes(&mut main_loop), ["came"]);
}

/// A shutdown without machines ends a loop that waits for one.
#[test]
fn r7_a_shutdown_ends_a_loop_without_machines() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let handle = main_loop.handle();
    let other = std::thread::spawn(move || {
        std::thread::sleep(ms(10));
        handle.shutdown(ms(3_600_000));
    });
    main_loop.run().unwrap();
    other.join().unwrap();
}

/// Everybody is asked to finish once; messages are still delivered; spawns are refused; all may take their time.
#[test]
fn r7_a_shutdown_asks_to_finish_delivers_and_refuses() {
    let _dog = watchdog();
    let (config, ends) = hooked();
    let mut main_loop = noting(config);
    let slow = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Finish => {
                scope.ctx.push("slow finish".into());
                let refused = scope.spawn(act(|_, _: &mut NotingScope<'_>| done()));
                assert!(refused.is_err());
                stay()
            }
            On::Message(n) => {
                scope.ctx.push(format!("message {n}"));
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => after(ms(1)),
            On::Timeout if scope.ctx.is_empty() => {
                scope.shutdown(ms(3_600_000));
                after(ms(20))
            }
            On::Timeout => {
                slow.send(5)?;
                done()
            }
            On::Finish => {
                scope.ctx.push("quick finish".into());
                stay()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(
        notes(&mut main_loop),
        ["slow finish", "quick finish", "message 5"]
    );
    assert_eq!(reasons(&ends), ["done", "done"]);
    let refused = main_loop.spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| done()));
    assert!(refused.is_err());
}

/// What does not finish is ended at the deadline, seeds included, and the hook hears why.
#[test]
fn r7_the_deadline_of_a_shutdown_ends_what_is_left() {
    let _dog = watchdog();
    let census = Census::default();
    let (config, ends) = hooked();
    let mut main_loop = noting(Config {
        creates_per_turn: 3,
        ..config
    });
    for _ in 0..20 {
        let citizen = census.one();
        main_loop
            .spawn::<Noting>(act(move |_, _: &mut NotingScope<'_>| {
                let _mine = &citizen;
                stay()
            }))
            .unwrap();
    }
    let handle = main_loop.handle();
    // The shorter grace of two wins.
    handle.shutdown(ms(3_600_000));
    handle.shutdown(ms(30));
    let begun = Instant::now();
    main_loop.run().unwrap();
    assert!(begun.elapsed() >= ms(30));
    assert_eq!(reasons(&ends), vec!["closed by the shutdown"; 20]);
    assert_eq!((census.alive(), main_loop.stats().machines), (0, 0));
}

/// A second shutdown may shorten the first one's grace while that is under way, and never lengthens it.
#[test]
fn r7_the_shortest_grace_wins() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.shutdown(ms(3_600_000));
                after(ms(5))
            }
            On::Timeout => {
                scope.shutdown(ms(5));
                scope.shutdown(ms(3_600_000));
                stay()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().ended, 1);
}

/// A shutdown has a lane of its own, which a full inbox does not block.
#[test]
fn r7_a_shutdown_passes_a_full_inbox() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        inbox_messages_max: 1,
        ..Config::default()
    });
    let stuck = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Finish => done(),
            // Never empties its inbox: if there is no room for its own message, another's is there.
            _ => {
                let _ = scope.notifier().send(0);
                stay()
            }
        }))
        .unwrap();
    let handle = main_loop.handle();
    let other = std::thread::spawn(move || {
        std::thread::sleep(ms(10));
        wait_until("the inbox is full", || stuck.send(1).is_err());
        // Spawns have that lane too.
        let made = handle.spawn_with::<Noting>(|| {
            act(|on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    scope.ctx.push("spawned".into());
                    stay()
                }
                _ => done(),
            })
        });
        made.wait().unwrap();
        handle.shutdown(ms(3_600_000));
    });
    let ran = main_loop.run();
    other.join().unwrap();
    ran.unwrap();
    assert_eq!(notes(&mut main_loop), ["spawned"]);
}

/// Created = dropped: live machines with deadlines, some with sockets; seeds, messages and the context.
#[test]
fn r7_a_loop_dropped_with_10_000_live_machines_drops_them_all() {
    let _dog = watchdog();
    let census = Census::default();
    type Holder = Act<Citizen, Citizen>;
    let context = census.one();
    let config = Config {
        on_end: Some(Box::new(|_, _| rotor_fsm::Verdict::Stop)),
        ..Config::default()
    };
    let mut main_loop = Loop::<Holder>::new(config, |_| Ok(context)).unwrap();
    let machines = sized(10_000, 1000);
    let holder = |n: usize| {
        let (citizen, mut held) = (census.one(), Vec::new());
        act(move |on, scope: &mut Scope<'_, Holder>| {
            let _mine = &citizen;
            if matches!(on, On::Create) && n.is_multiple_of(100) {
                let listener = scope.listen(any_port())?;
                let to = scope.listening_at(&listener)?;
                held.push((scope.connect(to)?, listener));
            }
            after(ms(3_600_000))
        })
    };
    let mut notifiers = Vec::new();
    for n in 0..machines {
        notifiers.push(main_loop.spawn::<Holder>(holder(n)).unwrap());
    }
    // Its end stops the loop when all before it have been created.
    main_loop
        .spawn::<Holder>(act(|_, _: &mut Scope<'_, Holder>| done()))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().machines, machines);
    assert_eq!(main_loop.stats().deadlines, machines);
    assert_eq!(census.alive(), machines + 1);
    for notifier in &notifiers {
        notifier.send(census.one()).unwrap();
    }
    for n in 0..100 {
        main_loop.spawn::<Holder>(holder(n)).unwrap();
    }
    let handle = main_loop.handle();
    drop(main_loop);
    assert_eq!(census.made(), 2 * machines + 101);
    assert_eq!(census.alive(), 0);
    assert_eq!(handle.messages().dropped, machines as u64);
    assert!(notifiers.iter().all(|notifier| !notifier.is_live()));
}

thread_local! {
    /// What was dropped on this thread, in order.
    static DROPPED: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
}

/// Notes its name when it is dropped.
struct Named(&'static str);

impl Drop for Named {
    fn drop(&mut self) {
        DROPPED.with(|dropped| dropped.borrow_mut().push(self.0));
    }
}

/// A context that looks, when it goes, whether a connection of the loop still stands.
struct Witness(Option<TcpStream>);

impl Drop for Witness {
    fn drop(&mut self) {
        let open = is_quiet(self.0.as_mut().unwrap());
        drop(Named(if open {
            "context, handles open"
        } else {
            "context, handles closed"
        }));
    }
}

/// The machine's socket is kept beyond the machine, so that it is the loop that closes it.
#[test]
fn r7_machines_then_seeds_and_messages_then_context_then_handles() {
    let _dog = watchdog();
    type Ordered = Act<Witness, Named>;
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Addr::Tcp(server.local_addr().unwrap());
    let config = Config {
        on_end: Some(Box::new(|_, _| rotor_fsm::Verdict::Stop)),
        ..Config::default()
    };
    let mut main_loop = Loop::<Ordered>::new(config, |_| Ok(Witness(None))).unwrap();
    let kept: Rc<RefCell<Option<Socket>>> = Rc::default();
    let socket = kept.clone();
    let mine = Named("machine");
    let machine = main_loop
        .spawn::<Ordered>(act(move |on, scope: &mut Scope<'_, Ordered>| {
            let _mine = &mine;
            match on {
                On::Create => {
                    *socket.borrow_mut() = Some(scope.connect(to.clone())?);
                }
                On::Io(Io::Connected, _) => {
                    scope.ctx.0 = Some(server.accept()?.0);
                    // The end of this one stops the loop.
                    scope.spawn(act(|_, _: &mut Scope<'_, Ordered>| done()))?;
                }
                _ => {}
            }
            stay()
        }))
        .unwrap();
    main_loop.run().unwrap();
    machine.send(Named("seed or message")).unwrap();
    let mine = Named("seed or message");
    main_loop
        .spawn::<Ordered>(act(move |_, _: &mut Scope<'_, Ordered>| {
            let _mine = &mine;
            done()
        }))
        .unwrap();
    let peer = main_loop.context().unwrap().0.as_ref().unwrap().try_clone();
    DROPPED.with(|dropped| assert!(dropped.borrow().is_empty()));
    drop(main_loop);
    assert_eq!(
        DROPPED.with(RefCell::take),
        [
            "machine",
            "seed or message",
            "seed or message",
            "context, handles open"
        ]
    );
    assert_eq!(drain(&mut peer.unwrap()), b"", "closed at last");
    // What outlives its loop is harmless.
    drop(kept.take());
}

/// An unopened connection, a listener, a connection half made: all gone, and the port can be bound anew.
#[test]
fn r7_a_dropped_loop_leaves_nothing_open() {
    let _dog = watchdog();
    let (at, told) = std::sync::mpsc::channel();
    let mut main_loop = noting(Config::default());
    let mut held = Vec::new();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let listener = scope.listen(any_port())?;
                let to = scope.listening_at(&listener)?;
                at.send(tcp_addr(to.clone()))?;
                let socket = scope.connect(to)?;
                held.push((listener, socket));
                stay()
            }
            On::Io(Io::Incoming(_), _) => {
                scope.shutdown(ms(0));
                stay()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    drop(main_loop);
    let to = told.recv().unwrap();
    assert!(TcpStream::connect(to).is_err());
    assert!(TcpListener::bind(to).is_ok());
}

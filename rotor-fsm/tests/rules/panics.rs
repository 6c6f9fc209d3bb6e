//! R6: a panic ends one machine. The hook decides what it means for the others.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{Reason, Verdict};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Duration;

/// Panics when it is dropped.
struct Grenade;

impl Drop for Grenade {
    fn drop(&mut self) {
        panic!("dropped a grenade");
    }
}

type Letter = Option<Box<dyn std::any::Any + Send>>;
/// Machines that count in the context what they heard.
type Neighbour = Act<u64, Letter>;
type NeighbourScope<'a> = Scope<'a, Neighbour>;

/// One machine panics in every way that there is, among a thousand that hear nothing of it.
#[test]
fn r6_a_panicking_machine_leaves_a_thousand_neighbours_alone() {
    let _dog = watchdog();
    let ways = [
        "create",
        "io",
        "wakeup",
        "timeout",
        "finish",
        "drop of the state",
        "drop in create",
        "drop of a message",
        "after work",
        "spawned and gone",
    ];
    for way in ways {
        panic_among_neighbours(way);
    }
}

fn panic_among_neighbours(way: &'static str) {
    let (config, ends) = hooked();
    let mut main_loop = Loop::<Neighbour>::new(config, |_| Ok(0)).unwrap();
    let neighbours = sized(1000, 100);
    let mut notifiers = Vec::new();
    let neighbour = || {
        act(|on, scope: &mut NeighbourScope<'_>| match on {
            On::Message(None) => done(),
            On::Message(_) | On::Timeout => {
                *scope.ctx += 1;
                stay()
            }
            On::Create => after(ms(2)),
            On::Finish => {
                *scope.ctx += 1000;
                stay()
            }
            _ => stay(),
        })
    };
    for n in 0..neighbours {
        if n == neighbours / 2 {
            let bad = main_loop.spawn::<Neighbour>(panics(way)).unwrap();
            if way == "drop of a message" {
                bad.send(Some(Box::new(Grenade))).unwrap();
            } else {
                bad.send(Some(Box::new(()))).unwrap();
            }
        }
        let notifier = main_loop.spawn::<Neighbour>(neighbour()).unwrap();
        notifier.send(Some(Box::new(()))).unwrap();
        notifiers.push(notifier);
    }
    main_loop
        .spawn::<Neighbour>({
            let mut step = 0;
            act(move |_, scope: &mut NeighbourScope<'_>| {
                step += 1;
                match step {
                    1 => return after(ms(30)),
                    2 if way == "finish" => {
                        scope.shutdown(ms(60_000));
                        return after(ms(5));
                    }
                    _ => {}
                }
                for notifier in &notifiers {
                    notifier.send(None)?;
                }
                done()
            })
        })
        .unwrap();
    main_loop.run().unwrap();
    let finished = if way == "finish" { 1000 } else { 0 };
    let heard = *main_loop.context().unwrap();
    let neighbours = neighbours as u64;
    assert_eq!(heard, neighbours * (2 + finished), "{way}");
    let stats = main_loop.stats();
    assert_eq!((stats.panics, stats.machines), (1, 0), "{way}");
    let told = reasons(&ends);
    let panicked = told.iter().filter(|r| r.starts_with("panicked:")).count();
    assert_eq!(panicked, 1, "{way}: {told:?}");
}

/// A machine that panics in the given way, and only then.
fn panics(way: &'static str) -> Script<u64, Letter> {
    let mut held = (way == "drop of the state" || way == "drop in create").then(|| Grenade);
    let mut socket = None;
    act(move |on, scope: &mut NeighbourScope<'_>| match (on, way) {
        (On::Create, "create") => panic!("{way}"),
        (On::Create, "drop in create") => {
            held.take();
            stay()
        }
        (On::Create, "io") => {
            socket = Some(scope.connect(Addr::Unix("/nowhere/at/all".into()))?);
            stay()
        }
        (On::Create, "timeout") => after(ms(1)),
        (On::Create, "after work") => {
            scope.work(|| (), |()| panic!("in the second half"))?;
            stay()
        }
        (On::Create, "spawned and gone") => {
            // What it spawned before its panic is born all the same.
            scope.spawn(act(|on, scope: &mut NeighbourScope<'_>| match on {
                On::Create => {
                    let me = scope.notifier();
                    me.send(None)?;
                    stay()
                }
                _ => done(),
            }))?;
            panic!("{way}")
        }
        (On::Io(..), "io") => panic!("{way} {}", socket.is_some()),
        (On::Timeout, "timeout") => panic!("{way}"),
        (On::Finish, "finish") => panic!("{way}"),
        (On::Message(_), "wakeup") => panic!("{way}"),
        (On::Message(_), "drop of the state") => done(),
        // The message is dropped in the handler.
        (On::Message(_), _) => stay(),
        _ => stay(),
    })
}

/// The rest of a drain, of an expiry pass and of the accepted connections goes on after a panic in it.
#[test]
fn r6_the_dispatch_goes_on_after_a_panic_in_it() {
    let _dog = watchdog();
    let mut main_loop = noting_on(Config::default());
    let fired = Rc::new(Cell::new(0));
    for n in 0..20 {
        let fired = fired.clone();
        let machine = main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Message(m) if n % 4 == 0 && m == 1 => panic!("message"),
                On::Message(m) => {
                    scope.ctx.push(format!("{n}.{m}"));
                    after(Duration::ZERO)
                }
                On::Timeout if n % 4 == 1 => panic!("timeout"),
                On::Timeout => {
                    fired.set(fired.get() + 1);
                    done()
                }
                _ => stay(),
            }))
            .unwrap();
        machine.send(1).unwrap();
        machine.send(2).unwrap();
    }
    main_loop.run().unwrap();
    let expected: Vec<String> = (0..20)
        .filter(|n| n % 4 != 0)
        .flat_map(|n| [format!("{n}.1"), format!("{n}.2")])
        .collect();
    assert_eq!(notes(&mut main_loop), expected);
    assert_eq!(fired.get(), 10);
    assert_eq!(main_loop.stats().panics, 10);
    let counts = main_loop.handle().messages();
    // The first message of the five that panicked was handed over; the second found them gone.
    assert_eq!((counts.delivered, counts.dropped), (35, 5));
}

/// A message waits for its machine behind a seed whose `create` panics: it must not be lost with it.
#[test]
fn r4_r6_a_message_survives_the_panic_of_an_older_newborn() {
    let _dog = watchdog();
    let mut main_loop = noting_on(Config::default());
    let bad = main_loop
        .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| panic!("stillborn")))
        .unwrap();
    let good = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Message(n) => {
                scope.ctx.push(n.to_string());
                if n == 2 { done() } else { stay() }
            }
            _ => stay(),
        }))
        .unwrap();
    good.send(1).unwrap();
    bad.send(7).unwrap();
    good.send(2).unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["1", "2"]);
    let counts = main_loop.handle().messages();
    assert_eq!((counts.delivered, counts.dropped), (2, 1));
}

/// A message to a seed whose own `create` panics, fails or is done is dropped, and counted.
#[test]
fn r4_r6_a_message_to_a_stillborn_machine_is_dropped_and_counted() {
    let _dog = watchdog();
    for way in 0..3 {
        let census = Census::default();
        let mut main_loop = Loop::<Act<(), Citizen>>::new(Config::default(), |_| Ok(())).unwrap();
        let machine = main_loop
            .spawn::<Act<(), Citizen>>(act(move |_, _: &mut Scope<'_, _>| match way {
                0 => panic!("stillborn"),
                1 => Err(Error::msg("stillborn")),
                _ => done(),
            }))
            .unwrap();
        machine.send(census.one()).unwrap();
        main_loop.run().unwrap();
        let counts = main_loop.handle().messages();
        let handled = (counts.delivered, counts.dropped);
        // The rest may still wait in the inbox; with the loop it is dropped.
        let handle = main_loop.handle();
        drop(main_loop);
        let counts = handle.messages();
        assert_eq!(
            (counts.delivered, counts.dropped),
            (0, 1),
            "{way}: {handled:?}"
        );
        assert_eq!(census.alive(), 0);
    }
}

/// A shutdown asks every machine to finish, though the `create` of a newborn panics on the way.
#[test]
fn r6_r7_a_shutdown_goes_past_a_newborn_that_panics() {
    let _dog = watchdog();
    let (config, ends) = hooked();
    let mut main_loop = noting_on(config);
    for n in 0..6 {
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create if n % 2 == 0 => panic!("stillborn"),
                On::Finish => {
                    scope.ctx.push(n.to_string());
                    done()
                }
                _ => stay(),
            }))
            .unwrap();
    }
    // Before any is created; an hour's grace would be noticed.
    main_loop.handle().shutdown(ms(3_600_000));
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["1", "3", "5"]);
    assert_eq!(main_loop.stats().panics, 3);
    assert_eq!(reasons(&ends).len(), 6);
}

fn stopping(kind: &'static str) -> Config {
    Config {
        on_end: Some(Box::new(move |_, reason| match (kind, reason) {
            ("hook", _) => panic!("the hook itself"),
            ("stop", Reason::Panicked(_) | Reason::Failed(_)) => Verdict::Stop,
            ("stop when done", Reason::Done) => Verdict::Stop,
            _ => Verdict::Continue,
        })),
        ..Config::default()
    }
}

fn ends_badly(main_loop: &mut Loop<Noting>, panics: bool) {
    main_loop
        .spawn::<Noting>(act(move |_, _: &mut NotingScope<'_>| {
            if panics {
                panic!("its own")
            }
            Err(Error::msg("its own error"))
        }))
        .unwrap();
    main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                scope.ctx.push("the other".into());
                after(ms(1))
            }
            _ => done(),
        }))
        .unwrap();
}

#[test]
fn r6_stop_resumes_the_panic_from_run() {
    let _dog = watchdog();
    let mut main_loop = noting_on(stopping("stop"));
    ends_badly(&mut main_loop, true);
    let payload = catch_unwind(AssertUnwindSafe(|| main_loop.run())).unwrap_err();
    assert_eq!(payload_text(payload), "its own");
    // Delivery has stopped; nothing ran after it. But the loop is whole: it can go on.
    assert_eq!(notes(&mut main_loop), [""; 0]);
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["the other"]);
}

#[test]
fn r6_stop_returns_the_error_from_run() {
    let _dog = watchdog();
    let mut main_loop = noting_on(stopping("stop"));
    ends_badly(&mut main_loop, false);
    let error = main_loop.run().unwrap_err();
    assert_eq!(error.to_string(), "its own error");
    assert_eq!(notes(&mut main_loop), [""; 0]);
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["the other"]);
    let mut main_loop = noting_on(stopping("stop when done"));
    main_loop
        .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| done()))
        .unwrap();
    main_loop
        .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| stay()))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().machines, 1);
}

#[test]
fn r6_a_panic_of_the_hook_resumes_from_run() {
    let _dog = watchdog();
    let mut main_loop = noting_on(stopping("hook"));
    ends_badly(&mut main_loop, true);
    let payload = catch_unwind(AssertUnwindSafe(|| main_loop.run())).unwrap_err();
    assert_eq!(payload_text(payload), "the hook itself");
    assert_eq!(notes(&mut main_loop), [""; 0]);
}

#[test]
fn r6_the_hook_hears_the_payload() {
    let _dog = watchdog();
    let (heard, hears) = std::sync::mpsc::channel();
    let config = Config {
        on_end: Some(Box::new(move |_, reason| {
            if let Reason::Panicked(payload) = reason {
                heard.send(*payload.downcast_ref::<u64>().unwrap()).unwrap();
            }
            Verdict::Continue
        })),
        ..Config::default()
    };
    let mut main_loop = noting_on(config);
    main_loop
        .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| {
            std::panic::panic_any(77u64)
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(hears.recv(), Ok(77));
}

/// A machine's sockets close after its panic, and what it wrote in the handler that panicked still leaves or not, but
/// the peer sees an end either way.
#[test]
fn r6_the_handles_of_a_machine_that_panicked_close() {
    let _dog = watchdog();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Addr::Tcp(server.local_addr().unwrap());
    let peer = std::thread::spawn(move || drain(&mut server.accept().unwrap().0));
    let mut main_loop = noting_on(Config::default());
    let mut socket = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                socket = Some(scope.connect(to.clone())?);
                stay()
            }
            _ => panic!("with an open socket: {}", socket.is_some()),
        }))
        .unwrap();
    // Another keeps the loop running until the peer has seen the end.
    main_loop
        .spawn::<Noting>({
            let mut peer = Some(peer);
            act(move |_, _: &mut NotingScope<'_>| {
                if peer.as_ref().is_some_and(|peer| !peer.is_finished()) {
                    return after(ms(1));
                }
                peer.take().unwrap().join().unwrap();
                done()
            })
        })
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(
        (main_loop.stats().panics, main_loop.stats().sockets),
        (1, 0)
    );
}

/// Drops that panic during teardown are caught, each by itself: all others still happen.
#[test]
fn r6_drops_that_panic_do_not_stop_the_teardown() {
    let _dog = watchdog();
    let census = Census::default();
    let mut main_loop =
        Loop::<Act<Vec<Letter>, Letter>>::new(Config::default(), |_| Ok(Vec::new())).unwrap();
    type Messy = Act<Vec<Letter>, Letter>;
    fn holds(what: Letter) -> Script<Vec<Letter>, Letter> {
        act(move |on, scope: &mut Scope<'_, Messy>| {
            let _mine = &what;
            match on {
                On::Timeout => {
                    scope.shutdown(ms(0));
                    stay()
                }
                _ => after(ms(20)),
            }
        })
    }
    let bomb = |n: usize| -> Letter {
        Some(if n.is_multiple_of(2) {
            Box::new(Grenade)
        } else {
            Box::new(census.one())
        })
    };
    let mut last = None;
    for n in 0..10 {
        last = Some(main_loop.spawn::<Messy>(holds(bomb(n))).unwrap());
    }
    // Machines and messages: half of them explode at the shutdown's end, or at the loop's.
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 5);
    assert_eq!(census.alive(), 0);
    assert!(last.unwrap().send(None).is_err());

    let mut main_loop = Loop::<Messy>::new(Config::default(), |_| {
        Ok(vec![Some(Box::new(Grenade) as _)])
    })
    .unwrap();
    for n in 0..10 {
        let machine = main_loop.spawn::<Messy>(holds(bomb(n))).unwrap();
        for n in 0..4 {
            machine.send(bomb(n)).unwrap();
        }
    }
    main_loop
        .context()
        .unwrap()
        .push(Some(Box::new(census.one())));
    // Seeds, messages and the context this time.
    drop(main_loop);
    assert_eq!(census.alive(), 0);
}

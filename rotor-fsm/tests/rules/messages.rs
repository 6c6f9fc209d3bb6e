//! R4, R2 and R14: what becomes of messages, one loop and one thread at a time. `races` has the threads.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{IoError, SendError};
use std::cell::Cell;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn small_inbox(messages: usize) -> Config {
    Config {
        inbox_messages_max: messages,
        ..Config::default()
    }
}

/// Notes numbers; 0 ends it.
fn noter() -> Script<Vec<String>, u32> {
    act(|on, scope: &mut NotingScope<'_>| match on {
        On::Message(0) => done(),
        On::Message(n) => {
            scope.ctx.push(n.to_string());
            stay()
        }
        _ => stay(),
    })
}

#[test]
fn r4_messages_arrive_once_and_in_order() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let a = main_loop.spawn::<Noting>(noter()).unwrap();
    let b = main_loop.spawn::<Noting>(noter()).unwrap();
    for n in 1..=50 {
        a.send(n).unwrap();
        b.send(1000 + n).unwrap();
    }
    a.send(0).unwrap();
    b.send(0).unwrap();
    main_loop.run().unwrap();
    let expected: Vec<String> = (1..=50)
        .flat_map(|n| [n.to_string(), (1000 + n).to_string()])
        .collect();
    assert_eq!(notes(&mut main_loop), expected);
    let counts = main_loop.handle().messages();
    assert_eq!((counts.delivered, counts.dropped), (102, 0));
}

#[test]
fn r4_a_full_inbox_refuses_and_gives_the_message_back() {
    let _dog = watchdog();
    let mut main_loop = noting(small_inbox(3));
    let machine = main_loop.spawn::<Noting>(noter()).unwrap();
    for n in 1..=3 {
        machine.send(n).unwrap();
    }
    assert_eq!(machine.send(4), Err(SendError::Full(4)));
    // What waits can be delivered, and then there is room again.
    let again = machine.clone();
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(5)),
            _ => {
                again.send(5)?;
                again.send(0)?;
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["1", "2", "3", "5"]);
    assert_eq!(machine.send(6), Err(SendError::Closed(6)));
    drop(main_loop);
    assert_eq!(machine.send(7), Err(SendError::Closed(7)));
}

/// A refused message comes back in the type in which it was sent, and unmapped: the function never ran.
#[test]
fn r4_a_mapped_notifier_maps_only_what_has_a_place() {
    let _dog = watchdog();
    let mut main_loop = noting(small_inbox(2));
    let machine = main_loop.spawn::<Noting>(noter()).unwrap();
    let mapped = Arc::new(AtomicUsize::new(0));
    let count = mapped.clone();
    let words = machine.map(move |text: String| {
        count.fetch_add(1, Ordering::Relaxed);
        text.len() as u32
    });
    let lists = words.map(|list: Vec<&'static str>| list.concat());
    words.send("abc".into()).unwrap();
    lists.send(vec!["ab", "cdef"]).unwrap();
    assert_eq!(
        words.send("refused".into()),
        Err(SendError::Full("refused".to_owned()))
    );
    assert_eq!(lists.send(vec!["no"]), Err(SendError::Full(vec!["no"])));
    assert_eq!(mapped.load(Ordering::Relaxed), 2);
    let last = machine.clone();
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(5)),
            _ => {
                last.send(0)?;
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["3", "6"]);
    assert_eq!(lists.send(vec!["x"]), Err(SendError::Closed(vec!["x"])));
    assert_eq!(mapped.load(Ordering::Relaxed), 2);
}

#[test]
fn r4_a_mapping_function_that_panics_gives_its_place_back() {
    let _dog = watchdog();
    let mut main_loop = noting(small_inbox(1));
    let machine = main_loop.spawn::<Noting>(noter()).unwrap();
    let bad = machine.map(|(): ()| -> u32 { panic!("cannot map") });
    let worse = bad.map(|(): ()| ());
    for _ in 0..3 {
        assert!(catch_unwind(AssertUnwindSafe(|| bad.send(()))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| worse.send(()))).is_err());
    }
    machine.send(0).unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.handle().messages().delivered, 1);
}

/// From the loop's own thread a send neither waits nor recurses.
#[test]
fn r4_a_machine_can_send_to_itself_even_when_the_inbox_is_full() {
    let _dog = watchdog();
    let mut main_loop = noting(small_inbox(2));
    main_loop
        .spawn::<Noting>({
            let mut depth = 0;
            act(move |on, scope: &mut NotingScope<'_>| {
                depth += 1;
                let me = scope.notifier();
                if let On::Create = on {
                    me.send(1)?;
                    me.send(2)?;
                    assert_eq!(me.send(3), Err(SendError::Full(3)));
                }
                assert_eq!(depth, 1, "delivered inside a handler");
                depth -= 1;
                match on {
                    On::Message(2) => done(),
                    _ => stay(),
                }
            })
        })
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(main_loop.handle().messages().delivered, 2);
}

/// A drain is a bounded snapshot: a storm of messages does not keep a socket waiting.
#[test]
fn r4_a_storm_of_messages_does_not_starve_sockets() {
    let _dog = watchdog();
    let config = Config {
        messages_per_turn: 10,
        ..Config::default()
    };
    let mut main_loop = noting(config);
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    let messages = Rc::new(Cell::new(0));
    // Sends itself a new message for each that it gets, two at first and then ever more.
    let count = messages.clone();
    let storm = act(move |on, scope: &mut NotingScope<'_>| {
        let me = scope.notifier();
        match on {
            On::Message(0) => return done(),
            On::Message(_) => count.set(count.get() + 1),
            _ => {}
        }
        while me.send(1).is_ok() {}
        stay()
    });
    let storm = main_loop.spawn::<Noting>(storm).unwrap();
    let (mut peers, mut sockets, mut before) = (Vec::new(), Vec::new(), 0);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                sockets.push(scope.connect(Addr::Tcp(to))?);
                stay()
            }
            On::Io(Io::Connected, _) => {
                let (mut accepted, _) = server.accept()?;
                accepted.write_all(b"x")?;
                peers.push(accepted);
                before = messages.get();
                stay()
            }
            On::Io(Io::Read(_), _) => {
                // A turn's messages, or two's; loopback needs no longer.
                assert!(messages.get() - before <= 1000, "starved");
                scope.shutdown(ms(0));
                done()
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert!(!storm.is_live());
}

/// R14: messages for one machine in a row are as good as delivered one by one: each handler's effects and
/// deadlines count, and after its end the rest is dropped and counted.
#[test]
fn r14_a_run_of_messages_is_delivered_as_if_one_by_one() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut sum = 0;
    let counter = main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Message(n) => {
                sum += n;
                scope.ctx.push(sum.to_string());
                match n {
                    3 => after(ms(5)),
                    _ => stay(),
                }
            }
            On::Timeout => {
                scope.ctx.push("timeout".into());
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    let short_lived = main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Message(n) => {
                scope.ctx.push(format!("short {n}"));
                if n == 2 { done() } else { stay() }
            }
            _ => stay(),
        }))
        .unwrap();
    for n in 1..=4 {
        counter.send(n).unwrap();
    }
    for n in 1..=4 {
        short_lived.send(n).unwrap();
    }
    counter.send(5).unwrap();
    main_loop.run().unwrap();
    let expected = ["1", "3", "6", "10", "short 1", "short 2", "15", "timeout"];
    assert_eq!(notes(&mut main_loop), expected);
    let counts = main_loop.handle().messages();
    assert_eq!((counts.delivered, counts.dropped), (7, 2));
}

/// R14: what moves through handlers by value is small.
#[test]
fn r14_our_own_values_are_small() {
    assert_eq!(size_of::<Error>(), 8);
    assert_eq!(size_of::<Socket>(), 16);
    assert_eq!(size_of::<Incoming>(), 16);
    assert_eq!(size_of::<Listener>(), 16);
    assert!(size_of::<Notifier<u64>>() <= 24);
    assert!(size_of::<IoError>() <= 24);
    assert!(size_of::<Response<u64>>() <= 32);
    assert!(size_of::<Result<Response<Socket>>>() <= 40);
    assert!(size_of::<Seat>() <= 24);
}

/// A message for a slot's earlier machine is dropped and counted, though accepted before that one ended.
#[test]
fn r2_a_message_accepted_for_a_machine_that_ends_first_is_dropped() {
    let _dog = watchdog();
    let census = Census::default();
    let alive = census.clone();
    let mut main_loop =
        Loop::<Act<(), Option<Citizen>>>::new(Config::default(), |_| Ok(())).unwrap();
    let machine = main_loop
        .spawn::<Act<(), Option<Citizen>>>(act(|on, scope: &mut Scope<'_, _>| match on {
            On::Message(_) => {
                let me = scope.id();
                // Takes over the slot while messages for its predecessor are on their way.
                scope.spawn(act(move |on, scope: &mut Scope<'_, _>| match on {
                    On::Create => {
                        assert_ne!(me, scope.id());
                        after(ms(5))
                    }
                    On::Timeout => done(),
                    _ => panic!("a message for another"),
                }))?;
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    for _ in 0..10 {
        machine.send(Some(census.one())).unwrap();
    }
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    let counts = main_loop.handle().messages();
    assert_eq!((counts.delivered, counts.dropped), (1, 9));
    assert_eq!((alive.made(), alive.alive()), (10, 0));
}

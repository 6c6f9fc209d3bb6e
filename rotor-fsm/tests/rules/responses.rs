//! R1: what a response means, and the deadline in it. R2: what is stale reaches nobody.

use crate::common::*;
use rotor_fsm::SendError;
use rotor_fsm::prelude::*;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::time::Instant;

#[test]
fn r1_a_deadline_stays_while_other_handlers_answer_without_one() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let begun = Instant::now();
    let machine = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => after(ms(20)),
            On::Message(n) => {
                scope.ctx.push(n.to_string());
                stay()
            }
            _ => done(),
        }))
        .unwrap();
    machine.send(1).unwrap();
    machine.send(2).unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["1", "2"]);
    assert!(begun.elapsed() >= ms(20));
    assert_eq!(machine.send(3), Err(SendError::Closed(3)));
}

#[test]
fn r1_a_deadline_is_replaced_and_cleared_and_fires_once() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    // An hour becomes 5 ms; fired, it is gone.
    let replaced = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => after(ms(3_600_000)),
            On::Message(0) => after(ms(5)),
            On::Message(_) => done(),
            _ => {
                scope.ctx.push("replaced".into());
                stay()
            }
        }))
        .unwrap();
    // 1 ms becomes never.
    let cleared = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => after(ms(1)),
            On::Message(0) => Ok(Response::of(()).no_deadline()),
            On::Message(_) => done(),
            _ => {
                scope.ctx.push("cleared".into());
                stay()
            }
        }))
        .unwrap();
    replaced.send(0).unwrap();
    cleared.send(0).unwrap();
    main_loop
        .spawn::<Noting>(act(move |on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(60)),
            _ => {
                replaced.send(1)?;
                cleared.send(1)?;
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["replaced"]);
}

/// A machine that ended with a deadline leaves none to the next one in its slot; nor does a deadline on `done` arm one.
#[test]
fn r1_a_deadline_ends_with_its_machine() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let (armed, patient) = (Rc::new(Cell::new(u32::MAX)), Rc::new(Cell::new(u32::MAX)));
    let slot = armed.clone();
    let first = main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                slot.set(scope.id().index());
                after(ms(5))
            }
            _ => Ok(Response::done().after(ms(5))),
        }))
        .unwrap();
    first.send(0).unwrap();
    let slot = patient.clone();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => after(ms(2)),
            _ => {
                let slot = slot.clone();
                let heir = scope.spawn(act(move |on, scope: &mut NotingScope<'_>| match on {
                    On::Create => {
                        slot.set(scope.id().index());
                        stay()
                    }
                    On::Timeout => panic!("an inherited deadline"),
                    _ => done(),
                }))?;
                let heir = scope.notifier_of(heir);
                scope.spawn(act(move |on, _: &mut NotingScope<'_>| match on {
                    On::Create => after(ms(30)),
                    _ => {
                        heir.send(0)?;
                        done()
                    }
                }))?;
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(armed.get(), patient.get(), "the slot was reused");
    assert_eq!(main_loop.stats().panics, 0);
}

#[test]
fn r1_an_end_closes_handles_drops_the_state_and_tells_the_hook() {
    let _dog = watchdog();
    let census = Census::default();
    let alive = census.clone();
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let noted = heard.clone();
    let config = Config {
        on_end: Some(Box::new(move |id, reason| {
            let line = (
                id.index(),
                id.generation(),
                reason.to_string(),
                alive.alive(),
            );
            noted.lock().unwrap().push(line);
            rotor_fsm::Verdict::Continue
        })),
        ..Config::default()
    };
    let mut main_loop = noting(config);
    let (at, told) = std::sync::mpsc::channel();
    let citizen = census.one();
    main_loop
        .spawn::<Noting>({
            let mut held = Vec::new();
            act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    let opened = scope.listen(any_port())?;
                    at.send(tcp_addr(scope.listening_at(&opened)?)).unwrap();
                    held.push(opened);
                    after(ms(1))
                }
                _ => {
                    let _mine = &citizen;
                    Err(Error::msg("enough"))
                }
            })
        })
        .unwrap();
    main_loop.run().unwrap();
    main_loop
        .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| done()))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(
        *heard.lock().unwrap(),
        [
            (0, 1, "failed: enough".to_owned(), 0),
            (0, 2, "done".to_owned(), 0)
        ]
    );
    let refused = std::net::TcpStream::connect(told.recv().unwrap());
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
}

#[test]
fn r1_create_may_answer_done_or_fail() {
    let _dog = watchdog();
    let (config, ends) = hooked();
    let mut main_loop = noting(config);
    let first = main_loop
        .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| done()))
        .unwrap();
    main_loop
        .spawn::<Noting>(act(|_, _: &mut NotingScope<'_>| Err(Error::msg("no"))))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(reasons(&ends), ["done", "failed: no"]);
    assert!(!first.is_live());
    assert_eq!(main_loop.stats().ended, 2);
}

/// A machine with nothing but `create`.
struct Bare;

impl Machine for Bare {
    type Context = Vec<Socket>;
    type Message = ();
    type Seed = u8;

    fn create(kind: u8, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match kind {
            0 => drop(scope.notifier().send(())),
            1 => return Ok(Response::of(Bare).after(ms(1))),
            // The context keeps the socket: a dropped one would have no events.
            2 => {
                let socket = scope.connect(Addr::Unix("/nowhere/at/all".into()))?;
                scope.ctx.push(socket);
            }
            _ => scope.shutdown(ms(10_000)),
        }
        Ok(Response::of(Bare))
    }
}

#[test]
fn r1_default_handlers_say_what_was_not_handled() {
    let _dog = watchdog();
    for (kind, word) in [
        (0, "no `wakeup` handler"),
        (1, "the deadline passed"),
        (2, "no `io` handler"),
        (3, "done"),
    ] {
        let (config, ends) = hooked();
        let mut main_loop = Loop::<Bare>::new(config, |_| Ok(Vec::new())).unwrap();
        main_loop.spawn::<Bare>(kind).unwrap();
        main_loop.run().unwrap();
        let reasons = reasons(&ends);
        assert!(reasons[0].contains(word), "{reasons:?} lacks {word}");
    }
}

/// What a machine's connection still had to say when it ended does not reach the next machine in its slot.
#[test]
fn r2_a_stale_event_reaches_no_later_machine() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = server.local_addr().unwrap();
    let sockets: Rc<RefCell<Vec<Socket>>> = Rc::default();
    let kept = sockets.clone();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                // The handle outlives its machine in another's hands: its events have nobody to go to.
                kept.borrow_mut().push(scope.connect(Addr::Tcp(to))?);
                stay()
            }
            On::Io(Io::Connected, _) => {
                let mut peer = server.accept().unwrap().0;
                let me = scope.id();
                scope.spawn(act(move |on, scope: &mut NotingScope<'_>| match on {
                    On::Create => after(ms(5)),
                    // The slot is free by now.
                    On::Timeout if scope.ctx.is_empty() => {
                        scope.spawn(act(move |on, scope: &mut NotingScope<'_>| match on {
                            On::Create => {
                                assert_eq!(scope.id().index(), me.index());
                                assert_ne!(scope.id(), me);
                                after(ms(30))
                            }
                            On::Timeout => done(),
                            on => panic!("not for this machine: {on:?}"),
                        }))?;
                        peer.write_all(b"too late")?;
                        scope.ctx.push("written".into());
                        after(ms(10))
                    }
                    _ => {
                        // With nobody to read for, the loop closed the connection.
                        let _ = drain(&mut peer);
                        done()
                    }
                }))?;
                done()
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(notes(&mut main_loop), ["written"]);
    assert_eq!(sockets.borrow().len(), 1);
}

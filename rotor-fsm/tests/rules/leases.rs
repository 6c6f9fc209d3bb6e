//! The lease of a connection is told exactly once, right before the connection closes for good, whatever becomes of it.

use crate::common::*;
use crate::handing::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{Detached, IoErrorKind, Lease, Lessor, Verdict};
use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// Knows each leased connection by its descriptor and the kernel's object behind it, and notes what it is told.
#[derive(Default)]
struct Ledger {
    leased: Mutex<Vec<(RawFd, u64)>>,
    told: Mutex<Vec<Told>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Told {
    number: u64,
    /// The descriptor was still that of the connection.
    in_time: bool,
}

impl Lessor for Ledger {
    fn closed(&self, number: u64) {
        let (fd, inode) = self.leased.lock().unwrap()[number as usize];
        self.told.lock().unwrap().push(Told {
            number,
            in_time: inode_of(fd) == Some(inode),
        });
    }
}

impl Ledger {
    /// Numbers run from 0.
    fn lease(self: &Arc<Self>, connection: Detached) -> Detached {
        let mut leased = self.leased.lock().unwrap();
        let number = leased.len() as u64;
        let fd = connection.fd();
        leased.push((fd, inode_of(fd).unwrap()));
        connection.with_lease(Lease::new(self.clone(), number))
    }

    fn told(&self) -> Vec<u64> {
        let told = self.told.lock().unwrap();
        told.iter().map(|told| told.number).collect()
    }

    /// These were told, in this order, and none too late.
    #[track_caller]
    fn assert_told(&self, numbers: &[u64]) {
        let told = self.told.lock().unwrap().clone();
        let expected: Vec<_> = numbers
            .iter()
            .map(|&number| Told {
                number,
                in_time: true,
            })
            .collect();
        assert_eq!(told, expected);
    }
}

fn inode_of(fd: RawFd) -> Option<u64> {
    // SAFETY: `stat` is filled in by the call; a descriptor that is not open is an error.
    unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        (libc::fstat(fd, &mut stat) == 0).then_some(stat.st_ino)
    }
}

/// A leased connection (number 0), its ledger, and its other end.
fn leased() -> (Detached, Arc<Ledger>, TcpStream) {
    let ledger = Arc::new(Ledger::default());
    let (connection, stream) = accepted(1).pop().unwrap();
    (ledger.lease(connection), ledger, stream)
}

/// Adopts and opens; what follows is `script`'s.
fn holding(
    connection: Detached,
    mut script: impl FnMut(
        On<'_, u32>,
        &mut Option<Socket>,
        &mut NotingScope<'_>,
    ) -> Result<Response<()>>
    + 'static,
) -> Script<Vec<String>, u32> {
    let (mut connection, mut socket) = (Some(connection), None);
    act(move |on, scope: &mut NotingScope<'_>| {
        if let Some(connection) = connection.take() {
            let incoming = scope.adopt(connection)?;
            socket = Some(scope.open(incoming)?);
        }
        script(on, &mut socket, scope)
    })
}

/// Runs a machine until it ends; its connection must be closed by then, and told.
fn ends_with(
    machine: impl FnOnce(Detached, Arc<Ledger>) -> Script<Vec<String>, u32>,
) -> Loop<Noting> {
    let (connection, ledger, mut stream) = leased();
    stream.write_all(b"x").unwrap();
    let mut main_loop = noting_on(Config::default());
    main_loop
        .spawn::<Noting>(machine(connection, ledger.clone()))
        .unwrap();
    main_loop.run().unwrap();
    ledger.assert_told(&[0]);
    assert_eq!(drain(&mut stream), b"");
    assert_eq!(main_loop.stats().sockets, 0);
    main_loop
}

#[test]
fn lease_of_a_connection_that_nobody_adopts() {
    let _dog = watchdog();
    let (connection, ledger, mut stream) = leased();
    assert!(is_quiet(&mut stream));
    ledger.assert_told(&[]);
    drop(connection);
    ledger.assert_told(&[0]);
    assert_eq!(drain(&mut stream), b"");
}

#[test]
fn lease_of_an_adopted_connection_that_nobody_opens() {
    let _dog = watchdog();
    ends_with(|connection, ledger| {
        let (mut connection, mut incoming) = (Some(connection), None);
        act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                incoming = Some(scope.adopt(connection.take().unwrap())?);
                after(ms(20))
            }
            _ => {
                ledger.assert_told(&[]);
                drop(incoming.take());
                // Dropped handles close when the dispatch ends.
                ledger.assert_told(&[]);
                done()
            }
        })
    });
}

#[test]
fn lease_ends_with_its_machine_however_that_ends() {
    let _dog = watchdog();
    for way in ["done", "failed", "panicked", "closed"] {
        let main_loop = ends_with(|connection, ledger| {
            holding(connection, move |on, socket, _| match on {
                On::Io(Io::Read(_), _) => {
                    ledger.assert_told(&[]);
                    match way {
                        "done" => done(),
                        "failed" => Err(Error::msg("failed")),
                        "panicked" => panic!("on purpose"),
                        _ => {
                            drop(socket.take());
                            after(ms(20))
                        }
                    }
                }
                On::Timeout => {
                    ledger.assert_told(&[0]);
                    done()
                }
                _ => stay(),
            })
        });
        assert_eq!(main_loop.stats().panics, u64::from(way == "panicked"));
    }
}

/// Its descriptor closes at once, so it is told at once: the next one may have the same number.
#[test]
fn lease_of_an_aborted_connection_is_told_before_it_closes() {
    let _dog = watchdog();
    ends_with(|connection, ledger| {
        holding(connection, move |on, socket, scope| match on {
            On::Io(Io::Read(_), _) => {
                scope.abort(socket.take().unwrap());
                after(ms(5))
            }
            On::Timeout => {
                ledger.assert_told(&[0]);
                done()
            }
            _ => stay(),
        })
    });
}

/// The machine that gives a connection away ends; the lease goes on with the connection.
#[test]
fn lease_goes_along_when_a_connection_is_handed_over() {
    let _dog = watchdog();
    let (connection, ledger, mut stream) = leased();
    let talker = std::thread::spawn(move || {
        let mut byte = [0; 1];
        stream.write_all(b"1").unwrap();
        for heir in *b"23" {
            stream.read_exact(&mut byte).unwrap();
            assert!(is_quiet(&mut stream));
            stream.write_all(&[heir]).unwrap();
        }
        drain(&mut stream)
    });
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(holding(connection, {
            let ledger = ledger.clone();
            move |on, socket, scope| match on {
                On::Io(Io::Read(_), _) => {
                    let incoming = scope.hand_over(socket.take().unwrap())?;
                    scope.spawn(heir(incoming, ledger.clone(), 2))?;
                    done()
                }
                _ => stay(),
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(talker.join().unwrap(), b"");
    ledger.assert_told(&[0]);
}

/// Opens what it was given, says so, hears back, and gives it to an heir of its own.
fn heir(incoming: Incoming, ledger: Arc<Ledger>, left: u32) -> Script<Vec<String>, u32> {
    let (mut incoming, mut socket) = (Some(incoming), None);
    act(move |on, scope: &mut NotingScope<'_>| match on {
        On::Create => {
            ledger.assert_told(&[]);
            let opened = scope.open(incoming.take().unwrap())?;
            scope.write(&opened, b"!")?;
            socket = Some(opened);
            stay()
        }
        On::Io(Io::Read(_), _) if left > 1 => {
            ledger.assert_told(&[]);
            let incoming = scope.hand_over(socket.take().unwrap())?;
            scope.spawn(heir(incoming, ledger.clone(), left - 1))?;
            done()
        }
        On::Io(Io::Read(_), _) => {
            ledger.assert_told(&[]);
            done()
        }
        _ => stay(),
    })
}

#[test]
fn lease_of_a_connection_that_is_one_too_many() {
    let _dog = watchdog();
    let ledger = Arc::new(Ledger::default());
    let (connections, mut streams): (Vec<_>, Vec<_>) = accepted(3).into_iter().unzip();
    let mut connections = connections.into_iter().map({
        let ledger = ledger.clone();
        move |connection| ledger.lease(connection)
    });
    let mut main_loop = noting(Config {
        sockets_max: 1,
        ..Config::default()
    });
    let (mut incoming, heard) = (Vec::new(), ledger.clone());
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                incoming.push(scope.adopt(connections.next().unwrap())?);
                let refused = scope.adopt(connections.next().unwrap()).unwrap_err();
                assert_eq!(refused.kind(), IoErrorKind::Limit);
                heard.assert_told(&[1]);
                incoming.clear();
                after(ms(1))
            }
            _ => {
                // There is room again.
                drop(scope.adopt(connections.next().unwrap())?);
                heard.assert_told(&[1, 0]);
                done()
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    ledger.assert_told(&[1, 0, 2]);
    for stream in &mut streams {
        assert_eq!(drain(stream), b"");
    }
}

/// The loop stops with the connection open; whoever looks meanwhile finds it alive.
#[test]
fn lease_of_a_connection_that_is_open_when_its_loop_is_dropped() {
    let _dog = watchdog();
    let (connection, ledger, mut stream) = leased();
    stream.write_all(b"x").unwrap();
    let mut main_loop = noting_on(Config {
        on_end: Some(Box::new(|_, _| Verdict::Stop)),
        ..Config::default()
    });
    let notifier = main_loop
        .spawn::<Noting>(act(|on, _: &mut NotingScope<'_>| match on {
            On::Message(_) => Err(Error::msg("enough")),
            _ => stay(),
        }))
        .unwrap();
    main_loop
        .spawn::<Noting>(holding(connection, move |on, _, _| {
            if let On::Io(Io::Read(_), _) = on {
                notifier.send(1)?;
            }
            stay()
        }))
        .unwrap();
    assert_eq!(main_loop.run().unwrap_err().to_string(), "enough");
    ledger.assert_told(&[]);
    assert!(is_quiet(&mut stream));
    drop(main_loop);
    ledger.assert_told(&[0]);
    assert_eq!(drain(&mut stream), b"");
}

/// Kept where the loop's end does not reach: the loop closes it all the same, and tells before it does.
#[test]
fn lease_of_a_connection_that_outlives_its_loop() {
    let _dog = watchdog();
    let (connection, ledger, mut stream) = leased();
    stream.write_all(b"x").unwrap();
    let kept = Rc::new(RefCell::new(None));
    let keep = kept.clone();
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(holding(connection, move |on, socket, _| match on {
            On::Io(Io::Read(_), _) => {
                keep.replace(socket.take());
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    ledger.assert_told(&[]);
    drop(main_loop);
    ledger.assert_told(&[0]);
    assert_eq!(drain(&mut stream), b"");
    drop(kept.take().expect("a handle of a loop that is gone"));
    ledger.assert_told(&[0]);
}

/// It waits in an inbox, in a seed, or in a message that comes back: it goes with what it is in.
#[test]
fn lease_of_a_connection_on_its_way() {
    let _dog = watchdog();
    let ledger = Arc::new(Ledger::default());
    let mut streams = Vec::new();
    let mut connections = accepted(3).into_iter().map(|(connection, stream)| {
        streams.push(stream);
        ledger.lease(connection)
    });
    let mut main_loop = Loop::<Taking>::new(Config::default(), |_| Ok(())).unwrap();
    let machine = main_loop
        .spawn::<Taking>(act(|_, _: &mut TakingScope<'_>| stay()))
        .unwrap();
    machine.send(connections.next().unwrap()).unwrap();
    let mut in_seed = connections.next();
    main_loop
        .spawn::<Taking>(act(move |_, _: &mut TakingScope<'_>| {
            drop(in_seed.take());
            stay()
        }))
        .unwrap();
    ledger.assert_told(&[]);
    drop(main_loop);
    let mut told = ledger.told();
    told.sort_unstable();
    assert_eq!(told, [0, 1]);
    let refused = machine.send(connections.next().unwrap()).unwrap_err();
    assert!(refused.is_closed());
    assert_eq!(ledger.told().len(), 2, "the message came back");
    drop(refused);
    assert_eq!(ledger.told()[2..], [2]);
    drop(connections);
    for stream in &mut streams {
        assert_eq!(drain(stream), b"");
    }
    assert!(ledger.told.lock().unwrap().iter().all(|told| told.in_time));
}

/// A message for a machine that has ended, on a loop that goes on.
#[test]
fn lease_of_a_connection_for_a_machine_that_has_ended() {
    let _dog = watchdog();
    let (connection, ledger, mut stream) = leased();
    let worker = LoopThread::<Taking>::spawn(Config::default(), |_| Ok(())).unwrap();
    // One that stays, so that the loop does.
    let stays = worker.spawn_with::<Taking>(|| act(|_, _: &mut TakingScope<'_>| stay()));
    stays.wait().unwrap();
    let gone = worker.spawn_with::<Taking>(|| act(|_, _: &mut TakingScope<'_>| done()));
    let gone = gone.wait().unwrap();
    // It may be found out when it is sent, or when it is delivered.
    drop(gone.send(connection));
    wait_until("it is told", || !ledger.told().is_empty());
    ledger.assert_told(&[0]);
    assert_eq!(drain(&mut stream), b"");
    drop(worker);
    ledger.assert_told(&[0]);
}

/// The peer is gone before anybody adopts: the machine hears of an end or a failure, or `adopt` does.
#[test]
fn lease_of_a_connection_that_was_reset_meanwhile() {
    let _dog = watchdog();
    let (connection, ledger, stream) = leased();
    // SAFETY: sets an option of an open socket, from a value of the size that is said.
    unsafe {
        use std::os::fd::AsRawFd;
        let at_once = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let set = libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const at_once).cast(),
            size_of_val(&at_once) as libc::socklen_t,
        );
        assert_eq!(set, 0);
    }
    drop(stream);
    let mut main_loop = noting_on(Config::default());
    main_loop
        .spawn::<Noting>(holding(connection, |on, _, scope| {
            scope.ctx.push(format!("{on:?}"));
            if let On::Create = on { stay() } else { done() }
        }))
        .unwrap();
    main_loop.run().unwrap();
    ledger.assert_told(&[0]);
    assert_eq!(main_loop.stats().panics, 0);
}

/// Many connections, two workers, descriptors that are used again and again: each lease is told once and in time.
#[test]
fn leases_of_a_storm_are_told_once_each() {
    let _dog = watchdog();
    let ledger = Arc::new(Ledger::default());
    let socket = listening();
    let to = socket.local_addr().unwrap();
    let workers =
        [(); 2].map(|()| LoopThread::<Taking>::spawn(Config::default(), |_| Ok(())).unwrap());
    let takers = [0, 1].map(|n: usize| {
        let taker = workers[n].spawn_with::<Taking>(|| {
            let mut count = 0;
            act(move |on, scope: &mut TakingScope<'_>| {
                if let On::Message(connection) = on {
                    let incoming = scope.adopt(connection)?;
                    count += 1;
                    scope.spawn(brief(incoming, count % 5))?;
                }
                stay()
            })
        });
        taker.wait().unwrap()
    });
    let acceptor = LoopThread::<Quiet>::spawn(Config::default(), |_| Ok(())).unwrap();
    let (giving, mut next) = (ledger.clone(), 0);
    let listens = acceptor.spawn_with::<Quiet>(move || {
        accepting(socket, move |connection| {
            next += 1;
            takers[next % 2].send(giving.lease(connection))?;
            Ok(())
        })
    });
    listens.wait().unwrap();
    let each = sized(500, 20);
    let talkers = [(); 3].map(|()| {
        std::thread::spawn(move || {
            for _ in 0..each {
                let mut stream = client(to);
                stream.write_all(b"hello").unwrap();
                drain(&mut stream);
            }
        })
    });
    for talker in talkers {
        talker.join().unwrap();
    }
    let all = 3 * each as u64;
    wait_until("all are told", || ledger.told().len() as u64 >= all);
    drop((acceptor, workers));
    let mut told = ledger.told();
    told.sort_unstable();
    assert_eq!(told, (0..all).collect::<Vec<_>>());
    let late = ledger.told.lock().unwrap();
    assert!(late.iter().all(|told| told.in_time), "told too late");
}

/// Serves one connection, and ends it in one of five ways.
fn brief(incoming: Incoming, way: u32) -> Script<(), Detached> {
    let (mut incoming, mut socket) = (Some(incoming), None);
    act(move |on, scope: &mut TakingScope<'_>| match on {
        On::Create if way == 0 => {
            drop(incoming.take());
            done()
        }
        On::Create => {
            socket = Some(scope.open(incoming.take().unwrap())?);
            stay()
        }
        On::Io(Io::Read(_), _) => match way {
            1 => Err(Error::msg("failed")),
            2 => {
                scope.abort(socket.take().unwrap());
                done()
            }
            3 => {
                let incoming = scope.hand_over(socket.take().unwrap())?;
                scope.spawn(brief(incoming, 0))?;
                done()
            }
            _ => done(),
        },
        _ => done(),
    })
}

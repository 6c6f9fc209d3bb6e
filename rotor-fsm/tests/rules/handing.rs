//! Connections that one loop accepts by hand and another serves: `listen_on`, `accept`, `adopt`. What becomes of their
//! leases is in `leases`.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, Sim};
use rotor_fsm::{Detached, IoErrorKind, ListenOptions, ListenSocket};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc;

/// A machine that takes connections as messages.
pub type Taking = Act<(), Detached>;
pub type TakingScope<'a> = Scope<'a, Taking>;
/// A machine that takes none.
pub type Quiet = Act<(), u32>;

pub fn listening() -> ListenSocket {
    ListenSocket::tcp(
        ([127, 0, 0, 1], 0).into(),
        &ListenOptions {
            backlog: 4096,
            ..ListenOptions::default()
        },
    )
    .unwrap()
}

/// The path of a Unix socket of this test's own.
fn socket_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("rotor-{name}-{}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

/// Takes all that wait, by hand, and gives each away.
pub fn accepting<C, T: Send>(
    socket: ListenSocket,
    mut give: impl FnMut(Detached) -> Result<()> + 'static,
) -> Script<C, T> {
    let (mut socket, mut listener) = (Some(socket), None);
    act(move |on, scope: &mut Scope<'_, Act<C, T>>| match on {
        On::Create => {
            listener = Some(scope.listen_on(socket.take().unwrap())?);
            stay()
        }
        On::Io(Io::Waiting, on) => {
            let listener = listener.as_ref().unwrap();
            assert_eq!(on, listener.id());
            while let Some(connection) = scope.accept(listener)? {
                give(connection)?;
            }
            stay()
        }
        _ => done(),
    })
}

/// Connections that were accepted by a loop that is gone, and their other ends, in order.
pub fn accepted(count: usize) -> Vec<(Detached, TcpStream)> {
    let socket = listening();
    let to = socket.local_addr().unwrap();
    let clients: Vec<_> = (0..count).map(|_| client(to)).collect();
    let (give, given) = mpsc::channel();
    let mut main_loop = noting(Config::default());
    let handle = main_loop.handle();
    let mut left = count;
    main_loop
        .spawn::<Noting>(accepting(socket, move |connection| {
            give.send(connection)?;
            left -= 1;
            if left == 0 {
                handle.shutdown(ms(0));
            }
            Ok(())
        }))
        .unwrap();
    main_loop.run().unwrap();
    given.into_iter().zip(clients).collect()
}

/// A machine on this loop that adopts each connection it is sent, and has one of its own echo on it, behind a number.
fn taker(worker: &LoopThread<Taking>, number: u8) -> Notifier<Detached> {
    let taker = worker.spawn_with::<Taking>(move || {
        act(move |on, scope: &mut TakingScope<'_>| {
            if let On::Message(connection) = on {
                let incoming = scope.adopt(connection)?;
                scope.spawn(echoing(incoming, number))?;
            }
            stay()
        })
    });
    taker.wait().unwrap()
}

fn echoing(incoming: Incoming, number: u8) -> Script<(), Detached> {
    let (mut incoming, mut socket) = (Some(incoming), None);
    act(move |on, scope: &mut TakingScope<'_>| match on {
        On::Create => {
            let opened = scope.open(incoming.take().unwrap())?;
            scope.write(&opened, &[number])?;
            socket = Some(opened);
            stay()
        }
        On::Io(Io::Read(bytes), on) => {
            let socket = socket.as_ref().unwrap();
            assert_eq!(on, socket.id());
            scope.write(socket, &bytes)?;
            stay()
        }
        _ => done(),
    })
}

/// Says something over a fresh connection; answers by which worker it was served.
fn greet(mut stream: impl Read + Write) -> u8 {
    stream.write_all(b"hello").unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer[1..], b"hello");
    answer[0]
}

/// One loop accepts, others serve, by turns; TCP and Unix.
#[test]
fn u21_one_loop_accepts_for_others() {
    let _dog = watchdog();
    let path = socket_path("handing");
    let tcp = listening();
    let to = tcp.local_addr().unwrap();
    let unix = ListenSocket::unix(&path, &ListenOptions::default()).unwrap();
    let workers =
        [(); 2].map(|()| LoopThread::<Taking>::spawn(Config::default(), |_| Ok(())).unwrap());
    let takers = [taker(&workers[0], 0), taker(&workers[1], 1)];
    let acceptor = LoopThread::<Quiet>::spawn(Config::default(), |_| Ok(())).unwrap();
    for (socket, is_unix) in [(tcp, false), (unix, true)] {
        let takers = takers.clone();
        let mut next = 0;
        let listens = acceptor.spawn_with::<Quiet>(move || {
            accepting(socket, move |connection| {
                assert_eq!(connection.is_unix(), is_unix);
                assert!(connection.fd() > 2);
                takers[next % 2].send(connection)?;
                next += 1;
                Ok(())
            })
        });
        listens.wait().unwrap();
    }
    for n in 0..sized(100, 10) {
        assert_eq!(greet(client(to)), (n % 2) as u8);
        let unix = UnixStream::connect(&path).unwrap();
        unix.set_read_timeout(Some(patience())).unwrap();
        assert_eq!(greet(unix), (n % 2) as u8);
    }
    // Many at once.
    let streams: Vec<_> = (0..sized(200, 20)).map(|_| client(to)).collect();
    let of_second: usize = streams.into_iter().map(|s| greet(s) as usize).sum();
    assert_eq!(of_second, sized(200, 20) / 2);
    acceptor.shutdown(ms(0));
    acceptor.join().unwrap();
    assert!(!path.exists(), "removed with its listener");
}

/// What the peer said before anybody adopted its connection is not lost.
#[test]
fn u21_a_detached_connection_keeps_what_arrives() {
    let _dog = watchdog();
    let (connection, mut stream) = accepted(1).pop().unwrap();
    assert!(!connection.is_unix());
    let peer = stream.local_addr().unwrap();
    stream.write_all(b"early ").unwrap();
    stream.write_all(b"bird").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut connection, mut socket) = (Some(connection), None);
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let incoming = scope.adopt(connection.take().unwrap())?;
                let opened = scope.open(incoming)?;
                assert_eq!(scope.peer_addr(&opened)?, Addr::Tcp(peer));
                scope.set_nodelay(&opened, true)?;
                socket = Some(opened);
                stay()
            }
            On::Io(Io::Read(bytes), _) => {
                scope.ctx.push(String::from_utf8_lossy(&bytes).into());
                scope.write(socket.as_ref().unwrap(), &bytes)?;
                stay()
            }
            On::Io(Io::Eof, _) => done(),
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop).concat(), "early bird");
    assert_eq!(main_loop.stats().sockets, 0);
    assert_eq!(drain(&mut stream), b"early bird");
}

/// `Waiting` without an accept is not repeated; resuming, or an accept, has the listener go on.
#[test]
fn u21_who_takes_none_hears_no_more_until_it_asks() {
    let _dog = watchdog();
    let socket = listening();
    let to = socket.local_addr().unwrap();
    let mut clients: Vec<_> = (0..3).map(|_| client(to)).collect();
    let (mut socket, mut listener, mut round) = (Some(socket), None, 0);
    let mut main_loop = noting(Config::default());
    let mut cpu = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                listener = Some(scope.listen_on(socket.take().unwrap())?);
                cpu = Some(thread_cpu());
                after(ms(60))
            }
            On::Io(Io::Waiting, _) => {
                scope.ctx.push("waiting".into());
                stay()
            }
            On::Timeout => {
                let listener = listener.as_ref().unwrap();
                round += 1;
                scope.ctx.push(format!("round {round}"));
                match round {
                    1 => {
                        let used = thread_cpu() - cpu.unwrap();
                        assert!(slow() || used < ms(30), "it spins: {used:?}");
                    }
                    2 | 3 => scope.resume_listener(listener),
                    4..=6 => drop(scope.accept(listener)?.expect("one waits")),
                    7 => assert!(scope.accept(listener)?.is_none()),
                    _ => return done(),
                }
                after(ms(30))
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    let expected = [
        "waiting", "round 1", "round 2", "waiting", "round 3", "waiting", "round 4", "waiting",
        "round 5", "waiting", "round 6", "round 7", "round 8",
    ];
    assert_eq!(notes(&mut main_loop), expected);
    for stream in &mut clients {
        assert_eq!(drain(stream), b"");
    }
}

/// A paused listener says nothing, though one may still take from it.
#[test]
fn u21_a_paused_listener_is_silent_and_can_be_taken_from() {
    let _dog = watchdog();
    let socket = listening();
    let to = socket.local_addr().unwrap();
    let _clients: Vec<_> = (0..3).map(|_| client(to)).collect();
    let (mut socket, mut listener, mut round, mut taken) = (Some(socket), None, 0, 0);
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let opened = scope.listen_on(socket.take().unwrap())?;
                scope.pause_listener(&opened);
                scope.pause_listener(&opened);
                listener = Some(opened);
                after(ms(30))
            }
            On::Io(Io::Waiting, _) => {
                scope.ctx.push("waiting".into());
                drop(scope.accept(listener.as_ref().unwrap())?.unwrap());
                taken += 1;
                if taken == 3 { after(ms(30)) } else { stay() }
            }
            On::Timeout => {
                let open = listener.as_ref().unwrap();
                round += 1;
                scope.ctx.push(format!("round {round}"));
                match round {
                    1 => {
                        drop(scope.accept(open)?.expect("one waits"));
                        taken += 1;
                        after(ms(30))
                    }
                    2 => {
                        scope.resume_listener(open);
                        stay()
                    }
                    _ => {
                        assert!(scope.accept(open)?.is_none());
                        done()
                    }
                }
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    let expected = ["round 1", "round 2", "waiting", "waiting", "round 3"];
    assert_eq!(notes(&mut main_loop), expected);
}

/// Who takes a bounded number at a time is told of the rest by another event, in which others had their turn.
#[test]
fn u21_a_bounded_batch_is_followed_by_another_event() {
    let _dog = watchdog();
    let socket = listening();
    let to = socket.local_addr().unwrap();
    let _clients: Vec<_> = (0..7).map(|_| client(to)).collect();
    let (mut socket, mut listener) = (Some(socket), None);
    let mut main_loop = noting(Config::default());
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                listener = Some(scope.listen_on(socket.take().unwrap())?);
                stay()
            }
            On::Io(Io::Waiting, _) => {
                let mut taken = 0;
                while taken < 2
                    && let Some(connection) = scope.accept(listener.as_ref().unwrap())?
                {
                    drop(connection);
                    taken += 1;
                }
                scope.ctx.push(taken.to_string());
                if taken < 2 { after(ms(20)) } else { stay() }
            }
            _ => done(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["2", "2", "2", "1"]);
}

/// A by-hand listener beside one that takes for itself; each in its own way. Both ways mix on one loop.
#[test]
fn u21_both_ways_of_accepting_live_on_one_loop() {
    let _dog = watchdog();
    let socket = listening();
    let by_hand = socket.local_addr().unwrap();
    let (at, taken) = mpsc::channel();
    let (mut socket, mut listeners) = (Some(socket), Vec::new());
    let mut main_loop = noting(Config::default());
    let talker = std::thread::spawn(move || {
        let by_itself = taken.recv_timeout(patience()).unwrap();
        [by_itself, by_hand, by_itself].map(|to| drain(&mut client(to)))
    });
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            match on {
                On::Create => {
                    let opened = scope.listen(any_port())?;
                    at.send(tcp_addr(scope.listening_at(&opened)?))?;
                    listeners.push(opened);
                    listeners.push(scope.listen_on(socket.take().unwrap())?);
                    assert_eq!(scope.listening_at(&listeners[1])?, Addr::Tcp(by_hand));
                }
                On::Io(Io::Incoming(_), on) => {
                    assert_eq!(on, listeners[0].id());
                    scope.ctx.push("incoming".into());
                }
                On::Io(Io::Waiting, on) => {
                    assert_eq!(on, listeners[1].id());
                    while scope.accept(&listeners[1])?.is_some() {
                        scope.ctx.push("waiting".into());
                    }
                }
                on => panic!("{on:?}"),
            }
            if scope.ctx.len() == 3 { done() } else { stay() }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(talker.join().unwrap(), [b"", b"", b""]);
    assert_eq!(notes(&mut main_loop), ["incoming", "waiting", "incoming"]);
}

/// The file of a Unix socket goes with its listener, unless it is left.
#[test]
fn u21_a_listeners_file_may_be_left() {
    let _dog = watchdog();
    for leave in [false, true] {
        let path = socket_path("left");
        let socket = ListenSocket::unix(&path, &ListenOptions::default()).unwrap();
        let mut socket = Some(socket);
        let expected = path.clone();
        let mut main_loop = noting(Config::default());
        main_loop
            .spawn::<Noting>(act(move |_, scope: &mut NotingScope<'_>| {
                let listener = scope.listen_on(socket.take().unwrap())?;
                assert_eq!(scope.listening_at(&listener)?, Addr::Unix(expected.clone()));
                if leave {
                    scope.leave_file(&listener);
                }
                done()
            }))
            .unwrap();
        main_loop.run().unwrap();
        assert_eq!(path.exists(), leave);
        let _ = std::fs::remove_file(&path);
    }
}

/// Descriptors have no place in the simulated world; what asks for them is answered, not ended.
#[test]
fn u21_the_simulator_refuses_descriptors_by_name() {
    let _dog = watchdog();
    let (connection, mut stream) = accepted(1).pop().unwrap();
    let answered = Rc::new(Cell::new(false));
    let (mut connection, said) = (Some(connection), answered.clone());
    let mut sim = Sim::new(1);
    let on = sim
        .add::<Noting>(Config::default(), |_| Ok(Vec::new()))
        .unwrap();
    let machine = act(move |_, scope: &mut NotingScope<'_>| {
        let refused = scope.listen_on(listening()).unwrap_err();
        assert_eq!(refused.kind(), IoErrorKind::Invalid);
        let refused = scope.adopt(connection.take().unwrap()).unwrap_err();
        assert_eq!(refused.kind(), IoErrorKind::Invalid);
        let listener = scope.listen(Addr::Tcp(([127, 0, 0, 1], 7).into()))?;
        let refused = scope.accept(&listener).unwrap_err();
        assert_eq!(refused.kind(), IoErrorKind::Invalid);
        scope.leave_file(&listener);
        said.set(true);
        done()
    });
    sim.spawn::<Noting, Noting>(&on, machine).unwrap();
    assert_eq!(sim.run(ms(1000)), Ended::Over);
    assert!(answered.get());
    assert_eq!(sim.stats(&on).panics, 0);
    assert_eq!(drain(&mut stream), b"", "closed when it was refused");
}

/// `Detached` is a descriptor until it is adopted.
#[test]
fn u21_a_detached_connection_can_be_looked_at() {
    let _dog = watchdog();
    let (connection, mut stream) = accepted(1).pop().unwrap();
    let own = TcpStream::from(connection.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(own.peer_addr().unwrap(), stream.local_addr().unwrap());
    drop(own);
    assert!(is_quiet(&mut stream));
    drop(connection);
    assert_eq!(drain(&mut stream), b"");
}

//! R5: handles of machines, connections that nobody opened yet, flow control.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{IoErrorKind, Op};
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;

/// A loop on this thread with one listener, whose machine hands each connection to `serve`; a client on another.
/// Ends when the client's function has returned.
fn served<T: Send + 'static>(
    config: Config,
    mut serve: impl FnMut(Incoming, &mut NotingScope<'_>) -> Result<()> + 'static,
    talk: impl FnOnce(std::net::SocketAddr) -> T + Send + 'static,
) -> (T, Loop<Noting>) {
    let mut main_loop = noting(config);
    let handle = main_loop.handle();
    let (at, listening) = mpsc::channel();
    let talker: JoinHandle<T> = std::thread::spawn(move || {
        let to = listening.recv_timeout(patience()).unwrap();
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| talk(to)));
        handle.shutdown(ms(0));
        told.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    });
    let mut held = Vec::new();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let opened = scope.listen(any_port())?;
                at.send(tcp_addr(scope.listening_at(&opened)?))?;
                held.push(opened);
                stay()
            }
            On::Io(Io::Incoming(incoming), _) => {
                serve(incoming, scope)?;
                stay()
            }
            _ => done(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    let told = talker.join().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    (told, main_loop)
}

/// A connection of one's own machine: what happens on it goes to `script`, with its socket.
fn connection(
    incoming: Incoming,
    mut script: impl FnMut(
        On<'_, u32>,
        &mut Option<Socket>,
        &mut NotingScope<'_>,
    ) -> Result<Response<()>>
    + 'static,
) -> Script<Vec<String>, u32> {
    let (mut incoming, mut socket) = (Some(incoming), None);
    act(move |on, scope: &mut NotingScope<'_>| {
        if let Some(incoming) = incoming.take() {
            socket = Some(scope.open(incoming)?);
        }
        script(on, &mut socket, scope)
    })
}

fn note(scope: &mut NotingScope<'_>, line: impl Into<String>) {
    scope.ctx.push(line.into());
}

#[test]
fn r5_an_incoming_that_nobody_opens_is_closed() {
    let _dog = watchdog();
    let (answer, main_loop) = served(
        Config::default(),
        |incoming, _| {
            drop(incoming);
            Ok(())
        },
        |to| drain(&mut client(to)),
    );
    assert_eq!(answer, b"");
    assert_eq!(main_loop.stats().sockets, 0);
}

/// It waits in a seed, or anywhere, without losing what the peer sends meanwhile.
#[test]
fn r5_an_incoming_is_ownerless_until_it_is_opened() {
    let _dog = watchdog();
    let (answer, mut main_loop) = served(
        Config::default(),
        |incoming, scope| {
            let mut seed = Some(connection(incoming, |on, socket, scope| match on {
                On::Create => {
                    note(scope, "opened");
                    stay()
                }
                On::Io(Io::Read(bytes), on) => {
                    let socket = socket.as_ref().unwrap();
                    assert_eq!(on, socket.id());
                    scope.write(socket, &bytes)?;
                    stay()
                }
                On::Io(Io::Eof, _) => {
                    note(scope, "eof");
                    done()
                }
                _ => done(),
            }));
            scope.spawn(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    note(scope, "waits");
                    after(ms(30))
                }
                _ => {
                    scope.spawn(seed.take().unwrap())?;
                    done()
                }
            }))?;
            Ok(())
        },
        |to| {
            let mut stream = client(to);
            stream.write_all(b"early ").unwrap();
            let echoed = round_trip(&mut stream, b"bird");
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            [echoed, drain(&mut stream)].concat()
        },
    );
    assert_eq!(answer, b"early bird");
    assert_eq!(notes(&mut main_loop), ["waits", "opened", "eof"]);
}

#[test]
fn r5_a_machine_may_own_several_handles_and_every_event_names_its_own() {
    let _dog = watchdog();
    let servers: Vec<_> = (0..3)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let targets: Vec<_> = servers.iter().map(|s| s.local_addr().unwrap()).collect();
    let peers = std::thread::spawn(move || {
        let mut streams: Vec<_> = servers.iter().map(|s| s.accept().unwrap().0).collect();
        for at in [2, 0, 1] {
            streams[at].write_all(&[at as u8]).unwrap();
            // Its turn: the next only speaks when this one was heard.
            assert_eq!(streams[at].read(&mut [0; 8]).unwrap(), 1);
        }
    });
    let mut main_loop = noting(Config::default());
    let mut sockets: Vec<Socket> = Vec::new();
    let mut heard = 0;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for to in &targets {
                    sockets.push(scope.connect(Addr::Tcp(*to))?);
                }
                stay()
            }
            On::Io(Io::Read(bytes), on) => {
                assert_eq!(sockets[bytes[0] as usize].id(), on);
                note(scope, bytes[0].to_string());
                scope.write(&sockets[bytes[0] as usize], b"!")?;
                heard += 1;
                if heard == 3 { done() } else { stay() }
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    peers.join().unwrap();
    assert_eq!(notes(&mut main_loop), ["2", "0", "1"]);
    assert_eq!(main_loop.stats().sockets, 0);
}

/// Handles close with their machine, however it ends; output that was accepted before has left.
#[test]
fn r5_nothing_of_a_machine_outlives_it() {
    let _dog = watchdog();
    for way in 0..2 {
        let (answer, main_loop) = served(
            Config::default(),
            move |incoming, scope| {
                scope.spawn(connection(incoming, move |on, socket, scope| match on {
                    On::Io(Io::Read(_), _) => {
                        scope.write(socket.as_ref().unwrap(), b"last words")?;
                        match way {
                            0 => done(),
                            _ => Err(Error::msg("failed")),
                        }
                    }
                    _ => stay(),
                }))?;
                Ok(())
            },
            |to| {
                let mut stream = client(to);
                stream.write_all(b"x").unwrap();
                drain(&mut stream)
            },
        );
        assert_eq!(answer, b"last words");
        assert_eq!(main_loop.stats().sockets, 0);
    }
}

#[test]
fn r5_a_write_is_taken_whole_or_fails_at_the_limit() {
    let _dog = watchdog();
    let config = Config {
        output_bytes_max: 1000,
        ..Config::default()
    };
    let (answer, _) = served(
        config,
        |incoming, scope| {
            scope.spawn(connection(incoming, |on, socket, scope| {
                let On::Create = on else { return done() };
                let socket = socket.as_ref().unwrap();
                let refused = scope.write(socket, &[1; 1001]).unwrap_err();
                assert_eq!(refused.kind(), IoErrorKind::Limit);
                assert_eq!(scope.queued(socket), 0);
                scope.write(socket, &[2; 999])?;
                assert!(scope.write(socket, &[3; 2]).is_err());
                scope.write(socket, &[4; 1])?;
                assert_eq!(scope.queued(socket), 1000);
                assert!(scope.write(socket, &[5; 1]).is_err());
                done()
            }))?;
            Ok(())
        },
        |to| drain(&mut client(to)),
    );
    assert_eq!(answer, [[2; 999].as_slice(), &[4]].concat());
}

/// The limit is on what waits, not on a stream's life: `Flushed` tells when there is room.
#[test]
fn r5_flow_control_moves_more_than_fits_anywhere() {
    let _dog = watchdog();
    const PIECE: usize = 40_000;
    let pieces = sized(500, 60);
    let config = Config {
        output_bytes_max: 2 * PIECE,
        ..Config::default()
    };
    let (sum, main_loop) = served(
        config,
        move |incoming, scope| {
            let mut left = pieces;
            scope.spawn(connection(incoming, move |on, socket, scope| {
                if let On::Io(Io::Eof, _) = on {
                    return done();
                }
                let flushed = matches!(on, On::Io(Io::Flushed, _));
                assert!(flushed || matches!(on, On::Create | On::Io(Io::ShutDown, _)));
                let open = socket.as_ref().unwrap();
                if flushed && scope.queued(open) == 0 {
                    note(scope, "room again");
                }
                while left > 0 && scope.queued(open) + PIECE <= 2 * PIECE {
                    scope.write(open, &[(left % 251) as u8; PIECE])?;
                    left -= 1;
                    if left == 0 {
                        scope.shutdown_write(open)?;
                    }
                }
                stay()
            }))?;
            Ok(())
        },
        |to| {
            let mut stream = client(to);
            std::thread::sleep(ms(20));
            let all = drain(&mut stream);
            (all.len(), all.iter().map(|&b| u64::from(b)).sum::<u64>())
        },
    );
    let expected: u64 = (1..=pieces as u64).map(|n| n % 251 * PIECE as u64).sum();
    assert_eq!(sum, (pieces * PIECE, expected));
    drop(main_loop);
}

/// All output leaves, then FIN; the other direction stays open; later writes are refused by name.
#[test]
fn r5_shutdown_write_sends_everything_first() {
    let _dog = watchdog();
    let (answer, mut main_loop) = served(
        Config::default(),
        |incoming, scope| {
            scope.spawn(connection(incoming, |on, socket, scope| match on {
                On::Create => {
                    let socket = socket.as_ref().unwrap();
                    scope.write(socket, &[9; 3_000_000])?;
                    scope.shutdown_write(socket)?;
                    scope.shutdown_write(socket)?;
                    let refused = scope.write(socket, b"more").unwrap_err();
                    assert_eq!(refused.kind(), IoErrorKind::ShutDown);
                    stay()
                }
                On::Io(Io::ShutDown, _) => {
                    note(scope, "shut down");
                    stay()
                }
                On::Io(Io::Read(bytes), _) => {
                    note(scope, format!("read {}", bytes.len()));
                    stay()
                }
                On::Io(Io::Eof, _) => done(),
                _ => stay(),
            }))?;
            Ok(())
        },
        |to| {
            let mut stream = client(to);
            std::thread::sleep(ms(10));
            let all = drain(&mut stream);
            stream.write_all(b"still here").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            // Closed by the machine's end.
            let _ = stream.read(&mut [0; 1]);
            all.len()
        },
    );
    assert_eq!(answer, 3_000_000);
    assert_eq!(notes(&mut main_loop), ["shut down", "read 10"]);
}

#[test]
fn r5_abort_resets_the_connection() {
    let _dog = watchdog();
    let (error, main_loop) = served(
        Config::default(),
        |incoming, scope| {
            scope.spawn(connection(incoming, |on, socket, scope| match on {
                On::Io(Io::Read(_), _) => {
                    let socket = socket.take().unwrap();
                    scope.write(&socket, b"never sent")?;
                    scope.abort(socket);
                    after(ms(5))
                }
                On::Timeout => done(),
                On::Create => stay(),
                on => panic!("after the abort: {on:?}"),
            }))?;
            Ok(())
        },
        |to| {
            let mut stream = client(to);
            stream.write_all(b"x").unwrap();
            let error = stream.read(&mut [0; 16]).unwrap_err().kind();
            std::thread::sleep(ms(20));
            error
        },
    );
    assert_eq!(error, std::io::ErrorKind::ConnectionReset);
    assert_eq!(main_loop.stats().sockets, 0);
}

#[test]
fn r5_a_paused_stream_reads_nothing_until_it_is_resumed() {
    let _dog = watchdog();
    let paused = Rc::new(Cell::new(true));
    let seen = paused.clone();
    let (_, mut main_loop) = served(
        Config::default(),
        move |incoming, scope| {
            let paused = seen.clone();
            scope.spawn(connection(incoming, move |on, socket, scope| match on {
                On::Create => {
                    scope.pause(socket.as_ref().unwrap());
                    after(ms(40))
                }
                On::Timeout => {
                    note(scope, "resumed");
                    paused.set(false);
                    scope.resume(socket.as_ref().unwrap());
                    stay()
                }
                On::Io(Io::Read(bytes), _) => {
                    assert!(!paused.get(), "read while paused");
                    note(scope, String::from_utf8_lossy(&bytes));
                    scope.write(socket.as_ref().unwrap(), &bytes)?;
                    stay()
                }
                _ => done(),
            }))?;
            Ok(())
        },
        |to| round_trip(&mut client(to), b"hello"),
    );
    assert_eq!(notes(&mut main_loop)[..2], ["resumed", "hello"]);
}

/// What fails out there is an event; it names what was being done.
#[test]
fn r5_r10_a_refused_connection_is_an_event() {
    let _dog = watchdog();
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let mut main_loop = noting(Config::default());
    for to in [
        Addr::Tcp(refused),
        Addr::Unix("/nowhere/at/all".into()),
        Addr::Tcp(([255, 255, 255, 255], 1).into()),
    ] {
        let mut socket = None;
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    let opened = scope.connect(to.clone())?;
                    // Written in vain, but without harm.
                    scope.write(&opened, b"hello")?;
                    socket = Some(opened);
                    stay()
                }
                On::Io(Io::Failed(error), on) if error.op() == Op::Connect => {
                    assert_eq!(on, socket.as_ref().unwrap().id());
                    note(scope, "failed");
                    done()
                }
                // The write's own failure.
                On::Io(Io::Failed(_), _) => stay(),
                on => panic!("{on:?}"),
            }))
            .unwrap();
    }
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(notes(&mut main_loop), ["failed"; 3]);
    assert_eq!(main_loop.stats().sockets, 0);
}

/// What is written, and even an end that is wished for, before the connection stands, follows when it does.
#[test]
fn r5_output_may_be_written_before_the_connection_stands() {
    let _dog = watchdog();
    let path = std::env::temp_dir().join(format!("rotor-early-{}", std::process::id()));
    let unix = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = [
        Addr::Tcp(tcp.local_addr().unwrap()),
        Addr::Unix(path.clone()),
    ];
    let peers = std::thread::spawn(move || {
        let mut text = [String::new(), String::new()];
        tcp.accept()
            .unwrap()
            .0
            .read_to_string(&mut text[0])
            .unwrap();
        unix.accept()
            .unwrap()
            .0
            .read_to_string(&mut text[1])
            .unwrap();
        text
    });
    let mut main_loop = noting(Config::default());
    for to in to {
        let mut held = Vec::new();
        main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Create => {
                    let opened = scope.connect(to.clone())?;
                    scope.write(&opened, b"early ")?;
                    scope.write(&opened, b"and whole")?;
                    scope.shutdown_write(&opened)?;
                    held.push(opened);
                    stay()
                }
                On::Io(Io::ShutDown, _) => {
                    note(scope, "shut down");
                    stay()
                }
                On::Io(Io::Eof, _) => done(),
                On::Io(Io::Failed(error), _) => Err(error.into()),
                _ => stay(),
            }))
            .unwrap();
    }
    main_loop.run().unwrap();
    let _ = std::fs::remove_file(path);
    assert_eq!(peers.join().unwrap(), ["early and whole"; 2]);
    assert_eq!(notes(&mut main_loop), ["shut down"; 2]);
}

/// A stream changes its machine: bytes that come meanwhile reach the new one, none reaches the old.
#[test]
fn r5_a_stream_can_be_handed_over() {
    let _dog = watchdog();
    let (answer, mut main_loop) = served(
        Config::default(),
        |incoming, scope| {
            scope.spawn(connection(incoming, |on, socket, scope| match on {
                On::Io(Io::Read(bytes), _) => {
                    note(scope, format!("first {}", bytes[0]));
                    let socket = socket.take().unwrap();
                    scope.write(&socket, b"handed over")?;
                    let incoming = scope.hand_over(socket)?;
                    scope.spawn(connection(incoming, |on, socket, scope| match on {
                        On::Io(Io::Read(bytes), _) => {
                            note(scope, format!("second {}", bytes[0]));
                            scope.write(socket.as_ref().unwrap(), b", served")?;
                            done()
                        }
                        _ => stay(),
                    }))?;
                    done()
                }
                _ => stay(),
            }))?;
            Ok(())
        },
        |to| {
            let mut stream = client(to);
            stream.write_all(&[1]).unwrap();
            let mut answer = [0; 11];
            stream.read_exact(&mut answer).unwrap();
            stream.write_all(&[2]).unwrap();
            [answer.to_vec(), drain(&mut stream)].concat()
        },
    );
    assert_eq!(answer, b"handed over, served");
    assert_eq!(notes(&mut main_loop), ["first 1", "second 2"]);
}

/// What a handler keeps of what it read stays, on any thread, after the machine, its stream and its loop.
#[test]
fn r5_kept_bytes_outlive_the_read() {
    let _dog = watchdog();
    let kept: Rc<RefCell<Vec<rotor_fsm::Chunk>>> = Rc::default();
    let shelf = kept.clone();
    let (_, main_loop) = served(
        Config::default(),
        move |incoming, scope| {
            let shelf = shelf.clone();
            scope.spawn(connection(incoming, move |on, socket, scope| match on {
                On::Io(Io::Read(bytes), _) => {
                    shelf.borrow_mut().push(bytes.keep(..)?);
                    scope.write(socket.as_ref().unwrap(), &bytes)?;
                    stay()
                }
                On::Io(Io::Eof, _) => done(),
                _ => stay(),
            }))?;
            Ok(())
        },
        |to| {
            let mut stream = client(to);
            for n in 0..50u8 {
                round_trip(&mut stream, &[n; 7]);
            }
        },
    );
    drop(main_loop);
    let chunks = kept.take();
    let all = std::thread::spawn(move || {
        let chunks: Vec<_> = chunks.iter().map(|chunk| chunk.to_vec()).collect();
        chunks.concat()
    });
    let expected: Vec<u8> = (0..50u8).flat_map(|n| [n; 7]).collect();
    assert_eq!(all.join().unwrap(), expected);
}

#[test]
fn r5_sockets_answer_after_their_end() {
    let _dog = watchdog();
    let (_, main_loop) = served(
        Config::default(),
        |incoming, scope| {
            scope.spawn(connection(incoming, |on, socket, scope| {
                let On::Io(Io::Read(_), _) = on else {
                    return stay();
                };
                let socket = socket.as_ref().unwrap();
                assert!(scope.peer_addr(socket).is_ok() && scope.local_addr(socket).is_ok());
                scope.set_nodelay(socket, true)?;
                scope.set_keepalive(socket, Some(ms(60_000)))?;
                scope.set_send_buffer(socket, 16_384)?;
                scope.set_receive_buffer(socket, 16_384)?;
                scope.write(socket, b"k")?;
                done()
            }))?;
            Ok(())
        },
        |to| round_trip(&mut client(to), b"x"),
    );
    assert_eq!(main_loop.stats().sockets, 0);
}

/// One drain writes to three streams in turn; the first of them goes in the middle of it. Each gets its own bytes, in
/// order, and what was written to the one that went is either sent to it or nobody.
#[test]
fn r5_the_outputs_of_streams_do_not_mix() {
    let _dog = watchdog();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Addr::Tcp(server.local_addr().unwrap());
    const ROUNDS: u32 = 200;
    let peers = std::thread::spawn(move || {
        let streams: Vec<_> = (0..3).map(|_| server.accept().unwrap().0).collect();
        let readers = streams.into_iter().map(|mut stream| {
            stream.set_read_timeout(Some(patience())).unwrap();
            std::thread::spawn(move || drain(&mut stream))
        });
        let readers: Vec<_> = readers.collect();
        let all = readers.into_iter().map(|reader| reader.join().unwrap());
        all.collect::<Vec<_>>()
    });
    let mut main_loop = noting(Config::default());
    let (mut sockets, mut connected) = (Vec::new(), 0);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for _ in 0..3 {
                    sockets.push(Some(scope.connect(to.clone())?));
                }
                stay()
            }
            On::Io(Io::Connected, _) => {
                connected += 1;
                for n in 0..if connected == 3 { ROUNDS } else { 0 } {
                    scope.notifier().send(n)?;
                }
                stay()
            }
            On::Message(n) => {
                if n == 50 {
                    // Dropped with output of this dispatch before it; the others follow in the same one.
                    sockets[0] = None;
                }
                if n == 100 {
                    scope.abort(sockets[1].take().unwrap());
                }
                for (which, socket) in sockets.iter().enumerate() {
                    if let Some(socket) = socket {
                        // Large enough, together, that not all of it leaves at once.
                        scope.write(socket, &[n as u8 ^ which as u8; 30_000])?;
                    }
                }
                if n == ROUNDS - 1 { done() } else { stay() }
            }
            On::Io(Io::Flushed | Io::Eof, _) => stay(),
            on => panic!("{on:?}"),
        }))
        .unwrap();
    // The last stream's rest leaves while another machine keeps the loop.
    main_loop
        .spawn::<Noting>({
            let mut peers = Some(peers);
            act(move |_, scope: &mut NotingScope<'_>| {
                if !peers.as_ref().unwrap().is_finished() {
                    return after(ms(1));
                }
                for (which, bytes) in peers.take().unwrap().join().unwrap().iter().enumerate() {
                    let right = bytes
                        .iter()
                        .enumerate()
                        .all(|(at, &byte)| byte == (at / 30_000) as u8 ^ which as u8);
                    assert!(right, "stream {which} got another's bytes");
                    note(scope, (bytes.len() / 30_000).to_string());
                }
                done()
            })
        })
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    let rounds: Vec<u32> = notes(&mut main_loop)
        .iter()
        .map(|n| n.parse().unwrap())
        .collect();
    assert!(rounds.iter().all(|&n| n <= ROUNDS));
    assert!(rounds.contains(&50), "{rounds:?}");
}

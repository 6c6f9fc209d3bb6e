//! R16 and R15: what a turn does, in which order, and what a dispatch costs.

use crate::common::*;
use rotor_fsm::Op;
use rotor_fsm::prelude::*;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// How many segments with data this side has received: with `TCP_NODELAY` on the other, one for each small write.
fn data_segments_in(stream: &TcpStream) -> u32 {
    // `tcpi_data_segs_in` of Linux's `struct tcp_info` (include/uapi/linux/tcp.h).
    const OFFSET: usize = 152;
    let mut info = [0u8; 256];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the buffer is live and as long as `len` says.
    let failed = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &mut len,
        )
    };
    assert_eq!(failed, 0);
    assert!(len as usize >= OFFSET + 4, "a kernel before 4.6");
    u32::from_ne_bytes(info[OFFSET..OFFSET + 4].try_into().unwrap())
}

/// A machine with a connection to `server`'s accepted side, which goes to `peer`.
fn pair(server: TcpListener) -> (Addr, std::thread::JoinHandle<TcpStream>) {
    let to = Addr::Tcp(server.local_addr().unwrap());
    let accept = std::thread::spawn(move || {
        let (stream, _) = server.accept().unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        stream
    });
    (to, accept)
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A hundred writes in one handler, and then a hundred in as many handlers of one drain: a segment each.
#[test]
fn r16_all_output_of_a_dispatch_leaves_in_one_write() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let (to, peer) = pair(listener());
    let mut socket = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                socket = Some(scope.connect(to.clone())?);
                stay()
            }
            On::Io(Io::Connected, _) => {
                let socket = socket.as_ref().unwrap();
                scope.set_nodelay(socket, true)?;
                for n in 0..100 {
                    scope.write(socket, &[n])?;
                }
                after(ms(20))
            }
            On::Timeout => {
                // All of these are delivered in one drain.
                let me = scope.notifier();
                for n in 0..100 {
                    me.send(n)?;
                }
                stay()
            }
            On::Message(n) => {
                scope.write(socket.as_ref().unwrap(), &[n as u8])?;
                if n == 99 { done() } else { stay() }
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    let mut peer = peer.join().unwrap();
    let expected: Vec<u8> = (0..100).chain(0..100).collect();
    assert_eq!(drain(&mut peer), expected);
    assert_eq!(data_segments_in(&peer), 2);
}

/// Output leaves at the end of the dispatch, not in the call; and it leaves before a dropped handle closes.
#[test]
fn r16_effects_take_place_when_the_dispatch_ends() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let server = listener();
    let to = Addr::Tcp(server.local_addr().unwrap());
    let (mut socket, mut peer) = (None, None);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                socket = Some(scope.connect(to.clone())?);
                stay()
            }
            On::Io(Io::Connected, _) => {
                let mut accepted = server.accept()?.0;
                let socket = socket.take().unwrap();
                scope.write(&socket, b"first this")?;
                drop(socket);
                assert!(
                    is_quiet(&mut accepted),
                    "written, or closed, in the handler"
                );
                peer = Some(accepted);
                after(ms(1))
            }
            On::Timeout => {
                let all = drain(peer.as_mut().unwrap());
                scope.ctx.push(String::from_utf8(all)?);
                done()
            }
            on => panic!("of a dropped handle: {on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(notes(&mut main_loop), ["first this"]);
}

/// Who looked at a queue that was not empty hears when it is; who did not, does not.
#[test]
fn r16_flushed_follows_for_those_who_asked() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let (to, peer) = pair(listener());
    let mut socket = None;
    let mut ticks = 0;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                socket = Some(scope.connect(to.clone())?);
                stay()
            }
            On::Io(Io::Connected, _) => {
                assert_eq!(scope.queued(socket.as_ref().unwrap()), 0);
                after(ms(1))
            }
            On::Io(Io::Flushed, _) => {
                scope.ctx.push("flushed".into());
                stay()
            }
            On::Timeout => {
                ticks += 1;
                let socket = socket.as_ref().unwrap();
                match ticks {
                    1 => {
                        scope.ctx.push("unasked".into());
                        scope.write(socket, b"a")?;
                    }
                    2 => {
                        scope.ctx.push("asked".into());
                        scope.write(socket, b"b")?;
                        assert_eq!(scope.queued(socket), 1);
                    }
                    3 => {
                        scope.ctx.push("asked an empty one".into());
                        assert_eq!(scope.queued(socket), 0);
                    }
                    _ => return done(),
                }
                after(ms(10))
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(
        notes(&mut main_loop),
        ["unasked", "asked", "flushed", "asked an empty one"]
    );
    assert_eq!(drain(&mut peer.join().unwrap()), b"ab");
}

/// A write that fails is an event of a later dispatch, once, and never arrives inside a handler.
#[test]
fn r16_errors_of_effects_are_events_and_never_recursive() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let server = listener();
    let to = Addr::Tcp(server.local_addr().unwrap());
    let inside = Rc::new(Cell::new(false));
    let (mut socket, mut peer, mut failures) = (None, None, 0);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            assert!(!inside.replace(true), "a handler inside a handler");
            let answer = match on {
                On::Create => {
                    socket = Some(scope.connect(to.clone())?);
                    stay()
                }
                On::Io(Io::Connected, _) => {
                    // Reading is off, so that only the write can notice that the peer has gone.
                    scope.pause(socket.as_ref().unwrap());
                    scope.write(socket.as_ref().unwrap(), b"unread")?;
                    peer = Some(server.accept()?.0);
                    after(ms(10))
                }
                On::Timeout if peer.is_some() => {
                    // It closes with unread bytes, which resets the connection.
                    drop(peer.take());
                    after(ms(10))
                }
                On::Timeout if failures == 0 => {
                    scope.write(socket.as_ref().unwrap(), b"into the void")?;
                    after(ms(20))
                }
                On::Io(Io::Failed(error), _) => {
                    assert_eq!(error.op(), Op::Write);
                    failures += 1;
                    let refused = scope.write(socket.as_ref().unwrap(), b"more");
                    assert_eq!(refused.unwrap_err().kind(), rotor_fsm::IoErrorKind::Closed);
                    after(ms(10))
                }
                On::Timeout => {
                    scope.ctx.push(format!("{failures} failure"));
                    done()
                }
                on => panic!("{on:?}"),
            };
            inside.set(false);
            answer
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(notes(&mut main_loop), ["1 failure"]);
}

/// `again` comes in a later turn, and lets others in between.
#[test]
fn r16_again_comes_next_turn() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let (to, _peer) = pair(listener());
    let mut socket = None;
    let mut left = 3;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Io(Io::Connected | Io::Again, _) if left > 0 => {
                left -= 1;
                scope.ctx.push(format!("again {left}"));
                scope.again(socket.as_ref().unwrap());
                scope.notifier().send(left)?;
                stay()
            }
            On::Io(Io::Again, _) => done(),
            On::Create => {
                socket = Some(scope.connect(to.clone())?);
                stay()
            }
            On::Message(n) => {
                scope.ctx.push(format!("message {n}"));
                stay()
            }
            on => panic!("{on:?}"),
        }))
        .unwrap();
    main_loop.run().unwrap();
    let lines = notes(&mut main_loop);
    let place = |line: &str| lines.iter().position(|l| l == line).unwrap();
    // Each `again` waits for a turn of its own, in which the messages are delivered too.
    assert!(place("again 2") < place("message 2") && place("message 2") < place("again 0"));
}

/// Messages come before deadlines: one that is moved by a message of the same turn does not fire.
#[test]
fn r16_a_timeout_fires_only_if_still_due_when_it_is_reached() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let moved = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Create => after(ms(10)),
            On::Message(_) => {
                scope.ctx.push("moved".into());
                after(ms(30))
            }
            _ => {
                scope.ctx.push("fired".into());
                done()
            }
        }))
        .unwrap();
    main_loop
        .spawn::<Noting>(act(move |_, _: &mut NotingScope<'_>| {
            moved.send(0)?;
            let begun = Instant::now();
            while begun.elapsed() < ms(15) {}
            done()
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop), ["moved", "fired"]);
}

/// The turn's time stands still within a turn, and goes on between turns.
#[test]
fn r16_the_clock_is_read_once_a_turn() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let mut last = Time::ZERO;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| {
            let now = scope.now();
            let begun = Instant::now();
            while begun.elapsed() < ms(2) {}
            assert_eq!(scope.now(), now, "read twice");
            assert!(now > last);
            last = now;
            match on {
                On::Message(0) => done(),
                On::Message(n) => {
                    scope.notifier().send(n - 1)?;
                    stay()
                }
                _ => {
                    scope.notifier().send(3)?;
                    stay()
                }
            }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
}

/// What a bound left over goes on next turn: the loop does not sleep on it, and needs nobody to wake it.
#[test]
fn r16_leftovers_go_on_without_a_wakeup() {
    let _dog = watchdog();
    let config = Config {
        messages_per_turn: 1,
        creates_per_turn: 1,
        timeouts_per_turn: 1,
        ..Config::default()
    };
    let mut main_loop = noting(config);
    for _ in 0..100 {
        let machine = main_loop
            .spawn::<Noting>(act(|on, _: &mut NotingScope<'_>| match on {
                On::Message(_) => after(Duration::ZERO),
                On::Timeout => done(),
                _ => stay(),
            }))
            .unwrap();
        machine.send(1).unwrap();
    }
    let begun = Instant::now();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().ended, 100);
    assert_eq!(main_loop.handle().messages().wakes, 0);
    // Asleep it would wait for good, or for a timer; a loose bound that only a loop that sleeps would miss.
    assert!(begun.elapsed() < patience() / 2);
}

/// A question and its answer, over and over, to a loop on another thread that has nothing else to do.
fn ask_a_waiting_loop(busy_poll: Duration, questions: u32) -> u64 {
    let config = Config {
        busy_poll,
        ..Config::default()
    };
    let (tell, told) = std::sync::mpsc::channel();
    type Answering = Act<(), u32>;
    let thread = LoopThread::<Answering>::spawn(config, |_| Ok(())).unwrap();
    let machine = thread
        .spawn_with::<Answering>(|| {
            act(move |on, _: &mut Scope<'_, Answering>| {
                if let On::Message(n) = on {
                    tell.send(n)?;
                }
                stay()
            })
        })
        .wait()
        .unwrap();
    let before = thread.messages().wakes;
    for n in 0..questions {
        machine.send(n).unwrap();
        assert_eq!(told.recv_timeout(patience()).unwrap(), n);
        if n % 100 == 0 {
            // Time to fall asleep, for a loop that does.
            std::thread::sleep(ms(5));
        }
    }
    thread.messages().wakes - before
}

/// R15: a loop that polls is never asleep, so messages cost no eventfd write.
#[test]
fn r15_a_busy_polling_loop_needs_no_waking() {
    let _dog = watchdog();
    assert_eq!(ask_a_waiting_loop(Duration::from_secs(3600), 500), 0);
}

#[test]
fn r15_busy_polling_is_off_by_default() {
    let _dog = watchdog();
    assert!(Config::default().busy_poll.is_zero());
    assert!(ask_a_waiting_loop(Duration::ZERO, 300) >= 1);
}

/// After its while the loop sleeps again.
#[test]
fn r15_busy_polling_ends() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        busy_poll: ms(10),
        ..Config::default()
    });
    main_loop
        .spawn::<Noting>(act(|on, _: &mut NotingScope<'_>| match on {
            On::Create => after(ms(sized(500, 3000) as u64)),
            _ => done(),
        }))
        .unwrap();
    let cpu = thread_cpu();
    main_loop.run().unwrap();
    assert!(
        thread_cpu() - cpu < ms(sized(250, 1500) as u64),
        "the loop never slept"
    );
}

/// A busy-polling loop still serves its sockets.
#[test]
fn r15_a_busy_polling_loop_polls_sockets() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        busy_poll: Duration::from_secs(3600),
        ..Config::default()
    });
    let (to, peer) = pair(listener());
    let talker = std::thread::spawn(move || {
        let mut peer = peer.join().unwrap();
        for n in 0..20 {
            peer.write_all(&[n]).unwrap();
            peer.read_exact(&mut [0]).unwrap();
        }
    });
    let mut socket = None;
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                socket = Some(scope.connect(to.clone())?);
                stay()
            }
            On::Io(Io::Read(bytes), _) => {
                scope.write(socket.as_ref().unwrap(), &bytes)?;
                stay()
            }
            On::Io(Io::Eof, _) => done(),
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    talker.join().unwrap();
    assert_eq!(main_loop.handle().messages().wakes, 0);
}

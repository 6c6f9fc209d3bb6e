//! R11: every limit is reached with a clear answer, and what is beyond it goes on when there is room again.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{ErrorKind, IoErrorKind, PoolConfig, SpawnError};
use std::io::{Read, Write};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};

/// A thousand machines want a place among ten, one after the other; all get one.
#[test]
fn r11_a_full_machine_table_has_room_again() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        machines_max: 11,
        ..Config::default()
    });
    let mut left = 1000;
    main_loop
        .spawn::<Noting>(act(move |_, scope: &mut NotingScope<'_>| {
            let mut spawned = 0;
            while left > 0 {
                let short = act(|on, _: &mut NotingScope<'_>| match on {
                    On::Create => after(ms(0)),
                    _ => done(),
                });
                match scope.spawn(short) {
                    Ok(_) => spawned += 1,
                    Err(full) => {
                        assert_eq!(spawned, 10);
                        let error: Error = full.into();
                        assert_eq!(error.kind(), Some(ErrorKind::Full));
                        break;
                    }
                }
                left -= 1;
            }
            if left == 0 { done() } else { after(ms(2)) }
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().ended, 1001);
    assert_eq!(main_loop.stats().panics, 0);
}

/// Above the limit of streams, connections wait in the kernel, connects are refused by name, and both go on later.
#[test]
fn r11_above_the_limit_of_sockets_listeners_wait() {
    let _dog = watchdog();
    let clients = 12;
    let mut main_loop = noting(Config {
        sockets_max: 3,
        ..Config::default()
    });
    let (at, listening) = mpsc::channel();
    let handle = main_loop.handle();
    let talker = std::thread::spawn(move || {
        let to = listening.recv_timeout(patience()).unwrap();
        let mut streams: Vec<_> = (0..clients).map(|_| client(to)).collect();
        // The first three are served; the others, one for each that ends.
        for stream in &mut streams {
            assert_eq!(round_trip(stream, b"hi"), b"hi");
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            drain(stream);
        }
        handle.shutdown(ms(0));
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
                let (mut incoming, mut socket) = (Some(incoming), None);
                scope.spawn(act(move |on, scope: &mut NotingScope<'_>| match on {
                    On::Create => {
                        socket = Some(scope.open(incoming.take().unwrap())?);
                        stay()
                    }
                    On::Io(Io::Read(bytes), _) => {
                        if let Err(error) = scope.connect(any_port()) {
                            assert_eq!(error.kind(), IoErrorKind::Limit);
                            scope.ctx.push("refused".into());
                        }
                        scope.write(socket.as_ref().unwrap(), &bytes)?;
                        stay()
                    }
                    _ => done(),
                }))?;
                stay()
            }
            _ => done(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    talker.join().unwrap();
    let stats = main_loop.stats();
    assert_eq!((stats.panics, stats.sockets), (0, 0));
    assert!(stats.accepts_paused >= 1);
    assert!(!notes(&mut main_loop).is_empty());
}

/// The pool is out of blocks and may not overflow any more: keeping fails by name, reading never stops.
#[test]
fn r11_an_exhausted_pool_refuses_to_keep_and_goes_on_reading() {
    let _dog = watchdog();
    const PIECE: usize = 3000;
    let pool = PoolConfig {
        block_bytes: 4096,
        blocks_max: 4,
        chunk_blocks: 2,
        overflow_bytes_max: 5 * PIECE,
        ..PoolConfig::default()
    };
    let mut main_loop = noting(Config {
        pool,
        ..Config::default()
    });
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Addr::Tcp(server.local_addr().unwrap());
    let rounds = 100;
    let talker = std::thread::spawn(move || {
        let mut stream = server.accept().unwrap().0;
        stream.set_read_timeout(Some(patience())).unwrap();
        for n in 0..rounds {
            stream.write_all(&[n as u8; PIECE]).unwrap();
            let mut answers = [0; 1];
            stream.read_exact(&mut answers).unwrap();
        }
    });
    let (mut socket, mut kept, mut got, mut refused) = (None, Vec::new(), 0, 0);
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                socket = Some(scope.connect(to.clone())?);
                stay()
            }
            On::Io(Io::Read(bytes), _) => {
                match bytes.keep(..) {
                    Ok(chunk) => kept.push(chunk),
                    Err(error) => {
                        refused += 1;
                        // The error that `?` would hand on says what is out.
                        let error: Error = error.into();
                        assert!(!error.to_string().is_empty());
                        if refused == 10 {
                            kept.clear();
                        }
                    }
                }
                got += bytes.len();
                if got.is_multiple_of(PIECE) {
                    scope.write(socket.as_ref().unwrap(), b".")?;
                }
                stay()
            }
            On::Io(Io::Eof, _) => {
                scope.ctx.push(format!("{got} bytes"));
                assert!(refused >= 10, "never out of room");
                assert!(!kept.is_empty(), "no room after all were given back");
                done()
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    talker.join().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(notes(&mut main_loop), [format!("{} bytes", rounds * PIECE)]);
}

/// A gate that jobs of the thread pool wait at.
#[derive(Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    pub fn pass(&self) {
        let (open, bell) = &*self.0;
        let open = open.lock().unwrap();
        let (_open, waited) = bell
            .wait_timeout_while(open, patience(), |open| !*open)
            .unwrap();
        assert!(!waited.timed_out(), "the gate stayed closed");
    }

    pub fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

#[test]
fn r11_jobs_have_a_limit() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        jobs_max: 3,
        ..Config::default()
    });
    let gate = Gate::default();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for n in 0..3 {
                    let gate = gate.clone();
                    scope.work(move || gate.pass(), move |()| n)?;
                }
                let refused = scope.work(|| (), |()| 9).unwrap_err();
                assert_eq!(refused.kind(), IoErrorKind::Limit);
                gate.open();
                stay()
            }
            On::Message(n) => {
                scope.ctx.push(n.to_string());
                if scope.ctx.len() == 3 {
                    // There is room again.
                    scope.work(|| (), |()| 7)?;
                }
                if n == 7 { done() } else { stay() }
            }
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    let lines = notes(&mut main_loop);
    assert_eq!((lines.len(), lines[3].as_str()), (4, "7"));
}

#[test]
fn r11_spawns_from_other_threads_have_a_limit() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        control_orders_max: 2,
        ..Config::default()
    });
    let handle = main_loop.handle();
    let order = || handle.spawn_with::<Noting>(|| act(|_, _: &mut NotingScope<'_>| done()));
    let (first, second, third) = (order(), order(), order());
    assert_eq!(third.try_wait().unwrap().unwrap_err(), SpawnError::Full);
    main_loop.run().unwrap();
    assert!(first.wait().is_ok() && second.wait().is_ok());
    assert_eq!(main_loop.stats().ended, 2);
}

/// Zero is not a bound that anything could go on under; it means one.
#[test]
fn r11_bounds_of_zero_still_make_progress() {
    let _dog = watchdog();
    let mut main_loop = noting(Config {
        messages_per_turn: 0,
        creates_per_turn: 0,
        timeouts_per_turn: 0,
        accepts_per_turn: 0,
        ..Config::default()
    });
    for n in 0..5 {
        let machine = main_loop
            .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
                On::Message(_) => after(ms(1)),
                On::Timeout => {
                    scope.ctx.push(n.to_string());
                    done()
                }
                _ => stay(),
            }))
            .unwrap();
        machine.send(0).unwrap();
    }
    main_loop.run().unwrap();
    assert_eq!(notes(&mut main_loop).len(), 5);
}

//! Handles: making, closing, outliving; panics; the rules about the loop itself (U1–U6).

mod common;
use common::*;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use uv_sys_wrap::*;

/// One of each kind that needs no peer.
fn one_of_each(uv: &Uv) -> Vec<Handle> {
    vec![
        Tcp::new(uv, Token(0)).unwrap().into_handle(),
        Pipe::new(uv, Token(0)).unwrap().into_handle(),
        Timer::new(uv, Token(0)).unwrap().into_handle(),
        Wake::new(uv, Token(0)).unwrap().into_handle(),
        Signal::new(uv, Token(0)).unwrap().into_handle(),
        Prepare::new(uv, Token(0)).unwrap().into_handle(),
        Check::new(uv, Token(0)).unwrap().into_handle(),
        Idle::new(uv, Token(0)).unwrap().into_handle(),
        Acceptor::tcp(uv, any(), &ListenOptions::default(), Token(0))
            .unwrap()
            .into_handle(),
    ]
}

#[test]
fn u01_memory_is_reused_only_after_the_close_callback() {
    let mut world = World::silent();
    let first = Timer::new(&world.uv, Token(1)).unwrap();
    let id = first.id();
    world.uv.close(id);
    assert_eq!(world.uv.stats().handles_closing, 1);
    let second = Timer::new(&world.uv, Token(2)).unwrap();
    assert_ne!(
        second.id().index(),
        id.index(),
        "libuv may still use the first one's memory"
    );
    world.turns(2);
    assert_eq!(world.uv.stats().handles_closing, 0);
    let third = Timer::new(&world.uv, Token(3)).unwrap();
    assert_eq!(third.id(), HandleId::new(id.index(), id.generation() + 1));
    assert!(!world.uv.is_live(id) && world.uv.is_live(third.id()));
    drop((first, second, third));
    world.end();
}

#[test]
fn u01_every_handle_is_closed_exactly_once() {
    let mut world = World::silent();
    for _ in 0..3 {
        let handles = one_of_each(&world.uv);
        world.uv.close(handles[0].id());
        world.uv.close(handles[3].id());
        drop(handles);
        world.turns(2);
        let stats = world.uv.stats();
        assert_eq!((stats.handles_live, stats.handles_closing), (0, 0));
    }
    assert_eq!(world.uv.stats().slots, 64, "slots are recycled");
    world.end();
}

#[test]
fn u02_closing_twice_and_using_a_closed_handle_are_harmless() {
    let mut world = World::silent();
    let uv = world.uv.clone();
    let tcp = Tcp::new(&uv, Token(1)).unwrap();
    let signal = Signal::new(&uv, Token(1)).unwrap();
    let acceptor = Acceptor::tcp(&uv, any(), &ListenOptions::default(), Token(1)).unwrap();
    let timer = Timer::new(&uv, Token(1)).unwrap();
    for id in [tcp.id(), signal.id(), acceptor.id(), timer.id()] {
        uv.close(id);
        uv.close(id);
    }
    let closed = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), Kind::Closed);
    for _ in 0..2 {
        closed(tcp.connect(any()));
        closed(tcp.bind(any(), BindOptions::default()));
        closed(tcp.listen(1));
        closed(tcp.accept(Token(1)).map(drop));
        closed(tcp.read_start());
        closed(tcp.read_stop());
        closed(tcp.try_write(&[]).map(drop));
        closed(tcp.write(vec![1].into()).map_err(Error::from));
        closed(tcp.shutdown());
        closed(tcp.reset());
        closed(tcp.nodelay(true));
        closed(tcp.keepalive(None));
        closed(tcp.local_addr().map(drop));
        closed(tcp.set_send_buffer_bytes(4096));
        closed(signal.start(libc::SIGUSR1));
        closed(signal.stop());
        closed(acceptor.pause());
        closed(acceptor.resume());
        closed(acceptor.accept(Token(1)).map(drop));
        closed(timer.start(1, 0));
        closed(timer.stop());
        closed(uv.set_token(tcp.id(), Token(9)));
        closed(uv.set_referenced(tcp.id(), false));
        world.turns(2);
    }
    assert_eq!(world.logged(), [""; 0]);
    world.end();
}

#[test]
#[cfg(target_os = "linux")]
fn u02_opening_into_a_closed_handle_leaks_no_descriptor() {
    // Other tests of this process open and close descriptors, so look at the peer instead of counting.
    let mut world = World::silent();
    for is_closing in [true, false] {
        let tcp = Tcp::new(&world.uv, Token(1)).unwrap();
        world.uv.close(tcp.id());
        if !is_closing {
            world.turns(2);
        }
        let listener = std::net::TcpListener::bind(any()).unwrap();
        let ours = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let theirs = bounded(listener.accept().unwrap().0);
        assert_eq!(tcp.open(ours.into()).unwrap_err().kind(), Kind::Closed);
        assert_eq!(
            drain(theirs).join().unwrap().unwrap(),
            [0; 0],
            "our end is closed"
        );
    }
    world.end();
}

#[test]
fn u02_what_libuv_would_abort_on_is_refused() {
    let mut world = World::silent();
    let uv = world.uv.clone();
    let invalid = |result: Result<()>| assert_eq!(result.unwrap_err().kind(), Kind::Invalid);
    let unconnected =
        |result: Result<()>| assert_eq!(result.unwrap_err().kind(), Kind::NotConnected);
    // Reading and shutting down without a socket.
    let tcp = Tcp::new(&uv, Token(1)).unwrap();
    unconnected(tcp.read_start());
    unconnected(tcp.shutdown());
    unconnected(tcp.try_write(&[std::io::IoSlice::new(b"x")]).map(drop));
    // A listener is no connection, and cannot become one.
    tcp.bind(any(), BindOptions::default()).unwrap();
    tcp.listen(8).unwrap();
    invalid(tcp.connect(tcp.local_addr().unwrap()));
    unconnected(tcp.shutdown());
    unconnected(tcp.read_start());
    invalid(tcp.listen(8));
    assert_eq!(tcp.accept(Token(1)).unwrap_err().kind(), Kind::WouldBlock);
    // Descriptors that epoll refuses, and sockets of another family.
    let file = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    invalid(
        Tcp::new(&uv, Token(1))
            .unwrap()
            .open(file.try_clone().unwrap().into()),
    );
    invalid(Pipe::new(&uv, Token(1)).unwrap().open(file.into()));
    let unix = std::os::unix::net::UnixStream::pair().unwrap();
    let tcp = Tcp::new(&uv, Token(1)).unwrap();
    tcp.nodelay(true).unwrap();
    invalid(tcp.open(unix.0.into()));
    unconnected(tcp.read_start());
    invalid(Tty::new(&uv, unix.1.into(), Token(1)).map(drop));
    // Signals that cannot be caught or must not return.
    let signal = Signal::new(&uv, Token(1)).unwrap();
    for signum in [0, -1, libc::SIGKILL, libc::SIGSEGV, 4096] {
        assert!(signal.start(signum).is_err(), "{signum}");
    }
    // Operations of another type, and ids of nobody.
    let wrong = uv.stream(signal.id()).read_start().unwrap_err();
    assert_eq!(wrong.kind(), Kind::WrongKind);
    assert_eq!(
        uv.acceptor(tcp.id()).pause().unwrap_err().kind(),
        Kind::WrongKind
    );
    for id in [HandleId::NONE, HandleId::new(0, 77), HandleId::new(9999, 0)] {
        assert_eq!(uv.stream(id).read_start().unwrap_err().kind(), Kind::Closed);
        uv.close(id);
    }
    world.turns(3);
    world.end();
}

#[test]
fn u03_dropping_the_loop_closes_all_and_handles_outlive_it() {
    let world = World::silent();
    let uv = world.uv.clone();
    let handles = one_of_each(&uv);
    let (tcp, peer) = pair(&world, Token(1));
    tcp.write(vec![7; 8 << 20].into()).unwrap();
    tcp.shutdown().unwrap();
    let connecting = Tcp::new(&uv, Token(2)).unwrap();
    connecting.connect("10.255.255.1:9".parse().unwrap()).ok();
    let wake = Wake::new(&uv, Token(3)).unwrap();
    let waker = wake.waker().unwrap();
    uv.work(Token(4), Box::new(|| ())).unwrap();
    world.end();
    assert_eq!(waker.wake(), Err(Closed));
    for handle in &handles {
        assert!(!uv.is_live(handle.id()));
    }
    let closed = |kind: Kind| assert_eq!(kind, Kind::Closed);
    closed(tcp.read_start().unwrap_err().kind());
    closed(
        tcp.try_write(&[std::io::IoSlice::new(b"x")])
            .unwrap_err()
            .kind(),
    );
    closed(Timer::new(&uv, Token(1)).unwrap_err().kind());
    closed(wake.waker().unwrap_err().kind());
    closed(uv.work(Token(1), Box::new(|| ())).unwrap_err().kind());
    closed(
        Acceptor::tcp(&uv, any(), &ListenOptions::default(), Token(1))
            .unwrap_err()
            .kind(),
    );
    uv.stop();
    uv.update_time();
    let _ = (uv.now_ms(), uv.hrtime(), uv.token(tcp.id()));
    drop((handles, tcp, connecting, wake, peer));
    assert!(uv.close_list().is_empty());
}

#[test]
fn u03_a_failing_or_panicking_sink_constructor_closes_the_loop_again() {
    struct Nobody;
    impl Sink for Nobody {
        fn event(&mut self, _: Token, _: HandleId, _: Event<'_>) {}
    }
    let kept = Rc::new(RefCell::new(None));
    let failed = Loop::<Nobody>::try_new(LoopConfig::default(), |uv| {
        let timer = Timer::new(uv, Token(1))?;
        timer.start(1, 1)?;
        kept.replace(Some((uv.clone(), timer)));
        Err(Error::new(Op::Open, Kind::Limit))
    });
    assert_eq!(failed.err().map(|error| error.kind()), Some(Kind::Limit));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        Loop::<Nobody>::new(LoopConfig::default(), |uv| {
            kept.replace(Some((uv.clone(), Timer::new(uv, Token(1)).unwrap())));
            panic!("as planned")
        })
    }));
    assert!(panicked.is_err());
    let (uv, timer) = kept.take().unwrap();
    assert_eq!(timer.start(1, 0).unwrap_err().kind(), Kind::Closed);
    assert_eq!(uv.stats().handles_live, 0);
}

#[test]
fn u04_a_paused_stream_keeps_nothing_alive_but_a_wake_handle_does() {
    let mut world = World::silent();
    let (tcp, _peer) = pair(&world, Token(1));
    tcp.read_start().unwrap();
    assert!(world.uv_loop.run(RunMode::NoWait).unwrap());
    tcp.read_stop().unwrap();
    // Returns at once, though the stream is open.
    assert!(!world.uv_loop.run(RunMode::Default).unwrap());
    let keeper = Wake::new(&world.uv, Token(2)).unwrap();
    assert!(world.uv_loop.run(RunMode::NoWait).unwrap());
    world.uv.set_referenced(keeper.id(), false).unwrap();
    assert!(!world.uv_loop.run(RunMode::Default).unwrap());
    world.end();
}

#[test]
fn u05_the_loop_cannot_be_run_from_its_own_event() {
    let shared: Rc<RefCell<Option<World>>> = Rc::default();
    let inner = shared.clone();
    let tried = Rc::new(Cell::new(false));
    let seen = tried.clone();
    let world = World::new(move |_, _, _, _| {
        // `run` borrows the loop mutably for as long as it runs: there is no second way in.
        seen.set(inner.try_borrow_mut().is_err());
    });
    let timer = Timer::new(&world.uv, Token(1)).unwrap();
    timer.start(0, 0).unwrap();
    shared.replace(Some(world));
    shared
        .borrow_mut()
        .as_mut()
        .unwrap()
        .until_logged("1 Timer", 1);
    assert!(tried.get());
    // Another loop may run inside, though.
    let mut outer = World::new(|_, _, _, _| {
        let mut world = World::silent();
        let timer = Timer::new(&world.uv, Token(5)).unwrap();
        timer.start(0, 0).unwrap();
        world.until_logged("5 Timer", 1);
        world.end();
    });
    let timer = Timer::new(&outer.uv, Token(1)).unwrap();
    timer.start(0, 0).unwrap();
    outer.until_logged("1 Timer", 1);
    let world = shared.take();
    world.unwrap().end();
}

#[test]
fn u06_a_panic_of_the_sink_resumes_from_run_and_discards_the_rest() {
    let mut world = World::new(|_, token, _, _| assert_ne!(token, Token(1), "as planned"));
    let timers: Vec<Timer> = (1..4)
        .map(|token| {
            let timer = Timer::new(&world.uv, Token(token)).unwrap();
            timer.start(0, 0).unwrap();
            timer
        })
        .collect();
    let run =
        |world: &mut World| catch_unwind(AssertUnwindSafe(|| world.uv_loop.run(RunMode::Default)));
    let payload = run(&mut world).unwrap_err();
    let text = payload.downcast_ref::<String>().unwrap();
    assert!(text.contains("as planned"), "{text}");
    // The other two were due in the same turn, after the panic.
    assert_eq!(world.logged(), ["1 Timer"]);
    assert_eq!(world.uv.stats().discarded, 2);
    // Afterwards all is as before.
    timers[1].start(0, 0).unwrap();
    assert!(run(&mut world).is_ok());
    assert_eq!(world.logged(), ["2 Timer"]);
    drop(timers);
    world.end();
}

#[test]
fn u06_a_panicking_drop_of_a_discarded_event_does_not_reach_c() {
    struct Bomb;
    impl AsRef<[u8]> for Bomb {
        fn as_ref(&self) -> &[u8] {
            const { &[1; 4096] }
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a drop");
        }
    }
    let mut world = World::silent();
    let (tcp, _peer) = pair(&world, Token(1));
    tcp.write(vec![1; 16 << 20].into()).unwrap();
    tcp.write(bytes::Bytes::from_owner(Bomb).into()).unwrap();
    drop(tcp);
    let run = catch_unwind(AssertUnwindSafe(|| world.uv_loop.run(RunMode::Default)));
    assert_eq!(run.unwrap_err().downcast_ref::<&str>(), Some(&"in a drop"));
    world.end();
}

#[test]
fn a_dropped_handle_has_no_more_events() {
    let timers: Rc<RefCell<Vec<Timer>>> = Rc::default();
    let doomed = timers.clone();
    // Whichever fires first drops all, also itself.
    let mut world = World::new(move |_, _, _, _| doomed.borrow_mut().clear());
    for token in 0..10 {
        let timer = Timer::new(&world.uv, Token(token)).unwrap();
        timer.start(0, 1).unwrap();
        timers.borrow_mut().push(timer);
    }
    world.until_logged("0 Timer", 1);
    world.turns(5);
    assert_eq!(world.logged(), ["0 Timer"]);
    world.end();
}

#[test]
fn handles_dropped_outside_of_events_close_before_the_loop_sleeps() {
    let mut world = World::silent();
    let timer = Timer::new(&world.uv, Token(1)).unwrap();
    timer.start(1 << 40, 0).unwrap();
    drop(timer);
    // Would wait for 34 years otherwise.
    assert!(!world.uv_loop.run(RunMode::Default).unwrap());
    world.end();
}

#[test]
fn the_limit_of_handles_is_an_error_and_frees_up_again() {
    let config = LoopConfig {
        handles_max: 5,
        ..LoopConfig::default()
    };
    let mut world = World::with(config, |_, _, _, _| ());
    for _ in 0..3 {
        let all: Vec<Handle> = std::iter::from_fn(|| match Idle::new(&world.uv, Token(1)) {
            Ok(idle) => Some(idle.into_handle()),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Limit);
                None
            }
        })
        .collect();
        assert_eq!(all.len(), 5);
        drop(all);
        world.turns(2);
    }
    world.end();
}

#[test]
fn tokens_change_and_stale_ids_name_nobody() {
    let mut world = World::silent();
    let timer = Timer::new(&world.uv, Token(1)).unwrap();
    assert_eq!(world.uv.token(timer.id()).unwrap(), Token(1));
    world.uv.set_token(timer.id(), Token(2)).unwrap();
    timer.start(0, 0).unwrap();
    world.until_logged("2 Timer", 1);
    let stale = timer.id();
    drop(timer);
    world.turns(2);
    let next = Timer::new(&world.uv, Token(3)).unwrap();
    assert_eq!(next.id().index(), stale.index());
    world.uv.close(stale);
    assert!(world.uv.is_live(next.id()));
    assert_eq!(
        world.uv.set_token(stale, Token(4)).unwrap_err().kind(),
        Kind::Closed
    );
    drop(next);
    world.end();
}

#[test]
fn phases_run_in_libuvs_order() {
    let mut world = World::new(|uv, token, _, _| {
        if token == Token(3) {
            uv.stop();
        }
    });
    let check = Check::new(&world.uv, Token(3)).unwrap();
    let prepare = Prepare::new(&world.uv, Token(2)).unwrap();
    let idle = Idle::new(&world.uv, Token(1)).unwrap();
    check.start().unwrap();
    prepare.start().unwrap();
    idle.start().unwrap();
    idle.start().unwrap();
    world.uv_loop.run(RunMode::Default).unwrap();
    assert_eq!(world.logged(), ["1 Idle", "2 Prepare", "3 Check"]);
    idle.stop().unwrap();
    prepare.stop().unwrap();
    world.turns(1);
    assert_eq!(world.logged(), ["3 Check"]);
    drop((check, prepare, idle));
    world.end();
}

#[test]
fn signals_arrive_while_wanted() {
    let mut world = World::silent();
    let signal = Signal::new(&world.uv, Token(1)).unwrap();
    let other = Signal::new(&world.uv, Token(2)).unwrap();
    signal.start(libc::SIGUSR2).unwrap();
    other.start(libc::SIGUSR2).unwrap();
    let raise = || {
        // SAFETY: takes no pointers; a handler is installed, and has run when this returns.
        assert_eq!(unsafe { libc::raise(libc::SIGUSR2) }, 0);
    };
    raise();
    let usr2 = libc::SIGUSR2;
    world.until_logged(&format!("1 Signal({usr2})"), 1);
    world.until_logged(&format!("2 Signal({usr2})"), 1);
    signal.stop().unwrap();
    raise();
    world.until_logged(&format!("2 Signal({usr2})"), 2);
    // Closing with a signal on its way is no trouble either.
    raise();
    drop((signal, other));
    world.end();
}

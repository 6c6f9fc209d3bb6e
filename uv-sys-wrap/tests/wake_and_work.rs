//! Other threads: wakers (U11, U12), the thread pool, timers (U18), standard input.

mod common;
use common::*;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;
use uv_sys_wrap::*;

#[test]
fn u11_wakers_race_with_the_end_of_the_loop() {
    for round in 0..sized(100) {
        let world = World::silent();
        let wake = Wake::new(&world.uv, Token(1)).unwrap();
        let waker = wake.waker().unwrap();
        let started = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (waker, started) = (waker.clone(), started.clone());
                std::thread::spawn(move || {
                    started.fetch_add(1, Ordering::Relaxed);
                    let mut wakes = 0;
                    while waker.wake().is_ok() {
                        wakes += 1;
                    }
                    assert_eq!(waker.wake(), Err(Closed));
                    wakes
                })
            })
            .collect();
        while started.load(Ordering::Relaxed) < 3 {
            std::thread::yield_now();
        }
        // The handle, or the whole loop, ends in the middle of it; the memory is freed or reused at once.
        if round % 2 == 0 {
            drop(wake);
        }
        world.end();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}

#[test]
fn u11_a_waker_of_a_closed_handle_never_wakes_its_successor() {
    let mut world = World::silent();
    let wake = Wake::new(&world.uv, Token(1)).unwrap();
    let waker = wake.waker().unwrap();
    waker.wake().unwrap();
    world.until_logged("1 Wake", 1);
    let id = wake.id();
    drop(wake);
    world.turns(2);
    let next = Wake::new(&world.uv, Token(2)).unwrap();
    assert_eq!(next.id().index(), id.index(), "the same memory");
    assert_eq!(waker.wake(), Err(Closed));
    world.turns(3);
    assert_eq!(world.logged(), ["1 Wake"]);
    assert_eq!(world.uv.stats().wakes, 1);
    drop(next);
    world.end();
}

#[test]
fn u12_what_is_pushed_before_the_wake_is_found_by_its_event() {
    const BATCH: usize = 16;
    let total = sized(20_000);
    let inbox: Arc<Mutex<Vec<usize>>> = Arc::default();
    let found: Rc<Cell<usize>> = Rc::default();
    let again: Rc<RefCell<Option<Waker>>> = Rc::default();
    let (drained, count, resend) = (inbox.clone(), found.clone(), again.clone());
    let mut world = World::new(move |_, _, _, _| {
        let mut inbox = drained.lock().unwrap();
        let batch = inbox.len().min(BATCH);
        inbox.drain(..batch);
        count.set(count.get() + batch);
        if !inbox.is_empty() {
            resend.borrow().as_ref().unwrap().wake().unwrap();
        }
    });
    let wake = Wake::new(&world.uv, Token(1)).unwrap();
    let waker = wake.waker().unwrap();
    again.replace(Some(waker.clone()));
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (waker, inbox) = (waker.clone(), inbox.clone());
            std::thread::spawn(move || {
                for n in 0..total {
                    inbox.lock().unwrap().push(n);
                    waker.wake().unwrap();
                }
            })
        })
        .collect();
    world.until("all messages", || found.get() == 4 * total);
    for thread in threads {
        thread.join().unwrap();
    }
    assert!(inbox.lock().unwrap().is_empty());
    drop(wake);
    world.end();
}

#[test]
fn wakes_coalesce() {
    let mut world = World::silent();
    let wake = Wake::new(&world.uv, Token(1)).unwrap();
    let waker = world.uv.waker(wake.id()).unwrap();
    for _ in 0..1000 {
        waker.wake().unwrap();
    }
    world.until_logged("1 Wake", 1);
    world.turns(3);
    assert_eq!(world.logged(), ["1 Wake"]);
    let timer = Timer::new(&world.uv, Token(2)).unwrap();
    assert_eq!(
        world.uv.waker(timer.id()).unwrap_err().kind(),
        Kind::WrongKind
    );
    drop((wake, timer));
    world.end();
}

#[test]
fn u18_a_timer_armed_after_a_long_handler_is_not_early() {
    let slow_timer: Rc<RefCell<Option<Timer>>> = Rc::default();
    let times: Rc<RefCell<Vec<u64>>> = Rc::default();
    let (armed, clock) = (slow_timer.clone(), times.clone());
    let mut world = World::new(move |uv, token, _, _| {
        if token == Token(1) {
            std::thread::sleep(Duration::from_millis(60));
            clock.borrow_mut().push(uv.hrtime());
            armed.borrow().as_ref().unwrap().start(50, 0).unwrap();
        } else {
            clock.borrow_mut().push(uv.hrtime());
        }
    });
    let first = Timer::new(&world.uv, Token(1)).unwrap();
    slow_timer.replace(Some(Timer::new(&world.uv, Token(2)).unwrap()));
    first.start(0, 0).unwrap();
    world.until_logged("2 Timer", 1);
    let waited = times.borrow()[1] - times.borrow()[0];
    // Whole milliseconds on both ends, and a coarse clock: a few of them may be missing, not sixty.
    assert!(waited >= 40_000_000, "{waited} ns");
    slow_timer.take();
    drop(first);
    world.end();
}

#[test]
fn timers_far_away_repeated_and_restarted() {
    let mut world = World::silent();
    let never = Timer::new(&world.uv, Token(1)).unwrap();
    never.start(u64::MAX, u64::MAX).unwrap();
    let far = Timer::new(&world.uv, Token(2)).unwrap();
    far.start(u64::MAX - 5, 0).unwrap();
    let again = Timer::new(&world.uv, Token(3)).unwrap();
    assert_eq!(
        again.again().unwrap_err().kind(),
        Kind::Invalid,
        "never started"
    );
    assert_eq!(again.due_in_ms().unwrap_err().kind(), Kind::Invalid);
    again.start(0, 1).unwrap();
    world.until_logged("3 Timer", 4);
    again.again().unwrap();
    world.until_logged("3 Timer", 5);
    assert!(far.due_in_ms().unwrap() > 1 << 60);
    again.stop().unwrap();
    again.stop().unwrap();
    world.logged();
    world.turns(3);
    std::thread::sleep(Duration::from_millis(3));
    world.turns(3);
    assert_eq!(world.logged(), [""; 0]);
    drop((never, far, again));
    world.end();
}

#[test]
fn timers_due_together_fire_in_the_order_they_were_armed() {
    let mut world = World::silent();
    let timers: Vec<Timer> = (0..20)
        .map(|token| Timer::new(&world.uv, Token(token)).unwrap())
        .collect();
    // `start` updates the time, so give all the same due time by arming within one millisecond or not at
    // all in the past: zero timeouts are due at once whenever they were armed.
    for timer in timers.iter().rev() {
        timer.start(0, 0).unwrap();
    }
    world.until_logged("0 Timer", 1);
    let expected: Vec<String> = (0..20)
        .rev()
        .map(|token| format!("{token} Timer"))
        .collect();
    assert_eq!(world.logged(), expected);
    drop(timers);
    world.end();
}

#[test]
fn work_is_done_on_another_thread_and_reported() {
    let payloads: Rc<RefCell<Vec<String>>> = Rc::default();
    let taken = payloads.clone();
    let mut world = World::new(move |uv, _, id, event| {
        assert_eq!(id, HandleId::NONE);
        let Event::Worked { work, .. } = event else {
            panic!("{event:?}")
        };
        if let Some(payload) = uv.take_work_panic(work) {
            taken
                .borrow_mut()
                .push(payload.downcast_ref::<&str>().unwrap().to_string());
        }
        assert!(uv.take_work_panic(work).is_none());
        assert!(!uv.cancel_work(work));
    });
    let (sends, receives) = mpsc::channel();
    let job = move || sends.send(std::thread::current().id()).unwrap();
    world.uv.work(Token(1), Box::new(job)).unwrap();
    world.until_logged("1 Worked", 1);
    assert_ne!(receives.recv().unwrap(), std::thread::current().id());
    let id = world
        .uv
        .work(Token(2), Box::new(|| panic!("in the pool")))
        .unwrap();
    world.until_logged("2 Worked(Panicked)", 1);
    assert_eq!(*payloads.borrow(), ["in the pool"]);
    // An untaken payload is dropped with its job; a stale id names nobody.
    assert!(world.uv.take_work_panic(id).is_none());
    assert!(!world.uv.cancel_work(id));
    assert_eq!(world.uv.stats().work_live, 0);
    world.end();
}

/// Keeps the pool busy until it is dropped: as many jobs as libuv has threads at most.
struct Busy(Arc<AtomicBool>);

impl Busy {
    fn new(uv: &Uv, token: Token) -> Busy {
        let done = Arc::new(AtomicBool::new(false));
        for _ in 0..std::env::var("UV_THREADPOOL_SIZE").map_or(4, |size| size.parse().unwrap()) {
            let done = done.clone();
            let job = move || {
                while !done.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            };
            uv.work(token, Box::new(job)).unwrap();
        }
        Busy(done)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn work_that_has_not_started_can_be_cancelled() {
    // One test at a time: the pool belongs to the process.
    let config = LoopConfig {
        work_max: 10,
        ..LoopConfig::default()
    };
    let mut world = World::with(config, |_, _, _, _| ());
    let busy = Busy::new(&world.uv, Token(1));
    let ran = Arc::new(AtomicBool::new(false));
    let mark = ran.clone();
    let waiting = world
        .uv
        .work(
            Token(2),
            Box::new(move || mark.store(true, Ordering::Relaxed)),
        )
        .unwrap();
    while world.uv.stats().work_live < 10 {
        world.uv.work(Token(3), Box::new(|| ())).unwrap();
    }
    assert_eq!(
        world.uv.work(Token(4), Box::new(|| ())).unwrap_err().kind(),
        Kind::Limit
    );
    assert!(world.uv.cancel_work(waiting));
    world.until_logged("2 Worked(Cancelled)", 1);
    assert!(!world.uv.cancel_work(waiting));
    drop(busy);
    world.until_logged("1 Worked", 4);
    assert!(!ran.load(Ordering::Relaxed));
    // Closing the loop cancels what is queued, and waits for what runs.
    let busy = Busy::new(&world.uv, Token(1));
    let mark = ran.clone();
    world
        .uv
        .work(
            Token(5),
            Box::new(move || mark.store(true, Ordering::Relaxed)),
        )
        .unwrap();
    let release = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        drop(busy);
    });
    world.end();
    release.join().unwrap();
    assert!(!ran.load(Ordering::Relaxed));
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_is_a_stream() {
    use std::os::fd::{FromRawFd, OwnedFd};
    let (mut master, mut slave) = (-1, -1);
    let null = std::ptr::null_mut();
    // SAFETY: writes two descriptors; null means no name and no settings.
    let code = unsafe { libc::openpty(&mut master, &mut slave, null, null.cast(), null.cast()) };
    assert_eq!(code, 0);
    // SAFETY: just made, and nobody else's.
    let (master, slave) = unsafe { (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave)) };
    let mut master = std::fs::File::from(master);
    let mut world = World::silent();
    let tty = Tty::new(&world.uv, slave, Token(1)).unwrap();
    tty.read_start().unwrap();
    master.write_all(b"typed\n").unwrap();
    world.until_logged("1 Read(6)", 1);
    let mut sent = tty.try_write(&[std::io::IoSlice::new(b"shown")]).unwrap();
    if sent < 5 {
        tty.write(b"shown"[sent..].to_vec().into()).unwrap();
        sent = 5;
    }
    assert_eq!(sent, 5);
    world.turns(3);
    let handle = tty.into_handle();
    assert!(world.uv.is_live(handle.id()));
    assert_eq!(
        world
            .uv
            .stream(handle.id())
            .nodelay(true)
            .unwrap_err()
            .kind(),
        Kind::WrongKind
    );
    drop(handle);
    world.end();
}

#[test]
fn standard_input_of_any_kind_ends_with_eof() {
    // This binary again, as a child with different kinds of standard input.
    if std::env::var_os("STDIN_CHILD").is_some() {
        let (all, len): (Rc<Cell<bool>>, Rc<Cell<usize>>) = Default::default();
        let (ended, count) = (all.clone(), len.clone());
        let mut world = World::new(move |_, _, _, event| match event {
            Event::Read(buf) => count.set(count.get() + buf.len()),
            Event::Eof => ended.set(true),
            event => panic!("{event:?}"),
        });
        let input = stdin(&world.uv, Token(1)).unwrap();
        world.uv.stream(input.id()).read_start().unwrap();
        world.until("the end", || all.get());
        drop(input);
        world.end();
        let expected: usize = std::env::var("STDIN_CHILD").unwrap().parse().unwrap();
        assert_eq!(len.get(), expected);
        return;
    }
    let child = |input: std::process::Stdio, len: usize| {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([
            "standard_input_of_any_kind_ends_with_eof",
            "--exact",
            "--nocapture",
        ]);
        command
            .env("STDIN_CHILD", len.to_string())
            .stdin(input)
            .spawn()
            .unwrap()
    };
    use std::process::Stdio;
    let path = std::env::temp_dir().join(format!("uv-sys-wrap-stdin-{}", std::process::id()));
    std::fs::write(&path, pattern(300_000)).unwrap();
    let file = std::fs::File::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(
        child(file.into(), 300_000).wait().unwrap().success(),
        "a file"
    );
    assert!(
        child(Stdio::null(), 0).wait().unwrap().success(),
        "/dev/null"
    );
    let mut piped = child(Stdio::piped(), 300_000);
    piped
        .stdin
        .take()
        .unwrap()
        .write_all(&pattern(300_000))
        .unwrap();
    assert!(piped.wait().unwrap().success(), "a pipe");
    let (socket, mut peer) = std::os::unix::net::UnixStream::pair().unwrap();
    let mut over_socket = child(Stdio::from(std::os::fd::OwnedFd::from(socket)), 5);
    peer.write_all(b"bytes").unwrap();
    drop(peer);
    assert!(over_socket.wait().unwrap().success(), "a socket");
}

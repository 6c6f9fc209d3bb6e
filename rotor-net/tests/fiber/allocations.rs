//! R12 for fibers: after warm-up a message, an echoed read, a connection, and a fiber that is made, runs and ends
//! allocate nothing on the loop's thread.

use super::counting::{allocations, count_here};
use super::*;
use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::Poll;

/// What the server fiber is told.
enum Order {
    /// Answer the number.
    Answer(u64, &'static AtomicUsize),
    /// Wait for a future that another thread completes: it stores the number once it is polled.
    Await(usize, &'static Place),
    /// Make a fiber of this one's type, which counts down and ends.
    Spawn(&'static AtomicUsize),
}

/// Where a future and the thread that completes it meet.
struct Place {
    /// What the thread gives, and what the fiber has got.
    given: AtomicUsize,
    taken: AtomicUsize,
    waker: Mutex<Option<std::task::Waker>>,
}

type Served<'a> = Cx<'a, (), Order>;

fn serve(cx: &Served, incoming: Incoming) -> Result<()> {
    let mut stream = cx.open(incoming)?;
    let mut buf = [0; 256];
    loop {
        // In two steps, so that input is kept now and then.
        let n = cx.within(PATIENCE).read(&mut stream, &mut buf[..40])?;
        if n == 0 {
            return Ok(());
        }
        cx.write_all(&mut stream, &buf[..n])?;
    }
}

fn obey(cx: &Served) -> Result<()> {
    count_here(true);
    loop {
        match cx.within(PATIENCE).recv()? {
            Order::Answer(n, answer) => answer.store(n as usize, SeqCst),
            Order::Await(n, place) => {
                cx.within(PATIENCE).block_on(poll_fn(|context| {
                    *place.waker.lock().unwrap() = Some(context.waker().clone());
                    match place.given.load(SeqCst) == n {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    }
                }))?;
                place.taken.store(n, SeqCst);
            }
            Order::Spawn(done) => {
                let brief = cx.stacks().fiber("brief", move |cx: &Served| {
                    cx.yield_now()?;
                    cx.within(PATIENCE).yield_now()?;
                    done.fetch_add(1, SeqCst);
                    Ok(())
                })?;
                cx.spawn(brief)?;
            }
        }
    }
}

fn await_that(what: &str, is_so: impl Fn() -> bool) {
    let start = std::time::Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::yield_now();
    }
}

/// Runs `f` until it has allocated nothing five times in a row: tables and spares grow to the number of fibers that
/// happen to live at once. Fails if that does not happen in 50 runs.
fn steady(what: &str, f: &dyn Fn()) {
    let (mut clean, mut seen) = (0, Vec::new());
    while clean < 5 {
        assert!(seen.len() < 50, "{what} allocates; each run's: {seen:?}");
        let before = allocations();
        f();
        let allocated = allocations() - before;
        seen.push(allocated);
        clean = if allocated == 0 { clean + 1 } else { 0 };
    }
}

#[test]
fn r12_fibers_allocate_nothing_in_the_steady_state() {
    let _dog = watchdog();
    static ANSWER: AtomicUsize = AtomicUsize::new(0);
    static DONE: AtomicUsize = AtomicUsize::new(0);
    static PLACE: Place = Place {
        given: AtomicUsize::new(0),
        taken: AtomicUsize::new(0),
        waker: Mutex::new(None),
    };
    let (tell, told) = mpsc::channel();
    let thread = LoopThread::<Fiber<(), Order>>::spawn(Config::default(), move |setup| {
        let stacks = Stacks::new(StackConfig::default())?;
        let obedient = setup.add::<Fiber<(), Order>>(stacks.fiber("obedient", obey)?)?;
        let listener = stacks.fiber("listener", move |cx: &Served| {
            let mut listener = cx.listen(any_port())?;
            tell.send((cx.listening_at(&listener)?, obedient))?;
            loop {
                let incoming = cx.accept(&mut listener)?;
                cx.spawn(cx.stacks().fiber("echo", move |cx| serve(cx, incoming))?)?;
            }
        })?;
        setup.add::<Fiber<(), Order>>(listener)?;
        Ok(())
    });
    let thread = thread.unwrap();
    let (at, obedient) = told.recv_timeout(PATIENCE).unwrap();
    let at: std::net::SocketAddr = at.to_string().parse().unwrap();

    let messages = || {
        for n in 1..200 {
            obedient.send(Order::Answer(n, &ANSWER)).unwrap();
            await_that("an answer", || ANSWER.load(SeqCst) == n as usize);
        }
    };
    let futures = || {
        for n in 1..200 {
            obedient.send(Order::Await(n, &PLACE)).unwrap();
            let is_there = || PLACE.waker.lock().unwrap().is_some();
            await_that("a poll", is_there);
            PLACE.given.store(n, SeqCst);
            let waker = PLACE.waker.lock().unwrap().take();
            waker.into_iter().for_each(std::task::Waker::wake);
            await_that("a future's end", || PLACE.taken.load(SeqCst) == n);
            PLACE.waker.lock().unwrap().take();
        }
    };
    let births = || {
        let before = DONE.load(SeqCst);
        for _ in 0..200 {
            obedient.send(Order::Spawn(&DONE)).unwrap();
        }
        await_that("all births", || DONE.load(SeqCst) == before + 200);
    };
    let connections = || {
        for _ in 0..50 {
            let mut peer = TcpStream::connect(at).unwrap();
            let mut answer = [0; 100];
            for n in 0..10 {
                peer.write_all(&[n; 100]).unwrap();
                peer.read_exact(&mut answer).unwrap();
                assert_eq!(answer, [n; 100]);
            }
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(peer.read(&mut answer).unwrap(), 0);
        }
    };
    let all = [
        ("messages", &messages as &dyn Fn()),
        ("futures", &futures),
        ("births", &births),
        ("connections", &connections),
    ];
    for (what, run) in all {
        steady(what, run);
    }
    assert!(allocations() > 0, "nothing is counted");
    thread.shutdown(ms(0));
    thread.join().unwrap();
}

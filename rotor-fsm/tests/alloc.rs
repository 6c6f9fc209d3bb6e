//! R12: no allocation in the steady state, neither Rust's nor libuv's.
//!
//! A program of its own, because it has its own allocator, for Rust and for libuv. It counts on the threads that a
//! test measures: the loop's, and the one that sends.

#[path = "rules/common.rs"]
mod common;

use common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{Detached, Lease, Lessor, ListenOptions, ListenSocket, Waker};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ffi::c_void;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, mpsc};

/// Allocations of Rust code on measured threads.
static RUST: AtomicU64 = AtomicU64::new(0);
/// Those of libuv.
static LIBUV: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static MEASURED: Cell<bool> = const { Cell::new(false) };
}

fn count(counter: &AtomicU64) {
    if MEASURED.try_with(Cell::get).unwrap_or(false) {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

fn counts() -> (u64, u64) {
    (RUST.load(Ordering::SeqCst), LIBUV.load(Ordering::SeqCst))
}

struct Counting;

// SAFETY: hands everything on to the system's allocator; counting touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(&RUST);
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(&RUST);
        // SAFETY: as the caller promised.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

unsafe extern "C" fn uv_malloc(size: usize) -> *mut c_void {
    count(&LIBUV);
    // SAFETY: any size is allowed.
    unsafe { libc::malloc(size) }
}

unsafe extern "C" fn uv_realloc(at: *mut c_void, size: usize) -> *mut c_void {
    count(&LIBUV);
    // SAFETY: libuv passes what it got from here.
    unsafe { libc::realloc(at, size) }
}

unsafe extern "C" fn uv_calloc(n: usize, size: usize) -> *mut c_void {
    count(&LIBUV);
    // SAFETY: any sizes are allowed.
    unsafe { libc::calloc(n, size) }
}

unsafe extern "C" fn uv_free(at: *mut c_void) {
    // SAFETY: libuv passes what it got from here.
    unsafe { libc::free(at) }
}

/// One test at a time; libuv's allocator is replaced before the first use of libuv.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: OnceLock<Mutex<()>> = OnceLock::new();
    let turn = TURN.get_or_init(|| {
        // SAFETY: no other call of libuv was made yet; the functions are a family.
        let failed = unsafe {
            libuv_sys2::uv_replace_allocator(
                Some(uv_malloc),
                Some(uv_realloc),
                Some(uv_calloc),
                Some(uv_free),
            )
        };
        assert_eq!(failed, 0);
        Mutex::new(())
    });
    turn.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Runs `f` until it has allocated nothing three times in a row: tables, buffers and caches grow to their size first.
/// Fails if that does not happen in 30 runs.
fn steady(what: &str, mut f: impl FnMut()) {
    let (mut clean, mut seen) = (0, Vec::with_capacity(30));
    for _ in 0..30 {
        let before = counts();
        MEASURED.set(true);
        f();
        MEASURED.set(false);
        let after = counts();
        seen.push((after.0 - before.0, after.1 - before.1));
        clean = if after == before { clean + 1 } else { 0 };
        if clean == 3 {
            return;
        }
    }
    panic!("{what} allocates; each run's (Rust's, libuv's): {seen:?}");
}

/// The counters count: else the other tests would show nothing.
#[test]
fn r12_the_counters_see_allocations() {
    let _turn = turn();
    let before = counts();
    MEASURED.set(true);
    drop(std::hint::black_box(Box::new([0u8; 100])));
    let rust = counts().0;
    let main_loop = noting(Config::default());
    MEASURED.set(false);
    drop(main_loop);
    assert_eq!(rust, before.0 + 1);
    assert!(counts().1 > before.1);
}

/// Answers the message `n` by storing it where the test waits; a channel would allocate.
struct Answering {
    last: &'static AtomicU64,
}

impl Machine for Answering {
    type Context = ();
    type Message = u64;
    type Seed = &'static AtomicU64;

    fn create(last: Self::Seed, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Answering { last }))
    }

    fn wakeup(self, n: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.last.store(n, Ordering::Release);
        // Every message also moves the deadline.
        Ok(Response::of(self).after(ms(1000 + n % 7)))
    }

    fn timeout(self, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::done())
    }
}

/// The same as a part of a composition.
struct Part(&'static AtomicU64);
struct Brief;

impl Machine for Part {
    type Context = Option<Spawner<Brief>>;
    type Message = u64;
    type Seed = &'static AtomicU64;

    fn create(last: Self::Seed, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Part(last)))
    }

    fn wakeup(self, n: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.0.store(n, Ordering::Release);
        if let Some(spawner) = &scope.ctx {
            // Another type of the composition, and a message to it while it still is a seed.
            spawner.spawn(n)?.send(n)?;
        }
        Ok(Response::of(self).after(ms(1000 + n % 7)))
    }
}

impl Machine for Brief {
    type Context = Option<Spawner<Brief>>;
    type Message = u64;
    type Seed = u64;

    fn create(n: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(if n == 0 {
            Response::done()
        } else {
            Response::of(Brief)
        })
    }

    fn wakeup(self, _: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        // One of its own type, which ends at once, as this one does.
        scope.spawn(0)?;
        Ok(Response::done())
    }
}

compose! { enum Whole(Option<Spawner<Brief>>) { Part(Part), Brief(Brief) } }

/// Sends numbers and waits for each to be answered.
fn ask<T>(machine: &Notifier<T>, last: &AtomicU64, message: impl Fn(u64) -> T) {
    for n in 1..=sized(500, 50) as u64 {
        machine.send(message(n)).unwrap();
        while last.load(Ordering::Acquire) != n {
            std::thread::yield_now();
        }
    }
    last.store(0, Ordering::Release);
}

#[test]
fn r12_a_message_between_threads_and_a_moved_deadline_allocate_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    static LAST: AtomicU64 = AtomicU64::new(0);
    let (hand, handed) = mpsc::channel();
    let thread = LoopThread::<Whole>::spawn(Config::default(), move |setup| {
        MEASURED.set(true);
        hand.send(setup.add::<Part>(&LAST)?)?;
        Ok(Some(setup.spawner()))
    })
    .unwrap();
    let machine = handed.recv().unwrap();
    steady("a composed part's message", || {
        ask(&machine, &LAST, |n| n);
    });
    let mapped = machine.map(|n: Option<u64>| n.unwrap_or(0));
    steady("a mapped message", || ask(&mapped, &LAST, Some));
    thread.shutdown(ms(0));
    thread.join().unwrap();
}

#[test]
fn r12_a_storm_of_messages_allocates_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    static LAST: AtomicU64 = AtomicU64::new(0);
    // The inbox as full as can be, and deadlines of many lengths.
    let config = Config {
        inbox_messages_max: 1000,
        ..Config::default()
    };
    let (hand, handed) = mpsc::channel();
    let thread = LoopThread::<Answering>::spawn(config, move |setup| {
        MEASURED.set(true);
        hand.send(setup.add::<Answering>(&LAST)?)?;
        Ok(())
    })
    .unwrap();
    let machine = handed.recv().unwrap();
    steady("a storm of messages", || {
        for n in 1..=sized(20_000, 2000) as u64 {
            while machine.send(n).is_err() {
                std::thread::yield_now();
            }
        }
        while LAST.load(Ordering::Acquire) != sized(20_000, 2000) as u64 {
            std::thread::yield_now();
        }
        LAST.store(0, Ordering::Release);
    });
    thread.shutdown(ms(0));
    thread.join().unwrap();
}

/// Hands out a waker, and stores how often it was woken.
struct Woken(&'static AtomicU64);

impl Machine for Woken {
    type Context = ();
    type Message = Never;
    type Seed = (&'static AtomicU64, mpsc::Sender<Waker>);

    fn create((events, hand): Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        hand.send(scope.waker())?;
        Ok(Response::of(Woken(events)))
    }

    fn io(self, event: Io<'_>, _: HandleId, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        assert!(matches!(event, Io::Woken));
        self.0.fetch_add(1, Ordering::Release);
        Ok(Response::of(self))
    }
}

#[test]
fn r12_wakes_allocate_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    static EVENTS: AtomicU64 = AtomicU64::new(0);
    const MACHINES: usize = 50;
    let (hand, handed) = mpsc::channel();
    let thread = LoopThread::<Woken>::spawn(Config::default(), move |setup| {
        MEASURED.set(true);
        for _ in 0..MACHINES {
            setup.add::<Woken>((&EVENTS, hand.clone()))?;
        }
        Ok(())
    })
    .unwrap();
    let wakers: Vec<Waker> = handed.iter().take(MACHINES).collect();
    let wait_for = |events: u64| {
        while EVENTS.load(Ordering::Acquire) < events {
            std::thread::yield_now();
        }
    };
    steady("a wake", || {
        for waker in &wakers {
            let before = EVENTS.load(Ordering::Acquire);
            waker.wake();
            wait_for(before + 1);
        }
    });
    steady("many wakes at once", || {
        // No event is under way, so each of the wakers makes one at least.
        let before = EVENTS.load(Ordering::Acquire);
        wakers.iter().for_each(Waker::wake);
        wait_for(before + MACHINES as u64);
    });
    steady("a standard waker", || {
        let before = EVENTS.load(Ordering::Acquire);
        let task = std::task::Waker::from(wakers[0].clone());
        let clone = task.clone();
        drop(task);
        clone.wake();
        wait_for(before + 1);
    });
    thread.shutdown(ms(0));
    thread.join().unwrap();
}

#[test]
fn r12_a_permit_allocates_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    static LAST: AtomicU64 = AtomicU64::new(0);
    let (hand, handed) = mpsc::channel();
    let thread = LoopThread::<Answering>::spawn(Config::default(), move |setup| {
        MEASURED.set(true);
        hand.send(setup.add::<Answering>(&LAST)?)?;
        Ok(())
    })
    .unwrap();
    let machine = handed.recv().unwrap();
    steady("a permit", || {
        for n in 1..=sized(500, 50) as u64 {
            drop(machine.reserve().unwrap());
            machine.reserve().unwrap().send(n);
            while LAST.load(Ordering::Acquire) != n {
                std::thread::yield_now();
            }
        }
        LAST.store(0, Ordering::Release);
    });
    thread.shutdown(ms(0));
    thread.join().unwrap();
}

/// A TCP server that echoes.
enum Echo {
    Listening(#[allow(dead_code)] Listener),
    Serving(Socket),
}

enum Seed {
    Listen(mpsc::Sender<SocketAddr>),
    Serve(Incoming),
}

impl Machine for Echo {
    type Context = ();
    type Message = Never;
    type Seed = Seed;

    fn create(seed: Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match seed {
            Seed::Listen(at) => {
                let listener = scope.listen(any_port())?;
                at.send(tcp_addr(scope.listening_at(&listener)?))?;
                Ok(Response::of(Echo::Listening(listener)))
            }
            Seed::Serve(incoming) => {
                let socket = scope.open(incoming)?;
                // Small, so that much output does not leave at once.
                scope.set_send_buffer(&socket, 4096)?;
                Ok(Response::of(Echo::Serving(socket)).after(ms(60_000)))
            }
        }
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (event, &self) {
            (Io::Incoming(incoming), _) => drop(scope.spawn(Seed::Serve(incoming))?),
            (Io::Read(bytes), Echo::Serving(socket)) => {
                // Kept and given back: a count in the block's header.
                let kept = bytes.keep(..)?;
                scope.write(socket, &kept)?;
                return Ok(Response::of(self).after(ms(60_000)));
            }
            (Io::Eof, Echo::Serving(socket)) => scope.shutdown_write(socket)?,
            (Io::Flushed, _) => drop(QUEUED.fetch_add(1, Ordering::SeqCst)),
            _ => return Ok(Response::done()),
        }
        Ok(Response::of(self))
    }
}

/// Writes that did not leave at once.
static QUEUED: AtomicU64 = AtomicU64::new(0);

fn echo_server() -> (LoopThread<Echo>, SocketAddr) {
    let (at, listening) = mpsc::channel();
    let thread = LoopThread::<Echo>::spawn(Config::default(), move |setup| {
        MEASURED.set(true);
        setup.add::<Echo>(Seed::Listen(at))?;
        Ok(())
    })
    .unwrap();
    let to = listening.recv_timeout(patience()).unwrap();
    (thread, to)
}

#[test]
fn r12_an_echoed_read_allocates_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    let (thread, to) = echo_server();
    let mut clients: Vec<TcpStream> = (0..4).map(|_| client(to)).collect();
    let mut answer = [0; 64];
    steady("an echoed read", || {
        for n in 0..sized(500, 50) {
            let client = &mut clients[n % 4];
            client.write_all(&[n as u8; 64]).unwrap();
            client.read_exact(&mut answer).unwrap();
            assert_eq!(answer, [n as u8; 64]);
        }
    });
    // More than the sockets take at once, so that writes are queued: the client reads only when it has sent all.
    let mut stream = TcpStream::connect(to).unwrap();
    let (question, mut answer) = (vec![7; 48 << 10], vec![0; 48 << 10]);
    steady("a queued write", || {
        for _ in 0..sized(50, 5) {
            stream.write_all(&question).unwrap();
            stream.read_exact(&mut answer).unwrap();
        }
    });
    assert!(QUEUED.load(Ordering::SeqCst) > 0, "none was queued");
    drop(thread);
}

/// Connections come, say something, and go: their slots, handles and buffers are all used again.
#[test]
fn r12_an_accepted_and_closed_connection_allocates_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    let (thread, to) = echo_server();
    let mut byte = [0; 1];
    steady("a connection", || {
        for _ in 0..sized(100, 20) {
            // `std`'s connect to a `SocketAddr` allocates nothing.
            let mut stream = TcpStream::connect(to).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut byte).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut byte).unwrap(), 0);
        }
    });
    thread.shutdown(ms(0));
    thread.join().unwrap();
}

/// A TCP server on two loops: one accepts by hand, with a lease for each connection, the other serves.
enum Handed {
    Accepting {
        listener: Listener,
        to: Notifier<Detached>,
        lessor: Arc<dyn Lessor>,
    },
    Taking,
    Serving(Socket),
}

enum HandedSeed {
    Accept(ListenSocket, Notifier<Detached>, Arc<dyn Lessor>),
    Take,
    Serve(Incoming),
}

impl Machine for Handed {
    type Context = ();
    type Message = Detached;
    type Seed = HandedSeed;

    fn create(seed: HandedSeed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(match seed {
            HandedSeed::Accept(socket, to, lessor) => Response::of(Handed::Accepting {
                listener: scope.listen_on(socket)?,
                to,
                lessor,
            }),
            HandedSeed::Take => Response::of(Handed::Taking),
            HandedSeed::Serve(incoming) => {
                let socket = scope.open(incoming)?;
                Response::of(Handed::Serving(socket)).after(ms(60_000))
            }
        })
    }

    fn wakeup(self, connection: Detached, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let incoming = scope.adopt(connection)?;
        scope.spawn(HandedSeed::Serve(incoming))?;
        Ok(Response::of(self))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (event, &self) {
            (
                Io::Waiting,
                Handed::Accepting {
                    listener,
                    to,
                    lessor,
                },
            ) => {
                while let Some(connection) = scope.accept(listener)? {
                    let lease = Lease::new(lessor.clone(), 0);
                    to.send(connection.with_lease(lease))?;
                }
            }
            (Io::Read(bytes), Handed::Serving(socket)) => scope.write(socket, &bytes)?,
            _ => return Ok(Response::done()),
        }
        Ok(Response::of(self))
    }
}

/// Counts how many leases were told.
struct Tally(AtomicU64);

impl Lessor for Tally {
    fn closed(&self, _: u64) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// The two loops, and where they listen. The serving one is measured; so is the accepting one, if asked for.
struct TwoLoops {
    tally: Arc<Tally>,
    to: SocketAddr,
    serves: LoopThread<Handed>,
    accepts: LoopThread<Handed>,
}

fn two_loops(config: Config, is_accepting_measured: bool) -> TwoLoops {
    let tally = Arc::new(Tally(AtomicU64::new(0)));
    let socket = ListenSocket::tcp(([127, 0, 0, 1], 0).into(), &ListenOptions::default()).unwrap();
    let to = socket.local_addr().unwrap();
    let (hand, handed) = mpsc::channel();
    let serves = LoopThread::<Handed>::spawn(config, move |setup| {
        hand.send(setup.add::<Handed>(HandedSeed::Take)?)?;
        MEASURED.set(true);
        Ok(())
    })
    .unwrap();
    let taker = handed.recv().unwrap();
    let lessor: Arc<dyn Lessor> = tally.clone();
    let accepts = LoopThread::<Handed>::spawn(Config::default(), move |setup| {
        setup.add::<Handed>(HandedSeed::Accept(socket, taker, lessor))?;
        MEASURED.set(is_accepting_measured);
        Ok(())
    })
    .unwrap();
    TwoLoops {
        tally,
        to,
        serves,
        accepts,
    }
}

impl TwoLoops {
    /// Waits until so many leases were told.
    fn told(&self, count: u64) {
        while self.tally.0.load(Ordering::SeqCst) < count {
            std::thread::yield_now();
        }
    }
}

/// Accepted by hand on one loop, leased, sent, adopted, opened, served and closed on another: nothing on either.
#[test]
fn r12_a_connection_between_loops_allocates_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    let loops = two_loops(Config::default(), true);
    let (mut byte, mut connections) = ([0; 1], 0);
    steady("a connection between loops", || {
        for _ in 0..sized(100, 20) {
            let mut stream = TcpStream::connect(loops.to).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut byte).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            assert_eq!(stream.read(&mut byte).unwrap(), 0);
            connections += 1;
            loops.told(connections);
        }
    });
    assert_eq!(loops.tally.0.load(Ordering::SeqCst), connections);
}

/// What a loop's first connections allocate on its thread, all open at once, and what as many later ones do.
fn first_and_later(preallocate: usize, connections: usize) -> [(u64, u64); 2] {
    let loops = two_loops(
        Config {
            preallocate,
            ..Config::default()
        },
        false,
    );
    let mut streams: Vec<TcpStream> = Vec::with_capacity(connections);
    let (mut byte, mut ended) = ([0; 1], 0);
    let allocated = [(); 2].map(|()| {
        let before = counts();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(loops.to).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut byte).unwrap();
            streams.push(stream);
        }
        let after = counts();
        ended += connections as u64;
        streams.clear();
        loops.told(ended);
        (after.0 - before.0, after.1 - before.1)
    });
    assert!(loops.serves.machines() > 0 && loops.accepts.machines() > 0);
    allocated
}

/// With memory set aside, the first connections allocate as little as later ones; without, they grow the tables.
#[test]
fn r12_with_memory_set_aside_the_first_connections_allocate_nothing() {
    let _turn = turn();
    let _dog = watchdog();
    for connections in [sized(64, 20), sized(333, 40)] {
        let [first, later] = first_and_later(connections, connections);
        let [grown, _] = first_and_later(0, connections);
        assert_eq!((first.0, later.0), (0, 0), "Rust's, with {connections}");
        // libuv's own table of descriptors doubles as their numbers grow.
        assert!(
            first.1 <= 12 && later.1 == 0,
            "libuv's: {first:?}, {later:?}"
        );
        assert!(grown.0 > first.0, "nothing to compare with: {grown:?}");
    }
}

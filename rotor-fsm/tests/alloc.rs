//! R12: no allocation in the steady state, neither Rust's nor libuv's.
//!
//! A program of its own, because it counts every allocation of the process: all threads' while it measures. The tests
//! take turns for the same reason.

#[path = "rules/common.rs"]
mod common;

use common::*;
use rotor_fsm::prelude::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, mpsc};

/// Allocations of Rust code while [`COUNTING`] is set.
static RUST: AtomicU64 = AtomicU64::new(0);
/// Those of libuv.
static LIBUV: AtomicU64 = AtomicU64::new(0);
static COUNTING: AtomicBool = AtomicBool::new(false);

fn count(counter: &AtomicU64) {
    if COUNTING.load(Ordering::Relaxed) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
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

/// Runs `f` until a run of it allocates nothing: tables, buffers and caches grow to their size first. Fails if even
/// the tenth does.
fn steady(what: &str, mut f: impl FnMut()) {
    let mut seen = Vec::new();
    for _ in 0..10 {
        RUST.store(0, Ordering::SeqCst);
        LIBUV.store(0, Ordering::SeqCst);
        COUNTING.store(true, Ordering::SeqCst);
        f();
        COUNTING.store(false, Ordering::SeqCst);
        let counts = (RUST.load(Ordering::SeqCst), LIBUV.load(Ordering::SeqCst));
        if counts == (0, 0) {
            return;
        }
        seen.push(counts);
    }
    panic!("{what} allocates (Rust's, libuv's), ten times of ten: {seen:?}");
}

/// The counters count: else the other tests would show nothing.
#[test]
fn r12_the_counters_see_allocations() {
    let _turn = turn();
    COUNTING.store(true, Ordering::SeqCst);
    let before = (RUST.load(Ordering::SeqCst), LIBUV.load(Ordering::SeqCst));
    drop(std::hint::black_box(Box::new([0u8; 100])));
    let main_loop = noting(Config::default());
    COUNTING.store(false, Ordering::SeqCst);
    drop(main_loop);
    assert!(RUST.load(Ordering::SeqCst) > before.0);
    assert!(LIBUV.load(Ordering::SeqCst) > before.1);
}

/// Answers the message `n` by storing it where the test waits; a channel would allocate.
struct Answering {
    last: &'static AtomicU64,
}

impl Machine for Answering {
    type Context = Option<Spawner<Answering>>;
    type Message = u64;
    type Seed = &'static AtomicU64;

    fn create(last: Self::Seed, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Answering { last }))
    }

    fn wakeup(self, n: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.last.store(n, Ordering::Release);
        if n % 3 == 0 {
            // A machine of the same type, and one through a spawner; both end at once.
            scope.spawn(self.last)?;
        }
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

    fn create(_: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Brief))
    }

    fn wakeup(self, _: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
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
        hand.send(setup.add::<Answering>(&LAST)?)?;
        Ok(None)
    })
    .unwrap();
    let machine = handed.recv().unwrap();
    steady("a storm of messages", || {
        for n in 1..=sized(20_000, 2000) as u64 {
            // Not a multiple of three: no spawns in this one.
            while machine.send(3 * n + 1).is_err() {
                std::thread::yield_now();
            }
        }
        let last = 3 * sized(20_000, 2000) as u64 + 1;
        while LAST.load(Ordering::Acquire) != last {
            std::thread::yield_now();
        }
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
                Ok(Response::of(Echo::Serving(scope.open(incoming)?)).after(ms(60_000)))
            }
        }
    }

    fn io(
        self,
        event: Io<'_>,
        _: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        match (event, &self) {
            (Io::Incoming(incoming), _) => drop(scope.spawn(Seed::Serve(incoming))?),
            (Io::Read(bytes), Echo::Serving(socket)) => {
                // Kept and given back: a count in the block's header.
                let kept = bytes.keep(..)?;
                scope.write(socket, &kept)?;
                return Ok(Response::of(self).after(ms(60_000)));
            }
            (Io::Eof, Echo::Serving(socket)) => scope.shutdown_write(socket)?,
            (Io::Flushed, _) => {}
            _ => return Ok(Response::done()),
        }
        Ok(Response::of(self))
    }
}

fn echo_server() -> (LoopThread<Echo>, SocketAddr) {
    let (at, listening) = mpsc::channel();
    let thread = LoopThread::<Echo>::spawn(Config::default(), move |setup| {
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
    // More than the socket takes at once, so that writes are queued.
    let big = vec![7; 1 << 20];
    let mut back = vec![0; 1 << 20];
    let mut reader = clients[0].try_clone().unwrap();
    let (go, went) = mpsc::sync_channel::<()>(1);
    let (over, is_over) = mpsc::sync_channel::<()>(1);
    let writer = {
        let mut stream = clients[0].try_clone().unwrap();
        std::thread::spawn(move || {
            while went.recv().is_ok() {
                stream.write_all(&big).unwrap();
                over.send(()).unwrap();
            }
        })
    };
    let mut exchange = || {
        go.send(()).unwrap();
        std::thread::sleep(ms(5));
        reader.read_exact(&mut back).unwrap();
        is_over.recv().unwrap();
    };
    exchange();
    drop(exchange);
    drop(go);
    writer.join().unwrap();
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

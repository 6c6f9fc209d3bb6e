//! What fibers cost, against the bare coroutine below them and against the enum machine that does the same.
//!
//! `fibers` prints all figures: a switch there and back; a fiber made, run and ended; memory of a parked one; and an
//! echo server on a fiber per connection beside one on an enum machine per connection. The two take turns, round by
//! round, and the medians count.
//!
//! `fibers serve --as fiber` and `--as machine` are the two echo servers by themselves, for a profiler.

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use rotor_bench::args::{Args, fail};
use rotor_bench::process::memory_of;
use rotor_bench::rate::{Contestant, compare, median};
use rotor_fsm::prelude::*;
use rotor_net::fiber::{Cx, Fiber, StackConfig, Stacks};
use rotor_net::{AcceptSeed, Conn, Input, Intent, Limits, Protocol, Service, Streams, fiber};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() {
    let mut args = Args::from_env();
    let first = std::env::args().nth(1).unwrap_or_default();
    let done = match first.as_str() {
        "serve" => {
            args.mode(&["serve"]);
            let kind: String = args.required("--as");
            args.finish();
            match kind.as_str() {
                "fiber" => serve_fibers(),
                "machine" => serve_machines(),
                other => fail(&format!("--as {other}: expected `fiber` or `machine`")),
            }
        }
        "parked" => {
            args.mode(&["parked"]);
            let fibers = args.required("--fibers");
            args.finish();
            parked(fibers)
        }
        _ => {
            let rounds = args.option("--rounds").unwrap_or(15).max(1);
            args.finish();
            figures(rounds)
        }
    };
    if let Err(error) = done {
        fail(&error.to_string());
    }
}

fn figures(rounds: usize) -> Result<()> {
    for fibers in ["10000", "100000"] {
        // In a process of its own, where nothing else was allocated and freed before.
        let mut parked = std::process::Command::new(std::env::current_exe()?);
        if !parked
            .args(["parked", "--fibers", fibers])
            .status()?
            .success()
        {
            return Err(Error::msg("the parked fibers could not be counted"));
        }
    }
    let mut switches: Vec<Box<dyn Contestant>> = vec![
        Box::new(Bare),
        Box::new(Told::Machine),
        Box::new(Told::Fiber),
    ];
    let nanos = compare(&mut switches, rounds, 1_000_000);
    println!("switch bare {:.1} ns", nanos[0]);
    println!("message machine {:.1} ns", nanos[1]);
    println!("message fiber {:.1} ns", nanos[2]);
    println!("switch fiber {:.1} ns", nanos[2] - nanos[1]);
    let mut births: Vec<Box<dyn Contestant>> = vec![Box::new(Born::Machine), Box::new(Born::Fiber)];
    let nanos = compare(&mut births, rounds, 300_000);
    println!("life machine {:.1} ns", nanos[0]);
    println!("life fiber {:.1} ns", nanos[1]);
    echo(rounds)
}

/// A coroutine that is switched to and back.
struct Bare;

impl Contestant for Bare {
    fn name(&self) -> &str {
        "bare"
    }

    fn run(&mut self, count: u64) -> Duration {
        let stack = DefaultStack::new(64 << 10).expect("there is memory");
        let mut coroutine = Coroutine::<u64, (), (), _>::with_stack(stack, |yielder, mut n| {
            while n > 0 {
                n = yielder.suspend(());
            }
        });
        let start = Instant::now();
        for n in (1..=count).rev() {
            let outcome = coroutine.resume(n);
            assert!(matches!(outcome, CoroutineResult::Yield(())));
        }
        let took = start.elapsed();
        coroutine.resume(0);
        took
    }
}

/// Messages that a machine sends to another of its loop, which does nothing but receive them. What a fiber takes more
/// for each than an enum machine is what suspending and resuming it costs.
#[derive(Clone, Copy)]
enum Told {
    Machine,
    Fiber,
}

/// Receives so many messages.
struct Listener(u64);

impl Machine for Listener {
    type Context = ();
    type Message = u64;
    type Seed = u64;

    fn create(left: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Listener(left)))
    }

    fn wakeup(self, _: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if self.0 == 1 {
            scope.shutdown(Duration::ZERO);
            return Ok(Response::done());
        }
        Ok(Response::of(Listener(self.0 - 1)))
    }
}

/// Sends so many, as many a turn as the loop delivers in one.
struct Sender {
    to: Notifier<u64>,
    left: u64,
}

impl Machine for Sender {
    type Context = ();
    type Message = ();
    type Seed = (Notifier<u64>, u64);

    fn create((to, left): Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Sender { to, left }.send(scope)
    }

    fn wakeup(self, _: (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.send(scope)
    }
}

impl Sender {
    fn send(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        for _ in 0..self.left.min(4000) {
            self.to.send(self.left)?;
            self.left -= 1;
        }
        if self.left > 0 {
            scope.notifier().send(())?;
        }
        Ok(Response::of(self))
    }
}

type Listening = Fiber<(), u64>;
rotor_fsm::compose! { enum Talk(()) { Sender(Sender), Listener(Listener), Fiber(Listening) } }

impl Contestant for Told {
    fn name(&self) -> &str {
        match self {
            Self::Machine => "machine",
            Self::Fiber => "fiber",
        }
    }

    fn run(&mut self, count: u64) -> Duration {
        let mut talk = Loop::<Talk>::new(Config::default(), |_| Ok(())).expect("a loop");
        let stacks = Stacks::new(StackConfig::default()).expect("a pool");
        let to = match self {
            Self::Machine => talk.spawn::<Listener>(count).expect("there is room"),
            Self::Fiber => {
                let seed = stacks.fiber("listener", move |cx: &Cx<(), u64>| {
                    for _ in 0..count {
                        cx.recv()?;
                    }
                    Ok(cx.shutdown(Duration::ZERO)?)
                });
                let seed = seed.expect("there is a stack");
                talk.spawn::<Listening>(seed).expect("there is room")
            }
        };
        talk.spawn::<Sender>((to, count)).expect("there is room");
        let start = Instant::now();
        talk.run().expect("it ends well");
        start.elapsed()
    }
}

/// Machines that do nothing but begin, are parked until the loop's next turn, and end.
#[derive(Clone, Copy)]
enum Born {
    Machine,
    Fiber,
}

/// Makes so many of its own type, some at a time.
enum Parent {
    Parent(u64),
    Child,
}

/// Few enough to stay in the caches.
const BATCH: u64 = 100;

impl Machine for Parent {
    type Context = ();
    type Message = ();
    type Seed = u64;

    fn create(count: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if count == 0 {
            scope.another_turn();
            return Ok(Response::of(Parent::Child));
        }
        Parent::Parent(count).bear(scope)
    }

    fn io(self, _: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match self {
            Parent::Child => Ok(Response::done()),
            parent => parent.bear(scope),
        }
    }
}

impl Parent {
    fn bear(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let Parent::Parent(left) = self else {
            return Ok(Response::done());
        };
        for _ in 0..left.min(BATCH) {
            scope.spawn(0)?;
        }
        scope.another_turn();
        Ok(match left.saturating_sub(BATCH) {
            0 => Response::done(),
            left => Response::of(Parent::Parent(left)),
        })
    }
}

impl Contestant for Born {
    fn name(&self) -> &str {
        match self {
            Self::Machine => "machine",
            Self::Fiber => "fiber",
        }
    }

    fn run(&mut self, count: u64) -> Duration {
        match self {
            Self::Machine => {
                let mut lives = Loop::<Parent>::new(Config::default(), |_| Ok(())).expect("a loop");
                lives.spawn::<Parent>(count).expect("there is room");
                timed(&mut lives)
            }
            Self::Fiber => {
                let stacks = Stacks::new(StackConfig::default()).expect("a pool");
                let mut lives =
                    Loop::<Fiber<()>>::new(Config::default(), |_| Ok(())).expect("a loop");
                let seed = stacks.fiber("parent", move |cx| {
                    let mut left = count;
                    while left > 0 {
                        for _ in 0..left.min(BATCH) {
                            let child = cx.stacks().fiber("child", |cx| Ok(cx.yield_now()?))?;
                            cx.spawn(child)?;
                        }
                        left = left.saturating_sub(BATCH);
                        cx.yield_now()?;
                    }
                    Ok(())
                });
                let seed = seed.expect("there is a stack");
                lives.spawn::<Fiber<()>>(seed).expect("there is room");
                timed(&mut lives)
            }
        }
    }
}

fn timed<R: Machine>(lives: &mut Loop<R>) -> Duration {
    let start = Instant::now();
    lives.run().expect("it ends well");
    start.elapsed()
}

/// Parks so many fibers, and prints what each has added to the resident memory.
fn parked(fibers: usize) -> Result<()> {
    let stacks = Stacks::new(StackConfig::default())?;
    let mut main_loop = Loop::<Fiber<(), u64>>::new(Config::default(), |_| Ok(()))?;
    let before = memory_of(std::process::id())?.rss_bytes;
    for _ in 0..fibers {
        let seed = stacks.fiber("parked", |cx: &Cx<(), u64>| Ok(cx.recv().map(drop)?))?;
        main_loop.spawn::<Fiber<(), u64>>(seed)?;
    }
    let last = stacks.fiber("last", move |cx: &Cx<(), u64>| {
        // All others are parked when it is its turn again.
        cx.sleep(Duration::from_millis(200))?;
        let after = memory_of(std::process::id())?.rss_bytes;
        let each = after.saturating_sub(before) / fibers as u64;
        println!("parked {fibers} fibers {each} bytes each");
        Ok(cx.shutdown(Duration::ZERO)?)
    })?;
    main_loop.spawn::<Fiber<(), u64>>(last)?;
    main_loop.run()
}

/// The enum machine: a protocol that gives back whatever comes.
struct Echo;

impl Protocol for Echo {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Echo))
    }

    #[inline]
    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&data)?;
        Ok(Intent::of(self))
    }
}

/// The fiber that does the same.
fn echo_fiber(cx: &Cx<()>, incoming: Incoming) -> Result<()> {
    let mut stream = cx.open(incoming)?;
    let mut buf = [0; 4096];
    loop {
        match cx.read(&mut stream, &mut buf)? {
            0 => return Ok(()),
            n => cx.write_all(&mut stream, &buf[..n])?,
        }
    }
}

fn listen_with_fibers(cx: &Cx<()>, listening: impl FnOnce(Addr)) -> Result<()> {
    let mut listener = cx.listen("127.0.0.1:0".parse::<Addr>()?)?;
    listening(cx.listening_at(&listener)?);
    loop {
        let incoming = cx.accept(&mut listener)?;
        let echo = cx
            .stacks()
            .fiber("echo", move |cx| echo_fiber(cx, incoming))?;
        cx.spawn(echo)?;
    }
}

fn serve_fibers() -> Result<()> {
    fiber::run((), "listener", |cx| {
        listen_with_fibers(cx, |at| println!("listening on {at}"))
    })
}

fn serve_machines() -> Result<()> {
    let config = Config::default();
    rotor_net::serve_with::<Echo>("127.0.0.1:0", Limits::default(), config, (), |at| {
        println!("listening on {at}");
    })
}

/// A server on a thread of its own.
struct Server {
    name: &'static str,
    at: SocketAddr,
    /// The kernel's name of its thread.
    thread: i32,
    peers: Vec<TcpStream>,
    nanos: Vec<f64>,
    stop: Box<dyn Fn()>,
}

/// Connections, bytes of a message, and rounds of messages on all of them.
const CONNECTIONS: usize = 64;
const MESSAGE: [u8; 64] = [b'm'; 64];
const MESSAGES_PER_ROUND: usize = 20_000;

fn echo(rounds: usize) -> Result<()> {
    let mut servers = [machine_server()?, fiber_server()?];
    for server in &mut servers {
        for _ in 0..CONNECTIONS {
            let peer = TcpStream::connect(server.at)?;
            peer.set_nodelay(true)?;
            peer.set_read_timeout(Some(PATIENCE))?;
            server.peers.push(peer);
        }
        exchange(server, MESSAGES_PER_ROUND / 4)?;
        server.nanos.clear();
    }
    for _ in 0..rounds {
        for server in &mut servers {
            exchange(server, MESSAGES_PER_ROUND)?;
        }
    }
    for server in &mut servers {
        println!("echo {} {:.0} ns", server.name, median(&mut server.nanos));
        server.peers.clear();
        (server.stop)();
    }
    Ok(())
}

/// Notes what the server's thread has spent on a message.
fn exchange(server: &mut Server, messages: usize) -> Result<()> {
    let before = cpu_nanos(server.thread)?;
    let mut answer = MESSAGE;
    let mut done = 0;
    while done < messages {
        for peer in &mut server.peers {
            peer.write_all(&MESSAGE)?;
        }
        for peer in &mut server.peers {
            peer.read_exact(&mut answer)?;
        }
        done += server.peers.len();
    }
    let spent = cpu_nanos(server.thread)? - before;
    server.nanos.push(spent / done as f64);
    Ok(())
}

/// Processor time of one of our threads.
fn cpu_nanos(thread: i32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"))?;
    let first = text.split_whitespace().next().unwrap_or_default();
    Ok(first.parse::<u64>()? as f64)
}

fn own_thread() -> i32 {
    // SAFETY: asks for a number.
    unsafe { libc::gettid() }
}

fn machine_server() -> Result<Server> {
    let (tell, told) = mpsc::channel();
    let main_loop = LoopThread::<Service<Echo>>::spawn(Config::default(), move |setup| {
        let streams = Streams::new(Limits::default());
        let at: Addr = "127.0.0.1:0".parse()?;
        let seed = AcceptSeed::new(at, &streams, &setup.spawner(), |_| ());
        let seed = seed.on_listening(move |at| drop(tell.send((at.clone(), own_thread()))));
        setup.add::<rotor_net::Accept<Echo>>(seed)?;
        Ok(())
    })?;
    let (at, thread) = told.recv_timeout(PATIENCE)?;
    Ok(Server::new("machine", at, thread, move || {
        main_loop.shutdown(Duration::ZERO);
    }))
}

fn fiber_server() -> Result<Server> {
    let (tell, told) = mpsc::channel();
    let main_loop = LoopThread::<Fiber<()>>::spawn(Config::default(), move |setup| {
        let stacks = Stacks::new(StackConfig::default())?;
        let seed = stacks.fiber("listener", move |cx| {
            listen_with_fibers(cx, |at| drop(tell.send((at, own_thread()))))
        })?;
        setup.add::<Fiber<()>>(seed)?;
        Ok(())
    })?;
    let (at, thread) = told.recv_timeout(PATIENCE)?;
    Ok(Server::new("fiber", at, thread, move || {
        main_loop.shutdown(Duration::ZERO);
    }))
}

impl Server {
    fn new(name: &'static str, at: Addr, thread: i32, stop: impl Fn() + 'static) -> Self {
        let Addr::Tcp(at) = at else {
            fail("a TCP address was expected");
        };
        Self {
            name,
            at,
            thread,
            peers: Vec::new(),
            nanos: Vec::new(),
            stop: Box::new(stop),
        }
    }
}

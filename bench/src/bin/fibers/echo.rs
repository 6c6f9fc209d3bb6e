//! An echo server on a fiber per connection, beside one on an enum machine per connection.

use rotor_bench::args::fail;
use rotor_bench::rate::median;
use rotor_fsm::prelude::*;
use rotor_net::fiber::{Cx, Fiber, StackConfig, Stacks};
use rotor_net::{AcceptSeed, Conn, Input, Intent, Limits, Protocol, Service, Streams, fiber};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// The fibers' echo server, on this thread.
pub fn serve_fibers() -> Result<()> {
    fiber::run((), "listener", |cx| {
        listen_with_fibers(cx, |at| println!("listening on {at}"))
    })
}

/// The enum machines' echo server, on this thread.
pub fn serve_machines() -> Result<()> {
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

/// Echo on fibers and on enum machines, in turns: the CPU that the servers spend on a message.
pub fn echo(rounds: usize) -> Result<()> {
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

//! A scripted sink: a closure gets every event, a log remembers them, every wait is bounded.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use uv_sys_wrap::*;

/// The token of the world's own ticking timer; scripts never see it.
const TICK: Token = Token(u64::MAX);

/// How long a wait may last before the test fails. Only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether sizes should be small because everything runs fifty times slower.
pub fn slow() -> bool {
    std::env::var_os("ROTOR_VALGRIND").is_some()
}

/// `full`, or a fiftieth of it (at least 1) under valgrind.
pub fn sized(full: usize) -> usize {
    if slow() { (full / 50).max(1) } else { full }
}

pub type Act = Box<dyn FnMut(&Uv, Token, HandleId, Event<'_>)>;

/// The sink: logs `token: event`, then runs the script.
pub struct Script {
    uv: Uv,
    act: Act,
    log: Log,
}

/// What happened, in order, as short texts such as `1 Read(5)`.
pub type Log = Rc<RefCell<Vec<String>>>;

impl Sink for Script {
    fn event(&mut self, token: Token, handle: HandleId, event: Event<'_>) {
        if token == TICK {
            return;
        }
        self.log
            .borrow_mut()
            .push(format!("{} {}", token.0, name(&event)));
        (self.act)(&self.uv, token, handle, event);
    }
}

fn name(event: &Event<'_>) -> String {
    match event {
        Event::Read(buf) => format!("Read({})", buf.len()),
        Event::Written {
            bufs,
            result: Ok(()),
        } => format!("Written({})", bufs.len_bytes()),
        Event::Written {
            result: Err(error), ..
        } => format!("Written({:?})", error.kind()),
        Event::ShutDown(Ok(())) => "ShutDown".into(),
        Event::ShutDown(Err(error)) => format!("ShutDown({:?})", error.kind()),
        Event::Failed(error) => format!("Failed({:?})", error.kind()),
        Event::Signal(signum) => format!("Signal({signum})"),
        Event::Worked { result: Ok(()), .. } => "Worked".into(),
        Event::Worked {
            result: Err(error), ..
        } => format!("Worked({:?})", error.kind()),
        event => format!("{event:?}"),
    }
}

/// A loop with a script, and a timer that makes every turn end.
pub struct World {
    pub uv_loop: Loop<Script>,
    pub uv: Uv,
    pub log: Log,
    tick: Option<Timer>,
}

impl World {
    pub fn new(act: impl FnMut(&Uv, Token, HandleId, Event<'_>) + 'static) -> World {
        World::with(LoopConfig::default(), act)
    }

    pub fn with(
        config: LoopConfig,
        act: impl FnMut(&Uv, Token, HandleId, Event<'_>) + 'static,
    ) -> World {
        let log = Log::default();
        let kept = log.clone();
        let script = |uv: &Uv| Script {
            uv: uv.clone(),
            act: Box::new(act),
            log: kept,
        };
        let uv_loop = Loop::new(config, script).unwrap();
        let uv = uv_loop.uv().clone();
        World {
            uv_loop,
            uv,
            log,
            tick: None,
        }
    }

    /// A world that only logs.
    pub fn silent() -> World {
        World::new(|_, _, _, _| ())
    }

    /// Runs turns until `done`; panics when that takes too long, with `what` was awaited.
    #[track_caller]
    pub fn until(&mut self, what: &str, mut done: impl FnMut() -> bool) {
        if self.tick.is_none() {
            let tick = Timer::new(&self.uv, TICK).unwrap();
            tick.start(2, 2).unwrap();
            self.tick = Some(tick);
        }
        let start = Instant::now();
        while !done() {
            assert!(
                start.elapsed() < PATIENCE,
                "waited too long for {what}; {:#?}",
                self.log
            );
            self.uv_loop.run(RunMode::Once).unwrap();
        }
    }

    /// Runs turns until this many log entries are `text`.
    #[track_caller]
    pub fn until_logged(&mut self, text: &str, times: usize) {
        let log = self.log.clone();
        self.until(text, move || {
            log.borrow().iter().filter(|entry| *entry == text).count() >= times
        });
    }

    /// Runs a few turns without waiting for anything.
    pub fn turns(&mut self, count: usize) {
        for _ in 0..count {
            self.uv_loop.run(RunMode::NoWait).unwrap();
        }
    }

    /// The log so far; it starts anew.
    pub fn logged(&self) -> Vec<String> {
        self.log.take()
    }

    /// Closes the loop, which must leave nothing behind.
    #[track_caller]
    pub fn end(mut self) {
        self.tick = None;
        let uv = self.uv.clone();
        drop(self.uv_loop.close().map_err(|error| panic!("{error}")));
        let stats = uv.stats();
        assert_eq!(
            (stats.handles_live, stats.handles_closing),
            (0, 0),
            "{stats:?}"
        );
        assert_eq!((stats.requests_live, stats.work_live), (0, 0), "{stats:?}");
    }
}

/// Any free port of the loopback interface.
pub fn any() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// A connected pair: a handle of the world's, and a blocking std socket that never waits for ever.
pub fn pair(world: &World, token: Token) -> (Tcp, TcpStream) {
    let listener = TcpListener::bind(any()).unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let theirs = listener.accept().unwrap().0;
    let tcp = Tcp::new(&world.uv, token).unwrap();
    tcp.open(ours.into()).unwrap();
    (tcp, bounded(theirs))
}

/// Gives a std socket timeouts.
pub fn bounded(socket: TcpStream) -> TcpStream {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_write_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Writes with a std socket, from a thread (so that both ends may be slow).
pub fn feed(mut socket: TcpStream, bytes: Vec<u8>) -> std::thread::JoinHandle<TcpStream> {
    std::thread::spawn(move || {
        socket.write_all(&bytes).unwrap();
        socket
    })
}

/// Reads a std socket to its end, from a thread.
pub fn drain(mut socket: TcpStream) -> std::thread::JoinHandle<std::io::Result<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        socket.read_to_end(&mut all).map(|_| all)
    })
}

/// Bytes whose order shows.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}

/// Descriptors of this process.
#[cfg(target_os = "linux")]
pub fn open_fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// A directory of this test's own, removed at its end.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        let path = std::env::temp_dir().join(format!("uv-sys-wrap-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Dir(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

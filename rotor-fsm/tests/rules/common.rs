//! What the tests share: bounded waits, a machine made of one closure, a loop to run it, things that count their drops.
#![allow(dead_code, reason = "each test binary uses its part")]

use rotor_fsm::prelude::*;
use rotor_fsm::{Reason, Verdict};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::{Duration, Instant};

/// Whether sizes should be small, because everything runs fifty times slower.
pub fn slow() -> bool {
    // Looked up once, because that allocates, and some tests count allocations.
    static SLOW: OnceLock<bool> = OnceLock::new();
    *SLOW.get_or_init(|| std::env::var_os("ROTOR_VALGRIND").is_some())
}

/// `full`, or `small` under valgrind.
pub fn sized(full: usize, small: usize) -> usize {
    if slow() { small } else { full }
}

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How long a wait may last before the test fails. Only a hang gets there.
pub fn patience() -> Duration {
    Duration::from_secs(if slow() { 600 } else { 60 })
}

/// Aborts the program, saying which test it was, if it is not dropped in time: a loop that hangs cannot be unwound.
pub struct Watchdog {
    _leash: mpsc::Sender<()>,
}

/// Watches the current test until the value is dropped.
pub fn watchdog() -> Watchdog {
    let name = std::thread::current()
        .name()
        .unwrap_or("(a thread without a name)")
        .to_owned();
    let (leash, pulled) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        if pulled.recv_timeout(patience()) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("{name}: still waiting after {:?}", patience());
            std::process::abort();
        }
    });
    Watchdog { _leash: leash }
}

/// Waits until `done`, at most as long as anything may take.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + patience();
    while !done() {
        assert!(Instant::now() < end, "waited in vain until {what}");
        std::thread::sleep(ms(1));
    }
}

/// What happens to an [`Act`].
#[derive(Debug)]
pub enum On<'a, T> {
    Create,
    Io(Io<'a>, HandleId),
    Message(T),
    Timeout,
    Finish,
}

pub type Script<C, T> =
    Box<dyn FnMut(On<'_, T>, &mut Scope<'_, Act<C, T>>) -> Result<Response<()>>>;

/// A machine made of one closure, which is its seed and its state.
pub struct Act<C: 'static, T: Send + 'static>(pub Script<C, T>);

/// Boxes a script; helps the compiler to see its type.
pub fn act<C, T: Send>(
    script: impl FnMut(On<'_, T>, &mut Scope<'_, Act<C, T>>) -> Result<Response<()>> + 'static,
) -> Script<C, T> {
    Box::new(script)
}

impl<C: 'static, T: Send + 'static> Act<C, T> {
    fn step(mut self, on: On<'_, T>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let answer = (self.0)(on, scope)?;
        Ok(answer.map(|()| self))
    }
}

impl<C: 'static, T: Send + 'static> Machine for Act<C, T> {
    type Context = C;
    type Message = T;
    type Seed = Script<C, T>;

    fn create(script: Script<C, T>, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Act(script).step(On::Create, scope)
    }

    fn io(
        self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        self.step(On::Io(event, on), scope)
    }

    fn wakeup(self, message: T, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.step(On::Message(message), scope)
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.step(On::Timeout, scope)
    }

    fn finish(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        self.step(On::Finish, scope)
    }
}

/// Goes on.
pub fn stay() -> Result<Response<()>> {
    Ok(Response::of(()))
}

/// Goes on, with a deadline.
pub fn after(duration: Duration) -> Result<Response<()>> {
    Ok(Response::of(()).after(duration))
}

/// Ends.
pub fn done() -> Result<Response<()>> {
    Ok(Response::done())
}

/// Machines of the most usual kind: what happens is noted in the context, messages are numbers.
pub type Noting = Act<Vec<String>, u32>;
pub type NotingScope<'a> = Scope<'a, Noting>;

/// A loop of [`Noting`] machines. A panic in one of them, which most often is a failed assertion, comes out of `run`.
pub fn noting(mut config: Config) -> Loop<Noting> {
    config.on_end.get_or_insert_with(|| {
        Box::new(|_, reason| match reason {
            Reason::Panicked(_) => Verdict::Stop,
            _ => Verdict::Continue,
        })
    });
    noting_on(config)
}

/// The same, but panics are only counted, as they are by default.
pub fn noting_on(config: Config) -> Loop<Noting> {
    Loop::new(config, |_| Ok(Vec::new())).unwrap()
}

/// What was noted, after a run.
pub fn notes(main_loop: &mut Loop<Noting>) -> Vec<String> {
    std::mem::take(main_loop.context().unwrap())
}

/// Why machines ended, in order: index and reason.
pub type Ends = Arc<Mutex<Vec<(u32, String)>>>;

/// A configuration whose hook notes why machines ended and goes on.
pub fn hooked() -> (Config, Ends) {
    let ends = Ends::default();
    let noted = ends.clone();
    let hook = move |id: rotor_fsm::MachineId, reason: &Reason| {
        noted.lock().unwrap().push((id.index(), reason.to_string()));
        Verdict::Continue
    };
    let config = Config {
        on_end: Some(Box::new(hook)),
        ..Config::default()
    };
    (config, ends)
}

/// The reasons of all ends, in order.
pub fn reasons(ends: &Ends) -> Vec<String> {
    let ends = ends.lock().unwrap();
    ends.iter().map(|(_, reason)| reason.clone()).collect()
}

/// Counts those alive of what it made.
#[derive(Clone, Default)]
pub struct Census {
    made: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

/// One of a [`Census`].
pub struct Citizen(Census);

impl Census {
    pub fn one(&self) -> Citizen {
        self.made.fetch_add(1, Ordering::Relaxed);
        Citizen(self.clone())
    }

    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    pub fn alive(&self) -> usize {
        self.made() - self.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Citizen {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// An address of this machine with a port that the system picks.
pub fn any_port() -> Addr {
    Addr::Tcp(([127, 0, 0, 1], 0).into())
}

/// The socket address in an `Addr`.
pub fn tcp_addr(addr: Addr) -> SocketAddr {
    match addr {
        Addr::Tcp(addr) => addr,
        Addr::Unix(path) => panic!("a TCP address was expected, not {path:?}"),
    }
}

/// A blocking client, whose waits are bounded.
pub fn client(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
    stream.set_write_timeout(Some(patience())).unwrap();
    stream
}

/// Writes, and reads the same number of bytes back.
pub fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).unwrap();
    let mut answer = vec![0; bytes.len()];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// All that comes until the end; a reset counts as the end.
pub fn drain(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("reading failed: {error}"),
    }
    all
}

/// True if nothing can be read now, and the connection stands.
pub fn is_quiet(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let quiet = matches!(stream.read(&mut [0; 1]),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    quiet
}

/// Processor time that this thread has used.
pub fn thread_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live value, which the call fills in.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// The text of a panic that was caught.
pub fn payload_text(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<&str>() {
        Ok(text) => text.to_string(),
        Err(payload) => *payload.downcast::<String>().unwrap(),
    }
}

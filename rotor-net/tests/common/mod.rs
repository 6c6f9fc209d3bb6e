//! What the tests on real sockets share: a server on a thread of its own, and clients that never wait for ever.
#![allow(dead_code)] // each test binary uses a part of it
#![allow(clippy::field_reassign_with_default)] // the other way is not open to us: it is non-exhaustive

use rotor_net::prelude::*;
use rotor_net::{AcceptSeed, Service};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// No wait of a test is longer; none that succeeds is nearly as long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A running server, and the reasons for which its machines ended.
pub struct Server<P: Protocol> {
    pub addr: SocketAddr,
    pub ends: Receiver<String>,
    pub thread: LoopThread<Service<P>>,
}

/// Starts a server with one listener on a free port.
pub fn start<P: Protocol<Seed: Default>>(
    limits: Limits,
    context: impl FnOnce() -> P::Context + Send + 'static,
) -> Server<P> {
    let (tell_end, ends) = channel();
    let mut config = Config::default();
    config.on_end = Some(Box::new(move |_, reason| {
        let _ = tell_end.send(reason.to_string());
        rotor_fsm::Verdict::Continue
    }));
    let server = start_with(config, limits, context);
    Server { ends, ..server }
}

/// The same with a configuration, whose end hook is not listened to.
pub fn start_with<P: Protocol<Seed: Default>>(
    config: Config,
    limits: Limits,
    context: impl FnOnce() -> P::Context + Send + 'static,
) -> Server<P> {
    let (tell_addr, addr) = channel();
    let thread = LoopThread::<Service<P>>::spawn(config, move |setup| {
        let streams = Streams::new(limits);
        let at: SocketAddr = "127.0.0.1:0".parse()?;
        let seed = AcceptSeed::new(at, &streams, &setup.spawner(), |_| P::Seed::default());
        setup.add::<Accept<P>>(seed.on_listening(move |at| drop(tell_addr.send(at.clone()))))?;
        Ok(context())
    });
    let thread = thread.expect("the server starts");
    match addr.recv_timeout(PATIENCE).expect("the server listens") {
        Addr::Tcp(addr) => Server {
            addr,
            ends: channel().1,
            thread,
        },
        other => panic!("not a TCP address: {other}"),
    }
}

impl<P: Protocol> Server<P> {
    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// The next reason for which a machine ended.
    pub fn end(&self) -> String {
        self.ends.recv_timeout(PATIENCE).expect("a machine ends")
    }
}

/// A plain client.
pub struct Client(pub BufReader<TcpStream>);

impl Client {
    pub fn connect(addr: SocketAddr) -> Self {
        let socket = TcpStream::connect_timeout(&addr, PATIENCE).expect("connect");
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Self(BufReader::new(socket))
    }

    pub fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("send");
    }

    /// The next line, without its end; empty at the end of the stream.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub fn exactly(&mut self, n: usize) -> Vec<u8> {
        let mut bytes = vec![0; n];
        self.0.read_exact(&mut bytes).expect("bytes");
        bytes
    }

    /// Everything up to a clean end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("a clean end");
        bytes
    }

    pub fn half_close(&self) {
        self.socket().shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Closes with a reset.
    pub fn reset(self) {
        use std::os::fd::AsRawFd;
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        let size = size_of::<libc::linger>() as libc::socklen_t;
        // SAFETY: the descriptor is open, and the kernel only reads `linger`, which is of the size that is given.
        let refused = unsafe {
            let at = (&raw const linger).cast();
            libc::setsockopt(
                self.socket().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                at,
                size,
            )
        };
        assert_eq!(refused, 0);
    }

    /// True if nothing arrives for this long.
    pub fn is_silent_for(&mut self, duration: Duration) -> bool {
        self.socket().set_read_timeout(Some(duration)).unwrap();
        let quiet = self.0.fill_buf().is_err();
        self.socket().set_read_timeout(Some(PATIENCE)).unwrap();
        quiet
    }
}

/// Waits until it is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

//! The protocol that the tests talk: one command a line, one line for an answer.

use crate::common::Client;
use rotor_fsm::prelude::*;
use rotor_net::prelude::*;
use rotor_net::server::{Builder, Notice, Server, Worker};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// One connection.
pub enum Talk {
    Idle,
    /// Answers when its deadline passes; then ends, if it was asked to finish.
    Working {
        is_last: bool,
    },
}

/// A worker's context.
pub struct Ctx {
    pub worker: usize,
    /// The last broadcast message heard.
    pub heard: u32,
}

impl Protocol for Talk {
    type Context = Ctx;
    type Message = u32;
    type Seed = ();

    fn create(_: (), _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Talk::Idle).line(100))
    }

    fn received(self, line: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let line = std::str::from_utf8(&line).unwrap_or_default();
        let mut words = line.split(' ');
        match (words.next(), words.next()) {
            (Some("who"), _) => writeln(conn, |conn| conn.ctx.worker.to_string())?,
            (Some("heard"), _) => writeln(conn, |conn| conn.ctx.heard.to_string())?,
            (Some("work"), Some(ms)) => {
                let ms = ms.parse().unwrap_or(0);
                conn.out.write(b"working\n")?;
                return Ok(
                    Intent::of(Talk::Working { is_last: false }).after(Duration::from_millis(ms))
                );
            }
            (Some("panic"), _) => panic!("as asked"),
            _ => writeln(conn, |_| "what?".to_owned())?,
        }
        Ok(Intent::of(self))
    }

    fn timeout(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.out.write(b"worked\n")?;
        Ok(match self {
            Talk::Working { is_last: true } => Intent::done(),
            _ => Intent::of(Talk::Idle),
        })
    }

    fn finish(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        match self {
            Talk::Idle => {
                conn.out.write(b"bye\n")?;
                Ok(Intent::done())
            }
            Talk::Working { .. } => Ok(Intent::of(Talk::Working { is_last: true })),
        }
    }
}

fn writeln(conn: &mut Conn<'_, Talk>, text: impl Fn(&mut Conn<'_, Talk>) -> String) -> Result<()> {
    let text = text(conn);
    conn.out.write(text.as_bytes())?;
    conn.out.write(b"\n")?;
    Ok(())
}

pub type Talks = Server<Stream<Talk>, Stream<Talk>, u32>;

/// What the server noticed.
#[derive(Clone, Default)]
pub struct Notices(Arc<Mutex<Vec<Notice>>>);

impl Notices {
    pub fn all(&self) -> Vec<Notice> {
        self.0.lock().unwrap().clone()
    }

    pub fn hear(&self) -> impl Fn(&Notice) + Send + Sync + use<> {
        let all = self.0.clone();
        move |notice| all.lock().unwrap().push(notice.clone())
    }
}

/// A server of two workers on a free port, not started.
pub fn builder() -> Builder<Stream<Talk>, Stream<Talk>, u32> {
    Server::<Stream<Talk>>::builder()
        .listen("127.0.0.1:0")
        .workers(2)
        // Clients that never hang up shall not hold a drain up.
        .limits(Limits {
            linger: Duration::from_millis(200),
            ..Limits::default()
        })
        .on_message(|number, ctx: &mut Ctx| ctx.heard = number)
}

/// The configuration of a loop that fails as a whole when a machine panics.
pub fn fragile(_: usize) -> Config {
    let mut config = Config::default();
    config.on_end = Some(Box::new(|_, reason| {
        let panicked = matches!(reason, rotor_fsm::Reason::Panicked(_));
        assert!(!panicked, "the loop dies");
        rotor_fsm::Verdict::Continue
    }));
    config
}

pub fn context(worker: &Worker<'_, Stream<Talk>>) -> Result<Ctx> {
    Ok(Ctx {
        worker: worker.index(),
        heard: 0,
    })
}

pub fn start(builder: Builder<Stream<Talk>, Stream<Talk>, u32>) -> Talks {
    builder
        .start(context, |connection, _| connection.stream(()))
        .expect("the server starts")
}

/// The first TCP address.
pub fn addr_of<M: Machine, C, T: Send + 'static>(server: &Server<M, C, T>) -> SocketAddr {
    let tcp = server.addresses().iter().find_map(|addr| match addr {
        Addr::Tcp(addr) => Some(*addr),
        Addr::Unix(_) => None,
    });
    tcp.expect("a TCP address")
}

impl Client {
    /// Sends a line and reads one.
    pub fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n").as_bytes());
        self.line()
    }
}

/// A latch at which threads get stuck until it is opened, and which knows how many have come.
#[derive(Clone, Default)]
pub struct Latch(Arc<LatchState>);

#[derive(Default)]
struct LatchState {
    come: AtomicUsize,
    is_open: Mutex<bool>,
    bell: Condvar,
}

impl Latch {
    pub fn wait(&self) {
        self.0.come.fetch_add(1, Ordering::SeqCst);
        let is_open = self.0.is_open.lock().unwrap();
        let opened = self.0.bell.wait_while(is_open, |is_open| !*is_open);
        drop(opened.unwrap());
    }

    /// How many threads have come to it.
    pub fn come(&self) -> usize {
        self.0.come.load(Ordering::SeqCst)
    }

    pub fn open(&self) {
        *self.0.is_open.lock().unwrap() = true;
        self.0.bell.notify_all();
    }
}

//! A server with the service under test, and what its handlers share with the test.

use crate::common::{PATIENCE, Server};
use rotor_net::prelude::*;
use rotor_net::rpc::{ItemReceiver, ItemSender, Reply, Session, SessionConfig, session};
use rotor_net::{AcceptSeed, Service};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

pub use crate::service::Bench;

/// Ranks.
pub const ECHO: u16 = 0;
/// The reply goes to the test.
pub const KEEP: u16 = 1;
pub const PANIC: u16 = 2;
pub const DROP: u16 = 3;
/// Items: the sender goes to the test.
pub const ITEMS: u16 = 4;
/// The receiver and the reply go to the test.
pub const SUM: u16 = 5;
/// Both go to the test.
pub const CHAT: u16 = 6;
pub const NOTE: u16 = 7;
pub const TREE: u16 = 8;
pub const UNITS: u16 = 9;
/// So many bytes, of at most 4 MiB.
pub const BIG: u16 = 10;
/// What the thread pool says.
pub const POOL: u16 = 11;
/// What is known of the call.
pub const PEEK: u16 = 12;
/// Twice as much; version 2.
pub const TWICE: u16 = 13;
/// Version 1, which has it in a tuple.
pub const TWICE_1: u16 = 14;
/// Panics after the reply was given to the test.
pub const KEEP_AND_PANIC: u16 = 15;
/// Takes nothing that would answer.
pub const IGNORE: u16 = 16;
/// One item, and the end, at once.
pub const ONE_ITEM: u16 = 17;
/// The reply goes to the test, for many bytes.
pub const KEEP_BIG: u16 = 18;
/// The reply waits for a call of `TWICE`, or the test.
pub const PARK: u16 = 19;
/// Another thread answers, and has ended when the handler returns.
pub const ELSEWHERE: u16 = 20;
/// Not on the menu.
pub const NOTHING: u16 = 21;

#[derive(Serialize, Deserialize)]
pub enum Tree {
    Leaf,
    Node(Box<Tree>),
}

/// What all connections of a server share with its test.
pub struct Desk {
    pub kept: Mutex<Sender<Kept>>,
    pub notes: Mutex<Sender<u32>>,
    pub parked: Mutex<Vec<Reply<u64>>>,
    pub handled: AtomicUsize,
    pub counted: bool,
}

/// What handlers give to the test.
#[derive(Debug)]
pub enum Kept {
    Reply(u32, Reply<u32>),
    Big(Reply<Vec<u8>>),
    Items(ItemSender<Vec<u8>>),
    Sum(ItemReceiver<Vec<u8>>, Reply<u32>),
    Chat(ItemReceiver<Vec<u8>>, ItemSender<Vec<u8>>),
}

/// A server with this service.
pub struct Running {
    pub server: Server<Session<Bench>>,
    pub kept: Receiver<Kept>,
    pub notes: Receiver<u32>,
    pub desk: Arc<Desk>,
}

/// With defaults.
pub fn start() -> Running {
    start_with(SessionConfig::default(), Limits::default())
}

pub fn start_with(config: SessionConfig, limits: Limits) -> Running {
    start_counted(config, limits, false)
}

/// If wanted, allocations are counted on the server's thread.
pub fn start_counted(config: SessionConfig, limits: Limits, counted: bool) -> Running {
    let (desk, kept, notes) = desk(counted);
    let (tell_end, ends) = channel();
    let mut loop_config = Config::default();
    loop_config.on_end = Some(Box::new(move |_, reason| {
        let _ = tell_end.send(reason.to_string());
        rotor_fsm::Verdict::Continue
    }));
    let (tell_addr, addr) = channel();
    let context = desk.clone();
    let config = Arc::new(config);
    let thread = LoopThread::<Service<Session<Bench>>>::spawn(loop_config, move |setup| {
        let streams = Streams::new(limits);
        let at: SocketAddr = "127.0.0.1:0".parse()?;
        let seed = AcceptSeed::new(at, &streams, &setup.spawner(), move |_| {
            session(Bench::default(), &config)
        });
        setup.add::<Accept<Session<Bench>>>(
            seed.on_listening(move |at| drop(tell_addr.send(at.clone()))),
        )?;
        Ok(context)
    });
    let thread = thread.expect("the server starts");
    let addr = match addr.recv_timeout(PATIENCE).expect("the server listens") {
        Addr::Tcp(addr) => addr,
        other => panic!("not a TCP address: {other}"),
    };
    Running {
        server: Server { addr, ends, thread },
        kept,
        notes,
        desk,
    }
}

/// A desk, and what its handlers give away.
pub fn desk(counted: bool) -> (Arc<Desk>, Receiver<Kept>, Receiver<u32>) {
    let (kept_in, kept) = channel();
    let (notes_in, notes) = channel();
    let desk = Desk {
        kept: Mutex::new(kept_in),
        notes: Mutex::new(notes_in),
        parked: Mutex::new(Vec::with_capacity(1000)),
        handled: AtomicUsize::new(0),
        counted,
    };
    (Arc::new(desk), kept, notes)
}

impl Running {
    pub fn greeted(&self) -> crate::wire::Peer {
        crate::wire::Peer::greeted(self.server.addr)
    }

    pub fn kept(&self) -> Kept {
        self.kept.recv_timeout(PATIENCE).expect("a call comes")
    }

    pub fn kept_reply(&self) -> (u32, Reply<u32>) {
        match self.kept() {
            Kept::Reply(number, reply) => (number, reply),
            other => panic!("{other:?}"),
        }
    }

    pub fn handled(&self) -> usize {
        self.desk.handled.load(SeqCst)
    }

    /// How the next connection ends.
    pub fn end(&self) -> String {
        self.server.end()
    }
}

//! A server in bytes, written down a second time: what the client is tested against is not made of its own code.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;
use std::time::Duration;

/// No wait of a test is longer; none that succeeds is nearly as long.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub const HELLO: u8 = 1;
pub const WELCOME: u8 = 2;
pub const GOODBYE: u8 = 3;
pub const CALL: u8 = 4;
pub const ONE_WAY: u8 = 5;
pub const REPLY: u8 = 6;
pub const FAIL: u8 = 7;
pub const ITEM: u8 = 8;
pub const END: u8 = 9;
pub const CREDIT: u8 = 10;
pub const CANCEL: u8 = 11;
pub const PING: u8 = 12;
pub const PONG: u8 = 13;
pub const CLOSE_STARTED: u8 = 14;

/// Failure codes.
pub const UNKNOWN: u16 = 2;
pub const DRAINING: u16 = 9;

pub const PREAMBLE: &[u8] = b"\xf7rotor\x01\x01";
const HEADER: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub number: u16,
    pub slot: u32,
    pub sequence: u32,
    pub body: Vec<u8>,
}

impl Frame {
    /// A frame about the same call as this one.
    pub fn answer(&self, kind: u8, number: u16, body: &[u8]) -> Vec<u8> {
        frame(kind, number, (self.slot, self.sequence), body)
    }

    /// The request, without what leads it.
    pub fn request(&self) -> &[u8] {
        let mut rest = &self.body[..];
        if self.flags & 1 != 0 {
            rest = &rest[4..];
        }
        if self.flags & 2 != 0 {
            let len = usize::from(u16::from_le_bytes([rest[0], rest[1]]));
            rest = &rest[2 + len..];
        }
        if self.flags & 4 != 0 {
            rest = &rest[3 + usize::from(rest[2])..];
        }
        rest
    }

    pub fn deadline_ms(&self) -> Option<u32> {
        let bytes = self.body.first_chunk::<4>()?;
        (self.flags & 1 != 0).then(|| u32::from_le_bytes(*bytes))
    }
}

pub fn frame(kind: u8, number: u16, (slot, sequence): (u32, u32), body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend([kind, 0]);
    bytes.extend(number.to_le_bytes());
    bytes.extend(slot.to_le_bytes());
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// A frame that is about no call.
pub fn bare(kind: u8) -> Vec<u8> {
    frame(kind, 0, (0, 0), &[])
}

/// The frames at the front of what has arrived; what is left is a part of one.
pub fn frames(bytes: &mut Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER>() {
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let whole = HEADER + word(0) as usize;
        if bytes.len() < whole {
            break;
        }
        frames.push(Frame {
            kind: header[4],
            flags: header[5],
            number: u16::from_le_bytes([header[6], header[7]]),
            slot: word(8),
            sequence: word(12),
            body: bytes[HEADER..whole].to_vec(),
        });
        bytes.drain(..whole);
    }
    frames
}

/// What a server says of itself.
#[derive(Clone)]
pub struct Welcome {
    pub frame_bytes_max: u32,
    pub window_bytes: u32,
    pub in_flight_max: u32,
    pub meta_bytes_max: u16,
    pub takes_unknown: bool,
    pub entries: Vec<Entry>,
}

/// Name, version, kind, digests, signature.
pub type Entry = (String, u16, u32, [u64; 3], String);

impl Welcome {
    pub fn body(&self) -> Vec<u8> {
        let limits = (
            self.frame_bytes_max,
            self.window_bytes,
            self.in_flight_max,
            self.meta_bytes_max,
        );
        postcard::to_stdvec(&(limits, self.takes_unknown, "tests", &self.entries)).unwrap()
    }

    pub fn bytes(&self) -> Vec<u8> {
        [PREAMBLE, &frame(WELCOME, 0, (0, 0), &self.body())].concat()
    }
}

/// A server on a thread of its own, which does what a script says, and then stops listening.
pub struct Scripted {
    pub at: String,
    thread: Option<JoinHandle<()>>,
}

pub fn scripted(script: impl FnOnce(&Listener) + Send + 'static) -> Scripted {
    scripted_on(TcpListener::bind("127.0.0.1:0").unwrap(), script)
}

pub fn scripted_on(
    listener: TcpListener,
    script: impl FnOnce(&Listener) + Send + 'static,
) -> Scripted {
    let at = listener.local_addr().unwrap().to_string();
    Scripted {
        at,
        thread: Some(std::thread::spawn(move || script(&Listener(listener)))),
    }
}

impl Scripted {
    /// Waits for the script to end; it has failed if it has panicked.
    pub fn join(mut self) {
        if let Err(panic) = self.thread.take().unwrap().join() {
            std::panic::resume_unwind(panic);
        }
    }
}

pub struct Listener(TcpListener);

impl Listener {
    pub fn accept(&self) -> Peer {
        // A client that never comes is a test that fails, rather than one that hangs.
        self.0.set_nonblocking(true).unwrap();
        let start = std::time::Instant::now();
        let socket = loop {
            match self.0.accept() {
                Ok((socket, _)) => break socket,
                Err(_) => assert!(start.elapsed() < PATIENCE, "nobody connects"),
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        Peer {
            socket,
            bytes: Vec::new(),
            ready: Vec::new(),
        }
    }

    /// A connection whose handshake is done.
    pub fn greet(&self) -> Peer {
        self.greet_with(&crate::service::welcome())
    }

    pub fn greet_with(&self, welcome: &Welcome) -> Peer {
        let mut peer = self.accept();
        peer.hello();
        peer.send(&welcome.bytes());
        peer
    }
}

/// A client, as its server sees it.
pub struct Peer {
    pub socket: TcpStream,
    bytes: Vec<u8>,
    ready: Vec<Frame>,
}

impl Peer {
    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// The client's preamble and its `Hello`.
    pub fn hello(&mut self) -> Frame {
        let mut preamble = [0; 8];
        self.socket.read_exact(&mut preamble).unwrap();
        assert_eq!(preamble, PREAMBLE);
        self.expect(HELLO)
    }

    /// The next frame; `None` at the end.
    pub fn next(&mut self) -> Option<Frame> {
        while self.ready.is_empty() {
            let mut piece = [0; 4096];
            match self.socket.read(&mut piece) {
                Ok(0) => return None,
                Ok(n) => self.bytes.extend(&piece[..n]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("nothing comes: {error}"),
            }
            self.ready = frames(&mut self.bytes);
        }
        Some(self.ready.remove(0))
    }

    pub fn expect(&mut self, kind: u8) -> Frame {
        match self.next() {
            Some(frame) if frame.kind == kind => frame,
            other => panic!("expected a frame of kind {kind}, got {other:?}"),
        }
    }

    /// Nothing more comes.
    pub fn expect_end(&mut self) {
        assert_eq!(self.next(), None);
    }

    /// Why the client ends the session.
    pub fn goodbye(&mut self) -> String {
        loop {
            let frame = self.next().expect("a goodbye");
            if frame.kind == GOODBYE {
                return String::from_utf8(frame.body).unwrap();
            }
        }
    }

    /// A call, answered with a number.
    pub fn answer(&mut self, call: &Frame, reply: u32) {
        self.send(&call.answer(REPLY, 0, &postcard::to_stdvec(&reply).unwrap()));
    }

    /// Answers calls of numbers with their double, until the client closes.
    pub fn double(&mut self) {
        while let Some(frame) = self.next() {
            match frame.kind {
                CALL => {
                    let request: u32 = postcard::from_bytes(frame.request()).unwrap();
                    self.answer(&frame, 2 * request);
                }
                PING => self.send(&bare(PONG)),
                _ => {}
            }
        }
    }
}

pub fn number(frame: &Frame) -> u32 {
    postcard::from_bytes(frame.request()).unwrap()
}

pub fn item(call: &Frame, number: u32) -> Vec<u8> {
    call.answer(ITEM, 0, &postcard::to_stdvec(&number).unwrap())
}

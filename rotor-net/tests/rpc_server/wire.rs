//! The wire as the protocol's description has it, written apart from the code under test: frames, and a peer that
//! speaks them on a blocking socket.

use crate::common::Client;
use std::net::SocketAddr;

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

/// Numbers of failures.
pub const BAD_REQUEST: u16 = 1;
pub const UNKNOWN: u16 = 2;
pub const REFUSED: u16 = 3;
pub const TIMED_OUT: u16 = 4;
pub const PANICKED: u16 = 5;
pub const UNANSWERED: u16 = 6;
pub const REMOTE: u16 = 7;
pub const TOO_LARGE: u16 = 8;
pub const DRAINING: u16 = 9;

/// Flags of calls.
pub const DEADLINE: u8 = 1;
pub const META: u8 = 2;
pub const NAMED: u8 = 4;

/// The slot of one-way calls.
pub const NO_SLOT: u32 = u32::MAX;

pub const HEADER_BYTES: usize = 16;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub number: u16,
    pub slot: u32,
    pub sequence: u32,
    pub body: Vec<u8>,
}

impl Frame {
    pub fn new(kind: u8, slot: u32, sequence: u32, body: impl Into<Vec<u8>>) -> Self {
        Self {
            kind,
            slot,
            sequence,
            body: body.into(),
            ..Self::default()
        }
    }

    pub fn call(rank: u16, slot: u32, sequence: u32, body: impl Into<Vec<u8>>) -> Self {
        Self {
            number: rank,
            ..Self::new(CALL, slot, sequence, body)
        }
    }

    /// Of no call.
    pub fn plain(kind: u8) -> Self {
        Self::new(kind, 0, 0, [])
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = (self.body.len() as u32).to_le_bytes().to_vec();
        bytes.extend([self.kind, self.flags]);
        bytes.extend(self.number.to_le_bytes());
        bytes.extend(self.slot.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(&self.body);
        bytes
    }

    /// The frame at the front, if it is whole, and its length.
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let header = bytes.get(..HEADER_BYTES)?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let whole = HEADER_BYTES + word(0) as usize;
        let frame = Self {
            kind: header[4],
            flags: header[5],
            number: u16::from_le_bytes([header[6], header[7]]),
            slot: word(8),
            sequence: word(12),
            body: bytes.get(HEADER_BYTES..whole)?.to_vec(),
        };
        Some((frame, whole))
    }

    pub fn words(&self) -> String {
        String::from_utf8(self.body.clone()).expect("words")
    }
}

/// All frames, which must be whole.
pub fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (frame, whole) = Frame::parse(bytes).expect("whole frames");
        frames.push(frame);
        bytes = &bytes[whole..];
    }
    frames
}

pub fn encoded<T: serde::Serialize + ?Sized>(value: &T) -> Vec<u8> {
    postcard::to_stdvec(value).unwrap()
}

pub fn decoded<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> T {
    postcard::from_bytes(bytes).unwrap()
}

pub fn preamble() -> Vec<u8> {
    b"\xf7rotor\x01\x01".to_vec()
}

/// What leads a request, and the flags that say so.
pub fn opening(deadline_ms: Option<u32>, meta: &[u8], named: Option<(&str, u16)>) -> (u8, Vec<u8>) {
    let (mut flags, mut bytes) = (0, Vec::new());
    if let Some(ms) = deadline_ms {
        flags |= DEADLINE;
        bytes.extend(ms.to_le_bytes());
    }
    if !meta.is_empty() {
        flags |= META;
        bytes.extend((meta.len() as u16).to_le_bytes());
        bytes.extend(meta);
    }
    if let Some((name, version)) = named {
        flags |= NAMED;
        bytes.extend(version.to_le_bytes());
        bytes.push(name.len() as u8);
        bytes.extend(name.as_bytes());
    }
    (flags, bytes)
}

/// What a server says of itself.
#[derive(Debug, serde::Deserialize)]
pub struct Welcome {
    pub frame_bytes_max: u32,
    pub window_bytes: u32,
    pub in_flight_max: u32,
    pub meta_bytes_max: u16,
    pub takes_unknown: bool,
    pub service: String,
    pub entries: Vec<(String, u16, u8, [u64; 3], String)>,
}

/// What a client says of itself.
#[derive(Clone, Debug)]
pub struct Hello {
    pub frame_bytes_max: u32,
    pub window_bytes: u32,
    pub credential: Vec<u8>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            frame_bytes_max: 1 << 20,
            window_bytes: 64 << 10,
            credential: Vec::new(),
        }
    }
}

impl Hello {
    /// Preamble and frame.
    pub fn bytes(&self) -> Vec<u8> {
        let hello = (self.frame_bytes_max, self.window_bytes, &self.credential);
        let frame = Frame::new(HELLO, 0, 0, encoded(&hello));
        [preamble(), frame.bytes()].concat()
    }
}

/// A client of raw frames.
pub struct Peer {
    pub client: Client,
    pub next_sequence: u32,
}

impl Peer {
    /// Connects, and says nothing.
    pub fn silent(addr: SocketAddr) -> Self {
        Self {
            client: Client::connect(addr),
            next_sequence: 0,
        }
    }

    /// Connects and greets.
    pub fn greeted(addr: SocketAddr) -> Self {
        Self::greeted_with(addr, &Hello::default()).0
    }

    pub fn greeted_with(addr: SocketAddr, hello: &Hello) -> (Self, Welcome) {
        let mut peer = Self::silent(addr);
        peer.client.send(hello.bytes());
        assert_eq!(peer.client.exactly(8), preamble());
        let welcome = peer.read();
        assert_eq!(welcome.kind, WELCOME);
        (peer, decoded(&welcome.body))
    }

    pub fn send(&mut self, frame: &Frame) {
        self.client.send(frame.bytes());
    }

    /// The next frame.
    pub fn read(&mut self) -> Frame {
        let header = self.client.exactly(HEADER_BYTES);
        let body_bytes = u32::from_le_bytes(header[..4].try_into().unwrap());
        let body = self.client.exactly(body_bytes as usize);
        Frame::parse(&[header, body].concat()).unwrap().0
    }

    /// All frames until the server closes.
    pub fn rest(&mut self) -> Vec<Frame> {
        self.client.half_close();
        frames(&self.client.rest())
    }

    /// Begins the next call, in this slot.
    pub fn call(&mut self, rank: u16, slot: u32, request: &impl serde::Serialize) -> u32 {
        self.call_with(rank, slot, (0, Vec::new()), &encoded(request))
    }

    pub fn call_with(
        &mut self,
        rank: u16,
        slot: u32,
        (flags, opening): (u8, Vec<u8>),
        request: &[u8],
    ) -> u32 {
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        let kind = if slot == NO_SLOT { ONE_WAY } else { CALL };
        self.send(&Frame {
            kind,
            flags,
            number: rank,
            slot,
            sequence,
            body: [&opening[..], request].concat(),
        });
        sequence
    }

    /// The next frame must answer this call.
    pub fn reply<T: serde::de::DeserializeOwned>(&mut self, slot: u32, sequence: u32) -> T {
        let frame = self.read();
        assert_eq!(
            (frame.kind, frame.slot, frame.sequence),
            (REPLY, slot, sequence),
            "{frame:?}"
        );
        decoded(&frame.body)
    }

    /// The next frame must fail this call; answers how, and the words.
    pub fn failure(&mut self, slot: u32, sequence: u32) -> (u16, String) {
        let frame = self.read();
        assert_eq!(
            (frame.kind, frame.slot, frame.sequence),
            (FAIL, slot, sequence),
            "{frame:?}"
        );
        (frame.number, frame.words())
    }

    /// A call and its reply.
    pub fn echo(&mut self, slot: u32, bytes: &[u8]) {
        let sequence = self.call(crate::bench::ECHO, slot, &bytes);
        assert_eq!(self.reply::<Vec<u8>>(slot, sequence), bytes);
    }

    /// The next frame must be a goodbye, and the last; answers its words.
    pub fn goodbye(&mut self) -> (u16, String) {
        let frame = self.read();
        assert_eq!(frame.kind, GOODBYE, "{frame:?}");
        assert_eq!(self.client.rest(), b"", "nothing after a goodbye");
        (frame.number, frame.words())
    }
}

//! What the tests of items share: a line that keeps what is put on it, a call that notes what is asked of it, a bell.

use super::super::codec::{self, Limits};
use super::super::error::CallError;
use super::super::frame::{CallId, Header, Kind};
use super::super::line::Line;
use super::{Inflow, ItemReceiver, ItemSender, Mutex, Outflow, Side, Starter, lock};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub const ID: CallId = CallId {
    slot: 3,
    sequence: 70,
};
/// Bytes of an item that peers of these tests take.
pub const ITEM_BYTES_MAX: usize = 1000;
pub const VERSION: usize = 2;

/// A line as a tape.
pub struct Tape(Mutex<Track>);

#[derive(Default)]
struct Track {
    frames: VecDeque<(Header, Vec<u8>)>,
    is_over: bool,
    is_full: bool,
}

impl Tape {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Track::default())))
    }

    /// The first frame that has not been looked at.
    pub fn next(&self) -> Option<(Header, Vec<u8>)> {
        lock(&self.0).frames.pop_front()
    }

    /// The frames that have not been looked at: kinds and bodies. All are of this call.
    pub fn frames(&self) -> Vec<(Kind, Vec<u8>)> {
        let frames = std::iter::from_fn(|| self.next());
        frames
            .map(|(header, body)| {
                assert_eq!((header.id, header.flags), (ID, 0));
                (header.kind, body)
            })
            .collect()
    }

    /// The credit in frames that have not been looked at, which are all of that kind.
    pub fn credits(&self) -> Vec<u32> {
        let frames = self.frames().into_iter();
        frames
            .map(|(kind, body)| {
                assert_eq!(kind, Kind::Credit);
                u32::from_le_bytes(body.try_into().unwrap())
            })
            .collect()
    }

    pub fn set_over(&self) {
        lock(&self.0).is_over = true;
    }

    pub fn set_full(&self, is_full: bool) {
        lock(&self.0).is_full = is_full;
    }
}

impl Line for Tape {
    fn push(&self, header: Header, body: &[u8]) -> bool {
        let mut track = lock(&self.0);
        if !track.is_over {
            track.frames.push_back((header, body.to_vec()));
        }
        !track.is_over
    }

    fn is_full(&self) -> bool {
        lock(&self.0).is_full
    }
}

/// A client's call.
pub struct Caller {
    log: Mutex<Vec<String>>,
    refusal: Option<CallError>,
}

impl Caller {
    pub fn new(refusal: Option<CallError>) -> Arc<Self> {
        let log = Mutex::new(Vec::new());
        Arc::new(Self { log, refusal })
    }

    /// What was asked of it since the last look.
    pub fn log(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.log))
    }

    fn note(&self, what: &str) {
        lock(&self.log).push(what.into());
    }
}

impl Starter for Caller {
    fn start(&self) -> Result<(), CallError> {
        self.note("start");
        self.refusal.clone().map_or(Ok(()), Err)
    }

    fn cancel(&self) {
        self.note("cancel");
    }

    fn within(&self, duration: Duration) {
        self.note(&format!("within {duration:?}"));
    }

    fn with_meta(&self, meta: &[u8]) {
        self.note(&format!("meta {meta:?}"));
    }
}

/// Items of these tests: bytes, with their version before them.
pub fn encode(
    version: usize,
    item: Vec<u8>,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CallError> {
    assert_ne!(item, b"panic", "as asked");
    codec::encode(&(version as u8, item), limits, out).map_err(CallError::Encode)
}

pub fn decode(version: usize, bytes: &[u8], limits: &Limits) -> Result<Vec<u8>, CallError> {
    let (sent_in, item) =
        codec::decode::<(u8, Vec<u8>)>(bytes, limits).map_err(CallError::Decode)?;
    assert_eq!(usize::from(sent_in), version);
    Ok(item)
}

/// An item of these tests as its peer would send it.
pub fn encoded(item: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    encode(VERSION, item.to_vec(), &Limits::DEFAULT, &mut body).unwrap();
    body
}

pub fn sender(side: Side) -> (Arc<Outflow>, ItemSender<Vec<u8>>) {
    let outflow = Outflow::new();
    let sender = ItemSender::new(outflow.clone(), encode, Arc::new(Limits::DEFAULT), side);
    (outflow, sender)
}

pub fn receiver(window_bytes: u32, side: Side) -> (Arc<Inflow>, ItemReceiver<Vec<u8>>) {
    let inflow = Inflow::new(window_bytes);
    let receiver = ItemReceiver::new(inflow.clone(), decode, Arc::new(Limits::DEFAULT), side);
    (inflow, receiver)
}

pub fn open_out(outflow: &Outflow, line: &Arc<Tape>, window_bytes: u32) {
    outflow.open(line.clone(), ID, window_bytes, ITEM_BYTES_MAX, VERSION);
}

pub fn open_in(inflow: &Inflow, line: &Arc<Tape>) {
    inflow.open(line.clone(), ID, VERSION);
}

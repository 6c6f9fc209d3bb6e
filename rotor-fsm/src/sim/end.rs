//! One end of a connection: what is on its way to it, what it has left to send, and who owns it.
//!
//! An end owns what was sent **to** it: the bytes in order, of which a prefix has arrived, and the list of pieces
//! still on their way. So closing an end is simply its removal: what arrives for it later finds nobody, and is
//! answered with a reset, as by a real kernel. What an end has sent already is the other's and still arrives.
//!
//! Invariant: `arrived` and the lengths of the pieces together are the length of the bytes.

use super::bytes::ByteQueue;
use super::world::{DoorId, EndId};
use crate::Addr;
use crate::driver::IoResult;
use std::collections::VecDeque;
use uv_sys_wrap::{Error as IoError, HandleId, Kind, Op};

pub(super) struct End {
    pub owner: Owner,
    /// The other end; none while a connect is on its way, stale once the other end is closed.
    pub other: Option<EndId>,
    pub local: Addr,
    pub remote: Addr,
    pub state: State,
    /// How a connect ended, until the owner is told.
    pub connect: Option<Result<(), Kind>>,
    /// When the owner learns that it is connected; a reset does not come before.
    pub established_at: u64,
    pub reading: bool,
    /// It is standard input, which stays when its handle closes.
    pub is_stdin: bool,
    pub input: Input,
    pub output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Handle(u32, HandleId),
    Peer(u32),
    /// In the queue of a listener.
    Waiting(DoorId),
    /// Standard input that no machine reads.
    Nobody,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    Open,
    Failed,
}

/// What comes to an end.
pub(super) struct Input {
    pub bytes: ByteQueue,
    /// So many of `bytes` have arrived; the rest is on its way.
    pub arrived: usize,
    pub pieces: VecDeque<Piece>,
    /// When the last piece arrives: pieces do not overtake each other.
    pub last_at: u64,
    pub capacity: usize,
    /// FIN has arrived.
    pub fin: bool,
    /// A reset has arrived, and this of it was not told yet.
    pub error: Option<Kind>,
    pub reset: bool,
}

pub(super) struct Piece {
    pub at: u64,
    pub len: usize,
    pub fin: bool,
}

/// What leaves an end.
pub(super) struct Output {
    /// Queued writes, the first perhaps taken in part.
    pub writes: VecDeque<Write>,
    pub done: VecDeque<(Write, IoResult<()>)>,
    pub fin: Fin,
    pub shut: Option<IoResult<()>>,
    pub pump_due: bool,
}

pub(super) struct Write {
    pub bytes: Vec<u8>,
    pub start: usize,
    pub taken: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    Open,
    Asked,
    Sent,
}

impl End {
    pub fn new(owner: Owner, local: Addr, remote: Addr, capacity: usize) -> Self {
        Self {
            owner,
            other: None,
            local,
            remote,
            state: State::Connecting,
            connect: None,
            established_at: 0,
            reading: false,
            is_stdin: false,
            input: Input {
                bytes: ByteQueue::default(),
                arrived: 0,
                pieces: VecDeque::new(),
                last_at: 0,
                capacity,
                fin: false,
                error: None,
                reset: false,
            },
            output: Output {
                writes: VecDeque::new(),
                done: VecDeque::new(),
                fin: Fin::Open,
                shut: None,
                pump_due: false,
            },
        }
    }

    /// Something waits to be told.
    #[inline]
    pub fn has_news(&self) -> bool {
        self.connect.is_some() || self.output.has_news() || (self.reading && self.input.has_news())
    }

    /// Bytes sent to this end and not read yet.
    pub fn held_bytes(&self) -> usize {
        self.input.bytes.len()
    }

    /// Bytes that wait in this end's write queue.
    pub fn queued_bytes(&self) -> usize {
        self.output
            .writes
            .iter()
            .map(|write| write.bytes.len() - write.taken)
            .sum()
    }

    /// A connect has failed: what was written meanwhile is cancelled.
    pub fn cancel_writes(&mut self) {
        self.output.fail_all(Kind::Cancelled);
    }

    /// The owner hears no more of ended writes; for owners that do not care.
    pub fn forget_output(&mut self) {
        self.output.done.clear();
        self.output.shut = None;
    }
}

impl Input {
    #[inline]
    pub fn has_news(&self) -> bool {
        self.arrived > 0 || self.fin || self.reset
    }
}

impl Output {
    #[inline]
    pub fn has_news(&self) -> bool {
        !self.done.is_empty() || self.shut.is_some()
    }

    pub fn fail_all(&mut self, kind: Kind) {
        for write in self.writes.drain(..) {
            self.done
                .push_back((write, Err(IoError::new(Op::Write, kind))));
        }
        if self.fin == Fin::Asked {
            self.fin = Fin::Sent;
            self.shut = Some(Err(IoError::new(Op::Shutdown, Kind::NotConnected)));
        }
    }
}

//! The world's side of scripted peers: they read what arrives at once, and close when they were to.

use super::end::{End, Owner, State};
use super::peer::{PeerId, PeerListener};
use super::trace::Who;
use super::world::{DoorId, EndId, World};
use crate::Addr;
use std::path::PathBuf;
use uv_sys_wrap::Kind;

pub(super) struct Peer {
    pub end: EndId,
    pub received: Vec<u8>,
    pub connected: bool,
    pub eof: bool,
    pub failure: Option<Kind>,
    pub paused: bool,
    /// Close as soon as all output has left.
    pub closing: bool,
}

impl Peer {
    fn new(end: EndId, connected: bool) -> Self {
        Self {
            end,
            received: Vec::new(),
            connected,
            eof: false,
            failure: None,
            paused: false,
            closing: false,
        }
    }
}

impl World {
    pub fn add_peer(&mut self, end: EndId, connected: bool) -> PeerId {
        self.peers.push(Peer::new(end, connected));
        if let Some(end) = self.ends.get_mut(end) {
            end.reading = true;
        }
        PeerId(self.peers.len() as u32 - 1)
    }

    pub fn door_of(&self, listener: PeerListener) -> Option<DoorId> {
        self.peer_doors.get(listener.0 as usize).copied()
    }

    pub fn end_of(&self, peer: PeerId) -> Option<EndId> {
        self.peers.get(peer.0 as usize).map(|peer| peer.end)
    }

    /// Standard input's end, and the peer that feeds it; made when first asked for.
    pub fn stdin(&mut self) -> (EndId, PeerId) {
        if let Some(found) = self.stdin {
            return found;
        }
        let name = || Addr::Unix(PathBuf::from("stdin"));
        let capacity = self.capacity();
        let mut reader = End::new(Owner::Nobody, name(), name(), capacity);
        (reader.state, reader.is_stdin) = (State::Open, true);
        let reader = self.ends.insert(reader);
        let mut feeder = End::new(
            Owner::Peer(self.peers.len() as u32),
            name(),
            name(),
            capacity,
        );
        (feeder.state, feeder.other) = (State::Open, Some(reader));
        let feeder = self.ends.insert(feeder);
        if let Some(end) = self.ends.get_mut(reader) {
            end.other = Some(feeder);
        }
        let peer = self.add_peer(feeder, true);
        *self.stdin.insert((reader, peer))
    }

    /// There is news at a peer's end: it reads, and closes if it was to.
    pub fn peer_progress(&mut self, number: u32) {
        let Some(peer) = self.peers.get_mut(number as usize) else {
            return;
        };
        let Some(end) = self.ends.get_mut(peer.end) else {
            return;
        };
        let (id, who) = (peer.end, Who::Peer(number));
        match end.connect.take() {
            Some(Ok(())) => {
                peer.connected = true;
                self.record(who, "connected", 0, 0);
            }
            Some(Err(kind)) => {
                peer.failure = Some(kind);
                self.ends.remove(id);
                return self.record(who, "connect-failed", 0, 0);
            }
            None => {}
        }
        self.peer_reads(number, id);
        let Some(peer) = self.peers.get(number as usize) else {
            return;
        };
        let Some(end) = self.ends.get_mut(id) else {
            return;
        };
        end.forget_output();
        if peer.closing && end.queued_bytes() == 0 && end.state == State::Open {
            self.close_end(id, false);
        }
    }

    fn peer_reads(&mut self, number: u32, id: EndId) {
        let Some(peer) = self.peers.get_mut(number as usize) else {
            return;
        };
        if peer.paused {
            return;
        }
        let mut received = std::mem::take(&mut peer.received);
        let n = self.drain_into(id, &mut received);
        let digest = super::trace::digest(0, &received[received.len() - n..]);
        let (Some(peer), Some(end)) = (self.peers.get_mut(number as usize), self.ends.get(id))
        else {
            return;
        };
        peer.received = received;
        let (eof, failure) = (
            end.input.fin && !peer.eof,
            end.input.reset && peer.failure.is_none(),
        );
        peer.eof |= eof;
        if failure {
            peer.failure = Some(end.input.error.unwrap_or(Kind::Reset));
        }
        for (seen, verb, n, digest) in [
            (n > 0, "received", n, digest),
            (eof, "eof", 0, 0),
            (failure, "reset", 0, 0),
        ] {
            if seen {
                self.record(Who::Peer(number), verb, n as u64, digest);
            }
        }
    }
}

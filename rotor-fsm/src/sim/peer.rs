//! Scripted peers: the other side of a connection, driven by the test itself, without a machine.
//!
//! A peer reads whatever arrives at once (unless it is paused) and keeps it for the test to look at. It is another
//! process: it counts against no limit of the loops.

use super::Sim;
use super::end::{End, Fin, Owner};
use super::script::Peer;
use super::trace::Who;
use super::world::World;
use crate::driver::IoResult;
use crate::{Addr, ListenOptions};
use std::cell::Ref;
use uv_sys_wrap::Kind;

/// A scripted end of a connection. Only the simulation that made it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub(super) u32);

/// A scripted listener. Only the simulation that made it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerListener(pub(super) u32);

/// Connections of peers.
impl Sim {
    /// Connects to a listener. What is sent meanwhile leaves when the connection stands.
    pub fn connect(&mut self, to: impl Into<Addr>) -> PeerId {
        let to = to.into();
        let mut world = self.world.borrow_mut();
        let number = world.peers.len() as u32;
        let end = world.start_connect(&to, Owner::Peer(number));
        let now = world.now;
        world
            .trace
            .note(now, Who::Peer(number), "connect", to.to_string());
        world.add_peer(end, false)
    }

    /// Listens. Connections wait until [`accept`](Self::accept) takes them.
    ///
    /// # Errors
    /// An address that is in use.
    pub fn listen_peer(&mut self, at: impl Into<Addr>) -> IoResult<PeerListener> {
        let mut world = self.world.borrow_mut();
        let door = world.open_door(&at.into(), &ListenOptions::default())?;
        world.peer_doors.push(door);
        let number = world.peer_doors.len() as u32 - 1;
        world.record_door(Who::Door(number), door);
        Ok(PeerListener(number))
    }

    /// Takes a connection that waits at a scripted listener; `None` if none does (yet).
    pub fn accept(&mut self, listener: PeerListener) -> Option<PeerId> {
        let mut world = self.world.borrow_mut();
        let door = world.door_of(listener)?;
        let end = world.take_waiting(door)?;
        let peer = world.add_peer(end, true);
        if let Some(end) = world.ends.get_mut(end) {
            end.owner = Owner::Peer(peer.0);
        }
        world.record(Who::Peer(peer.0), "accepted", u64::from(listener.0), 0);
        world.peer_progress(peer.0);
        Some(peer)
    }

    /// Where a scripted listener listens; `None` once it is closed.
    pub fn listening_at(&self, listener: PeerListener) -> Option<Addr> {
        let world = self.world.borrow();
        world
            .door_of(listener)
            .and_then(|door| world.doors.get(door))
            .map(|door| door.addr.clone())
    }

    /// Stops listening; connections that were not accepted are reset.
    pub fn close_listener(&mut self, listener: PeerListener) {
        let mut world = self.world.borrow_mut();
        if let Some(door) = world.door_of(listener) {
            world.close_door(door);
        }
    }

    /// Who feeds standard input of the simulated process: what this peer sends a machine reads there.
    pub fn stdin(&mut self) -> PeerId {
        self.world.borrow_mut().stdin().1
    }
}

/// What a peer does.
impl Sim {
    /// Queues bytes to be sent, any number. Nothing happens if the connection is over.
    pub fn send(&mut self, peer: PeerId, bytes: &[u8]) {
        let mut world = self.world.borrow_mut();
        world.record(
            Who::Peer(peer.0),
            "send",
            bytes.len() as u64,
            super::trace::digest(0, bytes),
        );
        if let Some(end) = world.end_of(peer) {
            // An end that is shut or failed takes none, and that is what is documented.
            let _ = world.write(end, bytes.to_vec(), 0);
        }
    }

    /// Half-closes: no more is sent after what is queued.
    pub fn shutdown(&mut self, peer: PeerId) {
        let mut world = self.world.borrow_mut();
        world.record(Who::Peer(peer.0), "shutdown", 0, 0);
        if let Some(end) = world.end_of(peer) {
            world.finish(end);
        }
    }

    /// Closes once what is queued has left. What arrives from now on is not read, so it resets the other side.
    pub fn close(&mut self, peer: PeerId) {
        let mut world = self.world.borrow_mut();
        world.record(Who::Peer(peer.0), "close", 0, 0);
        if let Some(state) = world.peers.get_mut(peer.0 as usize) {
            (state.closing, state.paused) = (true, true);
        }
        world.peer_progress(peer.0);
    }

    /// Resets: what has not arrived yet may be lost, on both sides.
    pub fn reset(&mut self, peer: PeerId) {
        let mut world = self.world.borrow_mut();
        world.record(Who::Peer(peer.0), "abort", 0, 0);
        if let Some(end) = world.end_of(peer) {
            world.close_end(end, true);
        }
    }

    /// Stops reading: what arrives stays on the way, and fills it.
    pub fn pause(&mut self, peer: PeerId) {
        self.set_paused(peer, true);
    }

    /// Reads again.
    pub fn resume(&mut self, peer: PeerId) {
        self.set_paused(peer, false);
    }

    fn set_paused(&mut self, peer: PeerId, paused: bool) {
        let mut world = self.world.borrow_mut();
        world.record(
            Who::Peer(peer.0),
            if paused { "pause" } else { "resume" },
            0,
            0,
        );
        if let Some(state) = world.peers.get_mut(peer.0 as usize) {
            state.paused = paused;
        }
        world.peer_progress(peer.0);
    }
}

/// What a peer has seen.
impl Sim {
    /// Bytes received and not taken yet.
    pub fn received(&self, peer: PeerId) -> Ref<'_, [u8]> {
        Ref::map(self.world.borrow(), |world| {
            world
                .peers
                .get(peer.0 as usize)
                .map_or(&[][..], |peer| &peer.received)
        })
    }

    /// Takes what was received.
    pub fn take_received(&mut self, peer: PeerId) -> Vec<u8> {
        let mut world = self.world.borrow_mut();
        world
            .peers
            .get_mut(peer.0 as usize)
            .map(|peer| std::mem::take(&mut peer.received))
            .unwrap_or_default()
    }

    /// True once the connection stands; stays true when it is over.
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.peer(peer, |_, peer| peer.connected)
    }

    /// True while there is something to come: not after a failure, a close, or a FIN in both directions.
    pub fn is_open(&self, peer: PeerId) -> bool {
        self.peer(peer, |world, peer| match world.ends.get(peer.end) {
            Some(end) => peer.failure.is_none() && !(peer.eof && end.output.fin == Fin::Sent),
            None => false,
        })
    }

    /// True once the other side has half-closed and everything before was read.
    pub fn saw_eof(&self, peer: PeerId) -> bool {
        self.peer(peer, |_, peer| peer.eof)
    }

    /// True once a reset was seen.
    pub fn saw_reset(&self, peer: PeerId) -> bool {
        matches!(self.failure(peer), Some(Kind::Reset | Kind::BrokenPipe))
    }

    /// True if the connect was refused.
    pub fn saw_refused(&self, peer: PeerId) -> bool {
        matches!(self.failure(peer), Some(Kind::Refused | Kind::NotFound))
    }

    /// How connecting or the connection failed, if it did.
    pub fn failure(&self, peer: PeerId) -> Option<Kind> {
        self.peer(peer, |_, peer| peer.failure)
    }

    /// The peer's own address; `None` once its connection is closed.
    pub fn local_addr(&self, peer: PeerId) -> Option<Addr> {
        self.peer(peer, |world, peer| {
            world.ends.get(peer.end).map(|end| end.local.clone())
        })
    }

    /// Bytes that the peer has sent and that have not left it yet: what the other side's backpressure holds back.
    pub fn unsent(&self, peer: PeerId) -> usize {
        self.peer(peer, |world, peer| {
            world.ends.get(peer.end).map_or(0, End::queued_bytes)
        })
    }

    fn peer<T: Default>(&self, peer: PeerId, look: impl FnOnce(&World, &Peer) -> T) -> T {
        let world = self.world.borrow();
        world
            .peers
            .get(peer.0 as usize)
            .map(|peer| look(&world, peer))
            .unwrap_or_default()
    }
}

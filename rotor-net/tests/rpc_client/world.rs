//! The client in the simulator: where time, chance and the order of things are the test's.

use crate::ms;
use crate::service::{self, Double};
use crate::wire::{self, *};
use rotor_fsm::sim::{PeerId, PeerListener, Sim, SimLoop};
use rotor_net::prelude::*;
use rotor_net::rpc::{CallError, Channel, ChannelState, ClientConfig, Connector, Method};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Results of calls, in the order in which they came, with the number of the call.
pub type Results = Arc<Mutex<Vec<(u32, Result<u32, CallError>)>>>;

pub struct World<'s> {
    pub sim: &'s mut Sim,
    pub channel: Channel,
    pub client: SimLoop<Connector<()>>,
    pub results: Results,
    pub states: Arc<Mutex<Vec<ChannelState>>>,
    bytes: HashMap<PeerId, Vec<u8>>,
    ready: HashMap<PeerId, Vec<Frame>>,
}

pub fn at() -> Addr {
    Addr::Tcp(([127, 0, 0, 1], 7).into())
}

impl<'s> World<'s> {
    pub fn new(sim: &'s mut Sim, config: ClientConfig) -> Self {
        let (channel, seed) = Channel::new::<()>(at(), config);
        let client = sim
            .add::<Connector<()>>(Config::default(), |_| Ok(()))
            .unwrap();
        sim.spawn::<Connector<()>, Connector<()>>(&client, seed)
            .unwrap();
        let states = Arc::new(Mutex::new(Vec::new()));
        let seen = states.clone();
        channel.watch(move |state| seen.lock().unwrap().push(state.clone()));
        Self {
            sim,
            channel,
            client,
            results: Results::default(),
            states,
            bytes: HashMap::new(),
            ready: HashMap::new(),
        }
    }

    /// Makes a call whose result is noted under this number.
    pub fn call(&self, n: u32, within: Option<Duration>) {
        self.call_method::<Double>(n, within);
    }

    pub fn call_method<M: Method<Request = u32, Output = u32>>(
        &self,
        n: u32,
        within: Option<Duration>,
    ) {
        let results = self.results.clone();
        let mut call = self.channel.unary::<M>(n);
        if let Some(within) = within {
            call = call.within(within);
        }
        let call = call.done(move |result| results.lock().unwrap().push((n, result)));
        call.unwrap().detach();
    }

    pub fn take_results(&self) -> Vec<(u32, Result<u32, CallError>)> {
        std::mem::take(&mut *self.results.lock().unwrap())
    }

    pub fn take_states(&self) -> Vec<ChannelState> {
        std::mem::take(&mut *self.states.lock().unwrap())
    }

    pub fn listen(&mut self) -> PeerListener {
        self.sim.listen_peer(at()).unwrap()
    }

    /// Waits for a connection.
    pub fn accept(&mut self, listener: PeerListener, limit: Duration) -> Option<PeerId> {
        let mut peer = None;
        self.sim.run_until(limit, |sim| {
            peer = sim.accept(listener);
            peer.is_some()
        });
        let peer = peer?;
        self.sim.run_for(ms(20));
        let mut bytes = self.sim.take_received(peer);
        assert!(bytes.starts_with(PREAMBLE), "{bytes:?}");
        bytes.drain(..PREAMBLE.len());
        self.bytes.insert(peer, bytes);
        assert_eq!(self.next(peer).map(|frame| frame.kind), Some(HELLO));
        Some(peer)
    }

    /// Waits for a connection, and does its handshake.
    pub fn greet(&mut self, listener: PeerListener) -> PeerId {
        let peer = self.accept(listener, ms(60_000)).expect("a connection");
        self.send(peer, &service::welcome().bytes());
        peer
    }

    pub fn send(&mut self, peer: PeerId, bytes: &[u8]) {
        self.sim.send(peer, bytes);
        self.sim.run_for(ms(20));
    }

    /// The next frame that has come, if any has.
    pub fn next(&mut self, peer: PeerId) -> Option<Frame> {
        let bytes = self.bytes.entry(peer).or_default();
        bytes.extend(self.sim.take_received(peer));
        let ready = self.ready.entry(peer).or_default();
        ready.extend(wire::frames(bytes));
        (!ready.is_empty()).then(|| ready.remove(0))
    }

    pub fn expect(&mut self, peer: PeerId, kind: u8) -> Frame {
        match self.next(peer) {
            Some(frame) if frame.kind == kind => frame,
            other => panic!("expected a frame of kind {kind}, got {other:?}"),
        }
    }

    pub fn answer(&mut self, peer: PeerId, call: &Frame, reply: u32) {
        let reply = postcard::to_stdvec(&reply).unwrap();
        self.send(peer, &call.answer(REPLY, 0, &reply));
    }
}

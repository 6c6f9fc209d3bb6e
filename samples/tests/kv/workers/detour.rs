//! A shard that is slow, or stuck; and a way to ask.

use crate::world::{Servers, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{PeerId, Sim, SimLoop};
use samples::kv::Envelope;
use std::collections::VecDeque;
use std::time::Duration;

/// Stands in for a worker's shard and lets envelopes wait, before it hands them on or for ever.
pub struct Detour(VecDeque<(Time, Box<Envelope>)>);

impl Machine for Detour {
    /// Where they go, and how long they wait at most; `None`: nowhere.
    type Context = Option<(Notifier<Box<Envelope>>, Duration)>;
    type Message = Box<Envelope>;
    type Seed = ();

    fn create((): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Detour(VecDeque::new())))
    }

    fn wakeup(
        mut self,
        envelope: Box<Envelope>,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let (now, part) = (scope.now(), (scope.random() % 1000) as u32);
        let at = match scope.ctx {
            Some((_, longest)) => now + *longest * part / 1000,
            None => Time::NEVER,
        };
        if at < Time::NEVER {
            // Those that waited for ever wait no longer.
            self.0
                .iter_mut()
                .for_each(|(other, _)| *other = at.min(*other));
        }
        self.0.push_back((at, envelope));
        let first = self.0.iter().map(|(at, _)| *at).min();
        Ok(Response::of(self).deadline(first.unwrap_or(Time::NEVER)))
    }

    fn timeout(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let now = scope.now();
        for (at, envelope) in std::mem::take(&mut self.0) {
            match scope.ctx {
                Some((to, _)) if at <= now => to.send(envelope)?,
                _ => self.0.push_back((at, envelope)),
            }
        }
        let first = self.0.iter().map(|(at, _)| *at).min();
        Ok(Response::of(self).deadline(first.unwrap_or(Time::NEVER)))
    }
}

/// What is sent to this worker waits for up to so long on the way; without a time, for ever.
pub fn detour(
    sim: &mut Sim,
    servers: &Servers,
    worker: usize,
    longest: Option<Duration>,
) -> SimLoop<Detour> {
    let to = servers.shards[worker].clone();
    let made = sim.add::<Detour>(Config::default(), |_| {
        Ok(longest.map(|longest| (to, longest)))
    });
    let slow = made.unwrap();
    let notifier = sim.spawn::<Detour, Detour>(&slow, ()).unwrap();
    servers.workers.mesh().set(worker, notifier);
    slow
}

/// The reply to a line, once nothing more comes.
#[track_caller]
pub fn ask(sim: &mut Sim, peer: PeerId, line: &str) -> String {
    sim.take_received(peer);
    sim.send(peer, format!("{line}\r\n").as_bytes());
    sim.run_for(ms(400));
    String::from_utf8(sim.take_received(peer)).unwrap()
}

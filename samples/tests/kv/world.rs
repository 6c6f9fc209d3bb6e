//! The server's machines in the simulator: each worker a loop, with a listener of its own in place of an acceptor.

use crate::support::Dice;
use rotor_fsm::sim::{Sim, SimLoop};
use rotor_fsm::{Addr, Config, Notifier, compose};
use rotor_net::{Accept, AcceptSeed, Stream, Streams};
use samples::kv::serve::{self, Shared};
use samples::kv::{Client, Envelope, Expirer, Limits, Settings, Shard, Workers};
use std::time::Duration;

compose! {
    /// All machines of a worker.
    pub enum KvSim(Shared) { Stream(Stream<Client>), Expirer(Expirer), Shard(Shard), Accept(Accept<Client>) }
}

pub const START_MS: u64 = 1_700_000_000_000;
pub const MINUTE: Duration = Duration::from_secs(60);

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A server of one or more workers. Worker n listens at port 6380 + n.
pub struct Servers {
    pub workers: Workers,
    pub loops: Vec<SimLoop<KvSim>>,
    /// The way to each worker's shard.
    pub shards: Vec<Notifier<Box<Envelope>>>,
}

/// A server of one worker.
pub fn start(sim: &mut Sim, limits: &Limits) -> Servers {
    start_workers(sim, 1, limits)
}

pub fn start_workers(sim: &mut Sim, count: usize, limits: &Limits) -> Servers {
    start_with_inboxes(sim, count, limits, 1024)
}

/// The same with inboxes for so many messages.
pub fn start_with_inboxes(sim: &mut Sim, count: usize, limits: &Limits, inbox: usize) -> Servers {
    let workers = Workers::new(count, [1, 2]);
    let (loops, shards) = (0..count)
        .map(|index| start_worker(sim, &workers, index, limits, inbox))
        .unzip();
    sim.run_for(ms(1));
    Servers {
        workers,
        loops,
        shards,
    }
}

pub fn start_worker(
    sim: &mut Sim,
    workers: &Workers,
    index: usize,
    limits: &Limits,
    inbox: usize,
) -> (SimLoop<KvSim>, Notifier<Box<Envelope>>) {
    let mut settings = Settings::new(addr(index));
    settings.limits = limits.clone();
    let mut config = Config::default();
    serve::fit(&mut settings, &mut config);
    // What a loop takes at most is allocated when it is made; thousands of loops are made here.
    config.inbox_messages_max = inbox;
    let mut way = None;
    let made = sim.add::<KvSim>(config, |setup| {
        let expirer = setup.add::<Expirer>(START_MS)?;
        let shard = setup.add::<Shard>(())?;
        let streams = Streams::new(serve::stream_limits(&settings.limits));
        let accept = AcceptSeed::new(addr(index), &streams, &setup.spawner(), |_| ());
        setup.add::<Accept<Client>>(accept)?;
        way = Some(shard.clone());
        Ok(Shared::new(
            &settings, workers, index, START_MS, expirer, shard,
        ))
    });
    (made.expect("the worker starts"), way.unwrap())
}

pub fn addr(worker: usize) -> Addr {
    format!("127.0.0.1:{}", 6380 + worker).parse().unwrap()
}

impl Servers {
    pub fn addr(&self, worker: usize) -> Addr {
        addr(worker)
    }

    pub fn some_addr(&self, dice: &mut Dice) -> Addr {
        addr(dice.below(self.loops.len() as u64) as usize)
    }

    /// The only worker's loop.
    pub fn one(&self) -> &SimLoop<KvSim> {
        assert_eq!(self.loops.len(), 1);
        &self.loops[0]
    }

    /// Keys that all workers hold.
    pub fn keys(&self, sim: &mut Sim) -> usize {
        let keys = |one| sim.context(one, |shared: &mut Shared| shared.server.store.len());
        self.loops.iter().filter_map(keys).sum()
    }

    /// Commands that all workers' clients have sent.
    pub fn commands(&self, sim: &mut Sim) -> u64 {
        let commands = |one| sim.context(one, |shared: &mut Shared| shared.server.stats.commands);
        self.loops.iter().filter_map(commands).sum()
    }

    pub fn clients(&self, sim: &mut Sim) -> usize {
        let clients = sim.context(&self.loops[0], |shared| shared.clients());
        clients.unwrap()
    }

    /// No machine is left but those that every worker has, and none has panicked.
    #[track_caller]
    pub fn assert_at_rest(&self, sim: &mut Sim) {
        for one in &self.loops {
            let stats = sim.stats(one);
            assert_eq!(stats.machines, 3, "the listener, the expirer and the shard");
            assert_eq!(stats.panics, 0);
        }
    }

    /// A key that this worker holds, the `n`th such.
    pub fn key_of(&self, worker: usize, n: usize) -> String {
        let keys = (0..).map(|i| format!("key{i}"));
        let mut held = keys.filter(|key| self.workers.holder(key.as_bytes()) == worker);
        held.nth(n).unwrap()
    }
}

//! The server put together: the machines of a worker and what they share, and the workers.
//!
//! ```text
//! acceptor -> Stream<Client> ... one per connection
//!                |  | \-- Push --> other clients of this worker (publish and subscribe)
//!                |  \---- Sooner -> Expirer
//!                \------- Envelope -> Shard of another worker, and back
//! ```
//!
//! On libuv ([`run`]) the workers are those of a [`rotor_net::server::Server`]. In the simulator the same machines run
//! on loops that a test makes itself.

use super::channels::Channels;
use super::client::Client;
use super::clock::Clock;
use super::expirer::{Expirer, Sooner};
use super::resp::Parser;
use super::server::{self, Server};
use super::shard::{Envelope, Shard, Workers};
use super::{Limits, Settings};
use rotor_fsm::{EndHook, MachineId, Reason, Verdict, prelude::*, raise_fd_limit};
use rotor_net::Stream;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

compose! {
    /// All machines of a worker.
    pub enum Kv(Shared) { Stream(Stream<Client>), Expirer(Expirer), Shard(Shard) }
}

/// What the machines of one worker share.
pub struct Shared {
    /// What commands work on.
    pub server: Server,
    pub(super) limits: Limits,
    pub(super) parser: Parser,
    pub(super) channels: Channels,
    pub(super) clock: Clock,
    /// How long a client may be silent.
    pub(super) idle: Duration,
    /// What it shares with other workers.
    pub(super) workers: Workers,
    /// Its number among them.
    pub(super) index: usize,
    /// The expirer wakes then or before: Unix milliseconds.
    pub(super) expirer_wakes_ms: u64,
    expirer: Notifier<Sooner>,
}

impl Drop for Shared {
    /// The worker goes down: others need not wait for its answers.
    fn drop(&mut self) {
        self.workers.mesh().clear(self.index);
    }
}

impl Shared {
    /// Clients of all workers now.
    #[inline]
    pub fn clients(&self) -> usize {
        self.workers.clients()
    }

    /// Wakes the expirer if something is due before it would wake by itself.
    #[inline]
    pub(super) fn tell_expirer(&mut self) {
        if let Some(due_ms) = self.server.store.next_expiry()
            && due_ms < self.expirer_wakes_ms
        {
            // If the inbox is full, the next request of any client tries again.
            if self.expirer.send(Sooner).is_ok() {
                self.expirer_wakes_ms = due_ms;
            }
        }
    }
}

/// How long a client that was told why it is hung up on may take to hang up too. Clients do so at once.
const LINGER: Duration = Duration::from_secs(2);

impl Shared {
    /// What the machines of worker `index` share. Its loop's first machine must be the expirer, because it sets the
    /// clock; `start_ms` is Unix milliseconds now. From here on other workers' clients reach `shard`.
    pub fn new(
        settings: &Settings,
        workers: &Workers,
        index: usize,
        start_ms: u64,
        expirer: Notifier<Sooner>,
        shard: Notifier<Box<Envelope>>,
    ) -> Self {
        let limits = &settings.limits;
        let part = server::Shard {
            index: index as u64,
            count: workers.count() as u64,
        };
        workers.mesh().set(index, shard);
        Self {
            server: Server::shard(limits, workers.hash_key(), part),
            limits: limits.clone(),
            parser: Parser::new(limits),
            channels: Channels::default(),
            clock: Clock::new(Time::ZERO, start_ms),
            idle: settings.idle,
            workers: workers.clone(),
            index,
            expirer_wakes_ms: u64::MAX,
            expirer,
        }
    }
}

/// The limits of a worker's streams.
pub fn stream_limits(limits: &Limits) -> rotor_net::Limits {
    let mut streams = rotor_net::Limits::default();
    fit_streams(&mut streams, limits);
    streams
}

/// What the server's limits ask of its streams.
fn fit_streams(streams: &mut rotor_net::Limits, limits: &Limits) {
    streams.connections = limits.clients_max + refused_max(limits.clients_max);
    streams.input_bytes_max = limits
        .request_bytes_max
        .saturating_add(limits.inline_bytes_max + 16);
    streams.output_bytes_max = limits.reply_bytes_max.max(limits.push_bytes_max);
    streams.linger = LINGER;
}

/// Connections beyond the clients' limit that are being told so. More wait in the kernel's queue.
fn refused_max(clients_max: usize) -> usize {
    (clients_max / 4).clamp(1, 64)
}

/// Fits a loop's limits and the server's to each other: the process may open fewer descriptors than there might be
/// clients.
pub fn fit(settings: &mut Settings, config: &mut Config) {
    let limits = &mut settings.limits;
    let clients_max = config.sockets_max - refused_max(config.sockets_max);
    limits.clients_max = limits.clients_max.min(clients_max).max(1);
    let output_bytes_max = limits.reply_bytes_max.max(limits.push_bytes_max);
    config.output_bytes_max = config.output_bytes_max.max(output_bytes_max);
    config.inbox_messages_max = config.inbox_messages_max.max(2 * limits.pushes_max);
    if settings.workers > 1 {
        // Each may bring as many commands as a client's read.
        config.messages_per_turn = ENVELOPES_PER_TURN;
    }
}

/// The limit on descriptors is raised as far as this: more clients than `maxclients` can be are not wanted.
const DESCRIPTORS_MAX: usize = 1 << 20;
/// Messages delivered in one turn where workers ask each other: about a millisecond's work, if clients pipeline.
const ENVELOPES_PER_TURN: usize = 512;
/// After SIGTERM or SIGINT clients may take so long to read their last replies.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until SIGTERM or SIGINT. Then it takes no more connections, sends what waits to be sent, and returns.
/// `unix_ms` tells the time in Unix milliseconds; `hash_key` must be random and secret. `listening` hears where it
/// listens.
///
/// # Errors
/// An address that cannot be listened at; what the system refuses.
pub fn run(
    mut settings: Settings,
    unix_ms: impl Fn() -> u64 + Send + Sync + 'static,
    hash_key: [u64; 2],
    listening: impl FnOnce(&Addr),
) -> Result<()> {
    let count = settings.workers;
    let sockets_max = sockets_max(raise_fd_limit(DESCRIPTORS_MAX).now, count);
    let config = move || Config {
        sockets_max,
        ..Config::default()
    };
    fit(&mut settings, &mut config());
    let workers = Workers::new(count, hash_key);
    let vital = Vital::default();
    let hooks = vital.clone();
    let fitted = settings.clone();
    let limits = stream_limits(&settings.limits);
    let server = rotor_net::server::Server::<Stream<Client>>::builder()
        .on::<Kv>()
        .listen(&settings.listen.to_string())
        .workers(count)
        .pin(count > 1)
        .fds_max(DESCRIPTORS_MAX)
        .connections(limits.connections)
        .limits(limits)
        .config(move |worker| {
            let mut config = config();
            fit(&mut fitted.clone(), &mut config);
            config.on_end = Some(hooks.hook(worker));
            config
        })
        .drain_on_signals(GRACE)
        .start(
            move |worker| {
                // First, because it sets the clock.
                let expirer = worker.add::<Expirer>(unix_ms())?;
                let shard = worker.add::<Shard>(())?;
                vital.set(worker.index(), [expirer.id(), shard.id()]);
                let index = worker.index();
                Ok(Shared::new(
                    &settings,
                    &workers,
                    index,
                    unix_ms(),
                    expirer,
                    shard,
                ))
            },
            |connection, _| connection.stream(()),
        )?;
    if let Some(addr) = server.addresses().first() {
        listening(addr);
    }
    server.join().map(|_| ())
}

/// Connections for which the descriptors suffice, beside those of the loops, and some to spare.
fn sockets_max(descriptors: usize, workers: usize) -> usize {
    descriptors.saturating_sub(64 + 8 * (workers + 1)).max(1)
}

/// The machines of each worker without which it is of no use: if one of them fails, the worker is started again.
#[derive(Clone, Default)]
struct Vital(Arc<Mutex<BTreeMap<usize, [MachineId; 2]>>>);

impl Vital {
    fn set(&self, worker: usize, machines: [MachineId; 2]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(worker, machines);
    }

    fn has(&self, worker: usize, machine: MachineId) -> bool {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&worker).is_some_and(|ids| ids.contains(&machine))
    }

    fn hook(&self, worker: usize) -> EndHook {
        let vital = self.clone();
        Box::new(move |id, reason| match reason {
            Reason::Failed(_) | Reason::Panicked(_) if vital.has(worker, id) => Verdict::Stop,
            _ => Verdict::Continue,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotor_fsm::Error;
    use rotor_fsm::sim::Sim;

    /// Only a failure of the expirer or the shard ends a worker, so that it is started again; clients come and go.
    #[test]
    fn a_worker_ends_with_a_vital_machine_of_its_own() {
        struct Idle;
        impl Machine for Idle {
            type Context = ();
            type Message = ();
            type Seed = ();

            fn create((): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
                Ok(Response::of(Idle))
            }
        }
        let mut sim = Sim::new(1);
        let one = sim.add::<Idle>(Config::default(), |_| Ok(())).unwrap();
        let ids = [(); 4].map(|()| sim.spawn::<Idle, Idle>(&one, ()).unwrap().id());
        let vital = Vital::default();
        let mut hook = vital.hook(3);
        vital.set(3, [ids[0], ids[1]]);
        vital.set(2, [ids[2], ids[2]]);
        let mut verdict = |id| hook(id, &Reason::Failed(Error::msg("x")));
        assert_eq!(verdict(ids[1]), Verdict::Stop);
        assert_eq!(verdict(ids[2]), Verdict::Continue, "another worker's");
        // In its next life it has others.
        vital.set(3, [ids[2], ids[3]]);
        assert_eq!(verdict(ids[1]), Verdict::Continue);
        assert_eq!(verdict(ids[3]), Verdict::Stop);
        assert_eq!(hook(ids[3], &Reason::Done), Verdict::Continue);
    }

    #[test]
    fn clients_fit_the_descriptors() {
        assert_eq!(sockets_max(128, 1), 48);
        assert_eq!(sockets_max(10, 4), 1);
        let mut settings = Settings::new("127.0.0.1:0".parse().unwrap());
        let mut config = Config {
            sockets_max: 48,
            ..Config::default()
        };
        fit(&mut settings, &mut config);
        assert_eq!(settings.limits.clients_max, 36);
        assert_eq!(stream_limits(&settings.limits).connections, 45);
    }
}

//! The server put together: the machines of a loop and what they share.
//!
//! ```text
//! Accept -> Stream<Client> ... one per connection
//!                |  \-- Push --> other clients (publish and subscribe)
//!                \---- Sooner -> Expirer
//! ```
//!
//! The same on libuv ([`run`]) and in the simulator, whose tests call [`set_up`] themselves.

use super::channels::Channels;
use super::client::Client;
use super::clock::Clock;
use super::expirer::{Expirer, Sooner};
use super::resp::Parser;
use super::server::Server;
use super::{Limits, Settings};
use rotor_fsm::{MachineId, Reason, Setup, Verdict, prelude::*};
use rotor_net::{Accept, AcceptSeed, Stream, Streams};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

compose! {
    /// All machines of the server.
    pub enum Kv(Shared) { Stream(Stream<Client>), Accept(Accept<Client>), Expirer(Expirer) }
}

/// What the machines share.
pub struct Shared {
    /// What commands work on.
    pub server: Server,
    pub(super) limits: Limits,
    pub(super) parser: Parser,
    pub(super) channels: Channels,
    pub(super) clock: Clock,
    /// How long a client may be silent.
    pub(super) idle: Duration,
    /// One clone per client.
    pub(super) places: Rc<()>,
    /// The expirer wakes then or before: Unix milliseconds.
    pub(super) expirer_wakes_ms: u64,
    expirer: Notifier<Sooner>,
}

impl Shared {
    /// Clients now.
    #[inline]
    pub fn clients(&self) -> usize {
        Rc::strong_count(&self.places) - 1
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

/// Prepares the machines of a server that was not started yet, and what they share. `start_ms` is Unix milliseconds
/// now; `hash_key` must be random and secret. `listening` hears where it listens. Returns the listener's id, too.
///
/// # Errors
/// A machine table without room.
pub fn set_up(
    setup: &Setup<'_, Kv>,
    settings: &Settings,
    start_ms: u64,
    hash_key: [u64; 2],
    listening: impl FnOnce(&Addr) + 'static,
) -> Result<(Shared, MachineId)> {
    let limits = &settings.limits;
    // First, because it sets the clock.
    let expirer = setup.add::<Expirer>(start_ms)?;
    let mut stream_limits = rotor_net::Limits::default();
    fit_streams(&mut stream_limits, limits);
    let streams = Streams::new(stream_limits);
    let accept = AcceptSeed::new(settings.listen.clone(), &streams, &setup.spawner(), |_| ());
    let accept = setup.add::<Accept<Client>>(accept.on_listening(listening))?;
    let shared = Shared {
        server: Server::new(limits, hash_key),
        limits: limits.clone(),
        parser: Parser::new(limits),
        channels: Channels::default(),
        clock: Clock::new(Time::ZERO, start_ms),
        idle: settings.idle,
        places: Rc::new(()),
        expirer_wakes_ms: u64::MAX,
        expirer,
    };
    Ok((shared, accept.id()))
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
}

/// Serves on this thread until SIGTERM or SIGINT. Then it takes no more connections, sends what waits to be sent, and
/// returns.
///
/// # Errors
/// An address that cannot be listened at; what the system refuses.
pub fn run(
    mut settings: Settings,
    start_ms: u64,
    hash_key: [u64; 2],
    listening: impl FnOnce(&Addr) + 'static,
) -> Result<()> {
    let mut config = Config::default();
    fit(&mut settings, &mut config);
    let listener = Arc::new(OnceLock::new());
    let stops = listener.clone();
    config.on_end = Some(Box::new(move |id, reason| match reason {
        Reason::Failed(_) | Reason::Panicked(_) if stops.get() == Some(&id) => Verdict::Stop,
        _ => Verdict::Continue,
    }));
    let mut main_loop = Loop::<Kv>::new(config, |setup| {
        let (shared, id) = set_up(setup, &settings, start_ms, hash_key, listening)?;
        let _ = listener.set(id);
        Ok(shared)
    })?;
    main_loop.shutdown_on_signals()?;
    main_loop.run()
}

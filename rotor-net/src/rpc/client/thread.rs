//! A client's own thread: a loop with nothing but its connection, which ends when that is closed.

use super::shared::Shared;
use super::{Channel, Connector, ConnectorSeed};
use crate::rpc::{CallError, ClientConfig};
use rotor_fsm::{Addr, Config, Error, Loop};
use std::thread;

/// What one machine and its connections need.
const MACHINES_MAX: usize = 16;

/// Starts the thread and waits for its first connection.
pub(super) fn connect(at: &str, config: ClientConfig) -> Result<Channel, CallError> {
    if rotor_fsm::is_loop_thread() {
        return Err(CallError::OnLoopThread);
    }
    let at: Addr = at.parse().map_err(|error| not_connected(&error))?;
    let (channel, seed) = Channel::new::<()>(at, config);
    let shared = channel.shared().clone();
    shared.connect();
    let of_thread = shared.clone();
    thread::Builder::new()
        .name("rotor-rpc".to_owned())
        .spawn(move || run(seed, &of_thread))
        .map_err(|error| not_connected(&error))?;
    match shared.wait_for_connection() {
        Ok(()) => Ok(channel),
        Err(why) => Err(CallError::Disconnected {
            was_sent: false,
            why,
        }),
    }
}

/// What the thread does.
fn run(seed: ConnectorSeed<()>, shared: &Shared) {
    let config = Config {
        machines_max: MACHINES_MAX,
        ..Config::default()
    };
    let mut main_loop = match Loop::<Connector<()>>::new(config, |_| Ok(())) {
        Ok(main_loop) => main_loop,
        // The seed is still there: its end would be all that callers hear of.
        Err(error) => return shared.give_up(&error.to_string()),
    };
    let spawned = main_loop.spawn::<Connector<()>>(seed);
    let spawned = spawned.map_err(Error::from);
    if let Err(error) = spawned.and_then(|_| main_loop.run()) {
        shared.give_up(&error.to_string());
    }
}

fn not_connected(error: &dyn std::fmt::Display) -> CallError {
    CallError::Disconnected {
        was_sent: false,
        why: error.to_string().into(),
    }
}

//! A client's own thread: a loop with nothing but its connection, which ends when that is closed.

use super::{Channel, Connector};
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
    let body = move || {
        let run = || -> Result<(), Error> {
            let config = Config {
                machines_max: MACHINES_MAX,
                ..Config::default()
            };
            let mut main_loop = Loop::<Connector<()>>::new(config, |_| Ok(()))?;
            main_loop.spawn::<Connector<()>>(seed)?;
            main_loop.run()
        };
        if let Err(error) = run() {
            of_thread.give_up(&error.to_string());
        }
    };
    thread::Builder::new()
        .name("rotor-rpc".to_owned())
        .spawn(body)
        .map_err(|error| not_connected(&error))?;
    match shared.wait_for_connection() {
        Ok(()) => Ok(channel),
        Err(why) => Err(CallError::Disconnected {
            was_sent: false,
            why,
        }),
    }
}

fn not_connected(error: &dyn std::fmt::Display) -> CallError {
    CallError::Disconnected {
        was_sent: false,
        why: error.to_string().into(),
    }
}

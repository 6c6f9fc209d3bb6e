//! The client of typed calls, against servers that are scripts of bytes: on real sockets where threads matter, in the
//! simulator where time does.
#![cfg(feature = "rpc")]

mod cancel;
mod close;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "fiber")]
mod fibers;
mod hostile;
mod kinds;
mod life;
mod limits;
mod machines;
mod menu;
mod panics;
mod real;
mod reconnect;
mod service;
mod streams;
mod waiting;
mod wire;
mod world;

use rotor_net::rpc::{CallError, Channel, ClientConfig, Reconnect};
use service::{Chat, Count, Double, Power, Sum, Touch};
use std::time::{Duration, Instant};
use wire::*;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A client that does not connect again, and whose heartbeat does not hide that it sleeps where it should not.
fn once() -> ClientConfig {
    ClientConfig {
        reconnect: Reconnect::Never,
        heartbeat: Duration::MAX,
        ..ClientConfig::default()
    }
}

fn connect(server: &Scripted) -> Channel {
    Channel::connect_with(&server.at, once()).unwrap()
}

fn connect_with(server: &Scripted, config: ClientConfig) -> Channel {
    Channel::connect_with(&server.at, config).unwrap()
}

/// Why a call has no reply, where it is because of the connection.
fn why(error: &CallError) -> (bool, &str) {
    match error {
        CallError::Disconnected { was_sent, why } => (*was_sent, why),
        other => panic!("not disconnected: {other}"),
    }
}

/// Waits until it is so.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(ms(1));
    }
}

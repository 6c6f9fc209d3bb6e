//! Typed calls: this library's, a server by hand below it, tarpc and tonic, all serving the same call.
//!
//! `rpc measure` starts servers on one core and clients on another, in turns, and prints calls per second and the
//! processor time that the server spends on a call, with one connection and one call in flight, one connection and 64,
//! and 64 connections with one each; then it says PASS or FAIL for each limit.
//!
//! `rpc serve --as NAME` is one server by itself, and `rpc load --as NAME --addr ADDR` its client. Every system has the
//! client that is natural to it, so calls per second are those of both sides; the processor time is the server's alone.
//! All servers have one thread, and Nagle's delay is off everywhere.

mod call;
mod floor;
mod floor_rotor;
mod frame;
mod measure;
mod meter;
mod ours;
mod tarpc;
mod tokio_load;
mod tonic;

use meter::{Found, Meter};
use rotor_bench::args::{Args, fail};
use rotor_fsm::Result;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// One way of making calls.
struct System {
    name: &'static str,
    /// Serves until the process is ended, having said where.
    serve: fn() -> Result<()>,
    load: fn(SocketAddr, Shape, Meter) -> Result<Option<Found>>,
}

/// Connections, and calls in flight on each.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shape {
    connections: usize,
    in_flight: usize,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connections x in flight {} x {}",
            self.connections, self.in_flight
        )
    }
}

const SYSTEMS: [System; 7] = [
    System {
        name: "epoll",
        serve: floor::serve,
        load: floor::load,
    },
    System {
        name: "by-hand",
        serve: floor_rotor::serve,
        load: floor_rotor::load,
    },
    System {
        name: "rotor",
        serve: ours::serve,
        load: ours::load,
    },
    System {
        name: "tarpc",
        serve: tarpc::serve,
        load: tarpc::load,
    },
    System {
        name: "tarpc-inline",
        serve: tarpc::serve_inline,
        load: tarpc::load,
    },
    System {
        name: "tonic",
        serve: tonic::serve,
        load: tonic::load,
    },
    System {
        name: "tonic-bare",
        serve: tonic::serve_bare,
        load: tonic::load,
    },
];

fn main() {
    let mut args = Args::from_env();
    let done = match args.mode(&["serve", "load", "measure"]).as_str() {
        "serve" => serve(args),
        "load" => load(args),
        _ => measure::measure(args),
    };
    if let Err(error) = done {
        fail(&error.to_string());
    }
}

fn serve(mut args: Args) -> Result<()> {
    let system = system(&mut args);
    stay_on(args.option("--core"));
    args.finish();
    (system.serve)()
}

fn load(mut args: Args) -> Result<()> {
    let system = system(&mut args);
    stay_on(args.option("--core"));
    let addr = args.required("--addr");
    let shape = Shape {
        connections: args.option("--connections").unwrap_or(1).max(1),
        in_flight: args.option("--in-flight").unwrap_or(1).max(1),
    };
    let meter = match args.option("--calls") {
        Some(calls) => Meter::calls(calls),
        None => Meter::time(
            args.required("--pid"),
            Duration::from_secs_f64(args.option("--warm-up").unwrap_or(0.3)),
            Duration::from_secs_f64(args.option("--seconds").unwrap_or(0.7)),
        ),
    };
    args.finish();
    if let Some(found) = (system.load)(addr, shape, meter)? {
        println!("{found}");
    }
    Ok(())
}

fn system(args: &mut Args) -> &'static System {
    let name: String = args.required("--as");
    let found = SYSTEMS.iter().find(|system| system.name == name);
    found.unwrap_or_else(|| {
        let names: Vec<_> = SYSTEMS.iter().map(|system| system.name).collect();
        fail(&format!(
            "--as {name}: expected one of {}",
            names.join(", ")
        ))
    })
}

/// Keeps this thread, and those that it starts, on one core.
fn stay_on(core: Option<usize>) {
    if let Some(id) = core
        && !core_affinity::set_for_current(core_affinity::CoreId { id })
    {
        fail(&format!("--core {id}: this process may not run there"));
    }
}

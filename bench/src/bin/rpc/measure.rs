//! Starts servers and clients as processes of their own, in turns, reports medians, and says which limits are kept.

use crate::meter::Found;
use crate::{SYSTEMS, Shape, System};
use rotor_bench::args::{Args, fail};
use rotor_bench::rate::median;
use rotor_fsm::{Error, Result};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const SHAPES: [Shape; 3] = [ALONE, PIPELINE, CROWD];
const ALONE: Shape = Shape {
    connections: 1,
    in_flight: 1,
};
const PIPELINE: Shape = Shape {
    connections: 1,
    in_flight: 64,
};
const CROWD: Shape = Shape {
    connections: 64,
    in_flight: 1,
};

/// What a server of ours may spend on a call, as a multiple of what another spends.
struct Promise {
    shape: Shape,
    other: &'static str,
    ratio_max: f64,
}

const OURS: &str = "rotor";
/// A server that someone writes on this library without typed calls: what those cost is the difference.
const BASE: &str = "by-hand";

const PROMISES: [Promise; 4] = [
    Promise {
        shape: PIPELINE,
        other: "tarpc",
        ratio_max: 1.0 / 3.0,
    },
    Promise {
        shape: PIPELINE,
        other: "tonic",
        ratio_max: 0.1,
    },
    Promise {
        shape: ALONE,
        other: BASE,
        ratio_max: 1.05,
    },
    Promise {
        shape: CROWD,
        other: BASE,
        ratio_max: 1.05,
    },
];

/// All rounds of one system in one shape.
#[derive(Clone, Default)]
struct Series(Vec<Found>);

impl Series {
    fn median(&self, of: fn(&Found) -> f64) -> f64 {
        median(&mut self.0.iter().map(of).collect::<Vec<_>>())
    }
}

/// Measures all, prints it, and ends the process with 1 if a promise is not kept.
pub fn measure(mut args: Args) -> Result<()> {
    let rounds: usize = args.option("--rounds").unwrap_or(9).max(1);
    let seconds: f64 = args.option("--seconds").unwrap_or(0.7);
    args.finish();
    let (server, client) = cores();
    let mut rows: Vec<Row> = SHAPES.map(Row::new).into();
    for _ in 0..rounds {
        for row in &mut rows {
            for (system, series) in SYSTEMS.iter().zip(&mut row.all) {
                // Anew each time: where the allocator and the loader put things is a matter of luck.
                let served = Served::start(system, server)?;
                series
                    .0
                    .push(served.ask(system, row.shape, client, seconds)?);
            }
        }
    }
    println!(
        "Servers on core {server}, clients on core {client}; medians of {rounds} rounds of {seconds} s."
    );
    println!("Each system has a client of its own kind: calls/s are those of both sides.");
    rows.iter().for_each(Row::print);
    let kept = PROMISES.map(|promise| promise.verdict(&rows));
    if kept.contains(&false) {
        std::process::exit(1);
    }
    Ok(())
}

/// One core for servers, one for clients.
fn cores() -> (usize, usize) {
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    match (cores.first(), cores.last()) {
        (Some(first), Some(last)) if first.id != last.id => (first.id, last.id),
        _ => fail("servers and clients need a core each, and there is one core"),
    }
}

/// Every system in one shape, in the order of `SYSTEMS`.
struct Row {
    shape: Shape,
    all: Vec<Series>,
}

impl Row {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            all: vec![Series::default(); SYSTEMS.len()],
        }
    }

    fn of(&self, name: &str) -> Option<&Series> {
        let at = SYSTEMS.iter().position(|system| system.name == name)?;
        self.all.get(at)
    }

    /// The median of what one server spends on a call, as a multiple of what the other does in the same round. No
    /// number if either was not measured.
    fn ratio(&self, one: &str, other: &str) -> f64 {
        let (Some(one), Some(other)) = (self.of(one), self.of(other)) else {
            return f64::NAN;
        };
        let pairs = one.0.iter().zip(&other.0);
        let mut ratios: Vec<f64> = pairs
            .map(|(one, other)| one.server_per_call() / other.server_per_call())
            .collect();
        match ratios.len() {
            0 => f64::NAN,
            _ => median(&mut ratios),
        }
    }

    fn print(&self) {
        println!("{}:", self.shape);
        println!(
            "  {:12} {:>9} {:>11} {:>7} {:>7} {:>11} {:>11}",
            "", "calls/s", "server CPU", "least", "most", "of by-hand", "client CPU"
        );
        for (system, series) in SYSTEMS.iter().zip(&self.all) {
            let all = series.0.iter().map(Found::server_per_call);
            println!(
                "  {:12} {:9.0} {:8.0} ns {:7.0} {:7.0} {:11.3} {:8.0} ns",
                system.name,
                series.median(Found::calls_per_second),
                series.median(Found::server_per_call),
                all.clone().fold(f64::MAX, f64::min),
                all.fold(0.0, f64::max),
                self.ratio(system.name, BASE),
                series.median(Found::client_per_call),
            );
        }
    }
}

impl Promise {
    fn verdict(&self, rows: &[Row]) -> bool {
        let row = rows.iter().find(|row| row.shape == self.shape);
        let ratio = row.map_or(f64::NAN, |row| row.ratio(OURS, self.other));
        let kept = ratio <= self.ratio_max;
        println!(
            "{} rpc-{}: {}, {ratio:.3} times the CPU of {}, at most {:.3}",
            if kept { "PASS" } else { "FAIL" },
            self.other,
            self.shape,
            self.other,
            self.ratio_max,
        );
        kept
    }
}

/// A server as a process of its own, which ends with this value.
struct Served {
    child: Child,
    addr: String,
}

impl Served {
    fn start(system: &System, core: usize) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--as", system.name, "--core", &core.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take();
        let mut served = Self {
            child,
            addr: String::new(),
        };
        let mut line = String::new();
        if let Some(said) = said {
            BufReader::new(said).read_line(&mut line)?;
        }
        let addr = line.trim_end().strip_prefix("listening on ");
        served.addr = addr
            .ok_or_else(|| Error::msg(format!("the server {} does not listen", system.name)))?
            .to_owned();
        Ok(served)
    }

    /// Has a client ask it.
    fn ask(&self, system: &System, shape: Shape, core: usize, seconds: f64) -> Result<Found> {
        let output = Command::new(std::env::current_exe()?)
            .args(["load", "--as", system.name, "--addr", &self.addr])
            .args(["--core", &core.to_string()])
            .args(["--connections", &shape.connections.to_string()])
            .args(["--in-flight", &shape.in_flight.to_string()])
            .args(["--pid", &self.child.id().to_string()])
            .args(["--seconds", &seconds.to_string()])
            .stderr(Stdio::inherit())
            .output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        said.parse().map_err(Error::msg)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(server: &[u64]) -> Series {
        let found = |&server| Found {
            calls: 10,
            nanos: 1,
            server,
            client: 0,
        };
        Series(server.iter().map(found).collect())
    }

    #[test]
    fn ratios_are_those_of_the_same_round() {
        let mut row = Row::new(ALONE);
        let (one, other) = (SYSTEMS[0].name, SYSTEMS[1].name);
        row.all[0] = series(&[200, 2000, 20]);
        row.all[1] = series(&[100, 1000, 10]);
        assert_eq!(row.ratio(one, other), 2.0);
        assert_eq!(row.ratio(other, one), 0.5);
    }

    #[test]
    fn what_was_not_measured_keeps_no_promise() {
        let row = Row::new(PIPELINE);
        assert!(row.ratio(BASE, BASE).is_nan());
        assert!(row.ratio("nobody", BASE).is_nan());
        let rows = [row];
        assert!(PROMISES.iter().all(|promise| !promise.verdict(&rows)));
    }
}

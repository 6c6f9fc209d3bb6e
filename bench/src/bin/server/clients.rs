//! Clients that each send their next request when the last is answered.

use crate::{BYTES, LAST};
use rotor_bench::args::Args;
use rotor_net::ConnectError;
use rotor_net::prelude::*;
use std::time::Duration;

/// One client: a request at a time.
struct Caller {
    /// Nanoseconds of the clock, which the loop's own time, read once a turn, would be too coarse for.
    asked: u64,
}

/// What the clients of a process have seen.
#[derive(Default)]
struct Seen {
    connected: usize,
    /// All connections that are to be made.
    wanted: usize,
    /// How long to go on when they are.
    duration: Duration,
    until: Option<u64>,
    refused: usize,
    replies: u64,
    /// Connections that ended with a request unanswered.
    lost: usize,
    /// Connections that the server said goodbye to.
    dismissed: usize,
    /// Microseconds.
    latencies: Vec<u32>,
}

/// Latencies kept: as many as a minute of loopback gives.
const LATENCIES_MAX: usize = 20_000_000;

impl Protocol for Caller {
    type Context = Seen;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let seen = &mut *conn.ctx;
        seen.connected += 1;
        let asked = monotonic_nanos();
        if seen.connected == seen.wanted {
            println!("all are connected");
            seen.until = Some(asked + seen.duration.as_nanos() as u64);
        }
        conn.out.write(&[b'.'; BYTES])?;
        Ok(Intent::of(Caller { asked }).read(Until::Bytes(BYTES)))
    }

    fn received(mut self, reply: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let now = monotonic_nanos();
        let seen = &mut *conn.ctx;
        if let Some(until) = seen.until {
            seen.replies += 1;
            if seen.latencies.len() < LATENCIES_MAX {
                let micros = (now - self.asked) / 1000;
                seen.latencies
                    .push(u32::try_from(micros).unwrap_or(u32::MAX));
            }
            if now >= until {
                return Ok(Intent::done());
            }
        }
        if reply.first() == Some(&LAST) {
            seen.dismissed += 1;
            return Ok(Intent::done());
        }
        self.asked = now;
        conn.out.write(&[b'.'; BYTES])?;
        Ok(Intent::of(self))
    }

    fn eof(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        // There is always a request under way.
        conn.ctx.lost += 1;
        Ok(Intent::done())
    }

    fn failed(self, _: Failure, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.ctx.lost += 1;
        Ok(Intent::done())
    }

    fn unreachable(_: (), _: ConnectError, ctx: &mut Seen) -> Result<()> {
        ctx.refused += 1;
        Ok(())
    }
}

/// Runs so many, for so long from the moment on at which all are connected, and says what they saw.
pub fn clients(mut args: Args) -> Result<()> {
    let addr: Addr = args.required::<String>("--addr").parse()?;
    let connections: usize = args.required("--connections");
    let seconds: f64 = args.required("--seconds");
    args.finish();
    let limits = Limits {
        connections,
        ..Limits::default()
    };
    let streams = Streams::new(limits);
    let seen = Seen {
        wanted: connections,
        duration: Duration::from_secs_f64(seconds),
        ..Seen::default()
    };
    let mut main_loop = Loop::<Stream<Caller>>::new(Config::default(), |_| Ok(seen))?;
    for _ in 0..connections {
        let seed = streams.connect::<Caller>(addr.clone(), Duration::from_secs(30), ());
        main_loop.spawn::<Stream<Caller>>(seed)?;
    }
    main_loop.run()?;
    let Some(seen) = main_loop.context() else {
        return Ok(());
    };
    seen.latencies.sort_unstable();
    let at = |share: f64| {
        let index = (seen.latencies.len() as f64 * share) as usize;
        seen.latencies.get(index).copied().unwrap_or(0)
    };
    println!(
        "replies {} lost {} refused {} dismissed {} p50 {} p99 {}",
        seen.replies,
        seen.lost,
        seen.refused,
        seen.dismissed,
        at(0.5),
        at(0.99)
    );
    Ok(())
}

/// The clock of the loops.
fn monotonic_nanos() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes the struct it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

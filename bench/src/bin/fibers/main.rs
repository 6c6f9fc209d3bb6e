//! What fibers cost, against the bare coroutine below them and against the enum machine that does the same.
//!
//! `fibers` prints all figures: a switch there and back; a fiber made, run and ended; memory of a parked one; and an
//! echo server on a fiber per connection beside one on an enum machine per connection. The two take turns, round by
//! round, and the medians count.
//!
//! `fibers serve --as fiber` and `--as machine` are the two echo servers by themselves, for a profiler.

mod echo;
mod lives;
mod switch;

use echo::{echo, serve_fibers, serve_machines};
use lives::Born;
use rotor_bench::args::{Args, fail};
use rotor_bench::process::memory_of;
use rotor_bench::rate::{Contestant, compare};
use rotor_fsm::prelude::*;
use rotor_net::fiber::{Cx, Fiber, StackConfig, Stacks};
use std::time::Duration;
use switch::{Bare, Told};

fn main() {
    let mut args = Args::from_env();
    let first = std::env::args().nth(1).unwrap_or_default();
    let done = match first.as_str() {
        "serve" => {
            args.mode(&["serve"]);
            let kind: String = args.required("--as");
            args.finish();
            match kind.as_str() {
                "fiber" => serve_fibers(),
                "machine" => serve_machines(),
                other => fail(&format!("--as {other}: expected `fiber` or `machine`")),
            }
        }
        "parked" => {
            args.mode(&["parked"]);
            let fibers = args.required("--fibers");
            args.finish();
            parked(fibers)
        }
        _ => {
            let rounds = args.option("--rounds").unwrap_or(15).max(1);
            args.finish();
            figures(rounds)
        }
    };
    if let Err(error) = done {
        fail(&error.to_string());
    }
}

fn figures(rounds: usize) -> Result<()> {
    for fibers in ["10000", "100000"] {
        // In a process of its own, where nothing else was allocated and freed before.
        let mut parked = std::process::Command::new(std::env::current_exe()?);
        if !parked
            .args(["parked", "--fibers", fibers])
            .status()?
            .success()
        {
            return Err(Error::msg("the parked fibers could not be counted"));
        }
    }
    let mut switches: Vec<Box<dyn Contestant>> = vec![
        Box::new(Bare),
        Box::new(Told::Machine),
        Box::new(Told::Fiber),
    ];
    let nanos = compare(&mut switches, rounds, 1_000_000);
    println!("switch bare {:.1} ns", nanos[0]);
    println!("message machine {:.1} ns", nanos[1]);
    println!("message fiber {:.1} ns", nanos[2]);
    println!("switch fiber {:.1} ns", nanos[2] - nanos[1]);
    let mut births: Vec<Box<dyn Contestant>> = vec![Box::new(Born::Machine), Box::new(Born::Fiber)];
    let nanos = compare(&mut births, rounds, 300_000);
    println!("life machine {:.1} ns", nanos[0]);
    println!("life fiber {:.1} ns", nanos[1]);
    echo(rounds)
}

/// Parks so many fibers, and prints what each has added to the resident memory.
fn parked(fibers: usize) -> Result<()> {
    let stacks = Stacks::new(StackConfig::default())?;
    let mut main_loop = Loop::<Fiber<(), u64>>::new(Config::default(), |_| Ok(()))?;
    let before = memory_of(std::process::id())?.rss_bytes;
    for _ in 0..fibers {
        let seed = stacks.fiber("parked", |cx: &Cx<(), u64>| Ok(cx.recv().map(drop)?))?;
        main_loop.spawn::<Fiber<(), u64>>(seed)?;
    }
    let last = stacks.fiber("last", move |cx: &Cx<(), u64>| {
        // All others are parked when it is its turn again.
        cx.sleep(Duration::from_millis(200))?;
        let after = memory_of(std::process::id())?.rss_bytes;
        let each = after.saturating_sub(before) / fibers as u64;
        println!("parked {fibers} fibers {each} bytes each");
        Ok(cx.shutdown(Duration::ZERO)?)
    })?;
    main_loop.spawn::<Fiber<(), u64>>(last)?;
    main_loop.run()
}

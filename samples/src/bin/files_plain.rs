//! A file service with a line protocol on pinned workers: `files_plain [DIR] [--fiber] [--listen ADDR] [--workers N]`.

use lexopt::prelude::*;
use rotor_fsm::{Machine, Result};
use rotor_net::Stream;
use rotor_net::fiber::{StackConfig, Stacks};
use rotor_net::server::{Builder, Server};
use samples::cli;
use samples::files_plain::{dir::Dir, fiber, machine};
use std::path::PathBuf;
use std::time::Duration;

/// How long clients may take to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

struct Args {
    dir: PathBuf,
    listen: String,
    workers: Option<usize>,
    is_fiber: bool,
}

fn args() -> Result<Args> {
    let mut parser = lexopt::Parser::from_env();
    let mut args = Args {
        dir: PathBuf::from("."),
        listen: "127.0.0.1:6392".to_owned(),
        workers: None,
        is_fiber: false,
    };
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => args.listen = parser.value()?.string()?,
            Long("workers") => args.workers = Some(parser.value()?.parse()?),
            Long("fiber") => args.is_fiber = true,
            Value(dir) => args.dir = dir.into(),
            other => return Err(other.unexpected().into()),
        }
    }
    Ok(args)
}

fn settled<M: Machine>(builder: Builder<M>, args: &Args) -> Builder<M> {
    let builder = builder.listen(&args.listen).drain_on_signals(GRACE);
    match args.workers {
        Some(workers) => builder.workers(workers),
        None => builder,
    }
}

fn serve<M: Machine>(server: Server<M>) -> Result<()> {
    cli::announce(&server.addresses()[0]);
    println!("{}", server.join()?);
    Ok(())
}

fn main() -> Result<()> {
    let args = args()?;
    let dir = Dir::open(&args.dir)?;
    if args.is_fiber {
        let builder = settled(Server::<fiber::Files>::builder(), &args);
        serve(builder.start(
            move |_| {
                Ok(fiber::Shared {
                    dir: dir.clone(),
                    stacks: Stacks::new(StackConfig::default())?,
                })
            },
            |connection, shared| {
                let incoming = connection.into_incoming();
                Ok(shared
                    .stacks
                    .fiber("client", |cx| fiber::serve(cx, incoming))?)
            },
        )?)
    } else {
        let builder = settled(Server::<Stream<machine::Files>>::builder(), &args);
        serve(builder.start(
            move |_| Ok(dir.clone()),
            |connection, _| connection.stream(()),
        )?)
    }
}

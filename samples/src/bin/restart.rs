//! A server that is replaced while it runs: start it again, and the new process takes over without refusing anyone.
//!
//! `restart [--listen ADDR] [--control PATH]`. It tells each caller which process answers.

use lexopt::prelude::*;
use rotor_net::prelude::*;
use rotor_net::server::{Notice, Server};
use samples::cli;
use std::path::PathBuf;
use std::time::Duration;

struct Greeter;

impl Protocol for Greeter {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.out
            .write(format!("process {}\n", std::process::id()).as_bytes())?;
        Ok(Intent::done())
    }

    fn received(self, _: Input<'_>, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::done())
    }
}

fn main() -> Result<()> {
    let mut parser = lexopt::Parser::from_env();
    let mut listen = "127.0.0.1:6393".to_owned();
    let mut control = std::env::temp_dir().join("rotor-restart.sock");
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = parser.value()?.string()?,
            Long("control") => control = PathBuf::from(parser.value()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let server = Server::<Stream<Greeter>>::builder()
        .listen(&listen)
        .takeover(control)
        .drain_on_signals(Duration::from_secs(10))
        .on_notice(|notice| match notice {
            Notice::Draining { .. } | Notice::HandedOver => println!("{notice}"),
            other => eprintln!("{other}"),
        })
        .start(|_| Ok(()), |connection, _| connection.stream(()))?;
    cli::announce(&server.addresses()[0]);
    println!("{}", server.join()?);
    Ok(())
}

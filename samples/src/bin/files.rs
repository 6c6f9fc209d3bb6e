//! A file service over typed RPC, and its client: `files serve DIR`, `files list|size|get|put|exists|del|watch`.
//!
//! `files --help` says more; `files demo` shows it.

use rotor_fsm::Result;
use samples::cli;
use samples::files::client::{self, Failure};
use samples::files::command::{Command, USAGE};
use samples::files::demo;
use samples::files::serve::{self, Settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match Command::from_args(std::env::args_os().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprint!("files: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => {
            print!("{USAGE}");
            Ok(true)
        }
        Command::Demo => demo::run().map(|()| true),
        Command::Ask {
            connect,
            action,
            timeout,
        } => client::run(&connect, action, timeout),
        Command::Serve(settings) => serve(&settings)
            .map(|()| true)
            .map_err(|error| Failure(error.to_string())),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(Failure(words)) => {
            if !words.is_empty() {
                eprintln!("files: {}", cli::plain(&words));
            }
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: &Settings) -> Result<()> {
    let server = serve::start(settings)?;
    cli::announce(&server.addresses()[0]);
    println!("{}", server.join()?);
    Ok(())
}

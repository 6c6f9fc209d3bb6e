//! A calculator over typed RPC: `calc serve [--listen ADDR]`, and `calc EXPR [NAME=VALUE …] [--connect ADDR]`.
//!
//! The second prints the expression, simplified, and its value: `calc '2 * (x + 3) + 0 * x' x=4`. An expression that begins
//! with a sign comes after `--`.

use lexopt::prelude::*;
use rotor_fsm::{Config, Error, Result};
use rotor_net::Limits;
use rotor_net::rpc::{Channel, ClientConfig, Reconnect};
use samples::calc::{Calculator, Variable, calc, parse::parse};
use samples::cli;
use std::process::ExitCode;

const ADDRESS: &str = "127.0.0.1:6391";
const USAGE: &str = "usage: calc serve [--listen ADDR]
       calc EXPR [NAME=VALUE ...] [--connect ADDR]
";

enum Command {
    Serve { listen: String },
    Ask(Question),
}

struct Question {
    text: String,
    variables: Vec<Variable>,
    connect: String,
}

fn command() -> Result<Command> {
    let mut parser = lexopt::Parser::from_env();
    let (mut values, mut listen, mut connect) = (Vec::new(), None, None);
    while let Some(arg) = parser.next()? {
        match arg {
            Long("listen") => listen = Some(parser.value()?.string()?),
            Long("connect") => connect = Some(parser.value()?.string()?),
            Value(value) => values.push(value.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let mut values = values.into_iter();
    let text = values
        .next()
        .ok_or_else(|| Error::msg("an expression is missing"))?;
    match (text == "serve", listen, connect) {
        (true, listen, None) if values.len() == 0 => {
            let listen = listen.unwrap_or_else(|| ADDRESS.to_owned());
            Ok(Command::Serve { listen })
        }
        (false, None, connect) => Ok(Command::Ask(Question {
            text,
            variables: values
                .map(|value| variable(&value))
                .collect::<Result<_>>()?,
            connect: connect.unwrap_or_else(|| ADDRESS.to_owned()),
        })),
        _ => Err(Error::msg("these arguments do not belong together")),
    }
}

fn variable(text: &str) -> Result<Variable> {
    let parts = text.split_once('=');
    let parts = parts.and_then(|(name, value)| Some((name, value.parse().ok()?)));
    match parts {
        Some((name, value)) => Ok(Variable {
            name: name.to_owned(),
            value,
        }),
        None => Err(Error::msg(format!("{text:?} is not NAME=VALUE"))),
    }
}

fn serve(listen: &str) -> Result<()> {
    let limits = Limits::default();
    let config = Config::default();
    rotor_net::serve_with::<calc::Session<Calculator>>(listen, limits, config, (), cli::announce)
}

fn ask(question: Question) -> Result<()> {
    let expr = parse(&question.text)?;
    let config = ClientConfig {
        reconnect: Reconnect::Never,
        ..ClientConfig::default()
    };
    let channel = Channel::connect_with(&question.connect, config)?;
    let client = calc::Client::new(&channel);
    // Both are under way before either is waited for.
    let simpler = client.simplify(expr.clone()).start();
    let value = client.evaluate(expr, question.variables).start();
    println!("{}", simpler.wait()?);
    println!("{}", value.wait()??);
    Ok(())
}

fn main() -> ExitCode {
    let done = match command() {
        Ok(Command::Serve { listen }) => serve(&listen),
        Ok(Command::Ask(question)) => ask(question),
        Err(error) => {
            eprint!("calc: {error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("calc: {}", cli::plain(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

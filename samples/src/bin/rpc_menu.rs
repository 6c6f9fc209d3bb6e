//! Prints what a typed-RPC server offers, and its limits: `rpc_menu ADDR`.

use lexopt::prelude::*;
use rotor_fsm::{Error, Result};
use rotor_net::rpc::{Channel, ClientConfig, MenuEntry, Reconnect, ServerInfo};
use samples::cli::plain;
use std::process::ExitCode;

fn main() -> ExitCode {
    let at = match address() {
        Ok(at) => at,
        Err(error) => {
            eprintln!("rpc_menu: {error}\nusage: rpc_menu ADDR");
            return ExitCode::from(2);
        }
    };
    match ask(&at) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("rpc_menu: {at}: {}", plain(&error.to_string()));
            ExitCode::FAILURE
        }
    }
}

fn address() -> Result<String> {
    let mut parser = lexopt::Parser::from_env();
    let mut at = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Value(text) if at.is_none() => at = Some(text.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    at.ok_or_else(|| Error::msg("no address given"))
}

fn ask(at: &str) -> Result<String> {
    let config = ClientConfig {
        reconnect: Reconnect::Never,
        ..ClientConfig::default()
    };
    let channel = Channel::connect_with(at, config)?;
    let server = channel.server();
    let server = server.ok_or_else(|| Error::msg("the server has not said what it offers"))?;
    Ok(describe(&server))
}

fn describe(server: &ServerInfo) -> String {
    let unknown = match server.takes_unknown {
        true => "taken by name",
        false => "refused",
    };
    let mut text = format!(
        "service {}, protocol version {}\n\
         frames             at most {} bytes\n\
         calls in flight    at most {}\n\
         window of a stream {} bytes\n\
         metadata of a call at most {} bytes\n\
         unknown calls      {unknown}\n",
        plain(&server.menu.service),
        server.protocol_version,
        server.frame_bytes_max,
        server.in_flight_max,
        server.window_bytes,
        server.meta_bytes_max,
    );
    for (rank, entry) in server.menu.entries.iter().enumerate() {
        text += &format!(
            "\n{rank:3} {}\n    version {}, {}\n",
            plain(&entry.signature),
            entry.version,
            entry.kind
        );
        text += &digests(entry);
    }
    text
}

fn digests(entry: &MenuEntry) -> String {
    let output = match entry.kind.has_items() {
        true => "items",
        false => "reply",
    };
    let parts = ["request", "client's items", output];
    let described = parts.iter().zip(entry.digests).map(|(part, digest)| {
        let digest = match digest {
            0 => "not checked".to_owned(),
            digest => format!("{digest:016x}"),
        };
        (*part, digest)
    });
    described
        .filter(|(part, _)| *part != "client's items" || entry.kind.has_input())
        .map(|(part, digest)| format!("    {digest} {part}\n"))
        .collect()
}

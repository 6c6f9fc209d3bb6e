//! The client: one command, one or two calls, on a thread that just waits for them.

use super::command::Action;
use super::name::Name;
use super::progress::Progress;
use super::service::{Piece, files};
use super::transfer::PIECE_BYTES;
use bytes::Bytes;
use rotor_net::rpc::{Channel, ClientConfig, Reconnect, SendItemError};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a command was not done, for people. Empty if whoever reads the output has left, which is no news to them.
#[derive(Debug)]
pub struct Failure(pub String);

impl Failure {
    /// What concerns this, and why.
    pub fn of(what: impl Display, why: impl Display) -> Self {
        Self(format!("{what}: {why}"))
    }

    /// Standard output did not take it.
    fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self(String::new()),
            _ => Self::of("standard output", error),
        }
    }
}

/// Asks the server there. Answers whether that is a yes. A transfer may take as long as it does, any other answer so long.
///
/// # Errors
/// What the server refuses, what happened to the connection, what the system says.
pub fn run(connect: &str, action: Action, timeout: Duration) -> Result<bool, Failure> {
    let config = ClientConfig {
        // Somebody waits, and would rather know.
        reconnect: Reconnect::Never,
        ..ClientConfig::default()
    };
    let channel = Channel::connect_with(connect, config);
    let channel = channel.map_err(|why| Failure::of(connect, why))?;
    let client = files::Client::new(&channel);
    match action {
        Action::List { is_null } => list(&client, is_null)?,
        Action::Size(name) => {
            let size = client.size(name.clone()).within(timeout).wait();
            let size = flat(size).map_err(|why| Failure::of(name, why))?;
            print(format!("{size}\n").as_bytes())?;
        }
        Action::Get { name, offset } => get(&client, &name, offset)?,
        Action::Put {
            name,
            file,
            may_replace,
        } => put(&client, &name, file, may_replace)?,
        Action::Exists(name) => {
            let exists = client.exists(name.clone()).within(timeout).wait();
            let exists = flat(exists).map_err(|why| Failure::of(name, why))?;
            print(if exists { b"yes\n" } else { b"no\n" })?;
            return Ok(exists);
        }
        Action::Del(name) => {
            let done = client.del(name.clone()).within(timeout).wait();
            flat(done).map_err(|why| Failure::of(name, why))?;
        }
        Action::Watch => watch(&client)?,
    }
    Ok(true)
}

/// Whoever refused it.
fn flat<T, E: Display, F: Display>(result: Result<Result<T, E>, F>) -> Result<T, String> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(why)) => Err(why.to_string()),
        Err(why) => Err(why.to_string()),
    }
}

fn list(client: &files::Client, is_null: bool) -> Result<(), Failure> {
    let mut batches = client.list_all();
    let mut entries = Vec::new();
    while let Some(batch) = batches.next_blocking() {
        entries.extend(flat(batch).map_err(|why| Failure::of("list", why))?);
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let mut out = Vec::new();
    for entry in entries {
        out.extend_from_slice(format!("{:>12} ", entry.size).as_bytes());
        write_name(&entry.name, &mut out);
        out.push(if is_null { 0 } else { b'\n' });
    }
    print(&out)
}

fn get(client: &files::Client, name: &Name, offset: u64) -> Result<(), Failure> {
    let failure = |why: String| Failure::of(name, why);
    let mut out = unbuffered_output()?;
    let mut pieces = client.get(name.clone(), offset);
    let size = match pieces.next_blocking().map(flat).transpose() {
        Ok(Some(Piece::Size(size))) => size,
        Ok(_) => return Err(failure("the server did not say its length".to_owned())),
        Err(why) => return Err(failure(why)),
    };
    // On the terminal to which the file goes it would be in the way.
    let mut progress = Progress::new(name, Some(size), offset).only_if(!out.is_terminal());
    let mut at = offset.min(size);
    while let Some(piece) = pieces.next_blocking() {
        if let Piece::Bytes(bytes) = flat(piece).map_err(failure)? {
            out.write_all(&bytes).map_err(Failure::output)?;
            at += bytes.len() as u64;
            progress.advance(bytes.len() as u64);
        }
    }
    match at == size {
        true => Ok(()),
        false => Err(failure(format!("the server sent {at} of {size} bytes"))),
    }
}

fn put(
    client: &files::Client,
    name: &Name,
    file: Option<PathBuf>,
    may_replace: bool,
) -> Result<(), Failure> {
    let failure = |why: String| Failure::of(name, why);
    let (mut input, from, total) = match &file {
        Some(path) => {
            let (file, bytes) = open(path).map_err(|why| Failure::of(path.display(), why))?;
            let from = path.display().to_string();
            (Box::new(file) as Box<dyn Read>, from, Some(bytes))
        }
        None => (
            Box::new(io::stdin().lock()) as _,
            "standard input".to_owned(),
            None,
        ),
    };
    let mut progress = Progress::new(name, total, 0);
    let (mut chunks, reply) = client.put(name.clone(), may_replace);
    let mut buffer = vec![0; PIECE_BYTES as usize];
    loop {
        // If that fails the call is given up, and the server stores nothing.
        let bytes = match input.read(&mut buffer) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::of(from, error)),
        };
        if bytes == 0 {
            // The reply says how that went.
            let _ = chunks.end();
            break;
        }
        match chunks.send_blocking(Bytes::copy_from_slice(&buffer[..bytes])) {
            Ok(()) => progress.advance(bytes as u64),
            // Refused before the end; the reply says why.
            Err(SendItemError::Ended(_)) => break,
            Err(why) => return Err(failure(why.to_string())),
        }
    }
    flat(reply.wait()).map_err(failure)?;
    Ok(())
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

fn watch(client: &files::Client) -> Result<(), Failure> {
    let mut changes = client.watch();
    while let Some(change) = changes.next_blocking() {
        let change = flat(change).map_err(|why| Failure::of("watch", why))?;
        let mut line = change.word().as_bytes().to_vec();
        if let Some(name) = change.name() {
            line.push(b' ');
            write_name(name, &mut line);
        }
        line.push(b'\n');
        print(&line)?;
    }
    Err(Failure::of("watch", "the server ends"))
}

/// As it is for programs, escaped for terminals.
fn write_name(name: &Name, out: &mut Vec<u8>) {
    match io::stdout().is_terminal() {
        true => out.extend_from_slice(name.to_string().as_bytes()),
        false => out.extend_from_slice(name.as_bytes()),
    }
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let printed = out.write_all(bytes).and_then(|()| out.flush());
    printed.map_err(Failure::output)
}

/// Standard output, without Rust's buffer, which looks for line feeds.
fn unbuffered_output() -> Result<File, Failure> {
    let fd = io::stdout().as_fd().try_clone_to_owned();
    fd.map(File::from).map_err(Failure::output)
}

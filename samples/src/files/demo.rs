//! The demo: a server with two workers on a directory of its own, and a client that puts, lists, gets, watches and
//! removes files there, and says what happens.

use super::client::Failure;
use super::name::Name;
use super::refusal::Refusal;
use super::serve::{self, Settings};
use super::service::{Change, Piece, files};
use super::transfer::PIECE_BYTES;
use bytes::Bytes;
use rotor_net::rpc::{CallError, ItemReceiver};
use rotor_net::server::Workers;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// A directory that is removed at the end.
struct Dir(PathBuf);

impl Drop for Dir {
    fn drop(&mut self) {
        // What cannot be removed is in the directory for such things.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// No call of the demo takes longer, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(10);
/// The file that is put in pieces.
const LARGE_BYTES: usize = 3_000_000;

/// Runs it.
///
/// # Errors
/// If something does not go as it should.
pub fn run() -> Result<(), Failure> {
    let name = format!("rotor-files-demo-{}", std::process::id());
    let dir = Dir(std::env::temp_dir().join(name));
    fs::create_dir_all(&dir.0).map_err(|why| Failure::of(dir.0.display(), why))?;
    let settings = Settings {
        dir: dir.0.clone(),
        listen: "127.0.0.1:0".to_owned(),
        workers: Workers::Count(2),
        upload_bytes_max: 1 << 24,
        idle: PATIENCE,
    };
    let failure = |why: rotor_fsm::Error| Failure::of("demo", why);
    let server = serve::start(&settings).map_err(failure)?;
    let at = server.addresses()[0].to_string();
    println!("serving {} at {at} with 2 workers", dir.0.display());
    visit(&at).map_err(|why| Failure::of("demo", why))?;
    println!("{}", server.drain(PATIENCE).map_err(failure)?);
    Ok(())
}

fn visit(at: &str) -> Result<(), CallError> {
    let client = files::Client::connect(at)?;
    let mut changes = client.watch().within(PATIENCE);
    expect(&mut changes)?;
    let large: Vec<u8> = (0..LARGE_BYTES).map(|n| (n % 251) as u8).collect();
    put(&client, "greeting.txt", b"hello, files!\n", false)?;
    put(&client, "large.bin", &large, false)?;
    put(&client, "greeting.txt", b"hello again!\n", false)?;
    list(&client)?;
    let greeting = get(&client, "greeting.txt")?;
    print!("get greeting.txt: {}", String::from_utf8_lossy(&greeting));
    let same = if get(&client, "large.bin")? == large {
        "as they were put"
    } else {
        return Err(CallError::Protocol("the bytes that were put"));
    };
    println!("get large.bin: {LARGE_BYTES} bytes, {same}");
    for name in ["../../etc/passwd", "nothing"] {
        let size = client.size(Name::from(name)).within(PATIENCE).wait()?;
        println!("size {name}: {}", words(size));
    }
    for name in ["greeting.txt", "large.bin"] {
        let done = client.del(Name::from(name)).within(PATIENCE).wait()?;
        println!("del {name}: {}", words(done.map(|()| "done")));
    }
    let exists = client
        .exists(Name::from("greeting.txt"))
        .within(PATIENCE)
        .wait()?;
    println!("exists greeting.txt: {}", words(exists));
    println!("watched meanwhile:");
    let last = Change::Removed(Name::from("large.bin"));
    loop {
        let change = expect(&mut changes)?;
        let name = change.name().map_or(String::new(), Name::to_string);
        println!("  {} {name}", change.word());
        if change == last {
            break;
        }
    }
    Ok(())
}

fn put(
    client: &files::Client,
    name: &str,
    content: &[u8],
    may_replace: bool,
) -> Result<(), CallError> {
    let (mut chunks, reply) = client.put(Name::from(name), may_replace);
    let mut count = 0;
    for chunk in content.chunks(PIECE_BYTES as usize) {
        if chunks.send_blocking(Bytes::copy_from_slice(chunk)).is_err() {
            break;
        }
        count += 1;
    }
    let _ = chunks.end();
    let stored = reply.within(PATIENCE).wait()?;
    let words = words(stored.map(|bytes| format!("{bytes} bytes in {count} chunks")));
    println!("put {name}: {words}");
    Ok(())
}

fn get(client: &files::Client, name: &str) -> Result<Vec<u8>, CallError> {
    let mut pieces = client.get(Name::from(name), 0).within(PATIENCE);
    let mut content = Vec::new();
    while let Some(piece) = pieces.next_blocking() {
        match piece? {
            Ok(Piece::Bytes(bytes)) => content.extend_from_slice(&bytes),
            Ok(Piece::Size(_)) => {}
            Err(why) => return Err(CallError::Remote(why.to_string().into())),
        }
    }
    Ok(content)
}

fn list(client: &files::Client) -> Result<(), CallError> {
    println!("list:");
    let mut batches = client.list_all().within(PATIENCE);
    while let Some(batch) = batches.next_blocking() {
        for entry in batch?.unwrap_or_default() {
            println!("  {:>9} {}", entry.size, entry.name);
        }
    }
    Ok(())
}

/// The next change.
fn expect(changes: &mut ItemReceiver<Result<Change, Refusal>>) -> Result<Change, CallError> {
    match changes.next_blocking() {
        Some(change) => change?.map_err(|why| CallError::Remote(why.to_string().into())),
        None => Err(CallError::Protocol("a change")),
    }
}

fn words<T: ToString>(answer: Result<T, Refusal>) -> String {
    answer.map_or_else(|why| format!("refused: {why}"), |value| value.to_string())
}

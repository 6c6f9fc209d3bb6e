//! An in-memory key-value server that speaks RESP2: `redis-cli -p 6380` talks to it.

use rotor_fsm::{Error, Result};
use samples::cli;
use samples::kv::{Settings, USAGE, serve};
use std::hash::{BuildHasher, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

fn main() -> Result<()> {
    let Some(settings) = Settings::parse(lexopt::Parser::from_env())? else {
        print!("{USAGE}");
        return Ok(());
    };
    let now = || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| since.as_millis() as u64)
    };
    let hash_key = [(); 2].map(|()| RandomState::new().hash_one(()));
    let at = settings.listen.clone();
    serve::run(settings, now, hash_key, cli::announce)
        .map_err(|error| Error::msg(format!("cannot serve at {at}: {error}")))
}

//! The server under load: ten thousand connections at once, clients that are killed, a drain amid requests.
//!
//! `server serve` is the server, told what to do on standard input; `server clients` sends it requests; `server
//! measure` starts both as processes of their own and reports figures. Requests and replies are 64 bytes; the first byte
//! of a reply says whether it is the connection's last.

mod clients;
mod serve;

use rotor_bench::args::{Args, fail};
use rotor_bench::process::memory_of;
use rotor_fsm::Result;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// The length of requests and replies.
const BYTES: usize = 64;
/// The first byte of a reply after which the server hangs up.
const LAST: u8 = b'!';

/// The server as a process of its own.
struct Served {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    addr: String,
}

/// What it says of itself.
#[derive(Debug)]
struct Stand {
    connections: usize,
    machines: u64,
    fds: usize,
    loads: String,
    rss_bytes: u64,
}

impl Served {
    fn start(dispatch: &str, connections: usize) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", "--workers", "2", "--dispatch", dispatch]);
        command.args(["--connections", &connections.to_string()]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            fail("the server has no pipes");
        };
        let mut served = Self {
            child,
            orders,
            answers: BufReader::new(answers),
            addr: String::new(),
        };
        served.addr = served.answer()?;
        Ok(served)
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }

    fn order(&mut self, order: &str) -> Result<String> {
        writeln!(self.orders, "{order}")?;
        self.answer()
    }

    fn stand(&mut self) -> Result<Stand> {
        let line = self.order("stats")?;
        let mut words = line.splitn(4, ' ');
        let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let (connections, machines, fds) = (number(), number(), number());
        Ok(Stand {
            connections,
            machines: machines as u64,
            fds,
            loads: words.next().unwrap_or_default().to_owned(),
            rss_bytes: memory_of(self.child.id())?.rss_bytes,
        })
    }

    /// Waits until there are so many connections, for at most ten seconds.
    fn stand_at(&mut self, connections: usize) -> Result<Stand> {
        let start = Instant::now();
        loop {
            let stand = self.stand()?;
            let is_there = stand.connections == connections;
            if is_there || start.elapsed() > Duration::from_secs(10) {
                // The loops go to sleep, and tell how many machines they have.
                std::thread::sleep(Duration::from_millis(100));
                return self.stand();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn end(mut self) -> Result<()> {
        drop(self.orders);
        self.child.wait()?;
        Ok(())
    }
}

/// Starts clients and waits until all are connected.
fn start_clients(addr: &str, connections: usize, seconds: f64) -> Result<Clients> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["clients", "--addr", addr]);
    command.args(["--connections", &connections.to_string()]);
    command.args(["--seconds", &seconds.to_string()]);
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let Some(said) = child.stdout.take() else {
        fail("the clients have no pipe");
    };
    let mut said = BufReader::new(said);
    said.read_line(&mut String::new())?;
    Ok(Clients { child, said })
}

/// Clients as a process of their own.
struct Clients {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Clients {
    /// Waits for their end and returns the number after each word.
    fn finish(mut self) -> Result<impl Fn(&str) -> u64> {
        let mut said = String::new();
        self.said.read_to_string(&mut said)?;
        self.child.wait()?;
        Ok(move |word: &str| {
            let mut words = said.split_whitespace();
            words.by_ref().find(|&next| next == word);
            words
                .next()
                .and_then(|n| n.parse().ok())
                .unwrap_or(u64::MAX)
        })
    }
}

/// Says whether a limit is kept, and answers that.
fn verdict(name: &str, passes: bool, text: &str) -> bool {
    println!("{} {name}: {text}", if passes { "PASS" } else { "FAIL" });
    passes
}

/// All connections open and active at once.
fn crowd(dispatch: &str, connections: usize, seconds: f64) -> Result<bool> {
    let mut served = Served::start(dispatch, connections + 100)?;
    let before = served.stand()?;
    let clients = start_clients(&served.addr, connections, seconds)?;
    std::thread::sleep(Duration::from_secs_f64(seconds / 2.0));
    let during = served.stand()?;
    let seen = clients.finish()?;
    let each = during.rss_bytes.saturating_sub(before.rss_bytes) / connections as u64;
    println!(
        "  {dispatch}: {} open, workers {}, {:.0} requests/s, p50 {:.1} ms, p99 {:.1} ms, {each} resident bytes each",
        during.connections,
        during.loads,
        seen("replies") as f64 / seconds,
        seen("p50") as f64 / 1000.0,
        seen("p99") as f64 / 1000.0,
    );
    let passes = during.connections == connections && seen("lost") + seen("refused") == 0;
    let text = format!("{connections} connections open and active, none lost or refused");
    served.end()?;
    Ok(verdict("crowd", passes, &text))
}

/// How much the server's resident memory may differ after a storm: what the allocator keeps here and there.
const GROWTH_MAX: u64 = 512 << 10;

/// Clients that are killed, over and over.
fn storm(connections: usize, rounds: usize) -> Result<bool> {
    let mut served = Served::start("least", 10_000)?;
    let kill_a_crowd = |served: &mut Served| -> Result<Stand> {
        let mut clients = start_clients(&served.addr, connections, 3600.0)?;
        clients.child.kill()?;
        clients.child.wait()?;
        served.stand_at(0)
    };
    // Tables grow to their size in the first rounds.
    kill_a_crowd(&mut served)?;
    let before = kill_a_crowd(&mut served)?;
    let mut after = None;
    for _ in 0..rounds {
        after = Some(kill_a_crowd(&mut served)?);
    }
    let Some(after) = after else { return Ok(true) };
    println!(
        "  storm: {rounds} rounds of {connections}: connections {} to {}, machines {} to {}, descriptors {} to {}, \
         resident {} KiB to {} KiB",
        before.connections,
        after.connections,
        before.machines,
        after.machines,
        before.fds,
        after.fds,
        before.rss_bytes >> 10,
        after.rss_bytes >> 10,
    );
    let is_same = (after.connections, after.machines, after.fds)
        == (before.connections, before.machines, before.fds);
    let grew = after.rss_bytes.saturating_sub(before.rss_bytes);
    served.end()?;
    let text = format!(
        "as before, resident memory within {} KiB (grew {} KiB)",
        GROWTH_MAX >> 10,
        grew >> 10
    );
    Ok(verdict("storm", is_same && grew <= GROWTH_MAX, &text))
}

/// A drain while clients send as fast as they are answered.
fn drain(connections: usize) -> Result<bool> {
    let mut served = Served::start("least", 10_000)?;
    let clients = start_clients(&served.addr, connections, 60.0)?;
    std::thread::sleep(Duration::from_millis(1000));
    let report = served.order("drain")?;
    let seen = clients.finish()?;
    println!(
        "  drain: {report}; {} requests answered, {} lost",
        seen("replies"),
        seen("lost")
    );
    let passes = seen("lost") == 0 && seen("dismissed") == connections as u64;
    served.child.wait()?;
    Ok(verdict(
        "drain",
        passes,
        "no request that was in flight is lost",
    ))
}

fn main() -> Result<()> {
    let mut args = Args::from_env();
    match args.mode(&["serve", "clients", "measure"]).as_str() {
        "serve" => serve::serve(args),
        "clients" => clients::clients(args),
        _ => {
            let connections = args.option("--connections").unwrap_or(10_000);
            let seconds = args.option("--seconds").unwrap_or(10.0);
            let rounds = args.option("--rounds").unwrap_or(50);
            args.finish();
            let passed = [
                crowd("least", connections, seconds)?,
                crowd("reuse", connections, seconds)?,
                storm(1000, rounds)?,
                drain(500)?,
            ];
            if passed.contains(&false) {
                std::process::exit(1);
            }
            Ok(())
        }
    }
}

//! The client side of the comparisons: a closed loop of messages, or a crowd that stays silent.
//!
//! `load echo` keeps one message under way on each connection: a round writes to all of them,
//! then reads every answer back and compares it. Plain blocking sockets do, because a round needs
//! every answer anyway, and they keep the client's own cost out of the way of the server's.
//!
//! `load idle` opens connections, has each echo one message (so that it is accepted and its read
//! path was used once), and compares the server's memory before and after.
//!
//! Every wait is bounded by a socket timeout, so a server that hangs ends the measurement.

use rotor_bench::args::{Args, fail};
use rotor_bench::process::memory_of;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than any server needs for one answer, also under valgrind.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connections made before the first look at the server's memory, so that what it sets up once
/// (stack pages, the read buffer, the first blocks of its tables) is not charged to the crowd.
const WARM_UP: usize = 128;

/// How long the server may finish what it does after the last answer.
const SETTLE: Duration = Duration::from_millis(500);

fn main() {
    let mut args = Args::from_env();
    let done = match args.mode(&["echo", "idle"]).as_str() {
        "echo" => echo(args),
        _ => idle(args),
    };
    if let Err(error) = done {
        fail(&error.to_string());
    }
}

fn echo(mut args: Args) -> io::Result<()> {
    let addr = args.required("--addr");
    let connections: usize = args.option("--connections").unwrap_or(64).max(1);
    let messages: usize = args.option("--messages").unwrap_or(100_000);
    let bytes = args.option("--bytes").unwrap_or(64).clamp(1, 65_536);
    args.finish();

    let mut peers = connect(addr, connections)?;
    let (out, mut answer) = (pattern(bytes), vec![0; bytes]);
    let start = Instant::now();
    let mut done = 0;
    while done < messages {
        let round = connections.min(messages - done);
        for peer in &mut peers[..round] {
            peer.write_all(&out)?;
        }
        for peer in &mut peers[..round] {
            expect(peer, &out, &mut answer)?;
        }
        done += round;
    }
    let took = start.elapsed();
    println!(
        "{done} messages of {bytes} bytes over {connections} connections, {:.0} ns each",
        took.as_nanos() as f64 / done.max(1) as f64
    );
    Ok(())
}

fn idle(mut args: Args) -> io::Result<()> {
    let addr = args.required("--addr");
    let connections: usize = args.option("--connections").unwrap_or(9_000).max(1);
    let pid = args.required("--pid");
    args.finish();

    let warm = crowd(addr, WARM_UP)?;
    sleep(SETTLE);
    let before = memory_of(pid)?;
    let idle = crowd(addr, connections)?;
    sleep(SETTLE);
    let after = memory_of(pid)?;
    let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / connections as f64;
    println!(
        "{connections} idle connections, rss {} -> {}, {:.0} bytes each (pss {:.0})",
        before.rss_bytes,
        after.rss_bytes,
        each(before.rss_bytes, after.rss_bytes),
        each(before.pss_bytes, after.pss_bytes),
    );
    drop((warm, idle));
    Ok(())
}

/// Connections that each had one message echoed.
fn crowd(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    let mut peers = connect(addr, count)?;
    let (out, mut answer) = (pattern(64), [0; 64]);
    for peer in &mut peers {
        peer.write_all(&out)?;
        expect(peer, &out, &mut answer)?;
    }
    Ok(peers)
}

fn connect(addr: SocketAddr, count: usize) -> io::Result<Vec<TcpStream>> {
    (0..count)
        .map(|_| {
            let peer = TcpStream::connect_timeout(&addr, PATIENCE)?;
            peer.set_nodelay(true)?;
            peer.set_read_timeout(Some(PATIENCE))?;
            peer.set_write_timeout(Some(PATIENCE))?;
            Ok(peer)
        })
        .collect()
}

fn expect(peer: &mut TcpStream, out: &[u8], answer: &mut [u8]) -> io::Result<()> {
    peer.read_exact(answer)?;
    if answer == out {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "the answer is not what was sent",
    ))
}

fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

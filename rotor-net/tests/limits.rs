//! Rules L1, L2, L4 and L6 on real sockets.

mod common;

use common::{PATIENCE, eventually, start};
use rotor_net::prelude::*;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

/// What a server lets its test see.
#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    queued_max: AtomicUsize,
    writes: AtomicUsize,
}

/// Answers every line with so many bytes as it says.
struct Generous;

impl Protocol for Generous {
    type Context = Arc<Seen>;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Generous).line(20))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let bytes: usize = str::from_utf8(&line)?.parse()?;
        conn.out.write(&vec![b'x'; bytes])?;
        conn.ctx.requests.fetch_add(1, SeqCst);
        conn.ctx.queued_max.fetch_max(conn.out.queued(), SeqCst);
        Ok(Intent::of(self))
    }
}

#[test]
fn l1_a_reader_that_does_not_read_is_no_longer_read_and_then_gets_everything() {
    let seen = Arc::new(Seen::default());
    let context = seen.clone();
    let limits = Limits {
        output_bytes_max: 256 << 10,
        ..Limits::default()
    };
    let server = start::<Generous>(limits, move || context);
    let mut client = server.connect();
    // Requests until the server takes no more: then both directions of the connection are full.
    let mut sent = 0;
    client
        .socket()
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let mut requests = b"1000\n".repeat(1000);
    while let Ok(n) = client.0.get_mut().write(&requests) {
        sent += n;
        requests.rotate_left(n % 5);
        assert!(sent < 400 << 20, "the server reads on and on");
    }
    let answered = seen.requests.load(SeqCst);
    assert!(
        answered < sent / 5,
        "{answered} of {} requests were answered",
        sent / 5
    );
    let queued_max = seen.queued_max.load(SeqCst);
    assert!(
        queued_max <= (64 << 10) + 2000,
        "no more than the high watermark and one answer: {queued_max}"
    );
    // Whole requests only.
    client.socket().set_write_timeout(Some(PATIENCE)).unwrap();
    let (whole, begun) = (sent / 5, sent % 5);
    let mut writer = client.socket().try_clone().unwrap();
    let finisher = std::thread::spawn(move || {
        if begun > 0 {
            writer.write_all(&b"1000\n"[begun..]).unwrap();
        }
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let got = client.rest();
    finisher.join().unwrap();
    let whole = whole + (begun > 0) as usize;
    assert_eq!(
        (got.len(), seen.requests.load(SeqCst)),
        (whole * 1000, whole)
    );
}

/// Counts the system calls that write, as the kernel does for this thread.
fn writes_of_this_thread() -> Option<usize> {
    let io = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    io.lines()
        .find_map(|line| line.strip_prefix("syscw: ")?.parse().ok())
}

/// Answers every line, and on `?` notes how many writes there were.
struct Counting;

impl Protocol for Counting {
    type Context = Arc<Seen>;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Counting).line(20))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        if &*line == b"?" {
            conn.ctx
                .writes
                .store(writes_of_this_thread().unwrap_or(usize::MAX), SeqCst);
        }
        write!(conn.out, "{}-", line.len())?;
        conn.out.write(&line)?;
        conn.out.write(b"\n")?;
        Ok(Intent::of(self))
    }
}

#[test]
fn l2_all_output_of_a_dispatch_leaves_in_one_write() {
    if writes_of_this_thread().is_none() {
        eprintln!("not tested: this kernel does not count a thread's writes");
        return;
    }
    let seen = Arc::new(Seen::default());
    let context = seen.clone();
    let server = start::<Counting>(Limits::default(), move || context);
    let mut client = server.connect();
    let mut count = || {
        client.send("?\n");
        assert_eq!(client.line(), "1-?");
        seen.writes.load(SeqCst)
    };
    let before = count();
    assert_eq!(count() - before, 1, "one request, one write");
    let before = count();
    let mut pipelined = server.connect();
    // In one segment, so that it is one read.
    pipelined.send("abc\n".repeat(100));
    for _ in 0..100 {
        assert_eq!(pipelined.line(), "3-abc");
    }
    let writes = count() - before;
    assert!(
        (2..=3).contains(&writes),
        "100 answers in one write (and one to us), not {writes} of both"
    );
}

/// Answers the first line with a lot, and ends without reading more.
struct Farewell;

const FAREWELL: usize = 3 << 20;

impl Protocol for Farewell {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Farewell).line(20))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&vec![b'z'; FAREWELL])?;
        match &*line {
            b"end" => Ok(Intent::done()),
            b"abort" => Ok(Intent::abort()),
            other => Err(Error::msg(format!(
                "no such thing as {}",
                other.escape_ascii()
            ))),
        }
    }
}

fn farewell_limits() -> Limits {
    Limits {
        output_bytes_max: 4 << 20,
        ..Limits::default()
    }
}

#[test]
fn l4_unread_input_does_not_cost_the_peer_the_output() {
    let server = start::<Farewell>(farewell_limits(), || ());
    for round in 0..20 {
        let mut client = server.connect();
        client.send(if round % 2 == 0 { "end\n" } else { "fail\n" });
        // Never to be read: closing with it in the kernel would be a reset.
        client.send(vec![b'?'; 200_000]);
        assert_eq!(client.rest().len(), FAREWELL, "round {round}");
        drop(client);
        assert_eq!(
            server.end(),
            if round % 2 == 0 {
                "done"
            } else {
                "failed: no such thing as fail"
            }
        );
    }
}

#[test]
fn l4_abort_discards_output_and_resets() {
    let server = start::<Farewell>(farewell_limits(), || ());
    let mut client = server.connect();
    client.send("abort\n");
    assert_eq!(server.end(), "done");
    let mut bytes = Vec::new();
    let end = std::io::Read::read_to_end(&mut client.0, &mut bytes);
    assert!(
        end.is_err() || bytes.len() < FAREWELL,
        "{} bytes and a clean end",
        bytes.len()
    );
}

#[test]
fn l4_lingering_ends_by_its_deadline_and_by_its_byte_limit() {
    let linger = Duration::from_millis(50);
    let server = start::<Farewell>(
        Limits {
            linger,
            ..farewell_limits()
        },
        || (),
    );
    let mut idle = server.connect();
    idle.send("end\n");
    // It neither reads nor closes.
    assert_eq!(server.end(), "done");
    let server = start::<Farewell>(
        Limits {
            linger_bytes_max: 1000,
            ..farewell_limits()
        },
        || (),
    );
    let mut talker = server.connect();
    talker.send("end\n");
    talker.exactly(FAREWELL);
    talker.send(vec![b'?'; 1001]);
    assert_eq!(server.end(), "done");
}

/// Says hello and waits for the peer to close.
struct Greeter;

impl Protocol for Greeter {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(b"hello\n")?;
        Ok(Intent::of(Greeter))
    }

    fn received(self, _: Input, _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(self))
    }
}

#[test]
fn l6_accepting_pauses_at_the_limit_and_resumes() {
    let server = start::<Greeter>(
        Limits {
            connections: 3,
            ..Limits::default()
        },
        || (),
    );
    let mut inside: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut inside {
        assert_eq!(client.line(), "hello");
    }
    // These wait in the kernel's queue.
    let mut outside: Vec<_> = (0..20).map(|_| server.connect()).collect();
    assert!(
        outside[0].is_silent_for(Duration::from_millis(250)),
        "accepted beyond the limit"
    );
    for mut next in outside.drain(..) {
        drop(inside.remove(0));
        assert_eq!(next.line(), "hello");
        inside.push(next);
    }
    let mut one_more = server.connect();
    assert!(
        one_more.is_silent_for(Duration::from_millis(150)),
        "the limit still holds"
    );
    inside.clear();
    assert_eq!(one_more.line(), "hello");
    drop(one_more);
    eventually("24 connections ended", || {
        static ENDED: AtomicUsize = AtomicUsize::new(0);
        ENDED.fetch_add(server.ends.try_iter().count(), SeqCst) == 24 || ENDED.load(SeqCst) == 24
    });
}

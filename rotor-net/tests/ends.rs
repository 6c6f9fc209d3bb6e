//! L4 where it takes a real kernel: resets behind data, and a peer that only sends.

mod common;

use common::{PATIENCE, start};
use rotor_net::AcceptSeed;
use rotor_net::prelude::*;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// Answers lines, and reports what it was told.
struct Reporter;

#[derive(Debug, PartialEq, Eq)]
enum Told {
    Line(String),
    Eof,
    Failed(&'static str),
}

impl Protocol for Reporter {
    type Context = Sender<Told>;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Reporter).line(100))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        if &*line == b"sleep" {
            // Meanwhile the rest and the reset arrive.
            std::thread::sleep(Duration::from_millis(50));
        }
        conn.out.write(&line)?;
        conn.ctx
            .send(Told::Line(String::from_utf8(line.to_vec())?))?;
        Ok(Intent::of(self))
    }

    fn eof(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.send(Told::Eof)?;
        Ok(Intent::done())
    }

    fn failed(self, failure: Failure, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.send(Told::Failed(match failure {
            Failure::Read(_) => "read",
            Failure::Write(_) => "write",
            _ => "otherwise",
        }))?;
        Err(failure.into())
    }
}

#[test]
fn l4_what_came_before_a_reset_is_delivered_before_it() {
    let (tell, told) = channel();
    let server = start::<Reporter>(Limits::default(), move || tell);
    let mut client = server.connect();
    client.send("sleep\n");
    // In one segment: what still waits on this side is lost with a reset.
    client.send((0..100).map(|n| format!("{n}\n")).collect::<String>());
    client.reset();
    let next = || told.recv_timeout(PATIENCE).expect("something is told");
    assert_eq!(next(), Told::Line("sleep".to_owned()));
    for n in 0..100 {
        assert_eq!(next(), Told::Line(n.to_string()));
    }
    assert!(matches!(next(), Told::Failed(_)));
    assert!(server.end().starts_with("failed: "));
}

/// A Unix socket can be closed for reading alone: then our writes fail, and what the peer sends still counts.
#[test]
fn l4_after_a_failed_write_reading_goes_on_to_its_end() {
    let path = std::env::temp_dir().join(format!("rotor-net-l4-{}", std::process::id()));
    let (tell, told) = channel();
    let at = path.clone();
    let thread =
        LoopThread::<rotor_net::Service<Reporter>>::spawn(Config::default(), move |setup| {
            let streams = Streams::new(Limits::default());
            setup.add::<Accept<Reporter>>(AcceptSeed::new(
                at,
                &streams,
                &setup.spawner(),
                |_| (),
            ))?;
            Ok(tell)
        });
    let _thread = thread.unwrap();
    common::eventually("the server listens", || path.exists());
    let mut client = UnixStream::connect(&path).unwrap();
    client.shutdown(std::net::Shutdown::Read).unwrap();
    let next = || told.recv_timeout(PATIENCE).expect("something is told");
    for n in 0..20 {
        // Each is answered in vain before the next is sent.
        client.write_all(format!("{n}\n").as_bytes()).unwrap();
        assert_eq!(next(), Told::Line(n.to_string()));
    }
    drop(client);
    assert_eq!(
        next(),
        Told::Failed("write"),
        "not a plain end: output was lost"
    );
}

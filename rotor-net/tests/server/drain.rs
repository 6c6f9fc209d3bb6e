//! The end of a server: nobody new, those that are there finish, and what does not is cut at the deadline.

use crate::common::{Client, PATIENCE, eventually};
use crate::talk::*;
use rotor_net::server::{DrainReport, Notice};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn a_drain_lets_work_in_flight_finish_and_cuts_the_rest() {
    let server = start(builder());
    let addr = addr_of(&server);
    let mut clients: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
    for client in &mut clients {
        assert_eq!(client.ask("who").len(), 1);
    }
    assert_eq!(clients[0].ask("work 300"), "working");
    assert_eq!(clients[1].ask("work 300"), "working");
    assert_eq!(clients[2].ask("work 3600000"), "working");
    let drain = std::thread::spawn(move || server.drain(Duration::from_secs(2)).unwrap());
    // The idle one is told at once.
    assert_eq!(clients[3].line(), "bye");
    assert!(clients[3].rest().is_empty());
    assert!(TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_err());
    for client in &mut clients[..2] {
        assert_eq!(client.line(), "worked");
        assert!(client.rest().is_empty());
    }
    // Its peers hang up, so that nobody lingers.
    clients.truncate(3);
    clients.remove(1);
    clients.remove(0);
    let report = drain.join().unwrap();
    assert_eq!((report.ended, report.cut), (3, 1));
    assert!(clients[0].rest().is_empty());
}

#[test]
fn connections_that_wait_to_be_accepted_are_served_before_listeners_close() {
    let server = start(builder().connections(1));
    let addr = addr_of(&server);
    let mut first = Client::connect(addr);
    assert_eq!(first.ask("who").len(), 1);
    // There is no room for it, so it stays in the kernel's queue and is refused at the end; but nobody hangs.
    let mut second = Client::connect(addr);
    eventually("it pauses", || {
        second.send("");
        server.stats().pauses > 0
    });
    let report = server.drain(Duration::from_secs(5)).unwrap();
    assert_eq!((report.ended, report.cut), (1, 0));

    let server = start(builder());
    let mut clients: Vec<_> = (0..50).map(|_| Client::connect(addr_of(&server))).collect();
    // Whatever was accepted by now or not: all are told.
    let report = server.drain(Duration::from_secs(5)).unwrap();
    for client in &mut clients {
        assert_eq!(client.rest(), b"bye\n");
    }
    assert_eq!((report.ended, report.cut), (50, 0));
}

#[test]
fn a_second_order_shortens_the_drain() {
    let notices = Notices::default();
    let server = start(builder().on_notice(notices.hear()));
    let mut client = Client::connect(addr_of(&server));
    assert_eq!(client.ask("work 3600000"), "working");
    let stopper = server.stopper();
    stopper.drain(Duration::from_secs(3600));
    eventually("it drains", || !notices.all().is_empty());
    assert!(client.is_silent_for(Duration::from_millis(100)));
    stopper.drain(Duration::ZERO);
    let report = server.join().unwrap();
    assert_eq!((report.ended, report.cut), (0, 1));
    assert!(matches!(
        notices.all()[..],
        [Notice::Draining { connections: 1, .. }]
    ));
    // Too late, and harmless.
    stopper.drain(Duration::ZERO);
    assert_eq!(report, DrainReport { cut: 1, ..report });
}

/// Set in the child process that is signalled.
const CHILD: &str = "ROTOR_TEST_SIGNALS";

#[test]
fn sigterm_drains_and_the_second_one_stops_at_once() {
    if std::env::var_os(CHILD).is_some() {
        let server = start(builder().drain_on_signals(Duration::from_secs(3600)));
        println!("listening {}", addr_of(&server).port());
        println!("report {}", server.join().unwrap());
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["sigterm_drains", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    let port: u16 = line_after(&mut said, "listening ").parse().unwrap();
    let addr = ([127, 0, 0, 1], port).into();
    let mut idle = Client::connect(addr);
    let mut busy = Client::connect(addr);
    assert_eq!(idle.ask("who").len(), 1);
    assert_eq!(busy.ask("who").len(), 1);
    assert_eq!(busy.ask("work 3600000"), "working");
    signal(&child);
    assert_eq!(idle.line(), "bye");
    assert!(idle.rest().is_empty());
    drop(idle);
    assert!(busy.is_silent_for(Duration::from_millis(100)));
    signal(&child);
    assert!(busy.rest().is_empty());
    let report = line_after(&mut said, "report ");
    assert!(
        report.starts_with("1 connections ended by themselves, 1 were cut"),
        "{report}"
    );
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
}

/// The rest of the first line that has this in it.
pub fn line_after(said: &mut impl std::io::BufRead, mark: &str) -> String {
    let mut line = String::new();
    while said.read_line(&mut line).unwrap() > 0 {
        if let Some((_, rest)) = line.split_once(mark) {
            return rest.trim_end().to_owned();
        }
        line.clear();
    }
    panic!("the child never said {mark:?}");
}

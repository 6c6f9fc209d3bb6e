//! The connection limit and the limit on descriptors: accepting pauses and goes on, and nothing spins.

use crate::common::{Client, PATIENCE, eventually};
use crate::talk::*;
use rotor_net::server::Dispatch;
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn at_the_limit_connections_wait_until_others_end() {
    for dispatch in [Dispatch::LeastLoaded, Dispatch::ReusePort] {
        let server = start(builder().connections(4).dispatch(dispatch));
        let addr = addr_of(&server);
        let mut first: Vec<_> = (0..4).map(|_| Client::connect(addr)).collect();
        for client in &mut first {
            assert_eq!(client.ask("who").len(), 1);
        }
        let mut waiting: Vec<_> = (0..3).map(|_| Client::connect(addr)).collect();
        for client in &mut waiting {
            client.send("who\n");
        }
        eventually("it pauses", || server.stats().pauses > 0);
        assert!(waiting[0].is_silent_for(Duration::from_millis(150)));
        assert_eq!(server.stats().connections, 4);
        for _ in 0..3 {
            first.pop();
        }
        for client in &mut waiting {
            assert_eq!(client.line().len(), 1, "{dispatch:?}");
        }
        assert_eq!(server.stats().connections, 4);
        assert_eq!(server.stats().shed, 0);
    }
}

/// Many more than fit come and go; the limit is never exceeded, and everyone is served.
#[test]
fn a_crowd_passes_through_a_narrow_door() {
    let server = start(builder().connections(3));
    let addr = addr_of(&server);
    let crowd: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(move || {
                for _ in 0..20 {
                    assert_eq!(Client::connect(addr).ask("who").len(), 1);
                }
            })
        })
        .collect();
    while crowd.iter().any(|one| !one.is_finished()) {
        assert!(server.stats().connections <= 3);
        std::thread::sleep(Duration::from_millis(1));
    }
    for one in crowd {
        one.join().unwrap();
    }
    eventually("all have left", || server.stats().connections == 0);
    assert_eq!(server.stats().accepted, 160);
}

/// Set in the child process that runs out of descriptors.
const CHILD: &str = "ROTOR_TEST_OUT_OF_FDS";

#[test]
fn out_of_descriptors_the_spare_one_sheds_and_nothing_spins() {
    if std::env::var_os(CHILD).is_some() {
        return run_out();
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["out_of_descriptors", "--nocapture", "--test-threads=1"])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stderr).into_owned();
    assert!(child.status.success(), "{said}");
}

/// In a process of its own: takes all descriptors, and sees connections closed rather than left waiting.
fn run_out() {
    let server = start(builder().workers(1).connections(1000));
    let addr = addr_of(&server);
    let mut one = Client::connect(addr);
    assert_eq!(one.ask("who"), "0");
    // The clients' own sockets exist before all is taken; they connect after.
    let limit = server.stats().fd_limit.now;
    lower_fd_limit(server_fds() + 16);
    let sockets: Vec<_> = (0..4).map(|_| unconnected()).collect();
    let mut all = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        all.push(file);
    }
    assert!(limit > 64);
    let cpu = cpu_time();
    let start = Instant::now();
    for socket in &sockets {
        connect(socket, addr);
    }
    eventually("they are shed", || server.stats().shed >= 4);
    for socket in sockets {
        let mut client = client_of(socket);
        assert!(client.rest().is_empty(), "closed at once");
    }
    while start.elapsed() < Duration::from_millis(600) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let burnt = cpu_time() - cpu;
    assert!(burnt < Duration::from_millis(300), "it spins: {burnt:?}");
    // Those that are there are served meanwhile, and new ones once there are descriptors again.
    assert_eq!(one.ask("who"), "0");
    drop(all);
    let start = Instant::now();
    while Client::connect(addr).try_ask("who").is_none() {
        assert!(start.elapsed() < PATIENCE);
    }
}

/// Descriptors that are open, if they are numbered without gaps.
fn server_fds() -> u64 {
    use std::os::fd::AsRawFd;
    std::fs::File::open("/dev/null").unwrap().as_raw_fd() as u64
}

fn lower_fd_limit(to: u64) {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = Some(to);
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
}

fn unconnected() -> std::os::fd::OwnedFd {
    use rustix::net::{AddressFamily, SocketType};
    rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap()
}

fn connect(socket: &std::os::fd::OwnedFd, addr: SocketAddr) {
    rustix::net::connect(socket, &addr).unwrap();
}

fn client_of(socket: std::os::fd::OwnedFd) -> Client {
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    Client(std::io::BufReader::new(socket))
}

/// What this process has used so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Client {
    /// Asks, unless the connection is closed.
    fn try_ask(&mut self, line: &str) -> Option<String> {
        use std::io::{BufRead, Write};
        self.0
            .get_mut()
            .write_all(format!("{line}\n").as_bytes())
            .ok()?;
        let mut answer = String::new();
        match self.0.read_line(&mut answer) {
            Ok(n) if n > 0 => Some(answer),
            _ => None,
        }
    }
}

//! Every system of the `rpc` benchmark serves its own client, and every reply is the right one: the clients look.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_rpc");

/// A server, ended with this value.
struct Served(Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// More calls in flight than fit into one read, so that frames are cut in two; and several connections.
fn serves_its_client(name: &str) {
    let mut server = Command::new(PROGRAM);
    let server = server.args(["serve", "--as", name]).stdout(Stdio::piped());
    let mut served = Served(server.spawn().unwrap());
    let mut line = String::new();
    let mut said = BufReader::new(served.0.stdout.take().unwrap());
    said.read_line(&mut line).unwrap();
    let addr = line.trim_end().strip_prefix("listening on ").unwrap();
    for (connections, in_flight) in ["1 1", "1 2000", "20 3"].map(|s| s.split_once(' ').unwrap()) {
        let ended = Command::new(PROGRAM)
            .args(["load", "--as", name, "--addr", addr, "--calls", "5000"])
            .args(["--connections", connections, "--in-flight", in_flight])
            .status()
            .unwrap();
        assert!(ended.success(), "{connections} x {in_flight}");
    }
}

#[test]
fn epoll_serves_its_client() {
    serves_its_client("epoll");
}

#[test]
fn by_hand_serves_its_client() {
    serves_its_client("by-hand");
}

#[test]
fn rotor_serves_its_client() {
    serves_its_client("rotor");
}

#[test]
fn tarpc_serves_its_client() {
    serves_its_client("tarpc");
    serves_its_client("tarpc-inline");
}

#[test]
fn tonic_serves_its_client() {
    serves_its_client("tonic");
    serves_its_client("tonic-bare");
}

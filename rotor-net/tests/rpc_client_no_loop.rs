//! A client whose own loop cannot be made. A process of its own: it has no descriptors left.
#![cfg(feature = "rpc")]

use rotor_net::rpc::{CallError, Channel};
use rustix::process::{Resource, getrlimit, setrlimit};

#[test]
fn why_a_clients_thread_has_no_loop_is_told() {
    let before = getrlimit(Resource::Nofile);
    let mut none = before;
    none.current = Some(0);
    setrlimit(Resource::Nofile, none).unwrap();
    let connected = Channel::connect("127.0.0.1:1");
    setrlimit(Resource::Nofile, before).unwrap();
    let Err(CallError::Disconnected { was_sent, why }) = connected else {
        panic!("{connected:?}");
    };
    assert!(!was_sent && why.contains("too many open files"), "{why}");
}

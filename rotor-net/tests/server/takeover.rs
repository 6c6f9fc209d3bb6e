//! Sockets from elsewhere: inherited at the start, or taken over from a predecessor.

use crate::common::{Client, eventually};
use crate::drain::line_after;
use crate::talk::*;
use rotor_net::server::{Dispatch, Notice};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("rotor-{name}-{}", std::process::id()))
}

/// A client that connects over and over while one server follows another is never refused, and always served.
#[test]
fn a_successor_takes_over_and_nobody_is_refused() {
    for dispatch in [Dispatch::LeastLoaded, Dispatch::ReusePort] {
        let control = path(&format!("control-{dispatch:?}"));
        let probe = start(builder());
        let at = addr_of(&probe).to_string();
        drop(probe);
        let unix = path(&format!("takeover-{dispatch:?}.sock"));
        let server = || {
            builder()
                .listen(&at)
                .listen(&format!("unix:{}", unix.display()))
                .dispatch(dispatch)
                .takeover(control.clone())
                .on_notice(|_| ())
        };
        let mut old = start(server());
        let stop = Arc::new(AtomicBool::new(false));
        let looper = {
            let (stop, at) = (stop.clone(), at.parse().unwrap());
            std::thread::spawn(move || {
                let mut served = 0;
                while !stop.load(Ordering::SeqCst) {
                    let answer = Client::connect(at).ask("who");
                    // One that is accepted at the very end of a drain is told to go.
                    assert!(matches!(&answer[..], "0" | "1" | "bye"), "{answer:?}");
                    served += 1;
                }
                served
            })
        };
        for _ in 0..3 {
            let mut busy = Client::connect(at.parse().unwrap());
            assert_eq!(busy.ask("work 200"), "working");
            let new = start(server());
            // The old one ends by itself, when its work is done.
            assert_eq!(busy.line(), "worked");
            drop(busy);
            let report = old.join().unwrap();
            assert_eq!(report.cut, 0);
            assert!(
                control.exists() && unix.exists(),
                "they are the successor's"
            );
            old = new;
        }
        stop.store(true, Ordering::SeqCst);
        assert!(looper.join().unwrap() > 10);
        assert!(UnixStream::connect(&unix).is_ok());
        drop(old);
        assert!(
            !control.exists() && !unix.exists(),
            "the last one cleans up"
        );
    }
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let control = path("control-failing");
    let notices = Notices::default();
    let server = start(
        builder()
            .takeover(control.clone())
            .on_notice(notices.hear()),
    );
    let failing = builder().takeover(control.clone()).start(
        |_| Err(rotor_fsm::Error::msg("not ready")),
        |c, _| c.stream(()),
    );
    assert!(failing.unwrap_err().to_string().contains("not ready"));
    eventually("it is noticed", || {
        matches!(notices.all()[..], [Notice::TakeoverFailed { .. }])
    });
    // Nonsense on the control socket is no takeover either.
    let mut nonsense = UnixStream::connect(&control).unwrap();
    nonsense.write_all(b"hello?").unwrap();
    drop(nonsense);
    eventually("it is noticed", || notices.all().len() == 2);
    assert_eq!(Client::connect(addr_of(&server)).ask("who").len(), 1);
    assert_eq!(start(builder().takeover(control)).stats().connections, 0);
    assert_eq!(server.join().unwrap().cut, 0);
}

/// Set in the child process that inherits a socket.
const CHILD: &str = "ROTOR_TEST_INHERITED";

#[test]
fn a_socket_that_the_process_was_started_with_is_listened_on() {
    if std::env::var_os(CHILD).is_some() {
        let server = rotor_net::server::Server::<rotor_net::Stream<Talk>>::builder()
            .listen_inherited()
            .workers(1)
            .drain_on_signals(Duration::from_secs(1))
            .start(context, |connection, _| connection.stream(()))
            .unwrap();
        println!("listening {}", server.addresses()[0]);
        println!("report {}", server.join().unwrap());
        return;
    }
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let fd = socket.as_raw_fd();
    // The shell finds the socket under its own number, and passes it on as descriptor 3.
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
    let exe = std::env::current_exe().unwrap();
    let script = format!(
        "exec 3<&{fd}; LISTEN_FDS=1 LISTEN_PID=$$ exec '{}' a_socket_that --nocapture --test-threads=1",
        exe.display()
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(socket);
    let mut said = std::io::BufReader::new(child.stdout.take().unwrap());
    assert_eq!(line_after(&mut said, "listening "), addr.to_string());
    assert_eq!(Client::connect(addr).ask("who"), "0");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    line_after(&mut said, "report ");
    assert!(child.wait().unwrap().success());
    assert!(TcpStream::connect(addr).is_err());
}

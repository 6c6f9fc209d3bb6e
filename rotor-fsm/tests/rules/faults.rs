//! What the system refuses: addresses, paths, descriptors. Each is a clear error or a defined behaviour.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{IoError, IoErrorKind, Op};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What `listen` answers.
fn listen(at: Addr) -> std::result::Result<(), IoError> {
    let mut main_loop = noting(Config::default());
    let (tell, told) = std::sync::mpsc::channel();
    main_loop
        .spawn::<Noting>(act(move |_, scope: &mut NotingScope<'_>| {
            tell.send(scope.listen(at.clone()).map(drop))?;
            done()
        }))
        .unwrap();
    main_loop.run().unwrap();
    assert_eq!(main_loop.stats().panics, 0);
    told.recv().unwrap()
}

fn path(name: &str) -> std::path::PathBuf {
    std::env::temp_dir().join(format!("rotor-{name}-{}", std::process::id()))
}

#[test]
fn a_taken_port_is_a_failure_to_bind() {
    let _dog = watchdog();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = listen(Addr::Tcp(taken.local_addr().unwrap())).unwrap_err();
    assert_eq!(
        (error.kind(), error.op()),
        (IoErrorKind::AddrInUse, Op::Bind)
    );
    assert!(error.to_string().contains("EADDRINUSE"), "{error}");
}

#[test]
fn an_address_of_another_machine_is_a_failure_to_bind() {
    let _dog = watchdog();
    // A documentation address (RFC 5737): nobody has it.
    let error = listen(Addr::Tcp(([192, 0, 2, 1], 0).into())).unwrap_err();
    assert_eq!(error.op(), Op::Bind);
    assert!(error.to_string().contains("EADDRNOTAVAIL"), "{error}");
}

#[test]
fn a_path_in_a_missing_directory_is_a_failure_to_bind() {
    let _dog = watchdog();
    let error = listen(Addr::Unix("/nowhere/at/all/socket".into())).unwrap_err();
    assert_eq!(error.op(), Op::Bind);
    assert!(error.code().is_some(), "{error}");
    let long = "/tmp/".to_owned() + &"x".repeat(200);
    assert!(listen(Addr::Unix(long.into())).is_err());
}

/// What root may write to does not refuse it, so this asks for what nobody is permitted.
#[test]
fn a_missing_permission_is_named() {
    let _dog = watchdog();
    let error = listen(Addr::Unix("/proc/socket".into())).unwrap_err();
    assert_eq!(error.op(), Op::Bind);
    // SAFETY: takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 && port_1_is_privileged() {
        let error = listen(Addr::Tcp(([127, 0, 0, 1], 1).into())).unwrap_err();
        assert_eq!(
            (error.kind(), error.op()),
            (IoErrorKind::Permission, Op::Bind)
        );
    }
}

fn port_1_is_privileged() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .is_ok_and(|text| text.trim().parse().is_ok_and(|start: u16| start > 1))
}

/// A live Unix socket is taken; one that nobody listens on any more is replaced; ours is unlinked in the end.
#[test]
fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    let _dog = watchdog();
    let path = path("stale");
    let live = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let error = listen(Addr::Unix(path.clone())).unwrap_err();
    assert_eq!(error.kind(), IoErrorKind::AddrInUse);
    drop(live);
    assert!(path.exists());
    listen(Addr::Unix(path.clone())).unwrap();
    assert!(!path.exists());
}

/// Runs one test of this program again as a process of its own, in the role that `role` says.
fn play(test: &str, role: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env("ROTOR_TEST_ROLE", role)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

fn role() -> Option<String> {
    std::env::var("ROTOR_TEST_ROLE").ok()
}

/// Reads lines until one begins with `word`; answers the rest of that line.
fn line_after(output: &mut impl BufRead, word: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "no {word}");
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
    }
}

/// Processor time that this process has used.
fn process_cpu() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a live value, which the call fills in.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// An echo server with 64 descriptors: `c` is answered with the processor time used so far, in 8 bytes of microseconds.
fn serve_with_few_descriptors(sockets_max: Option<usize>) {
    let limit = libc::rlimit {
        rlim_cur: 64,
        rlim_max: 64,
    };
    // SAFETY: the pointer is to a live value, which the call only reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let mut config = Config::default();
    config.sockets_max = sockets_max.unwrap_or(config.sockets_max);
    let mut main_loop = noting(config);
    let mut held = Vec::new();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                let opened = scope.listen(any_port())?;
                println!("listening on {}", scope.listening_at(&opened)?);
                held.push(opened);
                stay()
            }
            On::Io(Io::Incoming(incoming), _) => {
                let (mut incoming, mut socket) = (Some(incoming), None);
                scope.spawn(act(move |on, scope: &mut NotingScope<'_>| match on {
                    On::Create => {
                        socket = Some(scope.open(incoming.take().unwrap())?);
                        stay()
                    }
                    On::Io(Io::Read(bytes), _) => {
                        let socket = socket.as_ref().unwrap();
                        if bytes[0] == b'c' {
                            let cpu = process_cpu().as_micros() as u64;
                            scope.write(socket, &cpu.to_be_bytes())?;
                        } else {
                            scope.write(socket, &bytes)?;
                        }
                        stay()
                    }
                    _ => done(),
                }))?;
                stay()
            }
            On::Io(Io::Failed(error), _) => Err(error.into()),
            _ => done(),
        }))
        .unwrap();
    main_loop.shutdown_on_signals().unwrap();
    main_loop.run().unwrap();
    let stats = main_loop.stats();
    println!("paused {} panics {}", stats.accepts_paused, stats.panics);
}

fn two_hundred_clients(test: &str, role: &str) {
    let mut server = play(test, role);
    let mut output = BufReader::new(server.stdout.take().unwrap());
    let to: SocketAddr = line_after(&mut output, "listening on ").parse().unwrap();
    let mut clients: Vec<TcpStream> = (0..200).map(|_| client(to)).collect();
    // Some are served at once.
    for stream in &mut clients[..10] {
        assert_eq!(round_trip(stream, b"hello"), b"hello");
    }
    // The others wait, without their waiting costing anything.
    let cpu = |stream: &mut TcpStream| {
        stream.write_all(b"c").unwrap();
        let mut micros = [0; 8];
        stream.read_exact(&mut micros).unwrap();
        Duration::from_micros(u64::from_be_bytes(micros))
    };
    std::thread::sleep(ms(50));
    let before = cpu(&mut clients[0]);
    std::thread::sleep(ms(1000));
    let spent = cpu(&mut clients[0]) - before;
    assert!(spent < ms(250), "the loop spins: {spent:?} in a second");
    // As the served ones leave, all the others are.
    for mut stream in clients {
        assert_eq!(round_trip(&mut stream, b"and me"), b"and me");
    }
    // SAFETY: the child has not been waited for, so the id is its own.
    assert_eq!(unsafe { libc::kill(server.id() as i32, libc::SIGTERM) }, 0);
    let report = line_after(&mut output, "paused ");
    assert!(
        report.ends_with("panics 0") && !report.starts_with("0 "),
        "{report}"
    );
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
    assert!(server.wait().unwrap().success());
}

/// With the default limit, which leaves headroom below the process's own.
#[test]
fn r11_two_hundred_clients_and_64_descriptors() {
    let _dog = watchdog();
    if role().is_some() {
        return serve_with_few_descriptors(None);
    }
    two_hundred_clients("faults::r11_two_hundred_clients_and_64_descriptors", "few");
}

/// With a limit that is higher than the system's, so that accepting itself fails.
#[test]
fn u15_the_loop_survives_the_end_of_descriptors() {
    let _dog = watchdog();
    if role().is_some() {
        return serve_with_few_descriptors(Some(1000));
    }
    two_hundred_clients(
        "faults::u15_the_loop_survives_the_end_of_descriptors",
        "none",
    );
}

/// Connecting without descriptors is no event of the environment yet: there is no handle. The call says so by name.
#[test]
fn u15_connecting_without_descriptors_is_an_error_by_name() {
    let _dog = watchdog();
    const NAME: &str = "faults::u15_connecting_without_descriptors_is_an_error_by_name";
    if role().is_none() {
        let mut child = play(NAME, "alone");
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let kinds = line_after(&mut output, "kinds ");
        assert!(kinds.contains("FdLimit"), "{kinds}");
        let mut rest = String::new();
        output.read_to_string(&mut rest).unwrap();
        assert!(child.wait().unwrap().success());
        return;
    }
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let to = Addr::Tcp(server.local_addr().unwrap());
    let mut main_loop = noting(Config {
        sockets_max: 1000,
        ..Config::default()
    });
    let limit = libc::rlimit {
        rlim_cur: 40,
        rlim_max: 40,
    };
    // SAFETY: the pointer is to a live value, which the call only reads.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let mut sockets = Vec::new();
    main_loop
        .spawn::<Noting>(act(move |on, scope: &mut NotingScope<'_>| match on {
            On::Create => {
                for _ in 0..60 {
                    match scope.connect(to.clone()) {
                        Ok(socket) => sockets.push(socket),
                        Err(error) => scope.ctx.push(format!("{:?}", error.kind())),
                    }
                }
                after(ms(50))
            }
            On::Io(Io::Failed(error), _) => {
                scope.ctx.push(format!("{:?}", error.kind()));
                stay()
            }
            On::Timeout => done(),
            _ => stay(),
        }))
        .unwrap();
    main_loop.run().unwrap();
    println!("kinds {:?}", notes(&mut main_loop));
    assert_eq!(main_loop.stats().panics, 0);
}

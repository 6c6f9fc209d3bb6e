//! `files_plain` and `restart`, run as their users run them.

mod common;

use common::{Lines, PATIENCE, Running, Server};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A directory with files of every kind, removed at the end.
struct Files(PathBuf);

/// More than a chunk, and more than kernel buffers and watermarks hold.
const LARGE: usize = 6 << 20;

fn large() -> Vec<u8> {
    (0..LARGE).map(|n| (n % 251) as u8).collect()
}

impl Files {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("rotor-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("sub")).unwrap();
        fs::write(dir.join("empty"), b"").unwrap();
        fs::write(dir.join("with space"), b"hello\n").unwrap();
        fs::write(dir.join("large"), large()).unwrap();
        fs::write(dir.join("sub/inner"), b"not served").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.join("link")).unwrap();
        Self(dir)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn files_plain(dir: &Path, style: &[&str]) -> Server {
    let mut command = Command::new(env!("CARGO_BIN_EXE_files_plain"));
    Server::start(command.arg(dir).args(style).args(["--workers", "2"]))
}

/// Sends all of it, and returns all that comes back.
fn talk(server: &Server, sent: &[u8]) -> Vec<u8> {
    let mut stream = server.connect();
    stream.write_all(sent).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

/// What a client may say, and what it gets for it.
fn dialogues() -> Vec<(Vec<u8>, Vec<u8>)> {
    let large = [format!("OK {LARGE}\n").as_bytes(), &large()].concat();
    let list = format!("OK 3\n0 empty\n{LARGE} large\n6 with space\n");
    let unknown = b"ERR expected LIST, SIZE NAME, GET NAME or QUIT\n".to_vec();
    let not_there = b"ERR No such file or directory (os error 2)\n".to_vec();
    let no_name = b"ERR not the name of a file\n".to_vec();
    let loops = b"ERR Too many levels of symbolic links (os error 40)\n".to_vec();
    let no_file = b"ERR not a regular file\n".to_vec();
    let mut all: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b"LIST\n".to_vec(), list.clone().into()),
        (b"LIST\r\n".to_vec(), list.clone().into()),
        (b"SIZE large\n".to_vec(), format!("OK {LARGE}\n").into()),
        (b"GET empty\n".to_vec(), b"OK 0\n".to_vec()),
        (b"GET with space\n".to_vec(), b"OK 6\nhello\n".to_vec()),
        (b"GET large\n".to_vec(), large.clone()),
        (b"GET nothing\n".to_vec(), not_there.clone()),
        (b"GET \xff\xfe\n".to_vec(), not_there.clone()),
        (b"GET ../sub/inner\n".to_vec(), no_name.clone()),
        (b"GET sub/inner\n".to_vec(), no_name.clone()),
        (b"GET ..\n".to_vec(), no_name.clone()),
        (b"GET \n".to_vec(), no_name.clone()),
        (b"GET /etc/passwd\n".to_vec(), no_name),
        (b"GET link\n".to_vec(), loops),
        (b"SIZE sub\n".to_vec(), no_file),
        (b"hello\n\n".to_vec(), [&unknown[..], &unknown].concat()),
        (b"QUIT\nLIST\n".to_vec(), b"OK bye\n".to_vec()),
        (b"".to_vec(), b"".to_vec()),
        (b"LIST".to_vec(), b"".to_vec()),
        (
            vec![b'x'; 5000],
            b"ERR the line is longer than 4096 bytes\n".to_vec(),
        ),
    ];
    // Many at once, answered in order.
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for (line, answer) in &all[..8] {
        sent.extend_from_slice(line);
        expected.extend_from_slice(answer);
    }
    all.push((sent, expected));
    all
}

#[test]
fn both_styles_of_files_plain_answer_alike() {
    let files = Files::new("files-plain");
    for style in [&[][..], &["--fiber"]] {
        let server = files_plain(&files.0, style);
        for (sent, expected) in dialogues() {
            let answer = talk(&server, &sent);
            assert!(
                answer == expected,
                "{style:?}, {:?}: {} bytes, not {}: {:?}",
                String::from_utf8_lossy(&sent[..sent.len().min(60)]),
                answer.len(),
                expected.len(),
                String::from_utf8_lossy(&answer[..answer.len().min(200)]),
            );
        }
        server.end(libc::SIGTERM);
    }
}

#[test]
fn files_plain_finishes_a_download_when_it_is_told_to_end() {
    let files = Files::new("files-plain-drain");
    for style in [&[][..], &["--fiber"]] {
        let mut server = files_plain(&files.0, style);
        let mut stream = server.connect();
        stream.write_all(b"GET large\n").unwrap();
        let mut first = [0; 10];
        stream.read_exact(&mut first).unwrap();
        let mut idle = server.connect();
        idle.write_all(b"SIZE empty\n").unwrap();
        let mut line = [0; 5];
        idle.read_exact(&mut line).unwrap();
        server.process.signal(libc::SIGTERM);
        // Who has nothing in flight is let go, while the download goes on.
        assert_eq!(idle.read(&mut line).unwrap(), 0);
        drop(idle);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        let expected = format!("OK {LARGE}\n").len() + LARGE;
        assert_eq!(first.len() + rest.len(), expected, "{style:?}");
        drop(stream);
        assert!(server.process.wait().success());
    }
}

#[test]
fn files_plain_holds_little_for_clients_that_do_not_read() {
    let files = Files::new("files-plain-slow");
    for style in [&[][..], &["--fiber"]] {
        let server = files_plain(&files.0, style);
        let before = resident_kib(&server);
        let slow: Vec<_> = (0..20)
            .map(|_| {
                let mut stream = server.connect();
                stream
                    .write_all(b"GET large\nGET large\nGET large\n")
                    .unwrap();
                stream
            })
            .collect();
        std::thread::sleep(Duration::from_millis(500));
        // Another one is served meanwhile.
        assert_eq!(talk(&server, b"SIZE empty\n"), b"OK 0\n");
        let grown = resident_kib(&server).saturating_sub(before);
        assert!(grown < 20 * 600, "{style:?}: {grown} KiB for 20 clients");
        drop(slow);
        server.end(libc::SIGTERM);
    }
}

fn resident_kib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.process.id()));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

struct Restart {
    process: Running,
    lines: Lines,
    addr: SocketAddr,
}

fn restart(listen: &str, control: &Path) -> Restart {
    let mut command = Command::new(env!("CARGO_BIN_EXE_restart"));
    command.args(["--listen", listen, "--control"]).arg(control);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut process = Running::start(&mut command);
    let lines = Lines::of(process.stdout());
    let first = lines.next().expect("it says where it listens");
    let addr = first.strip_prefix("listening on ").expect(&first);
    Restart {
        addr: addr.parse().unwrap(),
        process,
        lines,
    }
}

/// Which process answers.
fn greeting(addr: SocketAddr) -> String {
    let stream = TcpStream::connect(addr).expect("nobody is refused");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn restart_hands_over_without_refusing_anyone() {
    let control = std::env::temp_dir().join(format!("rotor-restart-{}", std::process::id()));
    let mut old = restart("127.0.0.1:0", &control);
    let at = old.addr.to_string();
    for _ in 0..3 {
        let greet = |process: &Running| format!("process {}", process.id());
        assert_eq!(greeting(old.addr), greet(&old.process));
        let (tell, started) = std::sync::mpsc::channel();
        let (listen, path) = (at.clone(), control.clone());
        std::thread::spawn(move || drop(tell.send(restart(&listen, &path))));
        // A client that connects in a loop meanwhile.
        let (start, mut served) = (Instant::now(), 0);
        let new = loop {
            assert!(
                greeting(old.addr).starts_with("process "),
                "everyone is served"
            );
            served += 1;
            if let Ok(new) = started.try_recv() {
                break new;
            }
            assert!(start.elapsed() < PATIENCE);
        };
        assert!(served > 0);
        assert_eq!(new.addr, old.addr);
        assert!(old.process.wait().success(), "the old one ends by itself");
        let said: Vec<_> = std::iter::from_fn(|| old.lines.next()).collect();
        assert!(said[0].contains("taken over"), "{said:?}");
        assert!(said.last().unwrap().contains("0 were cut"), "{said:?}");
        assert_eq!(greeting(new.addr), greet(&new.process));
        old = new;
    }
    old.process.signal(libc::SIGTERM);
    assert!(old.process.wait().success());
    assert!(!control.exists(), "the last one cleans up");
}

//! Starts samples as child processes and talks to them; every wait is bounded.

#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A child that is killed if the test gives up on it.
pub struct Running(Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().expect("the sample is built"))
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().expect("standard input is a pipe")
    }

    pub fn stdout(&mut self) -> ChildStdout {
        self.0.stdout.take().expect("standard output is a pipe")
    }

    pub fn signal(&self, signum: libc::c_int) {
        // SAFETY: the child has not been waited for, so its pid is its own.
        let code = unsafe { libc::kill(self.0.id() as libc::pid_t, signum) };
        assert_eq!(code, 0, "the child takes a signal");
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the child does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }
}

/// A server sample, and where it listens.
pub struct Server {
    pub process: Running,
    pub addr: SocketAddr,
    _stdout: Lines,
}

impl Server {
    /// Starts it on a free port; its first line of output says which.
    pub fn start(command: &mut Command) -> Self {
        command.args(["--listen", "127.0.0.1:0"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Running::start(command);
        let stdout = Lines::of(process.stdout());
        let first = stdout.next().expect("a server says where it listens");
        let addr = first
            .strip_prefix("listening on ")
            .expect("the first line begins so");
        Self {
            process,
            addr: addr.parse().expect("an address follows"),
            _stdout: stdout,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect_timeout(&self.addr, PATIENCE).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends a signal and expects a clean end.
    pub fn end(mut self, signum: libc::c_int) {
        self.process.signal(signum);
        let status = self.process.wait();
        assert!(status.success(), "ended by signal {signum}: {status}");
    }
}

/// Where a server of typed calls ends the session of whoever comes first, by these words.
pub fn goodbye(words: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let addr = listener.local_addr().expect("it is bound");
    thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("somebody comes");
        // The preamble, and a frame of kind 3 with a code and about no call.
        let mut bytes = b"\xf7rotor\x01\x01".to_vec();
        bytes.extend((words.len() as u32).to_le_bytes());
        bytes.extend([3, 0, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(words.as_bytes());
        peer.write_all(&bytes).expect("it takes them");
        // Until it has read them: to close with its own words unread would be a reset.
        let _ = peer.read_to_end(&mut Vec::new());
    });
    addr
}

/// Lines of a child's output, read by a thread so that waiting for one is bounded.
pub struct Lines(mpsc::Receiver<String>);

impl Lines {
    pub fn of(output: impl Read + Send + 'static) -> Self {
        let (tell, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if tell.send(line).is_err() {
                    return;
                }
            }
        });
        Self(lines)
    }

    pub fn next(&self) -> Option<String> {
        self.0.recv_timeout(PATIENCE).ok()
    }
}

/// Runs a sample to its end, with this on its standard input.
pub fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the sample is built");
    let mut stdin = child.stdin.take().expect("a pipe");
    let input = input.to_vec();
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let (tell, done) = mpsc::channel();
    let pid = child.id();
    thread::spawn(move || drop(tell.send(child.wait_with_output())));
    let output = match done.recv_timeout(PATIENCE) {
        Ok(output) => output.expect("a child can be waited for"),
        Err(_) => {
            // SAFETY: the child has not been waited for, so its pid is its own.
            unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
            panic!("the sample does not end");
        }
    };
    writer.join().expect("writing does not panic");
    output
}

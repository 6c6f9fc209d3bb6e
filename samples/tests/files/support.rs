//! A server on a directory of the test's own, and clients of it.

#[path = "../../src/files/testing.rs"]
mod testing;

use crate::common::{Lines, PATIENCE, Running, Server, run};
use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};
pub use testing::TestDir;

pub fn files() -> Command {
    Command::new(env!("CARGO_BIN_EXE_files"))
}

/// A server with two workers on a directory.
pub struct Served {
    pub server: Server,
    pub dir: TestDir,
}

impl Served {
    pub fn new(name: &str) -> Self {
        Self::with(name, &[])
    }

    pub fn with(name: &str, options: &[&str]) -> Self {
        Self::by(files(), TestDir::new(name), options)
    }

    /// The same by a command that ends in the program's name.
    pub fn by(mut command: Command, dir: TestDir, options: &[&str]) -> Self {
        command.arg("serve").arg(dir.path());
        if !options.contains(&"--workers") {
            command.args(["--workers", "2"]);
        }
        command.args(options).stderr(Stdio::null());
        let server = Server::start(&mut command);
        Self { server, dir }
    }

    /// Where a file of the directory is.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A client that is yet to be started.
    pub fn client(&self, args: &[impl AsRef<OsStr>]) -> Command {
        let mut command = files();
        command.args(["--connect", &self.server.addr.to_string()]);
        command.args(args);
        command
    }

    /// A client, run to its end.
    pub fn ask(&self, args: &[impl AsRef<OsStr>]) -> Output {
        self.ask_with(args, b"")
    }

    pub fn ask_with(&self, args: &[impl AsRef<OsStr>], input: &[u8]) -> Output {
        run(&mut self.client(args), input)
    }

    /// What a client that succeeds prints.
    pub fn told(&self, args: &[impl AsRef<OsStr>]) -> String {
        let output = self.ask(args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a client that is refused says.
    pub fn refused(&self, args: &[impl AsRef<OsStr>]) -> String {
        refusal(&self.ask(args))
    }

    /// A client that watches, once it does.
    pub fn watch(&self) -> Watching {
        let mut command = self.client(&["watch"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(Stdio::null());
        let mut process = Running::start(&mut command);
        let lines = Lines::of(process.stdout());
        assert_eq!(lines.next().as_deref(), Some("watching"));
        Watching { process, lines }
    }
}

pub struct Watching {
    pub process: Running,
    pub lines: Lines,
}

impl Watching {
    /// Reads on until one of these is told.
    pub fn until(&self, lines: &[&str]) -> Vec<String> {
        let mut told = Vec::new();
        loop {
            let Some(next) = self.lines.next() else {
                let last = told.len().saturating_sub(20);
                panic!("not told: {lines:?}; told at the end: {:?}", &told[last..]);
            };
            let is_it = lines.contains(&next.as_str());
            told.push(next);
            if is_it {
                return told;
            }
        }
    }
}

/// The message of a program that failed, without its first word.
pub fn refusal(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = String::from_utf8(output.stderr.clone()).unwrap();
    let words = words.strip_prefix("files: ").expect(&words);
    words.strip_suffix('\n').expect(words).to_owned()
}

/// A client that is under way, its output and messages in pipes; killed if the test gives up on it.
pub struct Client(Child);

impl Client {
    /// Starts it; its standard input is a pipe, too.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::spawn(command)
    }

    /// Starts it with whatever output it was given.
    pub fn spawn(mut command: Command) -> Self {
        Self(command.spawn().expect("the sample is built"))
    }

    pub fn stdin(&mut self) -> ChildStdin {
        self.0.stdin.take().expect("a pipe")
    }

    pub fn kill(&mut self) {
        self.0.kill().expect("it runs");
    }

    /// The first bytes of its output.
    pub fn first(&mut self, count: usize) -> Vec<u8> {
        let mut stdout = self.0.stdout.take().expect("a pipe");
        let (stdout, first) = bounded(move || {
            let mut first = vec![0; count];
            stdout.read_exact(&mut first).expect("so many come");
            (stdout, first)
        });
        self.0.stdout = Some(stdout);
        first
    }

    /// Reads no further.
    pub fn close_stdout(&mut self) {
        self.0.stdout = None;
    }

    /// Its end, and the rest of its output.
    pub fn end(mut self) -> Output {
        drop(self.0.stdin.take());
        let (stdout, stderr) = (self.0.stdout.take(), self.0.stderr.take());
        let (stdout, stderr) = bounded(move || {
            let stderr = thread::spawn(|| rest_of(stderr));
            (
                rest_of(stdout),
                stderr.join().expect("reading does not panic"),
            )
        });
        let mut status = None;
        wait_until(|| {
            status = self.0.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        let status = status.expect("it has ended");
        Output {
            status,
            stdout,
            stderr,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn rest_of(pipe: Option<impl Read>) -> Vec<u8> {
    let mut rest = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut rest).expect("a pipe can be read");
    }
    rest
}

/// Does what may take for ever on a thread of its own.
fn bounded<T: Send + 'static>(does: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, done) = mpsc::channel();
    thread::spawn(move || drop(tell.send(does())));
    done.recv_timeout(PATIENCE)
        .expect("it does not take for ever")
}

pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it does not become so");
        thread::sleep(Duration::from_millis(5));
    }
}

/// So many bytes that are not all alike.
pub fn bytes(count: usize) -> Vec<u8> {
    (0..count).map(|n| (n % 251) as u8).collect()
}

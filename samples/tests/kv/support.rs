//! A server in a process of its own, and clients that never wait for ever.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Tests that take the number of workers, as the program's option has it.
macro_rules! with_one_and_three_workers {
    ($($name:ident)*) => {
        mod one_worker {
            $(#[test] fn $name() { super::$name("1"); })*
        }
        mod three_workers {
            $(#[test] fn $name() { super::$name("3"); })*
        }
    };
}
pub(crate) use with_one_and_three_workers;

/// No wait is longer; none that succeeds is nearly as long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The program.
pub const KV: &str = env!("CARGO_BIN_EXE_kv");

/// A running `kv`. Killed, by its process id, when dropped.
pub struct Server {
    pub addr: String,
    child: Child,
}

impl Server {
    /// On a free port.
    pub fn start(options: &[&str]) -> Self {
        let mut command = Command::new(KV);
        command.args(["--listen", "127.0.0.1:0"]).args(options);
        Self::of(command)
    }

    /// Runs the command, which must print where it listens.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("kv starts");
        let stdout = child.stdout.take().expect("stdout is piped");
        let (tell, line) = channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = BufReader::new(stdout).read_line(&mut line);
            let _ = tell.send(line);
        });
        let mut server = Server {
            addr: String::new(),
            child,
        };
        let line = line.recv_timeout(PATIENCE).expect("kv says something");
        let addr = line.trim_end().strip_prefix("listening on ");
        server.addr = addr.expect("the first line says where").to_owned();
        server
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn port(&self) -> &str {
        self.addr.rsplit(':').next().unwrap_or_default()
    }

    pub fn connect(&self) -> Client {
        Client::tcp(&self.addr)
    }

    /// Checks that it still serves.
    #[track_caller]
    pub fn assert_serves(&self) {
        let mut client = self.connect();
        client.ask("PING", "+PONG\r\n");
    }

    pub fn signal(&self, signum: i32) {
        // SAFETY: a plain system call; the process is our child and was not waited for, so its id is its own.
        let result = unsafe { libc::kill(self.child.id() as i32, signum) };
        assert_eq!(result, 0);
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// User and system time spent so far.
    pub fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name in parentheses may hold anything; the fields are counted from behind it.
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap().split(' ').collect();
        let ticks: u64 = [11, 12]
            .iter()
            .map(|&i| fields[i].parse::<u64>().unwrap())
            .sum();
        // SAFETY: no memory is passed.
        let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64;
        Duration::from_millis(ticks * 1000 / per_second)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Has an effect only on a child that was not waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a process, within bounds.
pub fn wait(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("the process does not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Runs a program to its end, within bounds: its status, and all that it printed on both streams.
pub fn output_of(command: &mut Command) -> (ExitStatus, String) {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let streams: [Box<dyn Read + Send>; 2] = [
        Box::new(child.stdout.take().unwrap()),
        Box::new(child.stderr.take().unwrap()),
    ];
    let readers = streams.map(|mut stream| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stream.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let status = wait(&mut child);
    let texts = readers.map(|reader| reader.join().unwrap());
    (status, texts.concat())
}

/// Tries until it is true, within bounds.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A client's connection.
pub struct Client(Box<dyn Connection>);

trait Connection: Read + Write + Send {
    fn end_output(&self);
}

impl Connection for TcpStream {
    fn end_output(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl Connection for UnixStream {
    fn end_output(&self) {
        self.shutdown(std::net::Shutdown::Write).unwrap();
    }
}

impl Client {
    pub fn tcp(addr: &str) -> Self {
        let addr = addr.parse().unwrap();
        let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Client(Box::new(stream))
    }

    pub fn unix(path: &str) -> Self {
        let stream = UnixStream::connect(path).expect("connect");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Client(Box::new(stream))
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("send");
    }

    /// Sends as long as the other side takes it.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    pub fn end_output(&mut self) {
        self.0.end_output();
    }

    /// Reads exactly this.
    #[track_caller]
    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let mut got = vec![0; expected.len()];
        let mut len = 0;
        while len < got.len() {
            match self.0.read(&mut got[len..]) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}; so far {:?}", show(&got[..len])),
            }
        }
        assert!(
            got[..len] == *expected,
            "got {:?}, expected {:?}",
            show(&got[..len]),
            show(expected)
        );
    }

    /// Sends an inline command and expects this reply.
    #[track_caller]
    pub fn ask(&mut self, line: &str, expected: &str) {
        self.send(format!("{line}\r\n"));
        self.expect(expected);
    }

    /// Sends an inline command and reads a reply of one line, without its end.
    pub fn ask_line(&mut self, line: &str) -> String {
        self.send(format!("{line}\r\n"));
        self.line()
    }

    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            assert_eq!(
                self.0.read(&mut byte).expect("read"),
                1,
                "the end, after {:?}",
                show(&line)
            );
            line.push(byte[0]);
        }
        String::from_utf8_lossy(&line[..line.len() - 2]).into_owned()
    }

    /// All until the end, which must be a proper one.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("read to the end");
        rest
    }

    /// Whether the connection is over, by an end or a reset; what arrives before is thrown away.
    pub fn is_over(&mut self) -> bool {
        let mut bytes = [0; 1 << 16];
        loop {
            match self.0.read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
                }
            }
        }
    }
}

/// A request as clients send it.
pub fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(&bulk(arg));
    }
    bytes
}

pub fn bulk(bytes: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn show(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}... ({} bytes)", &text[..end], bytes.len()),
        None => text,
    }
}

/// A cheap generator, so that tests repeat.
pub struct Dice(pub u64);

impl Dice {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    pub fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

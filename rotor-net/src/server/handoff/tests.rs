//! Handing over between two ends with real sockets, whole and broken. Every wait is bounded.

use super::super::inherited::tests::is_nonblocking;
use super::*;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

/// How long a wait may last before the test fails. Only a hang gets there.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A directory of its own, removed with all in it.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("handoff-{}-{nth}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }

    pub fn control(&self) -> PathBuf {
        self.0.join("control")
    }

    pub fn files(&self) -> Vec<String> {
        let files = std::fs::read_dir(&self.0).unwrap();
        files
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn tcp() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (listener.local_addr().unwrap().to_string(), listener)
}

/// An old process: accepts once at the control socket, lets `act` speak to who came, and gives the stream back.
fn old(dir: &Dir, act: impl FnOnce(&UnixStream) + Send + 'static) -> JoinHandle<UnixStream> {
    let control = bind_control(dir.control()).unwrap();
    thread::spawn(move || {
        let stream = accept(&control.listener);
        act(&stream);
        stream
    })
}

pub fn accept(listener: &UnixListener) -> UnixStream {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match listener.accept() {
            Ok((stream, _)) => return stream,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
        assert!(Instant::now() < give_up, "nobody came");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Does what shall not wait, on a thread of its own in case it does.
fn bounded<T: Send + 'static>(act: impl FnOnce() -> T + Send + 'static) -> T {
    let (tell, hear) = std::sync::mpsc::channel();
    thread::spawn(move || tell.send(act()));
    hear.recv_timeout(PATIENCE).expect("it waits for too long")
}

fn offer_all(stream: &UnixStream, listeners: &[(String, impl AsFd)]) -> io::Result<()> {
    let listeners: Vec<_> = listeners
        .iter()
        .map(|(address, listener)| (address.clone(), listener.as_fd()))
        .collect();
    offer(stream, &listeners)
}

/// What the old side hears until the stream ends.
fn answer(mut stream: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Waits until no copy of a listener is left. A child that another test starts may have one until it becomes another
/// program.
fn nobody_listens(path: &Path) {
    let give_up = Instant::now() + PATIENCE;
    while UnixStream::connect(path).is_ok() {
        assert!(Instant::now() < give_up, "a copy was kept");
        thread::sleep(Duration::from_millis(1));
    }
}

fn refused(dir: &Dir) -> io::Error {
    take(dir.control(), PATIENCE).unwrap_err()
}

#[test]
fn listeners_of_both_kinds_come_over_in_order_and_the_answer_is_heard() {
    let dir = Dir::new();
    let (address, listener) = tcp();
    let path = dir.0.join("unix");
    let unix = UnixListener::bind(&path).unwrap();
    let offered: Vec<(String, OwnedFd)> = vec![
        (address.clone(), listener.into()),
        ("unix".to_owned(), unix.into()),
    ];
    let old = old(&dir, move |stream| offer_all(stream, &offered).unwrap());
    let mut taken = take(dir.control(), PATIENCE)
        .unwrap()
        .expect("somebody is there");
    let stream = old.join().unwrap(); // and the old one's copies are closed
    let mut listeners = std::mem::take(&mut taken.listeners).into_iter();
    let (first, tcp) = listeners.next().unwrap();
    let (second, unix) = listeners.next().unwrap();
    assert_eq!((first, second.as_str()), (address.clone(), "unix"));
    for fd in [&tcp, &unix] {
        assert!(is_nonblocking(fd));
        assert_eq!(
            rustix::io::fcntl_getfd(fd).unwrap(),
            rustix::io::FdFlags::CLOEXEC
        );
    }
    let _client = TcpStream::connect(address).unwrap();
    let _other = UnixStream::connect(path).unwrap();
    taken.ready().unwrap();
    assert_eq!(answer(stream), [READY]);
    let unix = UnixListener::from(unix);
    accept(&unix);
    assert_eq!(unix.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn many_listeners_travel_in_batches() {
    for count in [
        0,
        1,
        FDS_PER_BATCH_MAX,
        FDS_PER_BATCH_MAX + 1,
        3 * FDS_PER_BATCH_MAX,
    ] {
        let dir = Dir::new();
        let offered: Vec<_> = (0..count).map(|_| tcp()).collect();
        let expected: Vec<_> = offered.iter().map(|(address, _)| address.clone()).collect();
        let old = old(&dir, move |stream| {
            stream.set_nonblocking(true).unwrap();
            offer_all(stream, &offered).unwrap();
        });
        let taken = take(dir.control(), PATIENCE).unwrap().unwrap();
        drop(old.join().unwrap());
        let arrived = taken.listeners.iter().map(|(address, _)| address.clone());
        assert_eq!(arrived.collect::<Vec<_>>(), expected);
        for (address, fd) in taken.listeners {
            // Each is the socket that its address says.
            let local = TcpListener::from(fd).local_addr().unwrap();
            assert_eq!(local, address.parse::<SocketAddr>().unwrap());
        }
    }
}

#[test]
fn a_successor_that_fails_says_nothing() {
    let dir = Dir::new();
    let (address, listener) = tcp();
    let offered = [(address.clone(), listener.try_clone().unwrap())];
    let old = old(&dir, move |stream| offer_all(stream, &offered).unwrap());
    drop(take(dir.control(), PATIENCE).unwrap().unwrap());
    assert_eq!(answer(old.join().unwrap()), b"");
    // The old process still has its socket, and it still listens.
    let _client = TcpStream::connect(address).unwrap();
    listener.accept().unwrap();
}

#[test]
fn an_old_process_that_hangs_is_waited_for_no_longer_than_told() {
    let dir = Dir::new();
    let soon = Duration::from_millis(50);
    // It never accepts. Its queue still takes some, who wait for the offer; then connecting waits.
    let control = bind_control(dir.control()).unwrap();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let error = take(dir.control(), soon).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    }
    while cfg!(target_os = "linux") && waiting.len() < 64 {
        let path = dir.control();
        match bounded(move || control::connect(&path, soon)) {
            Ok(stream) => waiting.push(stream.expect("it listens")),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
                break;
            }
        }
    }
    assert!(waiting.len() < 64, "its queue is bounded");
    drop(control);
    // It accepts, and sends a byte now and then, as if it would never end.
    let dir = Dir::new();
    let old = old(&dir, |mut stream| {
        let long = "x".repeat(60_000);
        let mut message = message::encode([long.as_str()].into_iter()).unwrap();
        message.push(BATCH);
        for byte in message.chunks(1) {
            if stream.write_all(byte).is_err() {
                return;
            }
            thread::sleep(Duration::from_micros(100));
        }
    });
    let error = take(dir.control(), soon).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
    old.join().unwrap();
}

#[test]
fn an_offer_that_breaks_off_leaves_no_listener_behind() {
    let home = Dir::new();
    let listener = UnixListener::bind(home.0.join("one")).unwrap();
    let whole = message::encode(["one", "two"].into_iter()).unwrap();
    for end in [0, 1, HEAD_BYTES, whole.len() - 1, whole.len()] {
        let (dir, part) = (Dir::new(), whole[..end].to_vec());
        let old = old(&dir, move |mut stream| stream.write_all(&part).unwrap());
        let ended = thread::spawn(move || drop(old.join().unwrap()));
        assert_eq!(refused(&dir).kind(), io::ErrorKind::UnexpectedEof, "{end}");
        ended.join().unwrap();
    }
    // One of two descriptors came.
    let dir = Dir::new();
    let old = old(&dir, move |stream| {
        send(stream, &whole, &[]).unwrap();
        send(stream, &[BATCH], &[listener.as_fd()]).unwrap();
    });
    let error = refused(&dir);
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(
        error
            .to_string()
            .contains("2 listeners came with 1 descriptors"),
        "{error}"
    );
    old.join().unwrap();
    nobody_listens(&home.0.join("one"));
}

#[test]
fn descriptors_where_none_belong_are_closed() {
    type Act = fn(&UnixStream, &UnixListener);
    let acts: [(Act, &str); 4] = [
        (
            |stream, listener| send(stream, b"rotor-", &[listener.as_fd()]).unwrap(),
            "1 descriptors arrived where an offer has at most 0",
        ),
        (
            |stream, listener| {
                send(stream, &message::encode(["a"].into_iter()).unwrap(), &[]).unwrap();
                send(stream, &[BATCH], &[listener.as_fd(); 2]).unwrap();
            },
            "2 descriptors arrived where an offer has at most 1",
        ),
        (
            |stream, listener| {
                send(stream, &message::encode(["a"].into_iter()).unwrap(), &[]).unwrap();
                send(stream, b"?", &[listener.as_fd()]).unwrap();
            },
            "1 listeners came with 1 descriptors",
        ),
        (
            |stream, _| {
                let file = std::fs::File::open("/dev/null").unwrap();
                offer_all(stream, &[("a".to_owned(), file)]).unwrap();
            },
            "is not a socket",
        ),
    ];
    for (act, expected) in acts {
        let dir = Dir::new();
        let listener = UnixListener::bind(dir.0.join("one")).unwrap();
        let old = old(&dir, move |stream| act(stream, &listener));
        let error = refused(&dir);
        assert!(
            error.to_string().contains(expected),
            "{error}, not {expected}"
        );
        old.join().unwrap();
        nobody_listens(&dir.0.join("one"));
    }
}

#[test]
fn what_is_no_listener_is_not_taken_over() {
    let dir = Dir::new();
    let (one, _two) = UnixStream::pair().unwrap();
    let old = old(&dir, move |stream| {
        offer_all(stream, &[("a".to_owned(), one)]).unwrap()
    });
    let error = refused(&dir);
    assert!(error.to_string().contains("does not listen"), "{error}");
    old.join().unwrap();
}

#[test]
fn an_offer_never_waits() {
    let (full, mut other) = UnixStream::pair().unwrap();
    let (address, listener) = tcp();
    let offered = [(address, listener)];
    // Blocking as it is, and nobody reads.
    let (error, full, offered) = bounded(move || {
        let error = (0..100_000).find_map(|_| offer_all(&full, &offered).err());
        (error, full, offered)
    });
    assert_eq!(error.unwrap().kind(), io::ErrorKind::WouldBlock);
    other.set_read_timeout(Some(PATIENCE)).unwrap();
    other.read_exact(&mut [0; HEAD_BYTES]).unwrap();
    drop(other);
    let give_up = Instant::now() + PATIENCE;
    while !matches!(
        offer_all(&full, &offered).map_err(|error| error.kind()),
        Err(io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
    ) {
        assert!(Instant::now() < give_up, "nobody is there any more");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn one_who_has_ended_needs_no_answer_and_one_who_waits_no_longer_takes_none() {
    for last in [&b""[..], &[DISMISSED]] {
        let dir = Dir::new();
        let offered = [tcp()];
        let old = old(&dir, move |mut stream| {
            offer_all(stream, &offered).unwrap();
            stream.write_all(last).unwrap();
        });
        let taken = take(dir.control(), PATIENCE).unwrap().unwrap();
        // Not just dropped: a child that another test starts may have a copy for a moment.
        let stream = old.join().unwrap();
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        let told = taken.ready().map_err(|error| error.kind());
        match last {
            [] => assert_eq!(told, Ok(())),
            _ => assert_eq!(told, Err(io::ErrorKind::TimedOut)),
        }
    }
}

#[test]
fn both_ends_are_one_user() {
    let (one, two) = UnixStream::pair().unwrap();
    assert!(peer_is_us(&one) && peer_is_us(&two));
}

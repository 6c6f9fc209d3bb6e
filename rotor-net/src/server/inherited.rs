//! Listening sockets that the process was started with, and what any listening socket from elsewhere must be.
//!
//! A service manager binds the sockets, and starts the server with them as descriptors 3 and up, `LISTEN_FDS` of them,
//! for the process `LISTEN_PID`: see `sd_listen_fds(3)`. Invariant: only listening stream sockets get into the server,
//! and they are nonblocking and not passed on to programs that it starts.

use listenfd::ListenFd;
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};
use std::env;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// How many sockets may be inherited: far more than anyone listens on, and a wrong count shall not cost memory.
const INHERITED_MAX: usize = 1024;

/// Takes the listening sockets that the process was started with, in their order: once. Later calls find none, as do
/// processes for which they are not meant (`LISTEN_PID` is another's). Without `LISTEN_PID` they are taken, as tools
/// for development start servers so.
///
/// The variables are removed, so that children do not take the sockets for theirs. Changing the environment is not safe
/// while other threads read it by C functions: call this before threads start.
///
/// # Errors
/// `InvalidInput`, if the variables are no numbers or one of the descriptors is not a listening stream socket, TCP or
/// Unix. What was taken until then is closed.
pub fn inherited() -> io::Result<Vec<OwnedFd>> {
    // Whatever the environment says later: a second owner of a descriptor would close it under the first.
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if env::var_os("LISTEN_FDS").is_none() || TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    check_environment()?;
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .map(|index| take(&mut passed, index))
        .collect()
}

/// Checks that a descriptor from elsewhere is a listening stream socket, TCP or Unix, and makes it nonblocking and
/// close-on-exec.
///
/// # Errors
/// `InvalidInput` that says what it is instead.
pub(super) fn adopt(fd: &OwnedFd) -> io::Result<()> {
    let wrong = |what: &str| invalid(format!("descriptor {} {what}", fd.as_raw_fd()));
    match sockopt::socket_type(fd) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err(wrong("is a socket of another kind than stream")),
        Err(_) => return Err(wrong("is not a socket")),
    }
    let family = rustix::net::getsockname(fd)?.address_family();
    if ![
        AddressFamily::INET,
        AddressFamily::INET6,
        AddressFamily::UNIX,
    ]
    .contains(&family)
    {
        return Err(wrong("is neither a TCP nor a Unix socket"));
    }
    // macOS declares the option and does not have it; there, accepting says so later.
    #[cfg(not(target_vendor = "apple"))]
    if !sockopt::socket_acceptconn(fd)? {
        return Err(wrong("does not listen"));
    }
    rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(fd, true)?;
    Ok(())
}

/// What `listenfd` would believe: numbers that name no descriptors, or more than there can be.
fn check_environment() -> io::Result<()> {
    if !is_for_us() {
        return Ok(());
    }
    let count: usize = number("LISTEN_FDS")?.unwrap_or(0);
    let first: RawFd = number("LISTEN_FDS_FIRST_FD")?.unwrap_or(3);
    if count > INHERITED_MAX {
        return Err(invalid(format!(
            "LISTEN_FDS says {count} sockets; {INHERITED_MAX} are the most that are taken"
        )));
    }
    if first < 3 || first.checked_add(count as RawFd).is_none() {
        return Err(invalid(format!(
            "LISTEN_FDS_FIRST_FD is {first}; sockets are passed as descriptors from 3 up"
        )));
    }
    Ok(())
}

fn is_for_us() -> bool {
    match env::var("LISTEN_PID") {
        Ok(pid) if !pid.is_empty() => pid.parse() == Ok(std::process::id()),
        Ok(_) | Err(env::VarError::NotPresent) => true,
        Err(env::VarError::NotUnicode(_)) => false,
    }
}

fn number<T: std::str::FromStr>(name: &str) -> io::Result<Option<T>> {
    let Some(text) = env::var_os(name) else {
        return Ok(None);
    };
    match text.to_str().and_then(|text| text.parse().ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid(format!(
            "{name} is {text:?}, which is no number of descriptors"
        ))),
    }
}

/// The socket at an index; `listenfd` tells TCP and Unix apart, which makes no difference here.
fn take(passed: &mut ListenFd, index: usize) -> io::Result<OwnedFd> {
    let fd: OwnedFd = match passed.take_tcp_listener(index) {
        Ok(Some(tcp)) => tcp.into(),
        _ => match passed.take_unix_listener(index) {
            Ok(Some(unix)) => unix.into(),
            Ok(None) => return Err(io::ErrorKind::NotFound.into()),
            Err(error) => {
                return Err(invalid(format!(
                    "socket {index} of LISTEN_FDS is not a stream socket, TCP or Unix: {error}"
                )));
            }
        },
    };
    adopt(&fd).map_err(|error| invalid(format!("socket {index} of LISTEN_FDS: {error}")))?;
    Ok(fd)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

#[cfg(all(test, not(loom)))]
pub(super) mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    const CHILD: &str = "ROTOR_NET_INHERITED_TEST_CHILD";

    #[test]
    fn sockets_that_the_process_was_started_with_are_taken_once() {
        if is_child() {
            let taken = inherited().unwrap();
            assert_eq!(
                taken.iter().map(|fd| fd.as_raw_fd()).collect::<Vec<_>>(),
                [3, 4]
            );
            for fd in &taken {
                assert_eq!(rustix::io::fcntl_getfd(fd).unwrap(), FdFlags::CLOEXEC);
            }
            assert!(env::var_os("LISTEN_FDS").is_none() && env::var_os("LISTEN_PID").is_none());
            assert_eq!(inherited().unwrap().len(), 0, "a second call");
            assert!(taken.iter().all(is_nonblocking));
            let mut taken = taken.into_iter();
            let tcp = TcpListener::from(taken.next().unwrap());
            assert_eq!(tcp.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
            let _client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
            let give_up = Instant::now() + Duration::from_secs(30);
            while tcp.accept().is_err() {
                assert!(Instant::now() < give_up, "the connection never came");
                std::thread::sleep(Duration::from_millis(1));
            }
            let unix = UnixListener::from(taken.next().unwrap());
            assert_eq!(unix.accept().unwrap_err().kind(), io::ErrorKind::WouldBlock);
            return;
        }
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let path = env::temp_dir().join(format!("rotor-inherited-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let unix = UnixListener::bind(&path).unwrap();
        let test = "sockets_that_the_process_was_started_with_are_taken_once";
        in_child(test, "LISTEN_FDS=2 LISTEN_PID=$$", tcp.into(), unix.into());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn sockets_for_another_process_are_left_alone() {
        if is_child() {
            assert_eq!(inherited().unwrap().len(), 0);
            return;
        }
        let test = "sockets_for_another_process_are_left_alone";
        for pid in ["1", "x"] {
            let (one, two) = (listener(), listener());
            in_child(
                test,
                &format!("LISTEN_FDS=99999999 LISTEN_PID={pid}"),
                one,
                two,
            );
        }
    }

    /// The child is told what its error shall say.
    #[test]
    fn what_is_no_listening_stream_socket_is_named() {
        if is_child() {
            let expected = env::var("EXPECTED").unwrap();
            let error = inherited().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(
                error.to_string().contains(&expected),
                "{error}, not {expected}"
            );
            assert_eq!(inherited().unwrap().len(), 0, "a second call");
            return;
        }
        let datagrams: OwnedFd = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        let connected: OwnedFd = UnixStream::pair().unwrap().0.into();
        let file: OwnedFd = std::fs::File::open("/dev/null").unwrap().into();
        let second = [
            (datagrams, "socket 1 of LISTEN_FDS is not a stream socket"),
            (connected, "descriptor 4 does not listen"),
            (file, "fd 4 is not a socket"),
        ];
        let test = "what_is_no_listening_stream_socket_is_named";
        for (fd, expected) in second {
            let set = format!("LISTEN_FDS=2 LISTEN_PID=$$ EXPECTED='{expected}'");
            in_child(test, &set, listener(), fd);
        }
        let numbers = [
            (
                "LISTEN_FDS=99999999999",
                "LISTEN_FDS says 99999999999 sockets",
            ),
            ("LISTEN_FDS=-1", "which is no number"),
            ("LISTEN_FDS=1 LISTEN_FDS_FIRST_FD=0", "from 3 up"),
            ("LISTEN_FDS=1 LISTEN_FDS_FIRST_FD=2147483647", "from 3 up"),
            (
                "LISTEN_FDS=3 LISTEN_FDS_FIRST_FD=900",
                "fd 900 is not a socket",
            ),
        ];
        for (set, expected) in numbers {
            in_child(
                test,
                &format!("{set} EXPECTED='{expected}'"),
                listener(),
                listener(),
            );
        }
    }

    #[test]
    fn a_process_that_was_started_with_nothing_finds_nothing() {
        assert_eq!(inherited().unwrap().len(), 0);
    }

    /// Asks the system, where it tells, rather than by an accept that might wait.
    pub fn is_nonblocking(fd: &OwnedFd) -> bool {
        let Ok(info) = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))
        else {
            return true;
        };
        let flags = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .unwrap();
        let flags = i32::from_str_radix(flags.trim(), 8).unwrap();
        flags & libc::O_NONBLOCK != 0
    }

    fn is_child() -> bool {
        env::var_os(CHILD).is_some()
    }

    fn listener() -> OwnedFd {
        TcpListener::bind("127.0.0.1:0").unwrap().into()
    }

    /// Runs one test of this module in a process of its own, which finds the two as descriptors 3 and 4, with these
    /// variables set. For at most a minute.
    fn in_child(test: &str, set: &str, three: OwnedFd, four: OwnedFd) {
        let module = module_path!().split_once("::").map_or("", |(_, path)| path);
        let script = format!("export {set}; exec \"$0\" \"$@\" 3<&0 4<&2 </dev/null 2>&1");
        let mut child = Command::new("sh")
            .args(["-c", &script])
            .arg(env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::from(three))
            .stdout(Stdio::piped())
            .stderr(Stdio::from(four))
            .spawn()
            .unwrap();
        let give_up = Instant::now() + Duration::from_secs(60);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > give_up {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{set}: {said}");
        assert!(said.contains("1 passed"), "the child ran no test: {said}");
    }
}

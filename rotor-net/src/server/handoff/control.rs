//! The control socket: the Unix socket at which a server offers its listening sockets to its successor.
//!
//! Invariant: at the path there is always a whole socket, made by one server or the next, which only the same user may
//! connect to. It is bound under another name, closed to others, set to listen, and then renamed into place.

use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Successors that may wait at once. One is usual.
const BACKLOG: i32 = 8;

/// Names to try for the socket until it has its own: another may be left over from a process with our number.
const NAMES_MAX: u32 = 16;

/// A control socket, listening. Dropping it removes its file, if no successor has replaced that.
#[derive(Debug)]
pub struct Control {
    /// Where successors connect; nonblocking and close-on-exec.
    pub listener: UnixListener,
    /// The file that was bound, recognised by its inode: another's is never removed.
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for Control {
    fn drop(&mut self) {
        let ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        if fs::symlink_metadata(&self.path).is_ok_and(ours) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds the control socket at `path`, with mode 0600. If another process has one there, this takes its place at once:
/// who connects from then on comes here.
///
/// # Errors
/// `AlreadyExists` if there is something else than a socket at `path`; `InvalidInput` if the name that is bound first,
/// in the same directory, is too long for a Unix socket; else what the system says. No file is left behind.
pub fn bind_control(path: impl AsRef<Path>) -> io::Result<Control> {
    let path = path.as_ref();
    if fs::symlink_metadata(path).is_ok_and(|file| !file.file_type().is_socket()) {
        let message = format!("{} is in the way: it is not a socket", path.display());
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
    }
    // Successors must be able to say this name.
    address(path)?;
    let mut control = bind_beside(unix_socket()?, path)?;
    fs::set_permissions(&control.path, Permissions::from_mode(0o600))?;
    rustix::net::listen(&control.listener, BACKLOG)?;
    control.listener.set_nonblocking(true)?;
    fs::rename(&control.path, path)?;
    // Remembered whole: the process may change its directory.
    control.path = std::path::absolute(path)?;
    Ok(control)
}

/// Connects to a control socket, waiting for a place in its queue no longer than `timeout`. `None` if nobody listens.
pub fn connect(path: &Path, timeout: Duration) -> io::Result<Option<UnixStream>> {
    let address = address(path)?;
    let socket = unix_socket()?;
    // On Linux, connecting waits while the queue is full, and this bounds it; elsewhere it never waits.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(timeout))?;
    let connected = retry_on_intr(|| rustix::net::connect(&socket, &address));
    match connected.map_err(io::Error::from) {
        Ok(()) => Ok(Some(UnixStream::from(socket))),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
            io::ErrorKind::WouldBlock => {
                let message = format!("nobody takes connections at {} in time", path.display());
                Err(io::Error::new(io::ErrorKind::TimedOut, message))
            }
            _ => Err(error),
        },
    }
}

/// Binds to a name of our own in the directory of `path`. It does not listen yet, so nobody can connect.
fn bind_beside(socket: OwnedFd, path: &Path) -> io::Result<Control> {
    let mut taken = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in 0..NAMES_MAX {
        let name = path.with_file_name(format!(".{:x}.{attempt:x}", std::process::id()));
        match rustix::net::bind(&socket, &address(&name)?).map_err(io::Error::from) {
            Ok(()) => {
                let file = fs::symlink_metadata(&name)?;
                return Ok(Control {
                    listener: UnixListener::from(socket),
                    path: name,
                    device: file.dev(),
                    inode: file.ino(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => taken = error,
            Err(error) => return Err(error),
        }
    }
    Err(taken)
}

fn address(path: &Path) -> io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(path).map_err(|error| {
        let message = format!("{} cannot be a Unix socket's path: {error}", path.display());
        io::Error::new(io::ErrorKind::InvalidInput, message)
    })
}

/// A stream socket, close-on-exec.
fn unix_socket() -> io::Result<OwnedFd> {
    #[cfg(not(target_vendor = "apple"))]
    {
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        Ok(socket)
    }
    #[cfg(target_vendor = "apple")]
    {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
        Ok(socket)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::tests::{Dir, PATIENCE, accept};
    use super::super::{peer_is_us, take};
    use super::*;
    use std::io::Read;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    #[test]
    fn nobody_there_is_no_error() {
        let dir = Dir::new();
        assert!(take(dir.control(), PATIENCE).unwrap().is_none(), "no file");
        drop(UnixListener::bind(dir.control()).unwrap());
        assert!(dir.control().exists());
        assert!(
            take(dir.control(), PATIENCE).unwrap().is_none(),
            "a stale file"
        );
        let long = dir.0.join("x".repeat(200));
        let error = take(&long, PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    /// It connects, and waits to be accepted by a process that ends.
    #[test]
    fn an_old_process_that_ends_before_it_accepts_is_nobody() {
        let dir = Dir::new();
        let control = bind_control(dir.control()).unwrap();
        let path = dir.control();
        let successor = std::thread::spawn(move || take(path, PATIENCE));
        // Mostly it waits in the queue by then; if not, it finds nobody in another way.
        std::thread::sleep(Duration::from_millis(50));
        drop(control);
        assert!(successor.join().unwrap().unwrap().is_none());
    }

    #[test]
    fn the_control_socket_is_for_its_user_and_replaces_the_one_before() {
        let dir = Dir::new();
        let first = bind_control(dir.control()).unwrap();
        let mode = std::fs::metadata(dir.control())
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let waits = UnixStream::connect(dir.control()).unwrap();
        let second = bind_control(dir.control()).unwrap();
        assert_eq!(dir.files(), ["control"], "nothing else is left");
        let _later = UnixStream::connect(dir.control()).unwrap();
        accept(&first.listener);
        accept(&second.listener);
        let none_left = first.listener.accept().unwrap_err();
        assert_eq!(none_left.kind(), io::ErrorKind::WouldBlock);
        drop((waits, first));
        assert_eq!(dir.files(), ["control"], "it is the second's now");
        drop(second);
        assert_eq!(dir.files(), [""; 0]);
    }

    #[test]
    fn what_is_in_the_way_of_a_control_socket_is_left_alone() {
        let dir = Dir::new();
        std::fs::write(dir.control(), "mine").unwrap();
        let error = bind_control(dir.control()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(dir.control()).unwrap(), b"mine");
        let error = bind_control(dir.0.join("x".repeat(200))).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let error = bind_control(dir.0.join("none/control")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(dir.files(), ["control"]);
        // A name left over from a process that had our number.
        let left = dir.0.join(format!(".{:x}.0", std::process::id()));
        std::fs::write(&left, "").unwrap();
        std::fs::remove_file(dir.control()).unwrap();
        let _control = bind_control(dir.control()).unwrap();
        assert_eq!(dir.files().len(), 2);
    }

    const STRANGER: &str = "ROTOR_NET_HANDOFF_TEST_STRANGER";

    /// Only root can be two users.
    #[test]
    fn another_user_is_neither_given_sockets_nor_taken_at_its_word() {
        if let Some(dir) = std::env::var_os(STRANGER) {
            return stranger(Path::new(&dir));
        }
        if !cfg!(target_os = "linux") || !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = Dir::new();
        let open = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode));
        open(&dir.0, 0o777).unwrap();
        let ours = bind_control(dir.control()).unwrap();
        open(&dir.control(), 0o666).unwrap();
        let module = module_path!().split_once("::").map_or("", |(_, path)| path);
        let test = "another_user_is_neither_given_sockets_nor_taken_at_its_word";
        let started = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("{module}::{test}"), "--nocapture"])
            .env(STRANGER, &dir.0)
            .current_dir("/")
            .uid(65_534)
            .stdout(Stdio::null())
            .spawn();
        let mut child = match started {
            Ok(child) => child,
            // The tests were built where others may not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return,
            Err(error) => panic!("{error}"),
        };
        let stream = accept(&ours.listener);
        assert!(!peer_is_us(&stream));
        let error = take(dir.0.join("theirs"), PATIENCE).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        drop(stream);
        assert!(child.wait().unwrap().success());
    }

    /// Binds a control socket of its own, and stays until the other side closes.
    fn stranger(dir: &Path) {
        let theirs = bind_control(dir.join("theirs")).unwrap();
        let mut stream = connect(&dir.join("control"), PATIENCE).unwrap().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
        drop(theirs);
    }
}

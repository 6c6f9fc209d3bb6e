//! A listening descriptor of our own: made, bound, accepted from and removed without libuv (U21).
//!
//! It needs no loop, so it can be bound early, inherited, or sent to where it is wanted.

use crate::acceptor::ListenOptions;
use crate::addr::{RawAddr, RawUnix, UnixName, from_raw, raw_len};
use crate::error::{Error, Op, Result};
use std::ffi::{OsString, c_int};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// How many failed connections one accept skips before it says that none waits.
const SKIP_MAX: usize = 16;

/// A listening TCP or Unix socket, and the file it made, if any; both go when this is dropped.
#[derive(Debug)]
pub struct ListenSocket {
    fd: OwnedFd,
    pub(crate) is_unix: bool,
    made: Option<MadeFile>,
}

/// The socket file that a bind made, recognised by its inode: another's file is never removed.
#[derive(Debug)]
struct MadeFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl ListenSocket {
    /// Listens on a TCP address. `SO_REUSEADDR` is set.
    pub fn tcp(addr: SocketAddr, options: &ListenOptions) -> Result<ListenSocket> {
        let ListenOptions {
            backlog,
            reuse_port,
            ipv6_only,
        } = *options;
        let (domain, raw) = match addr {
            SocketAddr::V4(_) => (libc::AF_INET, RawAddr::from(addr)),
            SocketAddr::V6(_) => (libc::AF_INET6, RawAddr::from(addr)),
        };
        let fd = socket(domain)?;
        set(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        if reuse_port {
            set(&fd, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        }
        if addr.is_ipv6() {
            set(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, ipv6_only.into())?;
        } else if ipv6_only {
            return Err(Error::invalid(Op::Bind));
        }
        // SAFETY: the descriptor is open and the address complete.
        sys_ok(Op::Bind, unsafe {
            libc::bind(fd.as_raw_fd(), raw.as_ptr(), raw_len(&addr))
        })?;
        ListenSocket {
            fd,
            is_unix: false,
            made: None,
        }
        .listen(backlog)
    }

    /// Listens on a Unix socket. A stale socket file (one that refuses connections) is replaced, a live one is
    /// kind `AddrInUse` (the probe looks to it like a client that leaves at once).
    pub fn unix<'a>(
        name: impl Into<UnixName<'a>>,
        options: &ListenOptions,
    ) -> Result<ListenSocket> {
        let name = name.into();
        let raw = RawUnix::new(name).ok_or(Error::invalid(Op::Bind))?;
        let fd = socket(libc::AF_UNIX)?;
        if let Err(error) = bind_unix(&fd, &raw) {
            match name {
                UnixName::Path(path)
                    if error.kind() == crate::Kind::AddrInUse && is_stale(path, &raw) =>
                {
                    std::fs::remove_file(path).map_err(|_| error)?;
                    bind_unix(&fd, &raw)?;
                }
                _ => return Err(error),
            }
        }
        let made = match name {
            UnixName::Path(path) => MadeFile::at(path),
            UnixName::Abstract(_) => None,
        };
        ListenSocket {
            fd,
            is_unix: true,
            made,
        }
        .listen(options.backlog)
    }

    /// A socket that listens already: inherited, or received from another process. It is made nonblocking and
    /// close-on-exec. A Unix socket's file is not removed when this is dropped, unless [`own_file`](Self::own_file).
    ///
    /// Kind `Invalid` for anything but a listening TCP or Unix stream socket.
    pub fn from_fd(fd: OwnedFd) -> Result<ListenSocket> {
        let invalid = Error::invalid(Op::Listen);
        let fd = above_stdio(fd)?;
        if option(&fd, libc::SO_TYPE)? != libc::SOCK_STREAM
            || option(&fd, libc::SO_ACCEPTCONN)? == 0
        {
            return Err(invalid);
        }
        nonblocking_cloexec(&fd).map_err(|code| Error::from_code(Op::Listen, -code))?;
        let mut socket = ListenSocket {
            fd,
            is_unix: false,
            made: None,
        };
        if socket.local_addr().is_err() {
            socket.is_unix = true;
            socket.local_name().map_err(|_| invalid)?;
        }
        Ok(socket)
    }

    /// Removes a Unix socket's file with the socket, though another process made it.
    pub fn own_file(&mut self) {
        if self.made.is_none()
            && let Ok(path) = self.local_name()
        {
            self.made = MadeFile::at(&path);
        }
    }

    /// Leaves a Unix socket's file where it is: somebody else listens on it from now on.
    pub fn leave_file(&mut self) {
        self.made = None;
    }

    /// Another descriptor of the same socket. The file stays this one's.
    pub fn try_clone(&self) -> Result<ListenSocket> {
        let fd = self.fd.try_clone();
        Ok(ListenSocket {
            fd: fd.map_err(|error| {
                Error::from_code(Op::Open, -error.raw_os_error().unwrap_or(libc::EIO))
            })?,
            is_unix: self.is_unix,
            made: None,
        })
    }

    fn listen(self, backlog: c_int) -> Result<ListenSocket> {
        // SAFETY: the descriptor is open.
        sys_ok(Op::Listen, unsafe {
            libc::listen(self.fd.as_raw_fd(), backlog)
        })?;
        Ok(self)
    }

    pub(crate) fn fd(&self) -> c_int {
        self.fd.as_raw_fd()
    }

    /// The next connection, nonblocking and close-on-exec; `None` if none waits.
    pub(crate) fn accept(&self) -> Result<Option<OwnedFd>> {
        for _ in 0..SKIP_MAX {
            match accept_one(self.fd()) {
                Ok(fd) => return Ok(Some(above_stdio(fd)?)),
                Err(libc::EAGAIN) => return Ok(None),
                // Errors of that one connection, not of the listener (accept(2)).
                Err(
                    libc::EINTR
                    | libc::ECONNABORTED
                    | libc::EPROTO
                    | libc::ENETDOWN
                    | libc::ENOPROTOOPT
                    | libc::EHOSTDOWN
                    | libc::EHOSTUNREACH
                    | libc::EOPNOTSUPP
                    | libc::ENETUNREACH
                    | libc::ETIMEDOUT,
                ) => {}
                #[cfg(target_os = "linux")]
                Err(libc::ENONET) => {}
                Err(code) => return Err(Error::from_code(Op::Accept, -code)),
            }
        }
        Ok(None)
    }

    /// The address it listens on; kind `Invalid` for a Unix socket.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        // SAFETY: an all-zero address is valid memory to be filled in.
        let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&storage) as libc::socklen_t;
        // SAFETY: the descriptor is open; the buffer is as long as `len` says.
        let code = unsafe { libc::getsockname(self.fd(), (&raw mut storage).cast(), &mut len) };
        sys_ok(Op::Address, code)?;
        from_raw(&storage).ok_or(Error::invalid(Op::Address))
    }

    /// The name it listens on; kind `Invalid` for a TCP socket. An abstract name begins with a zero byte.
    pub fn local_name(&self) -> Result<PathBuf> {
        // SAFETY: an all-zero address is valid memory to be filled in.
        let mut addr: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        let mut len = size_of_val(&addr) as libc::socklen_t;
        // SAFETY: the descriptor is open; the buffer is as long as `len` says.
        let code = unsafe { libc::getsockname(self.fd(), (&raw mut addr).cast(), &mut len) };
        sys_ok(Op::Address, code)?;
        if c_int::from(addr.sun_family) != libc::AF_UNIX {
            return Err(Error::invalid(Op::Address));
        }
        let room = (len as usize).min(size_of_val(&addr));
        let used = room.saturating_sub(std::mem::offset_of!(libc::sockaddr_un, sun_path));
        let bytes: Vec<u8> = addr.sun_path.iter().take(used).map(|&c| c as u8).collect();
        // A path ends at its zero byte; an abstract name begins with one, and ends where the length says.
        let end = match bytes.first() {
            Some(0) => bytes.len(),
            _ => bytes.iter().position(|&c| c == 0).unwrap_or(bytes.len()),
        };
        Ok(path_of(&bytes[..end]))
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl MadeFile {
    fn at(path: &Path) -> Option<MadeFile> {
        let file = std::fs::symlink_metadata(path).ok()?;
        Some(MadeFile {
            path: std::path::absolute(path).unwrap_or_else(|_| path.into()),
            device: file.dev(),
            inode: file.ino(),
        })
    }
}

impl Drop for ListenSocket {
    /// The file goes before the descriptor, so that a successor's new file is never taken for ours.
    fn drop(&mut self) {
        let Some(made) = &self.made else { return };
        let same = |file: std::fs::Metadata| file.dev() == made.device && file.ino() == made.inode;
        if std::fs::symlink_metadata(&made.path).is_ok_and(same) {
            let _ = std::fs::remove_file(&made.path);
        }
    }
}

fn sys_ok(op: Op, code: c_int) -> Result<()> {
    if code < 0 {
        Err(Error::last_os(op))
    } else {
        Ok(())
    }
}

fn bind_unix(fd: &OwnedFd, raw: &RawUnix) -> Result<()> {
    let (addr, len) = raw.raw();
    // SAFETY: the descriptor is open, the address complete and alive.
    sys_ok(Op::Bind, unsafe { libc::bind(fd.as_raw_fd(), addr, len) })
}

/// Whether this is a socket that refuses connections: its listener is gone.
fn is_stale(path: &Path, raw: &RawUnix) -> bool {
    if !std::fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket()) {
        return false;
    }
    // Nonblocking: a live listener with a full backlog must not hold us up.
    let Ok(probe) = socket(libc::AF_UNIX) else {
        return false;
    };
    let (addr, len) = raw.raw();
    // SAFETY: the descriptor is open, the address complete and alive.
    let code = unsafe { libc::connect(probe.as_raw_fd(), addr, len) };
    code < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ECONNREFUSED)
}

fn set(fd: &OwnedFd, level: c_int, name: c_int, value: c_int) -> Result<()> {
    let len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open and the value one int.
    sys_ok(Op::Bind, unsafe {
        libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), len)
    })
}

fn option(fd: &OwnedFd, name: c_int) -> Result<c_int> {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the descriptor is open; the value is one int, as `len` says.
    sys_ok(Op::Listen, unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            name,
            (&raw mut value).cast(),
            &mut len,
        )
    })?;
    Ok(value)
}

/// A nonblocking, close-on-exec stream socket.
fn socket(domain: c_int) -> Result<OwnedFd> {
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    // SAFETY: takes no pointers.
    let fd = unsafe {
        libc::socket(
            domain,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        )
    };
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::socket(domain, libc::SOCK_STREAM, 0) };
    if fd < 0 {
        return Err(Error::last_os(Op::Open));
    }
    // SAFETY: just made, and nobody else's.
    let fd = above_stdio(unsafe { OwnedFd::from_raw_fd(fd) })?;
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    nonblocking_cloexec(&fd).map_err(|code| Error::from_code(Op::Open, -code))?;
    Ok(fd)
}

#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn accept_one(listener: c_int) -> Result<OwnedFd, c_int> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null pointers mean that the peer's address is not wanted.
    let fd = unsafe { libc::accept4(listener, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn accept_one(listener: c_int) -> Result<OwnedFd, c_int> {
    // SAFETY: null pointers mean that the peer's address is not wanted.
    let fd = unsafe { libc::accept(listener, std::ptr::null_mut(), std::ptr::null_mut()) };
    if fd < 0 {
        return Err(errno());
    }
    // SAFETY: just made, and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    nonblocking_cloexec(&fd)?;
    Ok(fd)
}

fn nonblocking_cloexec(fd: &OwnedFd) -> Result<(), c_int> {
    // SAFETY: the descriptor is open; none of these takes a pointer.
    let done = unsafe {
        let flags = libc::fcntl(fd.as_raw_fd(), libc::F_GETFL);
        flags >= 0
            && libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) >= 0
            && libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) >= 0
    };
    if done { Ok(()) } else { Err(errno()) }
}

fn errno() -> c_int {
    std::io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// libuv never closes the descriptors of the standard streams, so a socket must not be one of them.
fn above_stdio(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() > libc::STDERR_FILENO {
        return Ok(fd);
    }
    // SAFETY: the descriptor is open; makes a new one.
    let higher = unsafe {
        libc::fcntl(
            fd.as_raw_fd(),
            libc::F_DUPFD_CLOEXEC,
            libc::STDERR_FILENO + 1,
        )
    };
    if higher < 0 {
        return Err(Error::last_os(Op::Accept));
    }
    // SAFETY: just made, and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(higher) })
}

/// A path from the kernel's bytes.
pub(crate) fn path_of(bytes: &[u8]) -> PathBuf {
    OsString::from_vec(bytes.to_vec()).into()
}

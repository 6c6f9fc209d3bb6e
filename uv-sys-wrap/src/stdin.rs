//! Standard input as a stream, whatever it is: a terminal, a pipe, a socket, or a file.
//!
//! Files cannot be polled. They are copied into a pipe by a thread of their own, which ends with the file
//! or when the handle is closed.

use crate::error::{Error, Op, Result};
use crate::event::Token;
use crate::handle::Handle;
use crate::uv::Uv;
use libuv_sys2 as sys;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// Opens standard input for reading: operate on the handle through [`Uv::stream`].
///
/// The process's own descriptor stays open and as it is shared with others (a pipe becomes nonblocking for
/// all who share it; a terminal does not). Open it once.
pub fn stdin(uv: &Uv, token: Token) -> Result<Handle> {
    open(uv, std::io::stdin().as_fd(), token)
}

fn open(uv: &Uv, fd: BorrowedFd<'_>, token: Token) -> Result<Handle> {
    use std::os::fd::AsRawFd;
    let core = uv.core();
    core.raw(Op::Open)?;
    // SAFETY: looks at an open descriptor.
    match unsafe { sys::uv_guess_handle(fd.as_raw_fd()) } {
        sys::uv_handle_type_UV_TTY => crate::tty::open(core, fd.as_raw_fd(), token),
        sys::uv_handle_type_UV_NAMED_PIPE => crate::pipe::adopted(core, token, duplicate(fd)?),
        sys::uv_handle_type_UV_TCP => crate::tcp::adopted(core, token, duplicate(fd)?),
        sys::uv_handle_type_UV_FILE => crate::pipe::adopted(core, token, feed(duplicate(fd)?)?),
        _ => Err(Error::invalid(Op::Open)),
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    fd.try_clone_to_owned()
        .map_err(|_| Error::last_os(Op::Open))
}

/// A pipe's reading end that a thread feeds from `file`.
fn feed(file: OwnedFd) -> Result<OwnedFd> {
    let mut ends = [-1; 2];
    let nonblocking_read_end = sys::uv_stdio_flags_UV_NONBLOCK_PIPE as i32;
    // SAFETY: writes two descriptors.
    crate::error::check(Op::Open, unsafe {
        sys::uv_pipe(ends.as_mut_ptr(), nonblocking_read_end, 0)
    })?;
    // SAFETY: just made, and nobody else's.
    let (reads, writes) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || copy(File::from(file), File::from(writes)))
        .map_err(|_| Error::last_os(Op::Open))?;
    Ok(reads)
}

/// Copies until the end of the file, an error, or a closed pipe (EPIPE, since SIGPIPE is ignored).
fn copy(mut file: File, mut pipe: File) {
    let mut block = vec![0; 64 * 1024];
    loop {
        match file.read(&mut block) {
            Ok(0) => return,
            Ok(count) if pipe.write_all(&block[..count]).is_ok() => {}
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return,
        }
    }
}

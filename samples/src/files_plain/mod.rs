//! A file service with a line protocol, written twice: as an enum machine and as a fiber. Both answer alike.
//!
//! | line | answer |
//! |---|---|
//! | `LIST` | `OK COUNT`, then for each file `SIZE NAME` |
//! | `SIZE NAME` | `OK SIZE` |
//! | `GET NAME` | `OK SIZE`, then so many bytes |
//! | `QUIT` | `OK bye`, and the connection ends |
//!
//! What cannot be done is answered with `ERR WHY`. Names are those of the files in one directory: the rest of the line,
//! whatever bytes it has; no path leads out of it, nor does a symbolic link. Files are read on libuv's thread pool.

pub mod command;
pub mod dir;
pub mod fiber;
pub mod machine;

/// The longest command.
pub const LINE_MAX: usize = 4096;
/// Bytes of a file that are read, and held for a client, at a time.
pub const CHUNK: usize = 64 << 10;
/// How long a client may be silent.
pub const IDLE: std::time::Duration = std::time::Duration::from_secs(300);
/// The answer to a line that is too long; nothing after it can be understood.
pub const TOO_LONG: &[u8] = b"ERR the line is longer than 4096 bytes\n";
/// The answer to `QUIT`.
pub const BYE: &[u8] = b"OK bye\n";

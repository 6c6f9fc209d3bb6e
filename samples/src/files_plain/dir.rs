//! The directory that is served. Everything here blocks, and belongs on the thread pool.

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

/// Files listed at most: a listing is held in memory while it is sent.
const ENTRIES_MAX: usize = 10_000;

/// An open directory. Files are opened relative to it, so that it may be renamed, and no name leads out of it.
#[derive(Clone, Debug)]
pub struct Dir(Arc<OwnedFd>);

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// Its length in bytes.
    pub size: u64,
}

impl Dir {
    /// Opens a directory.
    ///
    /// # Errors
    /// If there is none, or it may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(Arc::new(fs::open(path, flags, Mode::empty())?)))
    }

    /// Its regular files, in the order of their names. Names with a line feed cannot be said in the protocol and are
    /// left out.
    ///
    /// # Errors
    /// If it cannot be read, or has more than 10,000 files.
    pub fn list(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for found in fs::Dir::read_from(&*self.0)? {
            let found = found?;
            let name = found.file_name().to_bytes();
            // One that is gone already is not there.
            let Ok(stat) = fs::statat(&*self.0, found.file_name(), AtFlags::SYMLINK_NOFOLLOW)
            else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
                || name.contains(&b'\n')
            {
                continue;
            }
            if entries.len() == ENTRIES_MAX {
                return Err(io::Error::other("more than 10000 files"));
            }
            entries.push(Entry {
                name: name.to_vec(),
                size: stat.st_size.try_into().unwrap_or(0),
            });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Opens a file, and says how long it is.
    ///
    /// # Errors
    /// `InvalidInput` for what is no plain name; if there is no such regular file or it may not be read.
    pub fn file(&self, name: &[u8]) -> io::Result<(File, u64)> {
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            let error = io::ErrorKind::InvalidInput;
            return Err(io::Error::new(error, "not the name of a file"));
        }
        // Nonblocking, so that opening a pipe does not wait for its other end.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = File::from(fs::openat(&*self.0, name, flags, Mode::empty())?);
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        Ok((file, about.len()))
    }
}

/// The bytes of a file from `at` on, at most so many and never more than a chunk.
///
/// # Errors
/// As reading; `UnexpectedEof` if the file has become shorter than it was.
pub fn chunk(file: &File, at: u64, bytes_max: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(bytes_max)
        .unwrap_or(usize::MAX)
        .min(super::CHUNK);
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

//! `Upload`: a file that is being received. It is nobody's until it is complete. Everything here blocks, and belongs on
//! the thread pool.
//!
//! Invariant: the name has either what it had before or the whole new file. What arrives goes to a temporary file in the
//! same directory, which gets its name in one step at the end, and is removed on every other way out. (Only a server
//! that is killed leaves it: a file named `.upload-…`, which is neither listed nor served.)

use super::name::{Name, UPLOAD_PREFIX};
use super::refusal::Refusal;
use super::root::Root;
use cap_std::fs::{Dir, File, OpenOptions};
use rustix::fs::RenameFlags;
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A file on its way. Dropped before it is [stored](Self::store), it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    parent: Arc<Dir>,
    temporary: OsString,
    /// Open while there is something to write.
    file: Option<File>,
    name: OsString,
    may_replace: bool,
    bytes: u64,
    bytes_max: u64,
    has_left: bool,
}

/// Temporary names that are tried: those of a killed predecessor with the same process id are in the way.
const TRIES: u32 = 1000;

impl Upload {
    /// Makes the temporary file.
    ///
    /// # Errors
    /// If the name cannot be a file's, its directory is not there or may not be written, or there is something of this
    /// name that is not to be replaced, or cannot be.
    pub fn begin(
        root: &Root,
        name: &Name,
        may_replace: bool,
        bytes_max: u64,
    ) -> Result<Self, Refusal> {
        let (parent, last) = name.split().ok_or(Refusal::NotAName)?;
        let parent = match parent.as_os_str().is_empty() {
            true => root.dir.clone(),
            false => Arc::new(root.dir.open_dir(parent)?),
        };
        // The last step decides; this is to tell before much has been sent.
        refuse_what_is_there(&parent, last, may_replace)?;
        let (temporary, file) = make_temporary(&parent)?;
        Ok(Self {
            parent,
            temporary,
            file: Some(file),
            name: last.to_owned(),
            may_replace,
            bytes: 0,
            bytes_max,
            has_left: false,
        })
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`Refusal::TooLarge`], and what writing says.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let so_many = self.bytes.saturating_add(bytes.len() as u64);
        if so_many > self.bytes_max {
            return Err(Refusal::TooLarge {
                bytes_max: self.bytes_max,
            });
        }
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        self.bytes = so_many;
        Ok(())
    }

    /// Gives the file its name, once it is on the disk, and says how long it is.
    ///
    /// # Errors
    /// [`Refusal::Exists`] if somebody was faster, and what the system says. Then nothing is left.
    pub fn store(self) -> Result<u64, Refusal> {
        self.store_by(Self::rename, Self::link)
    }

    /// The same by these ways to give the file its name: the second where the first cannot spare what is there.
    fn store_by(
        mut self,
        rename: fn(&Self, RenameFlags) -> io::Result<()>,
        link: fn(&Self) -> io::Result<()>,
    ) -> Result<u64, Refusal> {
        if let Some(file) = self.file.take() {
            file.sync_data()?;
            // Closed now, so that nobody hears of a change after it has its name.
        }
        self.has_left = match self.may_replace {
            true => {
                refuse_what_is_there(&self.parent, &self.name, true)?;
                rename(&self, RenameFlags::empty())?;
                true
            }
            false => match rename(&self, RenameFlags::NOREPLACE) {
                Err(error) if is_not_supported(&error) => {
                    link(&self).map_err(why_not_linked)?;
                    // This was a second name; the first goes with `self`.
                    false
                }
                renamed => renamed.map(|()| true)?,
            },
        };
        Ok(self.bytes)
    }

    fn rename(&self, flags: RenameFlags) -> io::Result<()> {
        let (from, to) = (Path::new(&self.temporary), Path::new(&self.name));
        let dir = &*self.parent;
        Ok(rustix::fs::renameat_with(dir, from, dir, to, flags)?)
    }

    fn link(&self) -> io::Result<()> {
        let (from, to) = (&self.temporary, &self.name);
        self.parent.hard_link(from, &self.parent, to)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.has_left {
            // Nobody is there to hear of a failure.
            let _ = self.parent.remove_file(&self.temporary);
        }
    }
}

/// Whether the file system does not know how to: each says so in its own way.
fn is_not_supported(error: &io::Error) -> bool {
    let error = Errno::from_io_error(error);
    matches!(error, Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// The server may link its own file; who forbids it is the file system, which has no links.
fn why_not_linked(error: io::Error) -> Refusal {
    let is_forbidden = Errno::from_io_error(&error) == Some(Errno::PERM);
    match is_forbidden || is_not_supported(&error) {
        true => Refusal::CannotSpare,
        false => error.into(),
    }
}

/// Only files and links are replaced.
fn refuse_what_is_there(parent: &Dir, name: &OsStr, may_replace: bool) -> Result<(), Refusal> {
    match parent.symlink_metadata(name) {
        Ok(about) if !about.is_file() && !about.is_symlink() => Err(Refusal::NotAFile),
        Ok(_) if !may_replace => Err(Refusal::Exists),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn make_temporary(parent: &Dir) -> Result<(OsString, File), Refusal> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    for _ in 0..TRIES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{UPLOAD_PREFIX}{}-{number}", std::process::id());
        match parent.open_with(&name, &options) {
            Ok(file) => return Ok((name.into(), file)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Refusal::Busy)
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestDir;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    const MAX: u64 = 10;

    fn begin(test: &TestDir, name: &str, may_replace: bool) -> Result<Upload, Refusal> {
        let root = Root::open(test.path()).unwrap();
        Upload::begin(&root, &Name::from(name), may_replace, MAX)
    }

    #[test]
    fn an_upload_appears_when_it_is_complete_and_not_before() {
        let test = TestDir::new("upload");
        let mut upload = begin(&test, "a", false).unwrap();
        upload.write(b"hello").unwrap();
        assert!(!test.path().join("a").exists());
        upload.write(b" you").unwrap();
        assert_eq!(upload.store(), Ok(9));
        assert_eq!(fs::read(test.path().join("a")).unwrap(), b"hello you");
        assert_eq!(test.names(), ["a"]);
    }

    #[test]
    fn an_upload_that_ends_early_leaves_nothing() {
        let test = TestDir::new("cut-off");
        fs::write(test.path().join("a"), b"old").unwrap();
        let mut upload = begin(&test, "a", true).unwrap();
        upload.write(b"new").unwrap();
        assert_eq!(test.names().len(), 2);
        drop(upload);
        assert_eq!(test.names(), ["a"]);
        assert_eq!(fs::read(test.path().join("a")).unwrap(), b"old");
        let mut upload = begin(&test, "b", true).unwrap();
        upload.write(b"0123456789").unwrap();
        let refused = upload.write(b"x");
        assert_eq!(refused, Err(Refusal::TooLarge { bytes_max: MAX }));
        drop(upload);
        assert_eq!(test.names(), ["a"]);
    }

    #[test]
    fn a_file_is_replaced_only_if_that_was_asked_for_also_when_somebody_is_faster() {
        let test = TestDir::new("replace");
        let at = test.path().join("a");
        let upload = begin(&test, "a", false).unwrap();
        fs::write(&at, b"faster").unwrap();
        assert_eq!(upload.store(), Err(Refusal::Exists));
        assert_eq!(begin(&test, "a", false).unwrap_err(), Refusal::Exists);
        assert_eq!(fs::read(&at).unwrap(), b"faster");
        let mut upload = begin(&test, "a", true).unwrap();
        upload.write(b"new").unwrap();
        assert_eq!(upload.store(), Ok(3));
        assert_eq!(fs::read(&at).unwrap(), b"new");
        assert_eq!(test.names(), ["a"]);
    }

    /// As file systems do that cannot rename without replacing, or link.
    fn cannot_rename(upload: &Upload, flags: RenameFlags) -> io::Result<()> {
        match flags.contains(RenameFlags::NOREPLACE) {
            true => Err(Errno::INVAL.into()),
            false => upload.rename(flags),
        }
    }

    fn cannot_link(_: &Upload) -> io::Result<()> {
        Err(Errno::PERM.into())
    }

    #[test]
    fn where_renaming_always_replaces_the_file_is_linked() {
        let test = TestDir::new("link");
        let at = test.path().join("a");
        let mut upload = begin(&test, "a", false).unwrap();
        upload.write(b"new").unwrap();
        assert_eq!(upload.store_by(cannot_rename, Upload::link), Ok(3));
        assert_eq!(test.names(), ["a"]);
        fs::remove_file(&at).unwrap();
        let upload = begin(&test, "a", false).unwrap();
        fs::write(&at, b"faster").unwrap();
        let stored = upload.store_by(cannot_rename, Upload::link);
        assert_eq!(stored, Err(Refusal::Exists));
        assert_eq!(fs::read(&at).unwrap(), b"faster");
        assert_eq!(test.names(), ["a"]);
    }

    #[test]
    fn where_files_cannot_be_linked_either_only_replacing_is_possible() {
        let test = TestDir::new("no-link");
        let upload = begin(&test, "a", false).unwrap();
        let stored = upload.store_by(cannot_rename, cannot_link);
        assert_eq!(stored, Err(Refusal::CannotSpare));
        assert_eq!(test.names(), [""; 0]);
        let upload = begin(&test, "a", true).unwrap();
        assert_eq!(upload.store_by(cannot_rename, cannot_link), Ok(0));
        assert_eq!(test.names(), ["a"]);
    }

    #[test]
    fn uploads_go_into_the_directory_only_and_replace_files_only() {
        let test = TestDir::new("upload-where");
        let inside = test.path().join("inside");
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::write(test.path().join("outside"), b"outside").unwrap();
        symlink("../outside", inside.join("link")).unwrap();
        symlink("..", inside.join("up")).unwrap();
        let root = Root::open(&inside).unwrap();
        let begin = |name: &str| Upload::begin(&root, &Name::from(name), true, MAX);
        for (name, why) in [
            ("../b", Refusal::Outside),
            ("up/b", Refusal::Outside),
            ("/b", Refusal::Outside),
            ("sub", Refusal::NotAFile),
            ("sub/", Refusal::NotAName),
            ("none/b", Refusal::NotFound),
            ("link/b", Refusal::Outside),
            (".upload-9", Refusal::NotAName),
        ] {
            assert_eq!(begin(name).map(drop), Err(why), "{name}");
        }
        // A link is replaced itself, not what it leads to.
        let mut upload = begin("link").unwrap();
        upload.write(b"mine").unwrap();
        upload.store().unwrap();
        assert_eq!(fs::read(inside.join("link")).unwrap(), b"mine");
        assert_eq!(fs::read(test.path().join("outside")).unwrap(), b"outside");
        let upload = begin("sub/b").unwrap();
        assert_eq!(upload.store(), Ok(0));
        assert!(inside.join("sub/b").exists());
    }
}

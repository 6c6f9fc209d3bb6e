//! `Root`: the directory that is served, and what may be done in it. Everything here blocks, and belongs on the thread
//! pool.
//!
//! Invariant: nothing outside is ever opened, whatever names clients send and whatever links the directory has. `cap-std`
//! sees to that, on Linux by having the kernel resolve names beneath the open directory (`openat2`), so it holds also
//! while others rename and link. A link that stays inside is followed.

use super::name::Name;
use super::refusal::Refusal;
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, OpenOptions, OpenOptionsExt};
use rustix::fs::OFlags;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open directory and where it was. Clones share it.
#[derive(Clone, Debug)]
pub struct Root {
    pub(super) dir: Arc<Dir>,
    path: PathBuf,
}

impl Root {
    /// Opens a directory. Names are resolved from the open directory, so it may be renamed while it is served.
    ///
    /// # Errors
    /// If there is none, or it may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            dir: Arc::new(Dir::open_ambient_dir(path, ambient_authority())?),
            path: path.canonicalize()?,
        })
    }

    /// Where it was when it was opened, for those who watch it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The length of a file.
    ///
    /// # Errors
    /// If there is no such regular file.
    pub fn size(&self, name: &Name) -> Result<u64, Refusal> {
        Ok(self.regular(name)?.len())
    }

    /// Whether there is such a regular file.
    ///
    /// # Errors
    /// If the name cannot be a file's or leads out, or the system does not tell.
    pub fn exists(&self, name: &Name) -> Result<bool, Refusal> {
        match self.regular(name) {
            Ok(_) => Ok(true),
            Err(Refusal::NotFound | Refusal::NotAFile) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// Opens a file, and says how long it is.
    ///
    /// # Errors
    /// If there is no such regular file, or it may not be read.
    pub fn file(&self, name: &Name) -> Result<(File, u64), Refusal> {
        // To open a device may do something; so nothing is opened that is not a file before and after.
        self.regular(name)?;
        let mut options = OpenOptions::new();
        // A pipe that took the file's place meanwhile does not make this wait for its other end.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.read(true).custom_flags(flags.bits() as i32);
        let file = self.dir.open_with(name.as_path(), &options)?.into_std();
        let about = file.metadata()?;
        match about.is_file() {
            true => Ok((file, about.len())),
            false => Err(Refusal::NotAFile),
        }
    }

    /// Removes a file. Of a symbolic link, the link.
    ///
    /// # Errors
    /// If there is neither, or it may not be removed.
    pub fn remove(&self, name: &Name) -> Result<(), Refusal> {
        name.split().ok_or(Refusal::NotAName)?;
        let about = self.dir.symlink_metadata(name.as_path())?;
        if !about.is_file() && !about.is_symlink() {
            return Err(Refusal::NotAFile);
        }
        Ok(self.dir.remove_file(name.as_path())?)
    }

    fn regular(&self, name: &Name) -> Result<Metadata, Refusal> {
        name.split().ok_or(Refusal::NotAName)?;
        let about = self.dir.metadata(name.as_path())?;
        match about.is_file() {
            true => Ok(about),
            false => Err(Refusal::NotAFile),
        }
    }
}

/// The bytes of a file from `at` on, so many.
///
/// # Errors
/// As reading; [`Refusal::Changed`] if the file has become shorter.
pub fn read_at(file: &File, at: u64, bytes: usize) -> Result<Vec<u8>, Refusal> {
    let mut buffer = vec![0; bytes];
    match file.read_exact_at(&mut buffer, at) {
        Ok(()) => Ok(buffer),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Refusal::Changed),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestDir;
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_name_and_no_link_leads_out() {
        let test = TestDir::new("outside");
        let (outside, inside) = (test.path().join("outside"), test.path().join("inside"));
        fs::create_dir_all(inside.join("sub")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), b"secret").unwrap();
        fs::write(inside.join("a"), b"abc").unwrap();
        for (target, link) in [
            ("../outside/secret", "relative"),
            ("../outside", "directory"),
            ("../../outside/secret", "sub/deep"),
            ("a", "to_a"),
            ("../a", "sub/to_a"),
            ("to_itself", "to_itself"),
        ] {
            symlink(target, inside.join(link)).unwrap();
        }
        symlink(outside.join("secret"), inside.join("absolute")).unwrap();
        let root = Root::open(&inside).unwrap();
        let absolute = outside.join("secret");
        for name in [
            "../outside/secret",
            "sub/../../outside/secret",
            "relative",
            "absolute",
            "directory/secret",
            "sub/deep",
            "/etc/passwd",
            "/a",
            absolute.to_str().unwrap(),
        ] {
            let name = Name::from(name);
            assert_eq!(root.size(&name), Err(Refusal::Outside), "{name}");
            assert_eq!(root.exists(&name), Err(Refusal::Outside), "{name}");
            assert_eq!(root.file(&name).unwrap_err(), Refusal::Outside, "{name}");
        }
        for name in ["../outside/secret", "directory/secret", "/etc/passwd"] {
            let name = Name::from(name);
            assert_eq!(root.remove(&name), Err(Refusal::Outside), "{name}");
        }
        for name in ["a", "sub/../a", "to_a", "sub/to_a"] {
            assert_eq!(root.size(&Name::from(name)), Ok(3), "{name}");
        }
        assert!(matches!(
            root.size(&Name::from("to_itself")),
            Err(Refusal::Io(_))
        ));
        // What a link leads to stays.
        assert_eq!(root.remove(&Name::from("relative")), Ok(()));
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    }

    #[test]
    fn what_is_no_file_is_neither_opened_nor_removed() {
        let test = TestDir::new("no-file");
        fs::create_dir(test.path().join("sub")).unwrap();
        fs::write(test.path().join("a"), b"").unwrap();
        let _listener = std::os::unix::net::UnixListener::bind(test.path().join("sock")).unwrap();
        test.fifo("pipe");
        symlink("pipe", test.path().join("to_pipe")).unwrap();
        let root = Root::open(test.path()).unwrap();
        for name in ["sub", "sock", "pipe", "to_pipe"] {
            let name = Name::from(name);
            assert_eq!(root.file(&name).unwrap_err(), Refusal::NotAFile, "{name}");
            assert_eq!(root.exists(&name), Ok(false));
        }
        for name in ["sub", "sock", "pipe"] {
            assert_eq!(root.remove(&Name::from(name)), Err(Refusal::NotAFile));
        }
        for (name, why) in [
            ("a/b", Refusal::NotFound),
            ("b", Refusal::NotFound),
            ("", Refusal::NotAName),
            ("a/", Refusal::NotAName),
            ("a\0b", Refusal::NotAName),
            (".upload-1-1", Refusal::NotAName),
        ] {
            assert_eq!(root.size(&Name::from(name)), Err(why), "{name:?}");
        }
        let long = Name::from("x".repeat(300).as_str());
        assert_eq!(root.size(&long), Err(Refusal::NotAName));
    }

    #[test]
    fn a_file_that_became_shorter_is_noticed() {
        let test = TestDir::new("shorter");
        fs::write(test.path().join("a"), b"0123456789").unwrap();
        let root = Root::open(test.path()).unwrap();
        let (file, size) = root.file(&Name::from("a")).unwrap();
        assert_eq!((read_at(&file, 8, 2), size), (Ok(b"89".to_vec()), 10));
        fs::write(test.path().join("a"), b"012").unwrap();
        assert_eq!(read_at(&file, 2, 8), Err(Refusal::Changed));
    }
}

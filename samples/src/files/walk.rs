//! `Walk`: all files below the served directory, a batch at a time. Everything here blocks, and belongs on the thread
//! pool.
//!
//! However large the tree is, a walk holds one open directory, one batch, and the names of the directories that are
//! still to be visited, of which there is a limit.

use super::name::{Name, UPLOAD_PREFIX};
use super::refusal::Refusal;
use super::root::Root;
use cap_std::fs::{DirEntry, ReadDir};
use rotor_net::rpc::Shape;
use serde::{Deserialize, Serialize};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A file of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Shape)]
pub struct Entry {
    /// Its name.
    pub name: Name,
    /// Its length in bytes.
    pub size: u64,
}

/// Files in a batch, and bytes of their names: with both it stays below the smallest window that clients may be expected
/// to have, 64 KiB.
const BATCH_FILES_MAX: usize = 256;
const BATCH_BYTES_MAX: usize = 32 << 10;
/// Entries that are looked at for one batch, so that a directory of other things does not hold a thread of the pool.
const BATCH_LOOKS_MAX: usize = 4096;
/// Directories that may wait to be visited: they are held by name.
const DIRECTORIES_MAX: usize = 100_000;

/// A walk through the tree, in the order in which the system has it. Links to directories are not followed, so it ends;
/// links to files are, if those are inside.
pub struct Walk {
    root: Root,
    /// The directory that is being read.
    open: Option<(PathBuf, ReadDir)>,
    waiting: Vec<PathBuf>,
}

impl Walk {
    /// Begins at the root.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn new(root: &Root) -> Result<Self, Refusal> {
        Ok(Self {
            root: root.clone(),
            open: Some((PathBuf::new(), root.dir.entries()?)),
            waiting: Vec::new(),
        })
    }

    /// Begins at a directory below. `None` if there is none of this name; a link to one does not count.
    pub fn below(root: &Root, name: &Name) -> Option<Self> {
        let path = name.as_path();
        if !root.dir.symlink_metadata(path).ok()?.is_dir() {
            return None;
        }
        Some(Self {
            root: root.clone(),
            open: None,
            waiting: vec![path.to_owned()],
        })
    }

    /// The next files, perhaps none just now; `None` at the end. Sub-directories that may not be read, and what
    /// disappears meanwhile, are left out.
    ///
    /// # Errors
    /// If there are more directories than it can remember.
    pub fn batch(&mut self) -> Result<Option<Vec<Entry>>, Refusal> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for _ in 0..BATCH_LOOKS_MAX {
            if found.len() >= BATCH_FILES_MAX || bytes >= BATCH_BYTES_MAX {
                break;
            }
            let Some((path, entries)) = &mut self.open else {
                match self.waiting.pop() {
                    Some(path) => self.visit(path),
                    None if found.is_empty() => return Ok(None),
                    None => break,
                }
                continue;
            };
            let Some(entry) = entries.next() else {
                self.open = None;
                continue;
            };
            let Ok(entry) = entry else { continue };
            let path = path.join(entry.file_name());
            match self.look(&entry, &path) {
                Ok(Found::File(size)) => {
                    bytes += path.as_os_str().len();
                    let name = Name::from(path.as_path());
                    found.push(Entry { name, size });
                }
                Ok(Found::Directory) if self.waiting.len() >= DIRECTORIES_MAX => {
                    let words = format!("more than {DIRECTORIES_MAX} directories");
                    return Err(Refusal::Io(words));
                }
                Ok(Found::Directory) => self.waiting.push(path),
                Ok(Found::Other) | Err(_) => {}
            }
        }
        Ok(Some(found))
    }

    fn visit(&mut self, path: PathBuf) {
        if let Ok(entries) = self.root.dir.read_dir(&path) {
            self.open = Some((path, entries));
        }
    }

    fn look(&self, entry: &DirEntry, path: &Path) -> io::Result<Found> {
        if is_upload(path) {
            return Ok(Found::Other);
        }
        let mut about = entry.metadata()?;
        if about.is_dir() {
            return Ok(Found::Directory);
        }
        if about.is_symlink() {
            about = self.root.dir.metadata(path)?;
        }
        Ok(match about.is_file() {
            true => Found::File(about.len()),
            false => Found::Other,
        })
    }
}

enum Found {
    File(u64),
    Directory,
    Other,
}

/// Whether this is the temporary file of an upload.
pub fn is_upload(path: &Path) -> bool {
    let last = path.file_name().map_or(&b""[..], |last| last.as_bytes());
    last.starts_with(UPLOAD_PREFIX.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestDir;
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn all(root: &Root) -> (Vec<(String, u64)>, usize) {
        let (mut walk, mut all, mut batches) = (Walk::new(root).unwrap(), Vec::new(), 0);
        while let Some(batch) = walk.batch().unwrap() {
            assert!(batch.len() <= BATCH_FILES_MAX);
            batches += 1;
            all.extend(
                batch
                    .iter()
                    .map(|entry| (entry.name.to_string(), entry.size)),
            );
        }
        all.sort();
        (all, batches)
    }

    #[test]
    fn a_walk_finds_files_at_any_depth_and_nothing_else() {
        let test = TestDir::new("walk");
        let inside = test.path().join("inside");
        fs::create_dir_all(inside.join("sub/deep")).unwrap();
        fs::write(test.path().join("outside"), b"outside").unwrap();
        fs::write(inside.join("a"), b"abc").unwrap();
        fs::write(inside.join("sub/b"), b"").unwrap();
        fs::write(inside.join("sub/deep/c"), b"c").unwrap();
        fs::write(inside.join(".upload-1-1"), b"not yet").unwrap();
        fs::write(inside.join(OsStr::from_bytes(b"\xff")), b"ff").unwrap();
        for (target, link) in [
            ("a", "to_a"),
            ("../outside", "out"),
            ("sub", "to_sub"),
            (".", "sub/loop"),
        ] {
            symlink(target, inside.join(link)).unwrap();
        }
        let root = Root::open(&inside).unwrap();
        let expected = [
            ("\\xff", 2),
            ("a", 3),
            ("sub/b", 0),
            ("sub/deep/c", 1),
            ("to_a", 3),
        ];
        let expected = expected.map(|(name, size)| (name.to_owned(), size));
        assert_eq!(all(&root).0, expected);
    }

    #[test]
    fn many_files_come_in_batches() {
        let test = TestDir::new("batches");
        for n in 0..BATCH_FILES_MAX * 2 + 1 {
            fs::write(test.path().join(n.to_string()), b"").unwrap();
        }
        let (files, batches) = all(&Root::open(test.path()).unwrap());
        assert_eq!((files.len(), batches), (BATCH_FILES_MAX * 2 + 1, 3));
        let empty = TestDir::new("empty");
        assert_eq!(all(&Root::open(empty.path()).unwrap()).0, []);
    }

    #[test]
    fn long_names_make_small_batches() {
        let test = TestDir::new("long-names");
        let deep = (0..10).fold(test.path().to_owned(), |path, _| path.join("d".repeat(250)));
        fs::create_dir_all(&deep).unwrap();
        for n in 0..60 {
            fs::write(deep.join(n.to_string()), b"").unwrap();
        }
        let (files, batches) = all(&Root::open(test.path()).unwrap());
        assert_eq!(files.len(), 60);
        assert!(batches >= 2, "2,500 bytes each: {batches}");
    }
}

//! What the kernel says about a process's memory.

use std::fs;
use std::io;

/// Memory of a process at one moment, in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// Resident set: every page of the process that is in memory.
    pub rss_bytes: u64,
    /// The same, with pages that several processes map divided among them.
    pub pss_bytes: u64,
}

/// Reads `/proc/PID/smaps_rollup`, which counts pages exactly (`VmRSS` in `status` may lag by
/// some pages per thread).
///
/// # Errors
/// When there is no such process, it belongs to another user, or the kernel lacks the file.
pub fn memory_of(pid: u32) -> io::Result<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory {
        rss_bytes: kilobytes(&text, "Rss:")? * 1024,
        pss_bytes: kilobytes(&text, "Pss:")? * 1024,
    })
}

fn kilobytes(text: &str, field: &str) -> io::Result<u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(field))
        .filter_map(|rest| rest.trim().strip_suffix(" kB"))
        .find_map(|number| number.trim().parse().ok())
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("no {field} found")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "00400000-7fff ---p 00000000 00:00 0 [rollup]\n\
                    Rss:                 932 kB\nPss:                 190 kB\nPss_Anon: 76 kB\n";
        assert_eq!(kilobytes(text, "Rss:").unwrap(), 932);
        assert_eq!(kilobytes(text, "Pss:").unwrap(), 190);
        assert!(kilobytes(text, "Swap:").is_err());
    }

    #[test]
    fn our_own_memory_is_not_nothing() {
        let memory = memory_of(std::process::id()).unwrap();
        assert!(memory.rss_bytes > 0 && memory.pss_bytes <= memory.rss_bytes);
    }
}

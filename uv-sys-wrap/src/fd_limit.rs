//! The process's limit on open descriptors, and raising it.
//!
//! The limit belongs to all threads of the process. Invariant: what is raised here is the soft limit alone, and it
//! never becomes lower. A server calls [`raise_fd_limit`] once, before it sizes what depends on the number of
//! descriptors.

use std::fmt;
use std::io;

/// What [`raise_fd_limit`] asked for, what it got, and why that is not more. `Display` says it in one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FdLimit {
    /// The cap that was given.
    pub asked: usize,
    /// The soft limit as it was found.
    pub before: usize,
    /// The soft limit that is in force now: never less than `before`.
    pub now: usize,
    /// The hard limit as it was found; `None` if there is none.
    pub hard: Option<usize>,
    /// What kept `now` below `asked`; `None` if nothing did.
    pub held_back: Option<HeldBack>,
}

/// Why a process may not open as many descriptors as were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeldBack {
    /// The hard limit of the process (`ulimit -Hn`), which only a privileged parent raises.
    Hard,
    /// The system's own bound for every process (Linux: `fs.nr_open`; macOS: `kern.maxfilesperproc`).
    System(usize),
    /// `setrlimit` failed with this error code.
    Refused(i32),
    /// `getrlimit` failed with this error code; the limits in the report are an assumption.
    Unreadable(i32),
}

/// How many descriptors this process may have open: the soft limit of `RLIMIT_NOFILE`. `None` if the system does not
/// say. See `getrlimit(2)`.
pub fn fd_limit() -> Option<usize> {
    read().ok().map(|limit| count(limit.rlim_cur))
}

/// Raises the soft limit of open descriptors towards `cap`, as far as the hard limit and the system allow.
///
/// Never lowers it, and never fails: where raising is refused, the report says so and the process goes on with what it
/// has. Do it before threads start that size something by [`fd_limit`]. A few system calls.
pub fn raise_fd_limit(cap: usize) -> FdLimit {
    let found = match read() {
        Ok(found) => found,
        Err(error) => return unreadable(cap, &error),
    };
    let before = count(found.rlim_cur);
    let hard = (found.rlim_max != libc::RLIM_INFINITY).then(|| count(found.rlim_max));
    let (goal, mut held_back) = goal(cap, hard, system_max());
    if goal > before
        && let Err(error) = set(goal, found)
    {
        held_back = Some(HeldBack::Refused(code(&error)));
    }
    FdLimit {
        asked: cap,
        before,
        now: fd_limit().unwrap_or(before),
        hard,
        held_back,
    }
}

impl fmt::Display for FdLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (asked, now) = (Grouped(self.asked), Grouped(self.now));
        write!(f, "asked for {asked} descriptors, ")?;
        match self.held_back {
            None if self.now == self.before => write!(f, "had {now} already"),
            None => write!(f, "got {now}"),
            Some(why) => write!(f, "got {now}: {why}"),
        }
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = io::Error::from_raw_os_error;
        match *self {
            Self::Hard => f.write_str("the hard limit"),
            Self::System(max) => {
                write!(f, "the system allows a process {} at most", Grouped(max))?;
                match SYSTEM_MAX_NAME {
                    Some(name) => write!(f, " ({name})"),
                    None => Ok(()),
                }
            }
            Self::Refused(code) => write!(f, "raising it was refused: {}", os(code)),
            Self::Unreadable(code) => {
                write!(f, "assumed, for the limit is not told: {}", os(code))
            }
        }
    }
}

/// What is assumed where the system does not tell: the usual soft limit.
const ASSUMED: usize = 1024;

fn unreadable(cap: usize, error: &io::Error) -> FdLimit {
    FdLimit {
        asked: cap,
        before: ASSUMED,
        now: ASSUMED,
        hard: None,
        held_back: Some(HeldBack::Unreadable(code(error))),
    }
}

/// The least of the bounds, and which one it is when it is below the cap.
fn goal(cap: usize, hard: Option<usize>, system: Option<usize>) -> (usize, Option<HeldBack>) {
    let hard = hard.unwrap_or(usize::MAX);
    let system = system.unwrap_or(usize::MAX);
    let goal = cap.min(hard).min(system);
    let held_back = if goal == cap {
        None
    } else if goal == hard {
        Some(HeldBack::Hard)
    } else {
        Some(HeldBack::System(system))
    };
    (goal, held_back)
}

/// Sets the soft limit, and leaves the hard one as it is. Where it is above what the system allows (that was lowered
/// after the process began), Linux refuses any change that keeps it; it is worth nothing then and comes down too.
fn set(soft: usize, found: libc::rlimit) -> io::Result<()> {
    let soft = libc::rlim_t::try_from(soft).unwrap_or(libc::RLIM_INFINITY);
    write(soft, found.rlim_max).or_else(|error| match system_max() {
        Some(max) if count(found.rlim_max) > max => write(soft, max as libc::rlim_t),
        _ => Err(error),
    })
}

fn read() -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes the struct it is given.
    match unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } {
        0 => Ok(limit),
        _ => Err(io::Error::last_os_error()),
    }
}

fn write(soft: libc::rlim_t, hard: libc::rlim_t) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    // SAFETY: reads the struct it is given.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(target_os = "linux")]
const SYSTEM_MAX_NAME: Option<&str> = Some("fs.nr_open");
#[cfg(target_os = "macos")]
const SYSTEM_MAX_NAME: Option<&str> = Some("kern.maxfilesperproc");
#[cfg(not(any(target_os = "linux", target_os = "macos")))]
const SYSTEM_MAX_NAME: Option<&str> = None;

/// The system's bound for every process; `None` where there is none or it cannot be read (`/proc` may be missing).
#[cfg(target_os = "linux")]
fn system_max() -> Option<usize> {
    let text = std::fs::read_to_string("/proc/sys/fs/nr_open").ok()?;
    text.trim().parse().ok()
}

/// The system's bound for every process. `setrlimit` takes a higher one without a word and does not keep it.
#[cfg(target_os = "macos")]
fn system_max() -> Option<usize> {
    let mut max: libc::c_int = 0;
    let mut len = size_of_val(&max);
    // SAFETY: the name ends in a zero byte; the buffer is one int long, as `len` says; nothing is set.
    let code = unsafe {
        libc::sysctlbyname(
            c"kern.maxfilesperproc".as_ptr(),
            (&raw mut max).cast(),
            &mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    usize::try_from(max)
        .ok()
        .filter(|&max| code == 0 && max > 0)
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn system_max() -> Option<usize> {
    None
}

fn count(limit: libc::rlim_t) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// A number as people read it: 1,048,576.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == usize::MAX {
            return f.write_str("any number of");
        }
        let digits = self.0.to_string();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_limit() {
        assert!(fd_limit().is_some_and(|limit| limit > 2));
    }

    #[test]
    fn the_goal_is_the_least_bound_and_names_it() {
        let system = Some(HeldBack::System(500));
        let cases = [
            (100, Some(200), Some(500), 100, None),
            (200, Some(200), Some(500), 200, None),
            (300, Some(200), Some(500), 200, Some(HeldBack::Hard)),
            (900, Some(800), Some(500), 500, system),
            (900, None, Some(500), 500, system),
            (900, Some(500), Some(500), 500, Some(HeldBack::Hard)),
            (900, None, None, 900, None),
            (usize::MAX, None, None, usize::MAX, None),
        ];
        for (cap, hard, max, limit, why) in cases {
            assert_eq!(goal(cap, hard, max), (limit, why), "{cap} {hard:?} {max:?}");
        }
    }

    #[test]
    fn asking_for_less_than_there_is_changes_nothing() {
        let before = fd_limit().unwrap();
        let report = raise_fd_limit(1);
        assert_eq!((report.before, report.now), (before, before));
        assert_eq!(report.held_back, None);
        assert_eq!(fd_limit(), Some(before));
    }

    #[test]
    fn the_report_is_one_line_that_says_why() {
        let report = FdLimit {
            asked: 1 << 20,
            before: 256,
            now: 20_000,
            hard: Some(20_000),
            held_back: Some(HeldBack::Hard),
        };
        let with = |held_back| FdLimit {
            held_back,
            ..report
        };
        assert_eq!(
            report.to_string(),
            "asked for 1,048,576 descriptors, got 20,000: the hard limit"
        );
        assert_eq!(
            with(Some(HeldBack::Refused(libc::EPERM))).to_string(),
            "asked for 1,048,576 descriptors, got 20,000: raising it was refused: \
             Operation not permitted (os error 1)"
        );
        let unknown = unreadable(100_000, &io::Error::from_raw_os_error(libc::EPERM)).to_string();
        assert!(
            unknown.contains("got 1,024: assumed"),
            "what is not known is not claimed: {unknown}"
        );
        let enough = FdLimit {
            asked: 1024,
            now: 1024,
            held_back: None,
            ..report
        };
        assert_eq!(enough.to_string(), "asked for 1,024 descriptors, got 1,024");
        let already = FdLimit {
            asked: 100,
            now: 256,
            ..enough
        };
        assert_eq!(
            already.to_string(),
            "asked for 100 descriptors, had 256 already"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_systems_bound_is_named() {
        let max = system_max().expect("/proc is there in tests");
        let why = HeldBack::System(max).to_string();
        assert!(why.ends_with("at most (fs.nr_open)"), "{why}");
    }
}

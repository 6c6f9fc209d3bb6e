//! The processor time that a process has taken, to the nanosecond: the kernel's clock of that process.
//!
//! Needs two C functions that have no safe form here, hence the unsafe code of this file, and of nothing else.

use std::io;
use std::mem::MaybeUninit;
use std::time::Duration;

/// User's and system's time of all threads that a process has or had.
///
/// # Errors
/// When there is no such process.
pub fn cpu_of(pid: u32) -> io::Result<Duration> {
    let pid = libc::pid_t::try_from(pid)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "this is no process id"))?;
    let mut clock = 0;
    // SAFETY: writes a number through a pointer that is valid for this call.
    let error = unsafe { libc::clock_getcpuclockid(pid, &mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: writes the struct that it is given, which is valid for this call.
    if unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: all zeros is a timespec as well, and the call has filled it.
    let time = unsafe { time.assume_init() };
    Ok(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_and_counts_threads_that_have_ended() {
        let own = std::process::id();
        let before = cpu_of(own).unwrap();
        let worker = std::thread::spawn(move || {
            std::hint::black_box((0..1_000_000u64).map(std::hint::black_box).sum::<u64>());
            cpu_of(own).unwrap()
        });
        let inside = worker.join().unwrap();
        assert!(before < inside && inside < cpu_of(own).unwrap());
    }

    #[test]
    fn what_is_no_process_is_an_error() {
        assert!(cpu_of(u32::MAX).is_err());
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(cpu_of(child.id()).is_err());
    }
}

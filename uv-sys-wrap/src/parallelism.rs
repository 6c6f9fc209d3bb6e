//! How many threads are worth running.

/// How many threads this process can run at once: at least 1.
///
/// It knows the affinity mask of the calling thread and, on Linux, the processor quota of the cgroup. So ask before the
/// thread is pinned. See `uv_available_parallelism`.
pub fn available_parallelism() -> usize {
    // SAFETY: takes nothing and needs no loop.
    let count = unsafe { libuv_sys2::uv_available_parallelism() };
    usize::try_from(count).unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_at_least_one_and_not_more_than_there_are() {
        // SAFETY: takes no pointers.
        let configured = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
        let count = super::available_parallelism();
        assert!(
            (1..=configured as usize).contains(&count),
            "{count} of {configured}"
        );
    }
}

//! The process's limit on open descriptors.

/// How many descriptors this process may have open: the soft limit of `RLIMIT_NOFILE`. `None` if the system does not
/// say. See `getrlimit(2)`.
pub fn fd_limit() -> Option<usize> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: writes the struct it is given.
    let code = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    (code == 0).then(|| usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    #[test]
    fn there_is_a_limit() {
        assert!(super::fd_limit().is_some_and(|limit| limit > 2));
    }
}

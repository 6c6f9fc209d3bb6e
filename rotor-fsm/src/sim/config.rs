//! `SimConfig`: how the simulated world behaves: how slow, how small, how hostile.

use std::time::Duration;

/// The bounds within which a simulation draws its chances. All of it is virtual: a delay of a second costs nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimConfig {
    /// Shortest and longest time that something takes from one end of a connection to the other. Default 10 µs to
    /// 5 ms; most take less than an eighth of the longest, so that the orders of different connections mix.
    pub delay: (Duration, Duration),
    /// Into how many pieces one write is cut at most; each arrives by itself, split at any byte. Default 4.
    pub pieces_max: usize,
    /// Smallest and largest number of bytes that one direction of a connection holds (sent, not yet read), drawn for
    /// each. Default 512 to 65,536: small ones make writers wait, at the price of more events.
    pub buffer_bytes: (usize, usize),
    /// How often a write takes less than there is room for. Default 25 %.
    pub partial_percent: u8,
    /// How often a read gives less than has arrived. Default 10 %.
    pub short_read_percent: u8,
    /// How often a connect is refused though somebody listens. Default 0 %.
    pub refuse_percent: u8,
    /// How often the network breaks a connection: both ends see a reset. Default 0 %.
    pub break_percent: u8,
    /// Within which time after it was made such a connection breaks. Default 100 ms.
    pub break_within: Duration,
    /// Descriptors that all loops together may have open: listeners and streams. Scripted peers are other processes.
    /// Default no limit.
    pub descriptors_max: usize,
    /// Shortest and longest time that a thread-pool job takes. Default 50 µs to 10 ms.
    pub work: (Duration, Duration),
    /// Threads of the pool: how many jobs run at a time. Default 4, as libuv's.
    pub work_threads: usize,
    /// Shortest and longest time that a turn of a loop takes. Default 1 to 20 µs. Never quite zero, so that loops
    /// that keep each other busy do not stop the clock.
    pub turn: (Duration, Duration),
    /// Lines of trace that are kept, the latest; the hash covers all. Default 20,000.
    pub trace_lines_max: usize,
}

impl Default for SimConfig {
    fn default() -> Self {
        let micros = Duration::from_micros;
        Self {
            delay: (micros(10), micros(5000)),
            pieces_max: 4,
            buffer_bytes: (512, 65_536),
            partial_percent: 25,
            short_read_percent: 10,
            refuse_percent: 0,
            break_percent: 0,
            break_within: micros(100_000),
            descriptors_max: usize::MAX,
            work: (micros(50), micros(10_000)),
            work_threads: 4,
            turn: (micros(1), micros(20)),
            trace_lines_max: 20_000,
        }
    }
}

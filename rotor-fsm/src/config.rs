//! `Config`: the limits of a loop, each with a default and its reason (rule R11).

use crate::MachineId;
use crate::error::Reason;
use std::time::Duration;
use uv_sys_wrap::PoolConfig;

/// What to do after a machine has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Continue,
    /// Stop the loop: `run` returns an error, or resumes the panic if the machine panicked.
    Stop,
}

/// Hears of every machine that ended, and why.
pub type EndHook = Box<dyn FnMut(MachineId, &Reason) -> Verdict + Send>;

/// The limits and options of a loop.
pub struct Config {
    /// Machines at once. Default 1,048,576: tables grow as they are used, so a large limit costs nothing.
    pub machines_max: usize,
    /// Open streams at once; above it listeners wait. Default: the process's descriptor limit less 64, so that
    /// files, pipes and listeners still open when every connection is taken; at least 16.
    pub sockets_max: usize,
    /// Machines and streams whose memory is set aside when the loop is made, so that accepting the first allocates
    /// as little as accepting later ones. Default 0: tables grow as they are used.
    pub preallocate: usize,
    /// Messages waiting in the inbox, and as many again being delivered. Default 65,536: 2 ms of work.
    pub inbox_messages_max: usize,
    /// Spawns from other threads waiting for the loop. Default 1,024.
    pub control_orders_max: usize,
    /// Messages delivered in one turn, and as many wakes, before sockets are looked at again. Default 4,096: about
    /// 100 µs.
    pub messages_per_turn: usize,
    /// Machines created or asked to finish in one turn. Default 1,024.
    pub creates_per_turn: usize,
    /// Deadlines that fire in one turn. Default 1,024.
    pub timeouts_per_turn: usize,
    /// Connections taken from one listener in one turn. Default 64.
    pub accepts_per_turn: usize,
    /// Output waiting on one stream. Default 16 MiB: what a machine writes in one go must fit. Protocols on streams
    /// have lower limits of their own.
    pub output_bytes_max: usize,
    /// Thread-pool jobs waiting or running. Default 1,024.
    pub jobs_max: usize,
    /// How long the loop polls before it sleeps. Default zero: it sleeps at once. With it, a message reaches a
    /// waiting loop in about a microsecond, and the thread burns its core meanwhile.
    pub busy_poll: Duration,
    /// The buffer pool shared with libuv.
    pub pool: PoolConfig,
    /// Core on which a [`LoopThread`](crate::LoopThread) pins itself, as an index into the cores that the process
    /// may use. Default none.
    pub core: Option<usize>,
    /// Name of a loop's own thread. Default `rotor`.
    pub thread_name: String,
    /// Called after a machine has ended. Default none: go on.
    pub on_end: Option<EndHook>,
}

/// Places set aside beside those asked for: the loop's own handles, listeners, machines that are no connections. Also
/// the step in which the wrapper makes handles, so that tables by handle are as long as there are handles.
const BESIDE: usize = 64;

impl Config {
    /// Places to set aside in each table.
    pub(crate) fn set_aside(&self) -> usize {
        match self.preallocate {
            0 => 0,
            asked => (asked.min(self.machines_max) + BESIDE).next_multiple_of(BESIDE),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            machines_max: 1 << 20,
            sockets_max: default_sockets_max(),
            preallocate: 0,
            inbox_messages_max: 65_536,
            control_orders_max: 1024,
            messages_per_turn: 4096,
            creates_per_turn: 1024,
            timeouts_per_turn: 1024,
            accepts_per_turn: 64,
            output_bytes_max: 16 << 20,
            jobs_max: 1024,
            busy_poll: Duration::ZERO,
            pool: PoolConfig::default(),
            core: None,
            thread_name: "rotor".to_owned(),
            on_end: None,
        }
    }
}

/// Descriptors left to everything that is not a connection.
const FD_HEADROOM: usize = 64;

fn default_sockets_max() -> usize {
    let fds = uv_sys_wrap::fd_limit().unwrap_or(1024);
    fds.saturating_sub(FD_HEADROOM).max(16)
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("machines_max", &self.machines_max)
            .field("sockets_max", &self.sockets_max)
            .field("inbox_messages_max", &self.inbox_messages_max)
            .finish_non_exhaustive()
    }
}

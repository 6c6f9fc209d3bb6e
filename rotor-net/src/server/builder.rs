//! `Builder`: what a server shall be.

use super::Server;
use super::bind::Wanted;
use super::cores::Pin;
use super::gate::Ending;
use super::picker::Dispatch;
use super::report::{Notice, Watch, guarded};
use super::worker::Restarts;
use crate::Limits;
use rotor_fsm::{Config, Error, Hosts, ListenOptions, Machine, Never, available_parallelism};
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How many workers a server has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Workers {
    /// As many as the system says can run in parallel (`uv_available_parallelism`, which knows cgroup quotas).
    #[default]
    Auto,
    /// This many; at least one, at most 1,024.
    Count(usize),
}

impl From<usize> for Workers {
    fn from(count: usize) -> Self {
        Self::Count(count)
    }
}

impl Workers {
    pub(super) fn count(self) -> usize {
        match self {
            Self::Auto => available_parallelism(),
            Self::Count(count) => count,
        }
        .clamp(1, WORKERS_MAX)
    }
}

/// More threads than this serve nobody; and a worker's number must fit into the connection table.
const WORKERS_MAX: usize = 1024;

/// What is done with a broadcast message.
type Hear<T, C> = Arc<dyn Fn(T, &mut C) + Send + Sync>;

/// What a server shall be. Made by [`Server::builder`]; connections are served by machines of type `M`, on loops of
/// `C`, which hear broadcast messages of type `T`.
pub struct Builder<M: Machine, C = M, T = Never> {
    pub(super) settings: Settings,
    pub(super) hear: Hear<T, M::Context>,
    kind: PhantomData<fn() -> C>,
}

/// All that does not depend on the types.
pub(super) struct Settings {
    pub wanted: Vec<Wanted>,
    pub options: ListenOptions,
    pub workers: Workers,
    pub pin: Pin,
    pub connections: usize,
    pub dispatch: Dispatch,
    pub limits: Limits,
    pub fds_max: usize,
    pub preallocate: Option<usize>,
    pub configs: Box<dyn Fn(usize) -> Config + Send + Sync>,
    pub watch: Watch,
    pub restarts: Restarts,
    pub heeds_signals: bool,
    pub grace: Duration,
    pub takeover: Option<PathBuf>,
    /// Where the acceptor leaves its report.
    pub ending: Arc<Ending>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            wanted: Vec::new(),
            options: ListenOptions::default(),
            workers: Workers::Auto,
            pin: Pin::Auto,
            connections: Limits::default().connections,
            dispatch: Dispatch::default(),
            limits: Limits::default(),
            fds_max: 1 << 20,
            preallocate: None,
            configs: Box::new(|_| Config::default()),
            watch: guarded(|notice| eprintln!("{notice}")),
            restarts: Restarts::default(),
            heeds_signals: false,
            grace: Duration::from_secs(10),
            takeover: None,
            ending: Arc::default(),
        }
    }
}

impl<M: Machine> Server<M> {
    /// A server whose connections are each served by a machine of type `M`: a `Stream<P>`, a `Fiber`, or one of your
    /// own.
    pub fn builder() -> Builder<M> {
        Builder {
            settings: Settings::default(),
            hear: Arc::new(|never: Never, _| match never {}),
            kind: PhantomData,
        }
    }
}

impl<M: Machine, C, T> Builder<M, C, T> {
    /// Listens at this address, too: `IP:PORT`, `[IPv6]:PORT` or `unix:PATH`. One that cannot be read is
    /// `start`'s error.
    pub fn listen(mut self, at: &str) -> Self {
        self.settings
            .wanted
            .push(Wanted::At(at.parse().map_err(Error::from)));
        self
    }

    /// Listens on the sockets that the process was started with, too (`LISTEN_FDS` and `LISTEN_PID`, as service managers
    /// set them; see `sd_listen_fds(3)`). There may be none.
    pub fn listen_inherited(mut self) -> Self {
        self.settings.wanted.push(Wanted::Inherited);
        self
    }

    /// How it listens. `reuse_port` follows from [`dispatch`](Self::dispatch).
    pub fn listen_options(mut self, options: ListenOptions) -> Self {
        self.settings.options = options;
        self
    }

    /// How many workers. Default [`Workers::Auto`].
    pub fn workers(mut self, workers: impl Into<Workers>) -> Self {
        self.settings.workers = workers.into();
        self
    }

    /// Whether, or to which cores, threads are pinned. Default `true`: over the cores that the process may use, the first
    /// left to the acceptor if there are more cores than workers. Refusals are noticed, and the server goes on. Say
    /// `false` where several such processes share a machine: they would all choose the same cores.
    pub fn pin(mut self, pin: impl Into<Pin>) -> Self {
        self.settings.pin = pin.into();
        self
    }

    /// Connections at once, over all workers; at this number accepting pauses. Default 10,000. Fewer, if the process may
    /// not open so many descriptors.
    pub fn connections(mut self, connections: usize) -> Self {
        self.settings.connections = connections;
        self
    }

    /// How connections are spread over workers. Default [`Dispatch::LeastLoaded`].
    pub fn dispatch(mut self, dispatch: Dispatch) -> Self {
        self.settings.dispatch = dispatch;
        self
    }

    /// Limits of streams. Their `connections` is for each worker, and is raised to what the server takes.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.settings.limits = limits;
        self
    }

    /// The process's limit on descriptors is raised to this, as far as it goes. Default 1,048,576. The connection table
    /// has as many slots.
    pub fn fds_max(mut self, fds_max: usize) -> Self {
        self.settings.fds_max = fds_max;
        self
    }

    /// Connections for which each worker sets memory aside when it starts. Default: its share of the limit, at most
    /// 16,384.
    pub fn preallocate(mut self, connections: usize) -> Self {
        self.settings.preallocate = Some(connections);
        self
    }

    /// The configuration of each worker's loop. Default [`Config::default`]. `core` and `thread_name` are not looked at.
    pub fn config(mut self, configs: impl Fn(usize) -> Config + Send + Sync + 'static) -> Self {
        self.settings.configs = Box::new(configs);
        self
    }

    /// Who hears what the server notices, such as a worker that failed. Default: standard error. Called on the thread
    /// where it happens; must not block. A panic in it is forgotten.
    pub fn on_notice(mut self, watch: impl Fn(&Notice) + Send + Sync + 'static) -> Self {
        self.settings.watch = guarded(watch);
        self
    }

    /// When a worker whose loop failed is started again.
    pub fn restarts(mut self, restarts: Restarts) -> Self {
        self.settings.restarts = restarts;
        self
    }

    /// SIGTERM or SIGINT begins a drain with this grace, the second one stops the server at once. Default: signals are
    /// not watched.
    pub fn drain_on_signals(mut self, grace: Duration) -> Self {
        self.settings.heeds_signals = true;
        self.settings.grace = grace;
        self
    }

    /// Hot restart: takes over the listening sockets of the server whose control socket is at this path, if there is one;
    /// then listens there itself, for its own successor. When the successor serves, this server drains, with the grace
    /// of [`drain_on_signals`](Self::drain_on_signals) (10 s by default). No connection is refused meanwhile. Only
    /// processes of the same user may take over.
    pub fn takeover(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.takeover = Some(path.into());
        self
    }

    /// Runs on loops of machines of type `D`, of which the connections' machines are a part
    /// ([`compose!`](rotor_fsm::compose)).
    pub fn on<D>(self) -> Builder<M, D, T>
    where
        D: Machine<Context = M::Context> + Hosts<M>,
    {
        Builder {
            settings: self.settings,
            hear: self.hear,
            kind: PhantomData,
        }
    }

    /// Lets [`Server::broadcast`] send messages of type `U` to all workers: `hear` runs on each worker's thread, with its
    /// context. A panic in it ends the worker's loop, which is then started again.
    pub fn on_message<U: Send + 'static>(
        self,
        hear: impl Fn(U, &mut M::Context) + Send + Sync + 'static,
    ) -> Builder<M, C, U> {
        Builder {
            settings: self.settings,
            hear: Arc::new(hear),
            kind: PhantomData,
        }
    }
}

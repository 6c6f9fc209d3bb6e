//! The start of a server: limits, sockets, the acceptor's loop, the workers' threads, in this order; connections are
//! taken when all workers are up.

use super::bind::{Bound, OwnSockets};
use super::builder::{Builder, Settings};
use super::connection::Connection;
use super::cores::{self, Pin, pin_current};
use super::gate::{Gate, GateMessage, GateSeed, Opening};
use super::handoff::{self, Taken};
use super::ledger::Ledger;
use super::mesh::Mesh;
use super::picker::Dispatch;
use super::report::{Notice, Watch};
use super::roles::Of;
use super::table::Table;
use super::usher::{Closing, Usher, UsherSeed};
use super::worker::{Plan, Thread, Worker};
use super::{Main, Server};
use crossbeam_channel::{Receiver, bounded};
use rotor_fsm::{
    Config, Error, FdLimit, Hosts, ListenSocket, LoopThread, Machine, Notifier, Reason, Result,
    Verdict, raise_fd_limit,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Descriptors left to everything that is not a connection: files, pipes, listeners, and a few for each loop.
const FD_HEADROOM: usize = 64;
const FD_HEADROOM_PER_LOOP: usize = 8;
/// Connections whose memory a worker sets aside by default, at most: about 8 MiB.
const PREALLOCATE_MAX: usize = 16_384;
/// How long a predecessor may take to hand over its sockets.
const TAKEOVER_PATIENCE: Duration = Duration::from_secs(10);

impl<M, C, T> Builder<M, C, T>
where
    M: Machine,
    C: Machine<Context = M::Context> + Hosts<M>,
    T: Send + 'static,
{
    /// Starts the server, and returns when all workers serve.
    ///
    /// `contexts` makes what the machines of a worker share, on that worker's thread; again, if the worker has to be
    /// restarted. `seeds` makes the seed of each connection's machine; a connection for which it fails is closed, and
    /// counted as refused.
    ///
    /// # Errors
    /// No address, or one that cannot be read; [`ListenError`](super::ListenError) for one that cannot be listened at;
    /// what `contexts` fails with; what the system refuses.
    pub fn start(
        self,
        contexts: impl Fn(&Worker<'_, C>) -> Result<M::Context> + Send + Sync + 'static,
        seeds: impl Fn(Connection<'_>, &mut M::Context) -> Result<M::Seed> + Send + Sync + 'static,
    ) -> Result<Server<M, C, T>> {
        let mut settings = self.settings;
        let workers = settings.workers.count();
        let fd_limit = raise_fd_limit(settings.fds_max);
        let connections = settings.connections_within(&fd_limit, workers);
        let table = Table::new(fd_limit.now)?;
        let ledger = Arc::new(Ledger::new(table, workers, connections));

        let mut taken = settings.take_over()?;
        let mut bound = settings.bind(taken.as_mut(), workers)?;
        let copies = match settings.takeover {
            Some(_) => bound.copies()?,
            None => Vec::new(),
        };
        if settings.pin != Pin::No {
            cores::start_thread_pool()?;
        }
        let cores = cores::plan(&settings.pin, workers, &cores::available());
        settings.warn(&cores);

        let (main, gate, alive) = settings.start_main(&ledger, cores.acceptor)?;
        let plan = Plan::<Of<M, C, T>> {
            ledger: ledger.clone(),
            contexts: Box::new(contexts),
            seeds: Arc::new(seeds),
            hear: self.hear,
            preallocate: settings.preallocated(connections, workers),
            limits: settings.limits_for(connections),
            configs: settings.configs,
            cores: cores.workers,
            sockets: own_sockets(&mut bound, workers),
            doors: Mesh::new(workers),
            watch: settings.watch.clone(),
            restarts: settings.restarts,
        };
        let plan = Arc::new(plan);
        let mut server = Server {
            gate: gate.clone(),
            main: Some(main),
            threads: Vec::new(),
            ledger,
            doors: plan.doors.clone(),
            addresses: std::mem::take(&mut bound.addresses),
            fd_limit,
            ending: settings.ending,
            kind: std::marker::PhantomData,
        };
        // From here on an early return stops what was started, by the server's drop.
        server.start_workers(&plan, &alive)?;
        let usher = match settings.takeover {
            Some(path) => server.start_usher(&path, copies, settings.watch)?,
            None => None,
        };
        bound.own_files();
        server.open(bound.shared, usher)?;
        if let Some(taken) = taken {
            taken.ready()?;
        }
        Ok(server)
    }
}

/// What the settings come to on this machine.
impl Settings {
    /// As many connections as were asked for, if the descriptors suffice.
    fn connections_within(&self, fds: &FdLimit, workers: usize) -> usize {
        let headroom = FD_HEADROOM + FD_HEADROOM_PER_LOOP * (workers + 1);
        let fit = fds.now.saturating_sub(headroom).max(1);
        self.connections.clamp(1, fit)
    }

    fn preallocated(&self, connections: usize, workers: usize) -> usize {
        let share = connections.div_ceil(workers).min(PREALLOCATE_MAX);
        self.preallocate.unwrap_or(share)
    }

    /// The connections' limit is kept by the ledger; the streams' own leaves room for those that the program makes.
    fn limits_for(&self, connections: usize) -> crate::Limits {
        let mut limits = self.limits.clone();
        limits.connections = limits.connections.max(connections);
        limits
    }

    fn take_over(&self) -> Result<Option<Taken>> {
        match &self.takeover {
            Some(path) => Ok(handoff::take(path, TAKEOVER_PATIENCE)?),
            None => Ok(None),
        }
    }

    fn bind(&mut self, taken: Option<&mut Taken>, workers: usize) -> Result<Bound> {
        let taken = taken.map_or_else(Vec::new, |taken| std::mem::take(&mut taken.listeners));
        let own = (self.dispatch == Dispatch::ReusePort).then_some(workers);
        let wanted = std::mem::take(&mut self.wanted);
        Bound::new(wanted, taken, own, &self.options)
    }

    fn warn(&self, cores: &cores::Plan) {
        for why in &cores.warnings {
            (self.watch)(&Notice::NotPinned {
                worker: None,
                why: why.clone(),
            });
        }
    }

    /// The acceptor's loop. The receiver is disconnected when nothing shall be restarted any more.
    fn start_main(
        &self,
        ledger: &Arc<Ledger>,
        core: Option<usize>,
    ) -> Result<(LoopThread<Main>, Notifier<GateMessage>, Receiver<()>)> {
        let (watch, notice, books) = (self.watch.clone(), self.watch.clone(), ledger.clone());
        let hook = self.watch.clone();
        let config = Config {
            thread_name: "rotor-accept".to_owned(),
            // Every connection may come back from its worker.
            inbox_messages_max: ledger.places.max() + 1024,
            on_end: Some(Box::new(move |id, reason| match reason {
                // The acceptor, the first machine: its end is the loop's.
                _ if id.index() == 0 => Verdict::Stop,
                Reason::Failed(_) | Reason::Panicked(_) => {
                    let why = reason.to_string();
                    hook(&Notice::TakeoverFailed { why });
                    Verdict::Continue
                }
                _ => Verdict::Continue,
            })),
            ..Config::default()
        };
        let (sender, alive) = bounded(0);
        let main = LoopThread::<Main>::spawn(config, move |_| {
            books.enlist_thread();
            if let Some(Err(why)) = core.map(pin_current) {
                notice(&Notice::NotPinned { worker: None, why });
            }
            Ok(())
        })?;
        let seed = GateSeed {
            ledger: ledger.clone(),
            dispatch: self.dispatch,
            watch,
            grace: self.grace,
            heeds_signals: self.heeds_signals,
            alive: sender,
            ending: self.ending.clone(),
        };
        let gate = main.spawn::<Gate>(seed).wait()?;
        Ok((main, gate, alive))
    }
}

fn own_sockets(bound: &mut Bound, workers: usize) -> Vec<OwnSockets> {
    let mut own = std::mem::take(&mut bound.own);
    own.resize_with(workers, Vec::new);
    own.into_iter().map(OwnSockets::new).collect()
}

impl<M: Machine, C, T: Send + 'static> Server<M, C, T> {
    /// Starts the workers' threads and waits until each serves, or one fails.
    fn start_workers<R>(&mut self, plan: &Arc<Plan<R>>, alive: &Receiver<()>) -> Result<()>
    where
        R: super::roles::Roles,
    {
        let (ready, started) = bounded(plan.cores.len());
        for index in 0..plan.cores.len() {
            let thread = Thread {
                plan: plan.clone(),
                index,
                gate: self.gate.clone(),
                alive: alive.clone(),
                ready: ready.clone(),
            };
            let name = format!("rotor-worker-{index}");
            let started = std::thread::Builder::new()
                .name(name)
                .spawn(move || thread.run());
            match started {
                Ok(started) => self.threads.push(started),
                Err(error) => {
                    // The acceptor waits for the end of each, also of those that there will never be.
                    (index..plan.cores.len()).for_each(|gone| {
                        let _ = self.gate.send(GateMessage::Gone(gone));
                    });
                    return Err(error.into());
                }
            }
        }
        drop(ready);
        for _ in 0..self.threads.len() {
            let stopped = || Error::msg("a worker's thread ended before it served");
            started.recv().map_err(|_| stopped())??;
        }
        Ok(())
    }

    /// The control socket takes the place of the predecessor's now.
    fn start_usher(
        &self,
        path: &Path,
        sockets: Vec<(String, ListenSocket)>,
        watch: Watch,
    ) -> Result<Option<Notifier<Closing>>> {
        let Some(main) = &self.main else {
            return Ok(None);
        };
        let seed = UsherSeed {
            control: handoff::bind_control(path)?,
            sockets,
            gate: self.gate.clone(),
            watch,
        };
        Ok(Some(main.spawn::<Usher>(seed).wait()?))
    }

    /// Connections may come. Waits until the acceptor listens.
    fn open(
        &self,
        sockets: Vec<(usize, ListenSocket)>,
        usher: Option<Notifier<Closing>>,
    ) -> Result<()> {
        let (opened, answer) = bounded(1);
        let opening = Opening {
            sockets,
            usher,
            opened,
        };
        let refused = || Error::msg("the acceptor ended before it listened");
        // A refusal gives the sockets back, whose drop closes them.
        self.gate
            .send(GateMessage::Open(opening))
            .map_err(|_| refused())?;
        answer.recv().map_err(|_| refused())?
    }
}

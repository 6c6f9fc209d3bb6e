//! The server: pinned workers, each with the machines of its connections and of the transfers on them.
//!
//! ```text
//! Stream<Session<Disk>> ─ Disk::get ─ spawn ─→ Fiber (transfer::get) ─ work ─→ thread pool
//!        ↑                                        └ items.send_in ─┐
//!        └─────────────────── frames ──────────────────────────────┘
//! ```
//!
//! No handler touches the disk: what answers at once does one job on the thread pool, and what takes a while is a fiber.

use super::name::Name;
use super::refusal::Refusal;
use super::root::Root;
use super::service::{Change, Piece, files};
use super::transfer::{self, Items};
use super::walk::Entry;
use super::watch::Watch;
use bytes::Bytes;
use rotor_fsm::{Error, Result, Spawner, compose};
use rotor_net::Stream;
use rotor_net::fiber::{Cx, Fiber, StackConfig, Stacks};
use rotor_net::rpc::{self, CallScope, ItemReceiver, ItemSender, Reply, SessionConfig, Wire};
use rotor_net::server::{self, Notice, Workers};
use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

compose! {
    /// All machines of a worker.
    pub enum Machines(Shared) { Session(Connection), Transfer(Fiber<Shared>) }
}

/// One client's machine.
pub type Connection = Stream<files::Session<Disk>>;
/// The whole server.
pub type Server = server::Server<Connection, Machines>;

/// What shall be served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory.
    pub dir: PathBuf,
    /// Where.
    pub listen: String,
    /// By how many workers.
    pub workers: Workers,
    /// The longest file that may be put.
    pub upload_bytes_max: u64,
    /// How long a client may take to send its next piece, or to take the next.
    pub idle: Duration,
}

/// What the machines of a worker share.
pub struct Shared {
    pub(super) root: Root,
    pub(super) upload_bytes_max: u64,
    pub(super) idle: Duration,
    /// Jobs that answer at once and are under way.
    jobs: Rc<Cell<usize>>,
    stacks: Stacks,
    transfers: Spawner<Fiber<Shared>>,
    watch: Arc<Watch>,
}

/// Transfers of one worker at once: each may hold a file open and a few pieces in memory.
const TRANSFERS_MAX: usize = 512;
/// Other jobs of one worker at once. Transfers have one each, so together they are no more than a loop takes
/// (`Config::jobs_max`, 1,024).
const JOBS_MAX: usize = 512;
/// How long clients may take to finish after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);
/// Bytes that a client may send ahead of the disk: four chunks.
const WINDOW_BYTES: u32 = 256 << 10;

/// Starts a server, which drains at SIGTERM and SIGINT.
///
/// # Errors
/// A directory that cannot be served, an address that cannot be listened at, what the system refuses.
pub fn start(settings: &Settings) -> Result<Server> {
    let named = |error| Error::msg(format!("{}: {error}", settings.dir.display()));
    let root = Root::open(&settings.dir).map_err(named)?;
    let watch = Arc::new(Watch::start(&root)?);
    let to_end = watch.clone();
    let (upload_bytes_max, idle) = (settings.upload_bytes_max, settings.idle);
    let config = Arc::new(SessionConfig {
        window_bytes: WINDOW_BYTES,
        ..SessionConfig::default()
    });
    server::Server::<Connection>::builder()
        .listen(&settings.listen)
        .workers(settings.workers)
        .drain_on_signals(GRACE)
        .on_notice(move |notice| {
            eprintln!("files: {notice}");
            if let Notice::Draining { .. } = notice {
                to_end.end();
            }
        })
        .on::<Machines>()
        .start(
            move |worker| {
                Ok(Shared {
                    root: root.clone(),
                    upload_bytes_max,
                    idle,
                    jobs: Rc::default(),
                    stacks: Stacks::new(StackConfig {
                        stacks_max: TRANSFERS_MAX,
                        ..StackConfig::default()
                    })?,
                    transfers: worker.spawner(),
                    watch: watch.clone(),
                })
            },
            move |connection, _| connection.stream(rpc::session(files::Server(Disk), &config)),
        )
}

impl Shared {
    fn is_full(&self) -> bool {
        self.stacks.stats().in_use >= TRANSFERS_MAX
    }

    /// Begins a transfer. If there is no place for it, what it owns is dropped, which ends its call with an error.
    fn begin(&self, body: impl FnOnce(&Cx<'_, Self>) -> Result<()> + 'static) {
        if let Ok(seed) = self.stacks.fiber("transfer", body) {
            drop(self.transfers.spawn(seed));
        }
    }
}

/// The service, as it is done on a disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

type Scope<'c> = CallScope<'c, Shared>;

impl files::Service for Disk {
    type Context = Shared;

    fn list_all(&mut self, items: ItemSender<Result<Vec<Entry>, Refusal>>, scope: &mut Scope<'_>) {
        if let Some(items) = admit(items, scope) {
            scope.ctx.begin(|cx| transfer::list_all(cx, items));
        }
    }

    fn size(&mut self, name: Name, reply: Reply<Result<u64, Refusal>>, scope: &mut Scope<'_>) {
        answer(reply, scope, move |root| root.size(&name));
    }

    fn get(
        &mut self,
        name: Name,
        offset: u64,
        items: ItemSender<Result<Piece, Refusal>>,
        scope: &mut Scope<'_>,
    ) {
        if let Some(items) = admit(items, scope) {
            scope
                .ctx
                .begin(move |cx| transfer::get(cx, name, offset, items));
        }
    }

    fn put(
        &mut self,
        name: Name,
        may_replace: bool,
        chunks: ItemReceiver<Bytes>,
        reply: Reply<Result<u64, Refusal>>,
        scope: &mut Scope<'_>,
    ) {
        if scope.ctx.is_full() {
            return reply.ok(Err(Refusal::Busy));
        }
        scope
            .ctx
            .begin(move |cx| transfer::put(cx, name, may_replace, chunks, reply));
    }

    fn exists(&mut self, name: Name, reply: Reply<Result<bool, Refusal>>, scope: &mut Scope<'_>) {
        answer(reply, scope, move |root| root.exists(&name));
    }

    fn del(&mut self, name: Name, reply: Reply<Result<(), Refusal>>, scope: &mut Scope<'_>) {
        answer(reply, scope, move |root| root.remove(&name));
    }

    fn watch(&mut self, items: ItemSender<Result<Change, Refusal>>, scope: &mut Scope<'_>) {
        scope.ctx.watch.join(items);
    }
}

/// Answers with what a job on the thread pool finds.
fn answer<T: Wire>(
    reply: Reply<Result<T, Refusal>>,
    scope: &mut Scope<'_>,
    job: impl FnOnce(&Root) -> Result<T, Refusal> + Send + 'static,
) {
    let Some(place) = Place::take(&scope.ctx.jobs) else {
        return reply.ok(Err(Refusal::Busy));
    };
    let root = scope.ctx.root.clone();
    let then = move |found| {
        drop(place);
        reply.ok(found);
    };
    // If it is refused all the same, the reply is dropped, which the client hears.
    let _ = scope.work(move || job(&root), then);
}

/// One of the places for jobs, given back when dropped: also if the job never runs.
struct Place(Rc<Cell<usize>>);

impl Place {
    fn take(taken: &Rc<Cell<usize>>) -> Option<Self> {
        if taken.get() >= JOBS_MAX {
            return None;
        }
        taken.set(taken.get() + 1);
        Some(Self(taken.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Whether there is a place for another transfer; if not, the client is told so.
fn admit<T>(mut items: Items<T>, scope: &Scope<'_>) -> Option<Items<T>> {
    if !scope.ctx.is_full() {
        return Some(items);
    }
    let _ = items.send(Err(Refusal::Busy));
    let _ = items.end();
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_jobs_have_a_limit_and_come_back() {
        let taken = Rc::default();
        let mut places: Vec<_> = (0..JOBS_MAX)
            .map(|_| Place::take(&taken).unwrap())
            .collect();
        assert!(Place::take(&taken).is_none());
        places.pop();
        assert!(Place::take(&taken).is_some());
        drop(places);
        assert_eq!(taken.get(), 0);
    }

    /// Both limits were chosen so that no job is ever refused by the loop.
    #[test]
    fn all_jobs_together_are_no_more_than_a_loop_takes() {
        assert!(TRANSFERS_MAX + JOBS_MAX <= rotor_fsm::Config::default().jobs_max);
    }
}

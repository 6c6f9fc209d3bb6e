//! `Watch`: tells who wants to know of changes in the directory, whoever made them.
//!
//! ```text
//! system → notify's thread ─ Order::Changed ─→ this thread ─ ItemSender::send ─→ each watcher's session
//! Disk::watch (a worker) ──── Order::Join ───↗
//! ```
//!
//! The thread owns all watchers, so nothing is locked; it has nothing to do with the loops but through what is made to be
//! used on any thread. Nobody waits for a slow one: what finds a queue full, or a watcher's window of bytes, is not kept,
//! and the watcher hears [`Change::Lost`] later. The directory is watched only while somebody watches.
//!
//! The system watches directories one by one, so what is in one that has just appeared may be older than its watch: the
//! thread looks into it, once it is watched.

use super::name::Name;
use super::refusal::Refusal;
use super::root::Root;
use super::service::Change;
use super::walk::{Walk, is_upload};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use rotor_net::rpc::{ItemSender, SendItemError};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

/// A client's stream of changes.
pub type Changes = ItemSender<Result<Change, Refusal>>;

/// Changes and new watchers that wait for the thread. A rush of more is told as lost.
const ORDERS_MAX: usize = 4096;
/// Clients that watch at once: each change is sent to all.
const WATCHERS_MAX: usize = 1024;
/// How often watchers are looked after, whatever happens: those that have left go, those that have lost something
/// are told.
const TICK: Duration = Duration::from_millis(250);

/// The way to the thread. When it is dropped, all streams end.
#[derive(Debug)]
pub struct Watch {
    orders: SyncSender<Order>,
    is_over: Arc<AtomicBool>,
}

#[derive(Debug)]
enum Order {
    Join(Changes),
    Changed(Change),
    /// There is something new of this name, and it may be a directory.
    Appeared(Name),
    /// Look at the flags.
    Look,
}

impl Watch {
    /// Starts the thread.
    ///
    /// # Errors
    /// What the system refuses.
    pub fn start(root: &Root) -> io::Result<Self> {
        let (orders, received) = sync_channel(ORDERS_MAX);
        let is_over = Arc::new(AtomicBool::new(false));
        let tower = Tower {
            root: root.clone(),
            hear: Hear {
                root: root.path().to_owned(),
                orders: orders.clone(),
                has_lost: Arc::default(),
            },
            orders: received,
            is_over: is_over.clone(),
            watchers: Vec::new(),
            system: None,
        };
        let thread = thread::Builder::new().name("files-watch".to_owned());
        thread.spawn(move || tower.run())?;
        Ok(Self { orders, is_over })
    }

    /// One more that wants to know. Does not wait.
    pub fn join(&self, changes: Changes) {
        match self.orders.try_send(Order::Join(changes)) {
            Err(TrySendError::Full(Order::Join(changes))) => refuse(changes, Refusal::Busy),
            Err(TrySendError::Disconnected(Order::Join(changes))) => end(changes),
            _ => {}
        }
    }

    /// Ends all streams, also those that join later: a server that drains would wait for them.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::SeqCst);
        // If the queue is full, the thread looks anyway.
        let _ = self.orders.try_send(Order::Look);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

/// The thread.
struct Tower {
    root: Root,
    hear: Hear,
    orders: Receiver<Order>,
    is_over: Arc<AtomicBool>,
    watchers: Vec<Watcher>,
    /// What the system tells changes by, while there are watchers.
    system: Option<RecommendedWatcher>,
}

struct Watcher {
    changes: Changes,
    has_lost: bool,
}

impl Tower {
    fn run(mut self) {
        let mut look_at = Instant::now();
        while !self.is_over.load(Ordering::SeqCst) {
            let order = match self.watchers.is_empty() {
                true => self.orders.recv().map_err(RecvTimeoutError::from),
                false => self
                    .orders
                    .recv_timeout(look_at.duration_since(Instant::now())),
            };
            match order {
                Ok(Order::Join(changes)) => self.join(changes),
                Ok(Order::Changed(change)) => self.tell(&change),
                Ok(Order::Appeared(name)) => self.appeared(name),
                Ok(Order::Look) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            // Also if orders never cease.
            if look_at <= Instant::now() {
                self.each(Watcher::look_after);
                look_at = Instant::now() + TICK;
            }
            if self.hear.has_lost.swap(false, Ordering::SeqCst) {
                self.each(Watcher::has_lost);
            }
            if self.watchers.is_empty() {
                self.system = None;
            }
        }
        self.system = None;
        self.watchers.drain(..).for_each(|one| end(one.changes));
        while let Ok(order) = self.orders.try_recv() {
            if let Order::Join(changes) = order {
                end(changes);
            }
        }
    }

    fn join(&mut self, mut changes: Changes) {
        if self.watchers.len() >= WATCHERS_MAX {
            return refuse(changes, Refusal::Busy);
        }
        if let Err(error) = self.watch_system() {
            return refuse(changes, Refusal::Io(error.to_string()));
        }
        if changes.send(Ok(Change::Watching)).is_ok() {
            self.watchers.push(Watcher {
                changes,
                has_lost: false,
            });
        }
    }

    fn watch_system(&mut self) -> notify::Result<()> {
        if self.system.is_some() {
            return Ok(());
        }
        let mut system = RecommendedWatcher::new(self.hear.clone(), config())?;
        system.watch(&self.hear.root, RecursiveMode::Recursive)?;
        self.system = Some(system);
        Ok(())
    }

    fn tell(&mut self, change: &Change) {
        self.each(|watcher| watcher.tell(change));
    }

    /// Tells of what is new, and if it is a directory, of the files in it.
    fn appeared(&mut self, name: Name) {
        self.tell(&Change::Created(name.clone()));
        let (Some(mut walk), Some(system)) = (Walk::below(&self.root, &name), &mut self.system)
        else {
            return;
        };
        // It is answered by the thread that has told of the directory, when that has begun to watch it. This changes
        // nothing else.
        let _ = system.configure(config());
        loop {
            let hears = |watcher: &Watcher| !watcher.has_lost;
            if self.is_over.load(Ordering::SeqCst) || !self.watchers.iter().any(hears) {
                return;
            }
            match walk.batch() {
                Ok(Some(files)) => files
                    .into_iter()
                    .for_each(|file| self.tell(&Change::Created(file.name))),
                Ok(None) => return,
                Err(_) => return self.each(Watcher::has_lost),
            }
        }
    }

    /// Does this for each watcher; those for which it answers false have left.
    fn each(&mut self, does: impl FnMut(&mut Watcher) -> bool) {
        self.watchers.retain_mut(does);
    }
}

impl Watcher {
    fn tell(&mut self, change: &Change) -> bool {
        if !self.look_after() {
            return false;
        }
        if !self.has_lost {
            match self.changes.send(Ok(change.clone())) {
                Ok(()) => {}
                Err(SendItemError::NoCredit(_)) => self.has_lost = true,
                Err(_) => return false,
            }
        }
        true
    }

    fn has_lost(&mut self) -> bool {
        self.has_lost = true;
        self.look_after()
    }

    fn look_after(&mut self) -> bool {
        if self.has_lost {
            match self.changes.send(Ok(Change::Lost)) {
                Ok(()) => self.has_lost = false,
                Err(SendItemError::NoCredit(_)) => {}
                Err(_) => return false,
            }
        }
        !self.changes.is_over()
    }
}

/// What is behind a link may be outside, and is nobody's business.
fn config() -> notify::Config {
    notify::Config::default().with_follow_symlinks(false)
}

fn refuse(mut changes: Changes, why: Refusal) {
    // If the client has left, nobody wants to know.
    let _ = changes.send(Err(why));
    end(changes);
}

fn end(changes: Changes) {
    let _ = changes.end();
}

/// Hears what the system tells, on a thread of `notify`'s.
#[derive(Clone)]
struct Hear {
    root: PathBuf,
    orders: SyncSender<Order>,
    has_lost: Arc<AtomicBool>,
}

impl notify::EventHandler for Hear {
    fn handle_event(&mut self, event: notify::Result<notify::Event>) {
        match event {
            Ok(event) if event.need_rescan() => self.lose(),
            Ok(event) => self.hear(event),
            // Some directory cannot be watched, or not any more.
            Err(_) => self.lose(),
        }
    }
}

impl Hear {
    fn hear(&self, event: notify::Event) {
        let Some(make) = order_of(event.kind) else {
            return;
        };
        for path in event.paths {
            let Ok(name) = path.strip_prefix(&self.root) else {
                continue;
            };
            if name.as_os_str().is_empty() || is_upload(name) {
                continue;
            }
            if self.orders.try_send(make(Name::from(name))).is_err() {
                self.lose();
            }
        }
    }

    fn lose(&self) {
        self.has_lost.store(true, Ordering::SeqCst);
        let _ = self.orders.try_send(Order::Look);
    }
}

/// What an event of the system's says, if it says something to clients.
fn order_of(event: EventKind) -> Option<fn(Name) -> Order> {
    match event {
        EventKind::Create(CreateKind::File) => Some(|name| Order::Changed(Change::Created(name))),
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
            Some(Order::Appeared)
        }
        EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From)) => {
            Some(|name| Order::Changed(Change::Removed(name)))
        }
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
            Some(|name| Order::Changed(Change::Written(name)))
        }
        // Only Linux tells of closing.
        EventKind::Modify(ModifyKind::Data(_)) if !cfg!(target_os = "linux") => {
            Some(|name| Order::Changed(Change::Written(name)))
        }
        _ => None,
    }
}

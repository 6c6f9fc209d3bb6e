//! R4 and R2 under threads: storms of messages, and sends that race with the end of machines and of loops.

use crate::common::*;
use rotor_fsm::prelude::*;
use rotor_fsm::{MachineId, MessageCounts, SendError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

const SENDERS: usize = 8;
const RECEIVERS: usize = 16;

/// One message of the storm: who sent it, and its number among those of that sender.
type Numbered = (u32, u32);

struct Tally {
    per_sender: [u64; SENDERS],
    sum: [u64; SENDERS],
    left: usize,
    last_word: mpsc::Sender<([u64; SENDERS], [u64; SENDERS])>,
}

/// Takes the storm's messages: checks that each sender's come in ascending order, and counts them.
struct Receiver([u32; SENDERS]);

impl Machine for Receiver {
    type Context = Tally;
    type Message = Numbered;
    type Seed = ();

    fn create(_: (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Receiver([0; SENDERS])))
    }

    fn wakeup(
        mut self,
        (sender, n): Numbered,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        let sender = sender as usize;
        assert!(n > self.0[sender], "out of order, or twice");
        self.0[sender] = n;
        scope.ctx.per_sender[sender] += 1;
        scope.ctx.sum[sender] += u64::from(n);
        scope.ctx.left -= 1;
        if scope.ctx.left == 0 {
            let tally = (scope.ctx.per_sender, scope.ctx.sum);
            scope.ctx.last_word.send(tally).unwrap();
        }
        Ok(Response::of(self))
    }
}

/// Sends back what it gets.
enum Echo {
    Listening(#[allow(dead_code)] Listener),
    Serving(Socket),
}

enum EchoSeed {
    Listen(mpsc::Sender<std::net::SocketAddr>),
    Serve(Incoming),
}

impl Machine for Echo {
    type Context = Tally;
    type Message = Never;
    type Seed = EchoSeed;

    fn create(seed: EchoSeed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(match seed {
            EchoSeed::Serve(incoming) => Echo::Serving(scope.open(incoming)?),
            EchoSeed::Listen(at) => {
                let listener = scope.listen(any_port())?;
                at.send(tcp_addr(scope.listening_at(&listener)?))?;
                Echo::Listening(listener)
            }
        }))
    }

    fn io(self, event: Io<'_>, _: HandleId, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (event, &self) {
            (Io::Incoming(incoming), _) => drop(scope.spawn(EchoSeed::Serve(incoming))?),
            (Io::Read(bytes), Echo::Serving(socket)) => scope.write(socket, &bytes)?,
            _ => return Ok(Response::done()),
        }
        Ok(Response::of(self))
    }
}

compose! { enum Storm(Tally) { Receiver(Receiver), Echo(Echo) } }

#[test]
fn r4_eight_threads_send_a_million_messages_each_while_a_socket_is_served() {
    let _dog = watchdog();
    let each = sized(1_000_000, 2_000) as u32;
    let (last_word, total) = mpsc::channel();
    let (at, listening) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let thread = LoopThread::<Storm>::spawn(Config::default(), move |setup| {
        setup.add::<Echo>(EchoSeed::Listen(at))?;
        for _ in 0..RECEIVERS {
            tell.send(setup.add::<Receiver>(())?)?;
        }
        Ok(Tally {
            per_sender: [0; SENDERS],
            sum: [0; SENDERS],
            left: SENDERS * each as usize,
            last_word,
        })
    })
    .unwrap();
    let receivers: Arc<[_]> = told.iter().collect();
    let to = listening.recv().unwrap();
    let senders: Vec<_> = (0..SENDERS as u32)
        .map(|sender| {
            let receivers = receivers.clone();
            std::thread::spawn(move || {
                for n in 1..=each {
                    // Runs of a few for one machine, then the next.
                    let receiver = &receivers[(n / 5 + sender) as usize % RECEIVERS];
                    let mut message = (sender, n);
                    while let Err(refused) = receiver.send(message) {
                        let SendError::Full(back) = refused else {
                            panic!("closed")
                        };
                        message = back;
                        std::thread::yield_now();
                    }
                }
            })
        })
        .collect();
    // The socket on the same loop, meanwhile.
    let mut rounds = 0;
    let mut stream = client(to);
    loop {
        assert_eq!(round_trip(&mut stream, &[7; 64]), [7; 64]);
        rounds += 1;
        if senders.iter().all(|sender| sender.is_finished()) {
            break;
        }
    }
    for sender in senders {
        sender.join().unwrap();
    }
    let (counts, sums) = total.recv_timeout(patience()).unwrap();
    let all = u64::from(each);
    assert_eq!(counts, [all; SENDERS]);
    assert_eq!(sums, [all * (all + 1) / 2; SENDERS]);
    assert!(rounds >= sized(10, 1), "only {rounds} rounds of echo");
    thread.shutdown(Duration::ZERO);
    let handle = (*thread).clone();
    thread.join().unwrap();
    let messages = handle.messages();
    assert_eq!(
        (messages.delivered, messages.dropped),
        (all * SENDERS as u64, 0)
    );
    println!(
        "{} sends, {} async callbacks: {:.1} per million; {rounds} rounds of echo meanwhile",
        messages.delivered,
        messages.wakes,
        messages.wakes as f64 * 1e6 / messages.delivered as f64
    );
}

/// Lives for a few messages.
struct Mayfly(u32);

/// Notifiers of those alive and of some that are not any more.
type List<T> = Arc<Mutex<Vec<Notifier<T>>>>;

/// What the mayflies of the races share.
struct Pond {
    notifiers: List<Citizen>,
    plain: List<Note>,
    got: Arc<AtomicU64>,
    generations: u32,
}

struct Note(#[allow(dead_code)] Citizen);

impl Machine for Mayfly {
    type Context = Pond;
    type Message = Note;
    type Seed = u32;

    fn create(life: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let notifier = scope.notifier();
        let mut mapped = scope.ctx.notifiers.lock().unwrap();
        let mut plain = scope.ctx.plain.lock().unwrap();
        if mapped.len() >= 64 {
            mapped.remove(0);
            plain.remove(0);
        }
        mapped.push(notifier.map(Note));
        plain.push(notifier);
        Ok(Response::of(Mayfly(life)).after(ms(2)))
    }

    fn wakeup(mut self, _: Note, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.got.fetch_add(1, Ordering::Relaxed);
        self.0 -= 1;
        if self.0 > 0 {
            return Ok(Response::of(self));
        }
        self.timeout(scope)
    }

    /// Ends, some by an error, some by a panic, and leaves a successor.
    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.generations += 1;
        let n = scope.ctx.generations;
        scope.spawn(1 + n % 7)?;
        match n % 13 {
            0 => Err(Error::msg("swatted")),
            1 => std::panic::panic_any("eaten"),
            _ => Ok(Response::done()),
        }
    }
}

compose! { enum Meadow(Pond) { Mayfly(Mayfly) } }

/// What several threads did with their messages.
#[derive(Default)]
struct Account {
    accepted: AtomicU64,
    returned: AtomicU64,
}

impl Account {
    fn enter<T>(&self, sent: Result<(), SendError<T>>) -> bool {
        let closed = matches!(sent, Err(SendError::Closed(_)));
        let entry = match sent {
            Ok(()) => &self.accepted,
            Err(_) => &self.returned,
        };
        entry.fetch_add(1, Ordering::Relaxed);
        closed
    }
}

/// Plain, mapped, composed and composed-and-mapped notifiers; machines that end in every way; then the loop ends too,
/// while all go on sending. Nothing is lost, nothing is counted twice, nothing is leaked.
#[test]
fn r4_sent_is_delivered_plus_dropped_plus_returned_whoever_ends_when() {
    let _dog = watchdog();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // These panics are the test's own.
        if info.payload().downcast_ref::<&str>() != Some(&"eaten") {
            hook(info);
        }
    }));
    for round in 0..sized(20, 2) {
        let composed = round % 2 == 1;
        let inbox_messages_max = if round % 4 < 2 { 65_536 } else { 20 };
        race(composed, inbox_messages_max);
    }
    drop(std::panic::take_hook());
}

fn race(composed: bool, inbox_messages_max: usize) {
    let config = Config {
        inbox_messages_max,
        ..Config::default()
    };
    let census = Census::default();
    let got = Arc::new(AtomicU64::new(0));
    let (notifiers, plain): (List<Citizen>, List<Note>) = (Arc::default(), Arc::default());
    let pond = Pond {
        notifiers: Arc::clone(&notifiers),
        plain: Arc::clone(&plain),
        got: got.clone(),
        generations: 0,
    };
    let account = Arc::new(Account::default());
    let over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..4usize)
        .map(|sender| {
            let (mapped, plain) = (Arc::clone(&notifiers), Arc::clone(&plain));
            let (account, over, census) = (account.clone(), over.clone(), census.clone());
            std::thread::spawn(move || {
                let mut n = sender;
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    // An old one, a new one, or one in between.
                    let pick = |len: usize| (len > 0).then(|| n * 7 % len);
                    let to = {
                        let list = mapped.lock().unwrap();
                        pick(list.len()).map(|at| list[at].clone())
                    };
                    let direct = {
                        let list = plain.lock().unwrap();
                        pick(list.len()).map(|at| list[at].clone())
                    };
                    for _ in 0..20 {
                        if let Some(to) = &to {
                            account.enter(to.send(census.one()));
                        }
                        if let Some(direct) = &direct {
                            account.enter(direct.send(Note(census.one())));
                        }
                    }
                }
            })
        })
        .collect();
    let life = Duration::from_millis(sized(60, 600) as u64);
    let ended = if composed {
        live_and_end::<Meadow>(config, pond, life)
    } else {
        live_and_end::<Mayfly>(config, pond, life)
    };
    // The loop is gone; they still send.
    let returned = account.returned.load(Ordering::Relaxed);
    wait_until("a sender has noticed", || {
        ended.is_err() || account.returned.load(Ordering::Relaxed) > returned
    });
    over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.join().unwrap();
    }
    // Counted now, because a message may have been on its way into a promised place when the loop ended.
    let counts = (ended.map_err(|error| error.to_string()).unwrap())();
    let accepted = account.accepted.load(Ordering::Relaxed);
    let returned = account.returned.load(Ordering::Relaxed);
    assert_eq!(census.made() as u64, accepted + returned);
    assert_eq!(accepted, counts.delivered + counts.dropped, "{counts:?}");
    assert_eq!(got.load(Ordering::Relaxed), counts.delivered);
    assert_eq!(census.alive(), 0, "a message was leaked");
    assert!(counts.delivered > 0 && returned > 0);
}

/// Asks an ended loop where its messages went.
type Counts = Box<dyn Fn() -> MessageCounts>;

/// A loop with four mayflies and those after them, shut down amid all that.
fn live_and_end<R>(config: Config, pond: Pond, life: Duration) -> Result<Counts>
where
    R: Hosts<Mayfly, Context = Pond>,
{
    let thread = LoopThread::<R>::spawn(config, move |setup| {
        for n in 0..4 {
            setup.add::<Mayfly>(1 + n)?;
        }
        Ok(pond)
    })?;
    std::thread::sleep(life);
    let handle = (*thread).clone();
    wait_until("a message is delivered", || handle.messages().delivered > 0);
    handle.shutdown(Duration::ZERO);
    thread.join()?;
    Ok(Box::new(move || handle.messages()))
}

/// What old notifiers of a slot send: whom it is for, or an order to end.
enum Probe {
    For(MachineId),
    Go,
}

/// The slot's tenants, one after the other. Slot 0 is the landlord, slot 1 all the others.
struct Tenant {
    landlord: Option<Notifier<Probe>>,
}

#[derive(Default)]
struct House {
    notifiers: List<Probe>,
    left: u32,
    probed: u64,
}

impl Machine for Tenant {
    type Context = House;
    type Message = Probe;
    type Seed = Option<Notifier<Probe>>;

    fn create(landlord: Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let me = scope.notifier();
        me.send(Probe::Go)?;
        if landlord.is_some() {
            assert_eq!(scope.id().index(), 1, "the slot is not reused");
            let mut notifiers = scope.ctx.notifiers.lock().unwrap();
            let len = notifiers.len();
            if len < 1000 {
                notifiers.push(me);
            } else {
                notifiers[scope.id().generation() as usize % len] = me;
            }
        }
        Ok(Response::of(Tenant { landlord }))
    }

    fn wakeup(self, probe: Probe, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match (probe, &self.landlord) {
            (Probe::For(id), _) => {
                scope.ctx.probed += 1;
                assert_eq!(id, scope.id(), "a message for an earlier machine");
            }
            (Probe::Go, Some(landlord)) => {
                landlord.send(Probe::Go)?;
                return Ok(Response::done());
            }
            (Probe::Go, None) if scope.ctx.left == 0 => return Ok(Response::done()),
            (Probe::Go, None) => {
                scope.ctx.left -= 1;
                scope.spawn(Some(scope.notifier()))?;
            }
        }
        Ok(Response::of(self))
    }
}

#[test]
fn r2_a_slot_is_reused_100_000_times_while_old_notifiers_keep_sending() {
    let _dog = watchdog();
    let tenants = sized(100_000, 2_000) as u32;
    let notifiers: List<Probe> = Arc::default();
    let house = House {
        notifiers: notifiers.clone(),
        left: tenants,
        probed: 0,
    };
    let mut main_loop = Loop::<Tenant>::new(Config::default(), |_| Ok(house)).unwrap();
    main_loop.spawn::<Tenant>(None).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let senders: Vec<_> = (0..2usize)
        .map(|sender| {
            let (over, notifiers) = (over.clone(), notifiers.clone());
            std::thread::spawn(move || {
                let (mut n, mut refused) = (sender, 0u64);
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    let to = {
                        let list = notifiers.lock().unwrap();
                        // Half of the time whoever came last, which may live; else somebody of long ago.
                        let newest = list.iter().max_by_key(|to| to.id().generation());
                        match (n % 2, newest) {
                            (_, None) => continue,
                            (0, Some(newest)) => newest.clone(),
                            _ => list[n * 31 % list.len()].clone(),
                        }
                    };
                    for _ in 0..10 {
                        refused += u64::from(to.send(Probe::For(to.id())).is_err());
                    }
                    std::thread::yield_now();
                }
                refused
            })
        })
        .collect();
    main_loop.run().unwrap();
    over.store(true, Ordering::Relaxed);
    let refused: u64 = senders.into_iter().map(|s| s.join().unwrap()).sum();
    assert_eq!(main_loop.stats().panics, 0);
    assert_eq!(main_loop.stats().ended, u64::from(tenants) + 1);
    let last = main_loop
        .context()
        .unwrap()
        .notifiers
        .lock()
        .unwrap()
        .iter()
        .map(|to| to.id().generation())
        .max();
    assert_eq!(last, Some(tenants));
    assert!(refused > 0, "no stale notifier ever sent");
}

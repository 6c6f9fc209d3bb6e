//! R9: several machine types in one loop, at any depth, generic or not. And groups, spawners, work in parts.

use crate::common::*;
use rotor_fsm::prelude::*;
use std::cell::RefCell;
use std::fmt::Display;
use std::marker::PhantomData;
use std::rc::Rc;

/// What all parts share.
#[derive(Default)]
pub(crate) struct Shared {
    log: Vec<String>,
    workers: Option<Spawner<Worker>>,
    deep: Option<Spawner<Leaf>>,
}

/// Spawns workers, gets their answers.
struct Boss(u32);

/// Doubles a number.
struct Worker(Notifier<u64>);

impl Machine for Boss {
    type Context = Shared;
    type Message = u64;
    type Seed = u32;

    fn create(jobs: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let me = scope.notifier();
        for n in 0..jobs {
            let spawner = scope.ctx.workers.clone().unwrap();
            spawner.spawn(me.clone())?.send(u64::from(n).to_string())?;
        }
        Ok(Response::of(Boss(jobs)))
    }

    fn wakeup(self, answer: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.log.push(format!("boss {answer}"));
        match self.0 {
            1 => {
                // Parts have deadlines, shutdowns and work of their own.
                scope.ctx.log.push("boss waits".into());
                Ok(Response::of(Boss(0)).after(ms(1)))
            }
            n => Ok(Response::of(Boss(n - 1))),
        }
    }

    fn timeout(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.log.push("boss timeout".into());
        let leaf = scope.ctx.deep.as_ref().map(|deep| deep.spawn(None));
        if let Some(leaf) = leaf {
            leaf?.send(("hello", 3))?;
        }
        Ok(Response::done())
    }
}

impl Machine for Worker {
    type Context = Shared;
    type Message = String;
    type Seed = Notifier<u64>;

    fn create(boss: Notifier<u64>, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Worker(boss)))
    }

    fn wakeup(self, number: String, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.log.push(format!("worker {number}"));
        self.0.send(2 * number.parse::<u64>()?)?;
        Ok(Response::done())
    }
}

/// At the bottom of the composition: spawns its own type, works in the pool, listens and connects to itself.
enum Leaf {
    Root,
    Child,
    Net(#[allow(dead_code)] Listener, Socket),
}

impl Machine for Leaf {
    type Context = Shared;
    type Message = (&'static str, u32);
    type Seed = Option<Notifier<(&'static str, u32)>>;

    fn create(parent: Self::Seed, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        match parent {
            Some(parent) => {
                scope.ctx.log.push("leaf child".into());
                parent.send(("from the child", 1))?;
                Ok(Response::of(Leaf::Child))
            }
            None => Ok(Response::of(Leaf::Root)),
        }
    }

    fn wakeup(
        self,
        (text, n): (&'static str, u32),
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        scope.ctx.log.push(format!("leaf {text} {n}"));
        match n {
            3 => {
                let child = scope.spawn(Some(scope.notifier()))?;
                scope.notifier_of(child).send(("to the child", 0))?;
            }
            1 => scope.work(|| 40 + 2, |n| ("worked", n))?,
            42 => {
                let listener = scope.listen(any_port())?;
                let to = scope.listening_at(&listener)?;
                let socket = scope.connect(to)?;
                return Ok(Response::of(Leaf::Net(listener, socket)));
            }
            _ => return Ok(Response::done()),
        }
        Ok(Response::of(self))
    }

    fn io(
        self,
        event: Io<'_>,
        on: HandleId,
        scope: &mut Scope<'_, Self>,
    ) -> Result<Response<Self>> {
        if let (Io::Connected, Leaf::Net(_, socket)) = (event, &self) {
            assert_eq!(socket.id(), on);
            scope.ctx.log.push("leaf connected".into());
            scope.shutdown(ms(10_000));
        }
        Ok(Response::of(self))
    }

    fn finish(self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.log.push("leaf finish".into());
        Ok(Response::done())
    }
}

compose! {
    /// Two of three.
    enum Office(Shared) { Boss(Boss), Worker(Worker) }
}
compose! { enum Tree(Shared) { Leaf(Leaf) } }
compose! { pub(crate) enum App(Shared) { Office(Office), Tree(Tree), } }

#[test]
fn r9_machines_are_composed_at_any_depth() {
    let _dog = watchdog();
    let mut main_loop = Loop::<App>::new(Config::default(), |setup| {
        Ok(Shared {
            log: Vec::new(),
            workers: Some(setup.spawner::<Office>().part::<Worker>()),
            deep: Some(setup.spawner::<Tree>().part::<Leaf>()),
        })
    })
    .unwrap();
    main_loop
        .spawn::<Office>(<Office as Hosts<Boss>>::seed(2))
        .unwrap();
    main_loop.run().unwrap();
    let log = std::mem::take(&mut main_loop.context().unwrap().log);
    let expected = [
        "worker 0",
        "worker 1",
        "boss 0",
        "boss 2",
        "boss waits",
        "boss timeout",
        "leaf hello 3",
        "leaf child",
        "leaf to the child 0",
        "leaf from the child 1",
        "leaf worked 42",
        "leaf connected",
        "leaf finish",
    ];
    // Two of these are of one turn, and either order would do.
    let mut log = log;
    if let Some(at) = log.iter().position(|line| line == "leaf from the child 1") {
        assert!((8..=9).contains(&at));
        log.swap(9.min(at), 9);
    }
    assert_eq!(log, expected);
    assert_eq!(main_loop.stats().panics, 0);
}

/// A machine that is generic over the context, as a library would write it.
struct Speaker<C>(PhantomData<C>);

impl<C: Display + 'static> Machine for Speaker<C> {
    type Context = Rc<RefCell<(C, Vec<String>)>>;
    type Message = u8;
    type Seed = u8;

    fn create(n: u8, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let mut shared = scope.ctx.borrow_mut();
        let line = format!("{} {n}", shared.0);
        shared.1.push(line);
        Ok(Response::of(Speaker(PhantomData)))
    }

    fn wakeup(self, n: u8, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.borrow_mut().1.push(format!("got {n}"));
        Ok(Response::done())
    }
}

struct Twin<C>(PhantomData<C>);

impl<C: Display + 'static> Machine for Twin<C> {
    type Context = Rc<RefCell<(C, Vec<String>)>>;
    type Message = Never;
    type Seed = u8;

    fn create(n: u8, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        scope.ctx.borrow_mut().1.push(format!("twin {n}"));
        Ok(Response::done())
    }
}

compose! {
    enum Both<C: Display + 'static>(Rc<RefCell<(C, Vec<String>)>>) {
        Speaker(Speaker<C>), Twin(Twin<C>)
    }
}

#[test]
fn r9_a_composition_may_be_generic_over_the_context() {
    let _dog = watchdog();
    fn runs<C: Display + 'static>(value: C) -> Vec<String> {
        let context = Rc::new(RefCell::new((value, Vec::new())));
        let shared = context.clone();
        let mut main_loop = Loop::<Both<C>>::new(Config::default(), |_| Ok(context)).unwrap();
        let speaker = main_loop.spawn::<Speaker<C>>(1).unwrap();
        main_loop.spawn::<Twin<C>>(2).unwrap();
        speaker.send(3).unwrap();
        main_loop.run().unwrap();
        drop(main_loop);
        std::mem::take(&mut shared.borrow_mut().1)
    }
    assert_eq!(runs(7.5), ["7.5 1", "got 3", "twin 2"]);
    assert_eq!(runs("x"), ["x 1", "got 3", "twin 2"]);
}

/// Sent to the whole, a message reaches only machines of its own part: another part's machine in the slot is another id.
#[test]
fn r9_other_threads_spawn_parts() {
    let _dog = watchdog();
    let thread = LoopThread::<Office>::spawn(Config::default(), |setup| {
        Ok(Shared {
            workers: Some(setup.spawner()),
            ..Shared::default()
        })
    })
    .unwrap();
    let boss = thread.spawn::<Boss>(1).wait().unwrap();
    let boss: Notifier<u64> = boss;
    assert_ne!(boss.id().index(), u32::MAX);
    thread.join().unwrap();
    assert!(boss.send(1).unwrap_err().is_closed());
}

/// A group reaches its members, says how many, and forgets those that left, ended, failed or panicked.
#[test]
fn group_members_leave_with_their_machine() {
    let _dog = watchdog();
    type Member = Act<(Group<u32>, Vec<String>), u32>;
    let group = Group::new();
    let outside = group.clone();
    let mut main_loop =
        Loop::<Member>::new(Config::default(), |_| Ok((group, Vec::new()))).unwrap();
    for n in 0..5u32 {
        let mut seats = Vec::new();
        main_loop
            .spawn::<Member>(act(move |on, scope: &mut Scope<'_, Member>| match on {
                On::Create => {
                    let me = scope.notifier();
                    seats.push(scope.ctx.0.join(me));
                    stay()
                }
                On::Message(m) => {
                    scope.ctx.1.push(format!("{n} heard {m}"));
                    match (m, n) {
                        (1, 0) => done(),
                        (1, 1) => Err(Error::msg("had enough")),
                        (1, 2) => panic!("too much"),
                        (2, 3) => {
                            seats.clear();
                            stay()
                        }
                        (9, _) => done(),
                        _ => stay(),
                    }
                }
                _ => stay(),
            }))
            .unwrap();
    }
    // Its next step comes after all that the last one's message gave rise to: behind it in the inbox.
    let crier = main_loop
        .spawn::<Member>(act(move |on, scope: &mut Scope<'_, Member>| {
            if let On::Message(n) = on {
                let accepted = scope.ctx.0.send(n);
                scope.ctx.1.push(format!("{accepted} accepted {n}"));
                match n {
                    1 => scope.notifier().send(2)?,
                    2 => scope.notifier().send(9)?,
                    // The one without a seat hears nothing any more.
                    _ => scope.shutdown(ms(0)),
                }
            }
            stay()
        }))
        .unwrap();
    crier.send(1).unwrap();
    main_loop.run().unwrap();
    let lines = std::mem::take(&mut main_loop.context().unwrap().1);
    let expected = [
        "5 accepted 1",
        "0 heard 1",
        "1 heard 1",
        "2 heard 1",
        "3 heard 1",
        "4 heard 1",
        "2 accepted 2",
        "3 heard 2",
        "4 heard 2",
        "1 accepted 9",
        "4 heard 9",
    ];
    assert_eq!(lines, expected);
    assert!(outside.is_empty());
    assert_eq!(outside.send(1), 0);
}

/// A mapped member's function runs inside `send`, and may let others join.
#[test]
fn group_survives_a_join_during_a_send() {
    let _dog = watchdog();
    let mut main_loop = noting(Config::default());
    let machine = main_loop
        .spawn::<Noting>(act(|on, scope: &mut NotingScope<'_>| match on {
            On::Message(0) => done(),
            On::Message(n) => {
                scope.ctx.push(n.to_string());
                stay()
            }
            _ => stay(),
        }))
        .unwrap();
    thread_local! {
        static GROUP: Group<u32> = Group::new();
        static SEATS: RefCell<Vec<Seat>> = const { RefCell::new(Vec::new()) };
    }
    let other = machine.clone();
    let nosy = machine.map(move |n: u32| {
        let seat = GROUP.with(|group| group.join(other.clone()));
        SEATS.with(|seats| seats.borrow_mut().push(seat));
        n + 10
    });
    let seat = GROUP.with(|group| group.join(nosy));
    let accepted = GROUP.with(|group| group.send(1));
    assert!((1..=2).contains(&accepted));
    drop(seat);
    assert_eq!(GROUP.with(|group| group.send(2)), 1);
    SEATS.with(|seats| seats.borrow_mut().clear());
    assert!(GROUP.with(|group| group.is_empty()));
    machine.send(0).unwrap();
    main_loop.run().unwrap();
    let lines = notes(&mut main_loop);
    assert_eq!(lines.len(), accepted + 1);
    assert_eq!(
        (lines[0].as_str(), lines.last().unwrap().as_str()),
        ("11", "2")
    );
}

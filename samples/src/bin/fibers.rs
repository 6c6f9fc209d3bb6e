//! Ten thousand fibers that ping each other round a ring.
//!
//! Each waits for a message, sends it on to the next, and waits again, until the message has gone round as often as it
//! was asked to.
//!
//! `fibers [--count N] [--rounds N]`

use lexopt::prelude::*;
use rotor_fsm::prelude::*;
use rotor_net::fiber::{Cx, Fiber, FiberSeed, StackConfig, Stacks};

/// How many fibers, and how often a ping goes round.
struct Ring {
    count: usize,
    rounds: u64,
}

/// What the fibers of the loop share.
#[derive(Default)]
struct Pings(u64);

/// What they send each other.
enum Message {
    /// Who the next one is.
    Next(Notifier<Message>),
    /// A ping, and how often it shall still be passed on.
    Ping(u64),
}

/// One of the ring. Reads as what it does, though ten thousand others do the same at the same time.
fn member(cx: &Cx<Pings, Message>) -> Result<()> {
    let mut next = None;
    loop {
        match cx.recv()? {
            Message::Next(notifier) => next = Some(notifier),
            Message::Ping(left) => {
                cx.with_context(|pings| pings.0 += 1)?;
                // The last one to be pinged tells the others that it is over, by its own end.
                let Some(next) = next.as_ref().filter(|_| left > 0) else {
                    return Ok(cx.shutdown(std::time::Duration::from_secs(5))?);
                };
                next.send(Message::Ping(left - 1))?;
            }
        }
    }
}

/// Makes the ring, and sends the first ping.
fn begin(cx: &Cx<Pings, Message>, ring: &Ring) -> Result<()> {
    let mut members = Vec::with_capacity(ring.count);
    for _ in 0..ring.count {
        let seed: FiberSeed<Pings, Message> = cx.stacks().fiber("member", member)?;
        members.push(cx.spawn(seed)?);
    }
    for (at, notifier) in members.iter().enumerate() {
        let next = members[(at + 1) % ring.count].clone();
        // The inbox holds so many; when it is full, the members get a turn to empty it.
        let mut refused = notifier.send(Message::Next(next));
        while let Err(rotor_fsm::SendError::Full(message)) = refused {
            cx.yield_now()?;
            refused = notifier.send(message);
        }
        refused?;
    }
    println!("{} fibers are waiting", ring.count);
    members[0].send(Message::Ping(ring.count as u64 * ring.rounds - 1))?;
    Ok(())
}

fn main() -> Result<()> {
    let ring = ring_from_args()?;
    let stacks = Stacks::new(StackConfig {
        stacks_max: ring.count + 1,
        ..StackConfig::default()
    })?;
    let mut main_loop = Loop::<Fiber<Pings, Message>>::new(Config::default(), |_| Ok(Pings(0)))?;
    main_loop.shutdown_on_signals()?;
    let seed = stacks.fiber("beginner", move |cx| begin(cx, &ring))?;
    main_loop.spawn::<Fiber<Pings, Message>>(seed)?;
    main_loop.run()?;
    let pings = main_loop.context().map_or(0, |pings| pings.0);
    println!("{pings} pings were passed on");
    println!("{} stacks are still in use", stacks.stats().in_use);
    Ok(())
}

fn ring_from_args() -> Result<Ring> {
    let mut ring = Ring {
        count: 10_000,
        rounds: 10,
    };
    let mut parser = lexopt::Parser::from_env();
    while let Some(arg) = parser.next()? {
        match arg {
            Long("count") => ring.count = parser.value()?.parse()?,
            Long("rounds") => ring.rounds = parser.value()?.parse()?,
            other => return Err(other.unexpected().into()),
        }
    }
    if ring.count == 0 || ring.rounds == 0 || ring.rounds > u64::MAX >> 32 || ring.count > 1 << 24 {
        return Err(Error::msg(
            "--count and --rounds must be at least 1, and no more than 16,777,216 and 4,294,967,295",
        ));
    }
    Ok(ring)
}

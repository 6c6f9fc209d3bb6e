//! Very many fibers.

use super::stacks::resident_bytes;
use super::*;
use std::sync::{MutexGuard, PoisonError};

/// Tests that look at the whole process's memory, one at a time.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// More at once than a process may have mappings, so their guards must not need two each.
#[test]
fn a_hundred_thousand_fibers_are_parked_at_once() {
    let _alone = alone();
    let mut world = World::new(true);
    if world.stacks.stats().stacks_max < 100_000 {
        eprintln!("this kernel has no guard regions: not tested");
        return;
    }
    let sum = Rc::new(std::cell::Cell::new(0u64));
    let mut notifiers = Vec::new();
    for _ in 0..100_000 {
        let sum = sum.clone();
        notifiers.push(world.spawn("parked", move |cx| {
            let message = cx.recv()?;
            sum.set(sum.get() + u64::from(message));
            Ok(())
        }));
        if notifiers.len() % 1000 == 0 {
            world.run(ms(1));
        }
    }
    world.run(ms(10));
    assert_eq!(world.stacks.stats().in_use, 100_000);
    for (n, notifier) in notifiers.iter().enumerate() {
        notifier.send(n as u32).unwrap();
        if n % 10_000 == 0 {
            world.run(ms(10));
        }
    }
    world.run(ms(100));
    assert_eq!(sum.get(), (0..100_000).sum::<u64>());
    assert_eq!(world.stacks.stats().in_use, 0);
}

/// One after the other they use the same stack, and leave nothing.
#[test]
fn a_hundred_thousand_fibers_come_and_go_without_growth() {
    let _alone = alone();
    let mut world = World::new(true);
    world.spawn("warm-up", |cx| Ok(cx.sleep(ms(u64::from(u32::MAX)))?));
    let mut before = 0;
    for round in 0..100 {
        if round == 20 {
            before = resident_bytes();
        }
        for _ in 0..1000 {
            world.spawn("brief", |cx| Ok(cx.yield_now()?));
        }
        world.run(ms(10));
        assert_eq!(world.stacks.stats().in_use, 1);
        assert!(world.stacks.stats().in_use_max <= 1001);
    }
    let grown = resident_bytes().saturating_sub(before);
    // Other tests run beside this one; a leak of one page each would be 320 MB.
    assert!(grown < 64 << 20, "{grown} bytes");
}

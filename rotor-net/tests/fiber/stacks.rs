//! The pool of stacks: limits, guards of both kinds, and memory given back.

use super::*;
use rotor_net::fiber::{Guards, NoStack};

#[test]
fn there_are_only_so_many_stacks() {
    let config = StackConfig {
        stacks_max: 2,
        ..StackConfig::default()
    };
    let stacks = Stacks::new(config).unwrap();
    let fiber = || stacks.fiber("one", |_: &Plainly| Ok(()));
    let (one, other) = (fiber().unwrap(), fiber().unwrap());
    let refused = fiber().err();
    assert!(
        matches!(refused, Some(NoStack::Limit { stacks_max: 2 })),
        "{refused:?}"
    );
    drop(one);
    let again = fiber().unwrap();
    let stats = stacks.stats();
    assert_eq!(
        (stats.in_use, stats.in_use_max, stats.stacks_max),
        (2, 2, 2)
    );
    drop((other, again));
    assert_eq!((stacks.stats().in_use, stacks.stats().warm), (0, 2));
}

#[test]
fn senseless_configurations_are_refused() {
    for (stacks_max, stack_bytes) in [(0, 1 << 16), (1, usize::MAX), (1 << 40, 1 << 40)] {
        let config = StackConfig {
            stacks_max,
            stack_bytes,
            ..StackConfig::default()
        };
        assert!(matches!(Stacks::new(config), Err(NoStack::Config(_))));
    }
    // More address space than there is.
    let config = StackConfig {
        stacks_max: 1 << 32,
        stack_bytes: 1 << 20,
        ..StackConfig::default()
    };
    let refused = Stacks::new(config).err();
    assert!(
        matches!(refused, Some(NoStack::System { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_small_stack_is_made_large_enough() {
    let config = StackConfig {
        stack_bytes: 1,
        ..StackConfig::default()
    };
    let stacks = Stacks::new(config).unwrap();
    assert_eq!(stacks.stats().stack_bytes, 16 << 10);
}

/// Protected pages split the mapping, so there can be fewer; the limit is told before the kernel's is reached.
#[test]
fn protected_guards_lower_the_limit_to_what_the_kernel_allows() {
    let config = StackConfig {
        guards: Guards::Protected,
        ..StackConfig::default()
    };
    let stacks = Stacks::new(config).unwrap();
    let max = stacks.stats().stacks_max;
    if let Ok(mappings) = std::fs::read_to_string("/proc/sys/vm/max_map_count") {
        let mappings: usize = mappings.trim().parse().unwrap();
        assert!(max < mappings / 2, "{max} of {mappings}");
    }
    // Fibers work on them as on the others.
    let mut world = World::new(true);
    world.stacks = stacks.clone();
    let notes = Notes::default();
    for _ in 0..100 {
        let noted = notes.clone();
        world.spawn("guarded", move |cx| {
            cx.sleep(ms(1))?;
            noted.note("x");
            Ok(())
        });
    }
    world.run(ms(100));
    assert_eq!(notes.take().len(), 100);
    assert_eq!(stacks.stats().in_use, 0);
}

/// Touches a stack down to a depth.
fn touch(bytes: usize) -> usize {
    let page = [1u8; 4096];
    let rest = if bytes > 4096 { touch(bytes - 4096) } else { 0 };
    rest + std::hint::black_box(page).len()
}

/// Resident bytes of this process.
pub fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Rss:")).unwrap();
    let kilobytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

/// Each of 2,000 fibers uses 40 KiB and ends: of 80 MB, only what may stay warm stays.
#[cfg(target_os = "linux")]
#[test]
fn free_stacks_give_their_memory_back() {
    let _alone = many::alone();
    let config = StackConfig {
        free_bytes_max: 2 << 20,
        ..StackConfig::default()
    };
    let stacks = Stacks::new(config).unwrap();
    let mut world = World::new(true);
    world.stacks = stacks.clone();
    world.run(ms(1));
    let before = resident_bytes();
    for _ in 0..2000 {
        world.spawn("deep", |cx| {
            assert!(touch(40 << 10) >= 40 << 10);
            Ok(cx.sleep(ms(1))?)
        });
    }
    world.run(ms(1));
    let during = resident_bytes();
    assert!(during > before + (70 << 20), "{during} after {before}");
    world.run(ms(100));
    assert_eq!(stacks.stats().in_use, 0);
    assert_eq!(stacks.stats().warm, 32);
    let after = resident_bytes();
    assert!(after < before + (20 << 20), "{after} after {before}");
    stacks.trim();
    assert_eq!(stacks.stats().warm, 0);
    // What is cold can be used again.
    let notes = Notes::default();
    let noted = notes.clone();
    world.sim = Sim::new(2);
    world.on = world
        .sim
        .add::<Plain>(Config::default(), |_| Ok(()))
        .unwrap();
    world.spawn("again", move |_| {
        noted.note("again");
        Ok(())
    });
    world.run(ms(1));
    assert_eq!(notes.take(), ["again"]);
}

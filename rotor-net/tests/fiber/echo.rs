//! The echo server as a fiber, in worlds from many seeds: what comes back is what was sent, however it was split; and
//! the same seed makes the same trace.

use super::*;
use rotor_fsm::sim::{Ended, check, check_with};

/// Chance for scenarios, from the simulation's seed but apart from what the simulation draws.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }

    fn bytes(&mut self, n: u64) -> Vec<u8> {
        (0..n).map(|_| self.below(256) as u8).collect()
    }
}

fn echo(cx: &Plainly, incoming: Incoming) -> Result<()> {
    let mut stream = cx.open(incoming)?;
    let mut buf = [0; 1000];
    loop {
        match cx.within(ms(50_000)).read(&mut stream, &mut buf)? {
            0 => return Ok(()),
            n => cx.write_all(&mut stream, &buf[..n])?,
        }
    }
}

/// Starts an echo server at port 7. The strictness is the simulation's: a failure stops the loop.
fn serve(sim: &mut Sim) -> (SimLoop<Plain>, Stacks) {
    let limits = rotor_net::fiber::FiberLimits {
        input_bytes_max: 300,
        output_high_bytes: 700,
        output_low_bytes: 100,
        ..Default::default()
    };
    let config = StackConfig {
        limits,
        ..StackConfig::default()
    };
    let stacks = Stacks::new(config).unwrap();
    let (config, _) = noting(true);
    let on = sim.add::<Plain>(config, |_| Ok(())).unwrap();
    let seed = stacks.fiber("listener", |cx: &Plainly| {
        let mut listener = cx.listen(local(7))?;
        loop {
            let incoming = cx.accept(&mut listener)?;
            cx.spawn(cx.stacks().fiber("echo", move |cx| echo(cx, incoming))?)?;
        }
    });
    sim.spawn::<Plain, Plain>(&on, seed.unwrap()).unwrap();
    sim.run_for(ms(1));
    (on, stacks)
}

fn peers_get_back_what_they_sent(sim: &mut Sim) {
    let (server, stacks) = serve(sim);
    let mut dice = Dice(sim.seed() ^ 0xf1be5);
    let mut peers = Vec::new();
    for _ in 0..1 + dice.below(4) {
        peers.push((sim.connect(local(7)), Vec::new()));
    }
    for _ in 0..dice.below(12) {
        let n = dice.below(peers.len() as u64) as usize;
        let len = 1 << dice.below(12);
        let len = 1 + dice.below(len);
        let bytes = dice.bytes(len);
        let (peer, sent) = &mut peers[n];
        sim.send(*peer, &bytes);
        sent.extend(bytes);
        if dice.below(2) == 0 {
            sim.run_for(ms(dice.below(10)));
        }
    }
    for (peer, _) in &peers {
        sim.shutdown(*peer);
    }
    // An idle deadline may be left to fire for nothing: `Idle` comes after it.
    assert_eq!(sim.run(ms(60_000)), Ended::Idle);
    for (peer, sent) in peers {
        assert_eq!(*sim.received(peer), sent[..]);
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer) && !sim.is_open(peer));
        assert_eq!(sim.unsent(peer), 0);
    }
    assert_eq!(sim.stats(&server).machines, 1, "all connections have ended");
    assert_eq!((sim.descriptors(), sim.bytes_in_flight()), (1, 0));
    assert_eq!(stacks.stats().in_use, 1);
}

#[test]
fn what_comes_back_is_what_was_sent_whatever_the_splits() {
    check(0..800, peers_get_back_what_they_sent);
}

#[test]
fn the_same_through_very_small_buffers() {
    let config = SimConfig {
        buffer_bytes: (1, 9),
        pieces_max: 9,
        partial_percent: 60,
        short_read_percent: 60,
        ..SimConfig::default()
    };
    check_with(0..40, &config, peers_get_back_what_they_sent);
}

/// Connections break at any time; then only that connection's fiber ends, and nothing is left of it.
#[test]
fn broken_connections_leave_nothing_behind() {
    let config = SimConfig {
        break_percent: 60,
        ..SimConfig::default()
    };
    check_with(0..300, &config, |sim| {
        let stacks = Stacks::new(StackConfig::default()).unwrap();
        let (config, ends) = noting(false);
        let on = sim.add::<Plain>(config, |_| Ok(())).unwrap();
        let seed = stacks.fiber("listener", |cx: &Plainly| {
            let mut listener = cx.listen(local(7))?;
            loop {
                let incoming = cx.accept(&mut listener)?;
                cx.spawn(cx.stacks().fiber("echo", move |cx| echo(cx, incoming))?)?;
            }
        });
        sim.spawn::<Plain, Plain>(&on, seed.unwrap()).unwrap();
        sim.run_for(ms(1));
        let mut dice = Dice(sim.seed() ^ 0xbad);
        for _ in 0..8 {
            let peer = sim.connect(local(7));
            let len = dice.below(30_000);
            sim.send(peer, &dice.bytes(len));
            sim.run_for(ms(dice.below(20)));
            sim.shutdown(peer);
        }
        sim.run(ms(120_000));
        assert_eq!(sim.stats(&on).machines, 1, "{:?}", ends.lock().unwrap());
        assert_eq!((sim.stats(&on).sockets, sim.stats(&on).panics), (0, 0));
        assert_eq!(stacks.stats().in_use, 1);
    });
}

#[test]
fn the_same_seed_makes_the_same_trace() {
    let trace = |seed| {
        let mut sim = Sim::new(seed);
        peers_get_back_what_they_sent(&mut sim);
        (sim.trace_hash(), sim.trace_len())
    };
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed));
    }
}

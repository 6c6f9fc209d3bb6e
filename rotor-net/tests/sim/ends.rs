//! How connections end: what arrived before is delivered before, and output that was accepted leaves (L4).

use crate::{Dice, local, ms, serve};
use rotor_fsm::sim::{Ended, SimConfig, check, check_with};
use rotor_net::prelude::*;

/// Echoes lines, and notes in the context what it was told.
struct Scribe {
    number: usize,
}

#[derive(Default)]
struct Notes {
    lines: Vec<Vec<Vec<u8>>>,
    ends: Vec<Option<String>>,
}

impl Notes {
    fn end(&mut self, number: usize, end: String) {
        let old = self.ends[number].replace(end);
        assert_eq!(old, None, "told twice");
    }
}

impl Protocol for Scribe {
    type Context = Notes;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.lines.push(Vec::new());
        conn.ctx.ends.push(None);
        Ok(Intent::of(Scribe {
            number: conn.ctx.lines.len() - 1,
        })
        .line(1000))
    }

    fn received(self, line: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let notes = &mut conn.ctx;
        assert_eq!(
            notes.ends[self.number], None,
            "input after the end of input"
        );
        notes.lines[self.number].push(line.to_vec());
        conn.out.write(&line)?;
        conn.out.write(b"\n")?;
        match &*line {
            b"quit" => Ok(Intent::done()),
            b"half" => Ok(Intent::of(self).end_output()),
            _ => Ok(Intent::of(self)),
        }
    }

    fn eof(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.end(self.number, "eof".to_owned());
        Ok(Intent::done())
    }

    fn failed(self, failure: Failure, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.ctx.end(self.number, failure.to_string());
        Err(failure.into())
    }
}

fn limits() -> Limits {
    Limits {
        calls_per_dispatch: 2,
        output_bytes_max: 4000,
        output_high_bytes: 300,
        output_low_bytes: 100,
        ..Limits::default()
    }
}

fn lines(dice: &mut Dice) -> Vec<Vec<u8>> {
    (0..dice.below(50))
        .map(|_| [b"x", &dice.text_below(30)[..]].concat())
        .collect()
}

fn wire(lines: &[Vec<u8>]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line, &b"\n"[..]].concat())
        .collect()
}

#[test]
fn l4_what_came_before_a_fin_is_delivered_before_it() {
    check(0..1000, |sim| {
        let mut dice = Dice::of(sim);
        let (server, streams) = serve::<Scribe>(sim, limits(), Notes::default());
        let lines = lines(&mut dice);
        let peer = sim.connect(local(7));
        sim.send(peer, &wire(&lines));
        sim.shutdown(peer);
        if dice.below(2) == 0 {
            sim.pause(peer);
            sim.run_for(ms(dice.below(200)));
            sim.resume(peer);
        }
        assert_eq!(sim.run(ms(60_000)), Ended::Idle);
        assert_eq!(&*sim.received(peer), wire(&lines));
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
        let (got, end) = sim
            .context(&server, |notes| (notes.lines.pop(), notes.ends.pop()))
            .unwrap();
        assert_eq!((got, end), (Some(lines), Some(Some("eof".to_owned()))));
        assert_eq!(streams.open(), 0);
    });
}

/// Every protocol that did not end by itself is told its end once, whatever happens, and nothing is left behind.
#[test]
fn l4_breaks_and_resets_are_told_once_and_leave_nothing_behind() {
    let mut config = SimConfig::default();
    config.break_percent = 40;
    check_with(0..1000, &config, |sim| {
        let mut dice = Dice::of(sim);
        let (server, streams) = serve::<Scribe>(sim, limits(), Notes::default());
        let mut sent = Vec::new();
        for _ in 0..1 + dice.below(8) {
            let peer = sim.connect(local(7));
            let lines = lines(&mut dice);
            sim.send(peer, &wire(&lines));
            sim.run_for(ms(dice.below(20)));
            match dice.below(4) {
                0 => sim.reset(peer),
                1 => sim.close(peer),
                2 => sim.shutdown(peer),
                _ => sim.send(peer, b"quit\n"),
            }
            sent.push(lines);
        }
        sim.run_for(ms(10_000));
        assert_eq!(streams.open(), 0);
        let (lines, ends) = sim
            .context(&server, |notes| {
                (
                    std::mem::take(&mut notes.lines),
                    std::mem::take(&mut notes.ends),
                )
            })
            .unwrap();
        for (got, end) in lines.iter().zip(ends) {
            assert!(
                sent.iter().any(|sent| match got.split_last() {
                    Some((last, all)) if last == b"quit" => all == sent,
                    _ => sent.starts_with(got),
                }),
                "a prefix of what some peer sent"
            );
            assert!(end.is_some() || got.last().is_some_and(|last| last == b"quit"));
        }
    });
}

#[test]
fn l4_unread_input_never_costs_the_peer_the_output() {
    check(0..1000, |sim| {
        let mut dice = Dice::of(sim);
        let (_server, streams) = serve::<Scribe>(sim, limits(), Notes::default());
        let mut lines = lines(&mut dice);
        lines.push(b"quit".to_vec());
        let peer = sim.connect(local(7));
        sim.send(peer, &wire(&lines));
        let more = dice.text_below(20_000);
        sim.send(peer, &more);
        if dice.below(2) == 0 {
            sim.pause(peer);
            sim.run_for(ms(dice.below(1000)));
            sim.resume(peer);
        }
        let all_read = |sim: &mut rotor_fsm::sim::Sim| sim.saw_eof(peer);
        assert_eq!(sim.run_until(ms(4000), all_read), Ended::Met);
        assert_eq!(&*sim.received(peer), wire(&lines));
        assert!(!sim.saw_reset(peer));
        // The stream waits for the peer's end, and counts while it does.
        assert_eq!(streams.open(), 1);
        sim.close(peer);
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        assert_eq!(streams.open(), 0);
    });
}

#[test]
fn l4_lingering_is_limited_in_time_and_bytes() {
    check(0..200, |sim| {
        let mut dice = Dice::of(sim);
        let byte_limit = Limits {
            linger_bytes_max: 5000,
            ..limits()
        };
        let (_server, streams) = serve::<Scribe>(sim, byte_limit, Notes::default());
        let silent = sim.connect(local(7));
        sim.send(silent, b"quit\n");
        let deaf = sim.connect(local(7));
        sim.pause(deaf);
        sim.send(deaf, &wire(&lines(&mut dice)));
        sim.send(deaf, b"quit\n");
        let talker = sim.connect(local(7));
        sim.send(talker, b"quit\n");
        sim.run_for(ms(1000));
        assert_eq!(streams.open(), 3);
        sim.send(talker, &[b'?'; 200_000]);
        sim.run_for(ms(2000));
        assert_eq!(streams.open(), 2, "the talker is cut");
        sim.run_for(ms(4000));
        assert_eq!(streams.open(), 0, "5 seconds are over");
    });
}

#[test]
fn output_can_end_while_input_goes_on() {
    check(0..300, |sim| {
        let (server, _) = serve::<Scribe>(sim, limits(), Notes::default());
        let peer = sim.connect(local(7));
        sim.send(peer, b"a\nhalf\n");
        let half_closed = |sim: &mut rotor_fsm::sim::Sim| sim.saw_eof(peer);
        assert_eq!(sim.run_until(ms(4000), half_closed), Ended::Met);
        assert_eq!(&*sim.received(peer), b"a\nhalf\n");
        // An answer is a write after the end: misuse, which ends the protocol.
        sim.send(peer, b"b\n");
        sim.shutdown(peer);
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        let lines = sim
            .context(&server, |notes| notes.lines.pop().unwrap())
            .unwrap();
        assert_eq!(lines, [&b"a"[..], b"half", b"b"]);
        assert!(!sim.saw_reset(peer));
    });
}

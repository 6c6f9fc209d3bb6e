//! Whatever the pieces in which bytes arrive, a protocol gets the frames it waits for, in order, each once.

use crate::{Dice, ms, serve};
use rotor_fsm::sim::{Ended, Sim, check};
use rotor_net::prelude::*;

/// A server that is told by each line what to wait for next. It answers every frame with its length and contents.
enum Kitchen {
    /// `b N`: N bytes follow; `d`: text up to `\r\n\r\n`; `p`: read nothing for a while; anything else: just a line.
    Line,
    Bytes,
    Block,
    Paused,
}

const LINE_MAX: usize = 40;

fn answer(kind: &str, data: &[u8]) -> Vec<u8> {
    [format!("{kind} {}:", data.len()).as_bytes(), data, b"\n"].concat()
}

impl Protocol for Kitchen {
    type Context = ();
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Kitchen::Line).line(LINE_MAX))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let kind = match self {
            Kitchen::Line => "line",
            Kitchen::Bytes => "bytes",
            Kitchen::Block => "block",
            Kitchen::Paused => panic!("called while paused"),
        };
        conn.out.write(&answer(kind, &data))?;
        Ok(match (self, &*data) {
            (Kitchen::Line, [b'b', b' ', count @ ..]) => {
                Intent::of(Kitchen::Bytes).read(Until::Bytes(str::from_utf8(count)?.parse()?))
            }
            (Kitchen::Line, b"d") => {
                Intent::of(Kitchen::Block).read(Until::Delimiter(b"\r\n\r\n", 99))
            }
            (Kitchen::Line, b"p") => Intent::of(Kitchen::Paused).pause().after(ms(3)),
            (Kitchen::Line, _) => Intent::of(Kitchen::Line),
            _ => Intent::of(Kitchen::Line).line(LINE_MAX),
        })
    }

    fn timeout(self, _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Kitchen::Line).resume())
    }

    fn eof(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let rest = answer("rest", conn.rest());
        conn.out.write(&rest)?;
        Ok(Intent::done())
    }

    fn failed(self, failure: Failure, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        conn.out.write(&answer(&failure.to_string(), b""))?;
        Ok(Intent::done())
    }
}

/// What a peer sends, and what it shall get.
fn script(dice: &mut Dice) -> (Vec<u8>, Vec<u8>) {
    let (mut input, mut output) = (Vec::new(), Vec::new());
    let line = |input: &mut Vec<u8>, output: &mut Vec<u8>, text: &[u8], crlf: bool| {
        input.extend_from_slice(text);
        input.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
        output.extend(answer("line", text));
    };
    for _ in 0..dice.below(60) {
        let crlf = dice.below(2) == 0;
        match dice.below(6) {
            0 => {
                let count = dice.below(200);
                let body = dice.text(count);
                line(
                    &mut input,
                    &mut output,
                    format!("b {count}").as_bytes(),
                    crlf,
                );
                input.extend_from_slice(&body);
                output.extend(answer("bytes", &body));
            }
            1 => {
                let mut body = dice.text_below(90);
                body.extend_from_slice(&b"\r\n\r"[..dice.below(4) as usize]);
                let body = [&body[..], b"x"].concat();
                line(&mut input, &mut output, b"d", crlf);
                input.extend_from_slice(&body);
                input.extend_from_slice(b"\r\n\r\n");
                output.extend(answer("block", &body));
            }
            2 => line(&mut input, &mut output, b"p", crlf),
            _ => {
                let text = [b"x", &dice.text_below(LINE_MAX as u64 - 1)[..]].concat();
                line(&mut input, &mut output, &text, crlf);
            }
        }
    }
    let rest = dice.text_below(LINE_MAX as u64);
    input.extend_from_slice(&rest);
    output.extend(answer("rest", &rest));
    (input, output)
}

/// Small enough that every mechanism is at work: shares of a dispatch, watermarks, kept input.
fn tight() -> Limits {
    Limits {
        calls_per_dispatch: 3,
        output_bytes_max: 2000,
        output_high_bytes: 300,
        output_low_bytes: 100,
        ..Limits::default()
    }
}

fn kitchen(sim: &mut Sim, limits: Limits) {
    let mut dice = Dice::of(sim);
    let (_server, streams) = serve::<Kitchen>(sim, limits, ());
    let peers: Vec<_> = (0..1 + dice.below(3))
        .map(|_| {
            let (input, output) = script(&mut dice);
            let peer = sim.connect(crate::local(7));
            sim.send(peer, &input);
            sim.shutdown(peer);
            (peer, output)
        })
        .collect();
    for &(peer, _) in &peers {
        if dice.below(2) == 0 {
            sim.pause(peer);
            sim.run_for(ms(dice.below(100)));
            sim.resume(peer);
        }
    }
    assert_eq!(sim.run(ms(60_000)), Ended::Idle);
    for (peer, output) in peers {
        let got = sim.take_received(peer);
        assert_eq!(
            String::from_utf8_lossy(&got),
            String::from_utf8_lossy(&output)
        );
        assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
    }
    assert_eq!(streams.open(), 0);
}

#[test]
fn frames_come_whole_in_order_and_once() {
    check(0..1000, |sim| kitchen(sim, tight()));
}

#[test]
fn frames_come_the_same_with_roomy_limits() {
    check(0..500, |sim| kitchen(sim, Limits::default()));
}

#[test]
fn a_frame_that_is_too_long_is_told_and_can_be_answered() {
    check(0..300, |sim| {
        let (_server, streams) = serve::<Kitchen>(
            sim,
            Limits {
                input_bytes_max: 1000,
                ..tight()
            },
            (),
        );
        let long_line = sim.connect(crate::local(7));
        sim.send(long_line, b"fine\n");
        sim.send(long_line, &[b'x'; 5000]);
        let long_body = sim.connect(crate::local(7));
        sim.send(long_body, b"b 1001\nx");
        sim.run(ms(100));
        for (peer, first, max) in [
            (long_line, answer("line", b"fine"), 40),
            (long_body, answer("line", b"b 1001"), 1000),
        ] {
            let told = answer(
                &format!("the peer sent a frame of more than {max} bytes"),
                b"",
            );
            let got = sim.take_received(peer);
            assert_eq!(
                String::from_utf8_lossy(&got),
                String::from_utf8_lossy(&[first, told].concat())
            );
            assert!(sim.saw_eof(peer) && !sim.saw_reset(peer));
            sim.close(peer);
        }
        assert_eq!(sim.run(ms(60_000)), Ended::Idle);
        assert_eq!(streams.open(), 0);
    });
}

/// Parses `LENGTH:BYTES,` out of whatever arrives, as servers of pipelined protocols do.
struct Parser {
    calls: usize,
}

/// Frames, and how often a handler was called.
#[derive(Default)]
struct Parsed {
    frames: Vec<Vec<u8>>,
    calls: usize,
}

fn parse(data: &[u8]) -> Option<(&[u8], usize)> {
    let colon = data.iter().position(|&byte| byte == b':')?;
    let length: usize = str::from_utf8(&data[..colon]).ok()?.parse().ok()?;
    let body = data.get(colon + 1..colon + 1 + length)?;
    (data.get(colon + 1 + length)? == &b',').then_some((body, colon + length + 2))
}

impl Protocol for Parser {
    type Context = Parsed;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Parser { calls: 0 }))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let mut left = &*data;
        while let Some((body, length)) = parse(left) {
            conn.ctx.frames.push(body.to_vec());
            conn.out.write(b".")?;
            left = &left[length..];
        }
        data.unread(left.len());
        conn.ctx.calls += 1;
        let intent = Intent::of(Parser {
            calls: self.calls + 1,
        });
        // Whether it is named or not must not matter.
        Ok(if self.calls.is_multiple_of(2) {
            intent
        } else {
            intent.read(Until::Any)
        })
    }
}

#[test]
fn what_is_left_unread_comes_again_with_what_follows() {
    check(0..1000, |sim| {
        let mut dice = Dice::of(sim);
        let (server, _) = serve::<Parser>(sim, tight(), Parsed::default());
        let frames: Vec<Vec<u8>> = (0..dice.below(40)).map(|_| dice.text_below(300)).collect();
        let peer = sim.connect(crate::local(7));
        let mut pieces = 0;
        for frame in &frames {
            sim.send(peer, format!("{}:", frame.len()).as_bytes());
            sim.send(peer, frame);
            sim.send(peer, b",");
            pieces += 3 + frame.len();
            sim.run_for(ms(dice.below(3)));
        }
        sim.run(ms(1000));
        let (got, calls) = sim
            .context(&server, |ctx| (std::mem::take(&mut ctx.frames), ctx.calls))
            .unwrap();
        assert_eq!(got, frames);
        assert!(calls <= pieces, "never called without news");
        assert_eq!(sim.received(peer).len(), frames.len());
    });
}

/// Peeks at a length, and then waits for the whole.
enum Peek {
    Length,
    Whole,
}

impl Protocol for Peek {
    type Context = Vec<Vec<u8>>;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Peek::Length).read(Until::Bytes(1)))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        match self {
            Peek::Length => {
                let length = data[0] as usize;
                data.unread(1);
                Ok(Intent::of(Peek::Whole).read(Until::Bytes(1 + length)))
            }
            Peek::Whole => {
                conn.ctx.push(data[1..].to_vec());
                Ok(Intent::of(Peek::Length).read(Until::Bytes(1)))
            }
        }
    }
}

#[test]
fn a_peek_does_not_wait_for_more_than_it_names() {
    check(0..300, |sim| {
        let mut dice = Dice::of(sim);
        let (server, _) = serve::<Peek>(sim, tight(), Vec::new());
        let frames: Vec<Vec<u8>> = (0..dice.below(40)).map(|_| dice.text_below(200)).collect();
        let peer = sim.connect(crate::local(7));
        for frame in &frames {
            sim.send(peer, &[&[frame.len() as u8], &frame[..]].concat());
        }
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        assert_eq!(sim.context(&server, std::mem::take), Some(frames));
    });
}

/// A peer may claim what it likes: what is left unread is limited.
#[test]
fn what_is_left_unread_is_limited() {
    check(0..200, |sim| {
        let limits = Limits {
            input_bytes_max: 3000,
            ..tight()
        };
        let (_server, streams) = serve::<Parser>(sim, limits, Parsed::default());
        let peer = sim.connect(crate::local(7));
        sim.send(peer, b"99999999:");
        sim.send(peer, &[b'x'; 100_000]);
        sim.run(ms(1000));
        assert!(sim.saw_eof(peer), "it lingers, but it has ended");
        sim.close(peer);
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        assert_eq!(streams.open(), 0);
    });
}

/// Parses as `Parser` does, but only so many frames a turn; it leaves the rest for later.
struct Sharing;

const SHARE: usize = 3;

impl Protocol for Sharing {
    type Context = Parsed;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Sharing))
    }

    fn received(self, data: Input, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        let mut left = &*data;
        for _ in 0..SHARE {
            let Some((body, length)) = parse(left) else {
                data.unread(left.len());
                return Ok(Intent::of(self));
            };
            conn.ctx.frames.push(body.to_vec());
            // Large enough that the watermark is crossed.
            conn.out.write(&[b'.'; 150])?;
            assert!(
                conn.out.queued() <= 300 + SHARE * 150,
                "called above the watermark"
            );
            left = &left[length..];
        }
        data.later(left.len());
        Ok(Intent::of(self))
    }

    fn eof(self, conn: &mut Conn<Self>) -> Result<Intent<Self>> {
        assert!(
            parse(conn.rest()).is_none(),
            "what was left for later was not presented"
        );
        Ok(Intent::done())
    }
}

#[test]
fn what_is_left_for_later_comes_again_without_news() {
    check(0..1000, |sim| {
        let mut dice = Dice::of(sim);
        let (server, streams) = serve::<Sharing>(sim, tight(), Parsed::default());
        let frames: Vec<Vec<u8>> = (0..dice.below(100)).map(|_| dice.text_below(30)).collect();
        let wire: Vec<u8> = frames
            .iter()
            .flat_map(|frame| [format!("{}:", frame.len()).as_bytes(), frame, b","].concat())
            .collect();
        let peer = sim.connect(crate::local(7));
        sim.send(peer, &wire);
        if dice.below(2) == 0 {
            sim.shutdown(peer);
        }
        if dice.below(2) == 0 {
            sim.pause(peer);
            sim.run_for(ms(dice.below(100)));
            sim.resume(peer);
        }
        sim.run(ms(10_000));
        sim.close(peer);
        assert_eq!(sim.run(ms(10_000)), Ended::Idle);
        let got = sim.context(&server, |ctx| std::mem::take(&mut ctx.frames));
        assert_eq!((got, streams.open()), (Some(frames), 0));
    });
}

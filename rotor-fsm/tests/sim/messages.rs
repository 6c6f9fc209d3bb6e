//! Messages between loops in one thread: exactly once, in order, counted; and loops that keep each other busy.

use crate::{Dice, ms};
use rotor_fsm::prelude::*;
use rotor_fsm::sim::{Ended, check};
use std::time::Duration;

/// Sends numbers in bursts, hears each again.
struct Caller {
    to: Notifier<Ask>,
    next: u64,
    answered: u64,
    count: u64,
}

struct Ask(u64, Notifier<u64>);

impl Machine for Caller {
    type Context = u64;
    type Message = u64;
    type Seed = (Notifier<Ask>, u64);

    fn create((to, count): Self::Seed, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Caller {
            to,
            next: 0,
            answered: 0,
            count,
        })
        .after(Duration::ZERO))
    }

    fn timeout(mut self, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let notifier = scope.notifier();
        for _ in 0..1 + scope.random() % 20 {
            if self.next < self.count {
                self.to.send(Ask(self.next, notifier.clone()))?;
                self.next += 1;
            }
        }
        let pause = Duration::from_micros(scope.random() % 3000);
        Ok(Response::of(self).after(pause))
    }

    fn wakeup(mut self, answer: u64, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        assert_eq!(answer, self.answered, "lost, twice or out of order");
        self.answered += 1;
        *scope.ctx = self.answered;
        if self.answered == self.count {
            Ok(Response::done())
        } else {
            Ok(Response::of(self))
        }
    }
}

/// Answers, and ends after so many.
struct Answerer(u64);

impl Machine for Answerer {
    type Context = ();
    type Message = Ask;
    type Seed = u64;

    fn create(count: u64, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Answerer(count)))
    }

    fn wakeup(self, Ask(n, back): Ask, _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        back.send(n)?;
        if self.0 == 1 {
            Ok(Response::done())
        } else {
            Ok(Response::of(Answerer(self.0 - 1)))
        }
    }
}

#[test]
fn r4_messages_between_two_loops_arrive_once_and_in_order() {
    check(0..1000, |sim| {
        let count = 1 + Dice::of(sim).below(300);
        let theirs = sim.add::<Answerer>(Config::default(), |_| Ok(())).unwrap();
        let answerer = sim.spawn::<Answerer, Answerer>(&theirs, count).unwrap();
        let ours = sim.add::<Caller>(Config::default(), |_| Ok(0)).unwrap();
        sim.spawn::<Caller, Caller>(&ours, (answerer.clone(), count))
            .unwrap();
        assert_eq!(sim.run(ms(60_000)), Ended::Over);
        assert_eq!(sim.context(&ours, |answered| *answered), Some(count));
        assert!(!answerer.is_live());
        let messages = theirs.handle().messages();
        assert_eq!((messages.delivered, messages.dropped), (count, 0));
        assert!(messages.wakes <= count, "a burst costs one wake-up at most");
    });
}

#[test]
fn r4_sent_is_delivered_and_dropped_and_returned_when_the_receiver_ends_early() {
    check(0..1000, |sim| {
        let mut dice = Dice::of(sim);
        let lives = 1 + dice.below(20);
        let loop_ = sim.add::<Answerer>(Config::default(), |_| Ok(())).unwrap();
        let keeper = sim.spawn::<Answerer, Answerer>(&loop_, u64::MAX).unwrap();
        let answerer = sim.spawn::<Answerer, Answerer>(&loop_, lives).unwrap();
        let sent = 1 + dice.below(40);
        let mut returned = 0;
        for n in 0..sent {
            returned += u64::from(
                answerer
                    .send(Ask(n, keeper.map(|_| unreachable!())))
                    .is_err(),
            );
            if dice.below(4) == 0 {
                sim.run_for(Duration::from_micros(dice.below(30)));
            }
        }
        sim.run(ms(1000));
        let counts = loop_.handle().messages();
        assert_eq!(counts.delivered + counts.dropped + returned, sent);
        drop(keeper);
    });
}

/// Sends to its friend whatever comes, for ever.
struct Ball;

impl Machine for Ball {
    type Context = Option<Notifier<()>>;
    type Message = ();
    type Seed = ();

    fn create((): (), _: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        Ok(Response::of(Ball))
    }

    fn wakeup(self, (): (), scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        if let Some(friend) = scope.ctx {
            friend.send(())?;
        }
        Ok(Response::of(self))
    }
}

#[test]
fn loops_that_keep_each_other_busy_do_not_stop_the_clock() {
    check(0..20, |sim| {
        let [a, b] = [(); 2].map(|()| sim.add::<Ball>(Config::default(), |_| Ok(None)).unwrap());
        let to_a = sim.spawn::<Ball, Ball>(&a, ()).unwrap();
        let to_b = sim.spawn::<Ball, Ball>(&b, ()).unwrap();
        sim.context(&a, |friend| *friend = Some(to_b));
        sim.context(&b, |friend| *friend = Some(to_a.clone()));
        sim.run_for(ms(1));
        to_a.send(()).unwrap();
        assert_eq!(sim.run(ms(20)), Ended::Time);
        assert!(a.handle().messages().delivered > 100);
    });
}

#[test]
fn r8_spawns_and_shutdown_from_outside_reach_a_sleeping_loop() {
    check(0..100, |sim| {
        let loop_ = sim.add::<Answerer>(Config::default(), |_| Ok(())).unwrap();
        assert_eq!(
            sim.run(ms(1000)),
            Ended::Idle,
            "r7: it never had a machine, so it waits"
        );
        let spawning = loop_.handle().spawn::<Answerer>(3);
        assert!(spawning.try_wait().is_none());
        assert_eq!(sim.run(ms(1000)), Ended::Idle);
        let notifier = spawning.try_wait().unwrap().unwrap();
        assert!(notifier.is_live() && sim.stats(&loop_).machines == 1);
        loop_.handle().shutdown(ms(10));
        assert_eq!(sim.run(ms(1000)), Ended::Over);
        assert!(!notifier.is_live() && sim.is_over(&loop_));
        assert!(
            sim.spawn::<Answerer, Answerer>(&loop_, 1).is_err(),
            "r7: spawns are refused"
        );
    });
}

#[test]
fn a_loop_that_is_over_goes_on_with_new_machines_in_the_next_run() {
    check(0..20, |sim| {
        let loop_ = sim.add::<Answerer>(Config::default(), |_| Ok(())).unwrap();
        let sink = sim.add::<Ball>(Config::default(), |_| Ok(None)).unwrap();
        let ball = sim.spawn::<Ball, Ball>(&sink, ()).unwrap();
        for _ in 0..3 {
            let answerer = sim.spawn::<Answerer, Answerer>(&loop_, 1).unwrap();
            answerer.send(Ask(1, ball.map(|_| ()))).unwrap();
            assert_eq!(sim.run(ms(100)), Ended::Idle);
            assert!(sim.is_over(&loop_) && !answerer.is_live());
        }
        assert_eq!(sim.stats(&loop_).ended, 3);
    });
}

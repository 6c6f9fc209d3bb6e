//! Two machines find each other through the shared context, and play ping pong.

use rotor_fsm::prelude::*;

const ROUNDS: u32 = 3;

#[derive(Default)]
struct Court {
    ping: Option<Notifier<u32>>,
    pong: Option<Notifier<u32>>,
}

enum Player {
    Ping,
    Pong,
}

impl Machine for Player {
    type Context = Court;
    type Message = u32;
    type Seed = Player;

    fn create(player: Player, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let me = scope.notifier();
        match player {
            Player::Ping => scope.ctx.ping = Some(me),
            Player::Pong => scope.ctx.pong = Some(me),
        }
        if let (Some(ping), Some(_)) = (&scope.ctx.ping, &scope.ctx.pong) {
            ping.send(ROUNDS)?;
        }
        Ok(Response::of(player))
    }

    fn wakeup(self, left: u32, scope: &mut Scope<'_, Self>) -> Result<Response<Self>> {
        let (name, other, left_then) = match self {
            Player::Ping => ("ping", &scope.ctx.pong, left),
            Player::Pong => ("pong", &scope.ctx.ping, left.saturating_sub(1)),
        };
        if left == 0 {
            println!("{name} is out of balls");
            return Ok(Response::done());
        }
        println!("{name} {left}");
        if let Some(other) = other {
            other.send(left_then)?;
        }
        Ok(if left_then == 0 {
            Response::done()
        } else {
            Response::of(self)
        })
    }
}

fn main() -> Result<()> {
    let mut main_loop = Loop::<Player>::new(Config::default(), |_| Ok(Court::default()))?;
    main_loop.spawn::<Player>(Player::Ping)?;
    main_loop.spawn::<Player>(Player::Pong)?;
    main_loop.run()
}

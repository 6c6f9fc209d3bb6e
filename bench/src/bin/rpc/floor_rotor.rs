//! The same by hand on this library: a protocol on a stream, which gets whatever has arrived and writes once.

use crate::Shape;
use crate::frame::{self, Asking};
use crate::meter::{Found, Meter};
use rotor_net::ConnectError;
use rotor_net::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

/// The server's side of a connection.
struct Server;

impl Protocol for Server {
    /// Where the replies of a dispatch gather.
    type Context = Vec<u8>;
    type Message = Never;
    type Seed = ();

    fn create(_: (), _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::of(Server))
    }

    #[inline]
    fn received(self, data: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        conn.ctx.clear();
        data.unread(frame::serve(&data, conn.ctx)?);
        conn.out.write(conn.ctx)?;
        Ok(Intent::of(self))
    }
}

/// Serves until SIGTERM.
pub fn serve() -> Result<()> {
    let listening = |at: &Addr| println!("listening on {at}");
    rotor_net::serve_with::<Server>(
        "127.0.0.1:0",
        Limits::default(),
        Config::default(),
        Vec::new(),
        listening,
    )
}

/// The client's side of a connection.
struct Client;

struct Clients {
    asking: Asking,
    shape: Shape,
    output: Vec<u8>,
}

impl Protocol for Client {
    type Context = Clients;
    type Message = Never;
    type Seed = ();

    fn create(_: (), conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let ctx = &mut *conn.ctx;
        ctx.output.clear();
        ctx.asking.begin(ctx.shape.in_flight, &mut ctx.output)?;
        conn.out.write(&ctx.output)?;
        Ok(Intent::of(Client))
    }

    #[inline]
    fn received(self, data: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let ctx = &mut *conn.ctx;
        ctx.output.clear();
        data.unread(frame::ask_on(&data, &mut ctx.output, &mut ctx.asking)?);
        conn.out.write(&ctx.output)?;
        if ctx.asking.ended == ctx.shape.connections * ctx.shape.in_flight {
            conn.shutdown(Duration::ZERO);
        }
        Ok(Intent::of(self))
    }

    fn unreachable(_: (), error: ConnectError, _: &mut Clients) -> Result<()> {
        Err(error.into())
    }
}

/// Asks until the meter says that it is enough.
pub fn load(addr: SocketAddr, shape: Shape, meter: Meter) -> Result<Option<Found>> {
    let clients = Clients {
        asking: Asking::new(meter),
        shape,
        output: Vec::new(),
    };
    let streams = Streams::new(Limits::default());
    let mut main_loop = Loop::<Stream<Client>>::new(Config::default(), |_| Ok(clients))?;
    for _ in 0..shape.connections {
        let seed = streams.connect::<Client>(addr, Duration::from_secs(30), ());
        main_loop.spawn::<Stream<Client>>(seed)?;
    }
    main_loop.run()?;
    match main_loop.context() {
        Some(clients) => Ok(clients.asking.meter.finish()?),
        None => Err(Error::msg("the context is gone")),
    }
}

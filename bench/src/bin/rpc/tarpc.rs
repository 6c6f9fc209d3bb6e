//! tarpc, over TCP with its length-delimited frames and bincode, the fastest of the codecs that it comes with.

use crate::Shape;
use crate::call::{Reply, Request, answer, request};
use crate::meter::{Found, Meter};
use crate::tokio_load::{self, Asker};
use ::tarpc::serde_transport::Transport;
use ::tarpc::server::{BaseChannel, Channel};
use ::tarpc::tokio_serde::formats::Bincode;
use ::tarpc::{client, context};
use futures_util::StreamExt;
use rotor_fsm::Result;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

#[::tarpc::service]
trait Files {
    async fn call(request: Request) -> Reply;
}

#[derive(Clone)]
struct Server;

impl Files for Server {
    async fn call(self, _: context::Context, request: Request) -> Reply {
        answer(request)
    }
}

/// Serves until the process is ended: a task for every call, as tarpc's documentation has it.
pub fn serve() -> Result<()> {
    serve_calls(true)
}

/// The same without those tasks, for comparison. Only for methods that never wait: one that does holds up all that
/// come after it on its connection.
pub fn serve_inline() -> Result<()> {
    serve_calls(false)
}

fn serve_calls(as_tasks: bool) -> Result<()> {
    tokio_load::runtime()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("listening on {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let channel = BaseChannel::with_defaults(Transport::from((stream, Bincode::default())));
            let calls = channel.execute(Server.serve());
            if as_tasks {
                tokio::spawn(calls.for_each(async |call| drop(tokio::spawn(call))));
            } else {
                tokio::spawn(calls.for_each(|call| call));
            }
        }
    })
}

/// A client, and what it is to be told.
#[derive(Clone)]
struct Client {
    files: FilesClient,
    expected: Reply,
}

/// Asks until the meter says that it is enough.
pub fn load(addr: SocketAddr, shape: Shape, meter: Meter) -> Result<Option<Found>> {
    tokio_load::load(shape, meter, async || {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let transport = Transport::from((stream, Bincode::default()));
        Ok(Client {
            files: FilesClient::new(client::Config::default(), transport).spawn(),
            expected: answer(request()),
        })
    })
}

impl Asker for Client {
    async fn ask(&mut self) -> Result<bool> {
        let reply = self.files.call(context::current(), request()).await?;
        Ok(reply == self.expected)
    }
}

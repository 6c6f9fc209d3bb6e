//! tonic: gRPC over HTTP/2, with the same content as messages of prost.
//!
//! The glue that tonic-build would generate is written out, so that no protoc is needed.

use crate::Shape;
use crate::call::{self, MODE};
use crate::meter::{Found, Meter};
use crate::tokio_load::{self, Asker};
use ::tonic::body::Body;
use ::tonic::client::Grpc as GrpcClient;
use ::tonic::codegen::{Context, Pin, Poll, Service, http};
use ::tonic::server::{Grpc as GrpcServer, NamedService, UnaryService};
use ::tonic::transport::server::TcpIncoming;
use ::tonic::transport::{Channel, Endpoint, Server};
use ::tonic::{Request, Response, Status};
use rotor_fsm::Result;
use std::convert::Infallible;
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tonic_prost::ProstCodec;

const PATH: &str = "/bench.Files/Call";

/// The request, as protoc would have it.
#[derive(Clone, PartialEq, prost::Message)]
struct FilesRequest {
    #[prost(oneof = "Ask", tags = "1, 2, 3")]
    ask: Option<Ask>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Ask {
    #[prost(message, tag = "1")]
    List(Nothing),
    #[prost(message, tag = "2")]
    Get(Get),
    #[prost(string, tag = "3")]
    Delete(String),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
struct Get {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    offset: u64,
    #[prost(uint32, tag = "3")]
    len: u32,
}

/// The reply.
#[derive(Clone, PartialEq, prost::Message)]
struct FilesReply {
    #[prost(oneof = "Tell", tags = "1, 2, 3")]
    tell: Option<Tell>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Tell {
    #[prost(message, tag = "1")]
    Names(Names),
    #[prost(message, tag = "2")]
    Piece(Piece),
    #[prost(bool, tag = "3")]
    Deleted(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Names {
    #[prost(string, repeated, tag = "1")]
    names: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Piece {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    end: u64,
    #[prost(uint32, tag = "3")]
    mode: u32,
}

fn answer(request: FilesRequest) -> FilesReply {
    let tell = request.ask.map(|ask| match ask {
        Ask::List(Nothing {}) => Tell::Names(Names { names: Vec::new() }),
        Ask::Get(Get { name, offset, len }) => Tell::Piece(Piece {
            name,
            end: offset.saturating_add(u64::from(len)),
            mode: MODE,
        }),
        Ask::Delete(name) => Tell::Deleted(!name.is_empty()),
    });
    FilesReply { tell }
}

/// The service: one path, one method.
#[derive(Clone)]
struct Files;

type Ready<T, E> = std::future::Ready<Result<T, E>>;

impl UnaryService<FilesRequest> for Files {
    type Response = FilesReply;
    type Future = Ready<Response<FilesReply>, Status>;

    fn call(&mut self, request: Request<FilesRequest>) -> Self::Future {
        std::future::ready(Ok(Response::new(answer(request.into_inner()))))
    }
}

impl NamedService for Files {
    const NAME: &'static str = "bench.Files";
}

impl Service<http::Request<Body>> for Files {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(async move {
            if request.uri().path() != PATH {
                return Ok(Status::unimplemented("there is one method").into_http());
            }
            let mut grpc = GrpcServer::new(ProstCodec::default());
            Ok(grpc.unary(Files, request).await)
        })
    }
}

/// Serves until the process is ended, as a service of tonic's router, which is how its documentation has it.
pub fn serve() -> Result<()> {
    tokio_load::runtime()?.block_on(async {
        let mut server = Server::builder();
        let served = server.add_service(Files);
        Ok(served.serve_with_incoming(listen().await?).await?)
    })
}

/// The same without the router, for comparison: a server of this service alone.
pub fn serve_bare() -> Result<()> {
    tokio_load::runtime()?.block_on(async {
        let server = Server::builder();
        Ok(server.serve_with_incoming(Files, listen().await?).await?)
    })
}

async fn listen() -> Result<TcpIncoming> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    Ok(TcpIncoming::from(listener).with_nodelay(Some(true)))
}

/// A connection, and what it is to be told.
#[derive(Clone)]
struct Client {
    grpc: GrpcClient<Channel>,
    request: FilesRequest,
    expected: FilesReply,
}

/// Asks until the meter says that it is enough.
pub fn load(addr: SocketAddr, shape: Shape, meter: Meter) -> Result<Option<Found>> {
    tokio_load::load(shape, meter, async || {
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))?.tcp_nodelay(true);
        Ok(Client {
            grpc: GrpcClient::new(endpoint.connect().await?),
            request: request(),
            expected: answer(request()),
        })
    })
}

fn request() -> FilesRequest {
    let ask = match call::request() {
        call::Request::List => Ask::List(Nothing {}),
        call::Request::Get { name, offset, len } => Ask::Get(Get { name, offset, len }),
        call::Request::Delete(name) => Ask::Delete(name),
    };
    FilesRequest { ask: Some(ask) }
}

impl Asker for Client {
    async fn ask(&mut self) -> Result<bool> {
        self.grpc.ready().await?;
        let path = http::uri::PathAndQuery::from_static(PATH);
        let request = Request::new(self.request.clone());
        let reply = self
            .grpc
            .unary(request, path, ProstCodec::<_, FilesReply>::default())
            .await?;
        Ok(*reply.get_ref() == self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn the_content_is_that_of_the_others() {
        let call::Reply::Piece { name, end, mode } = call::answer(call::request()) else {
            unreachable!("a piece was asked for");
        };
        let tell = Some(Tell::Piece(Piece { name, end, mode }));
        assert_eq!(answer(request()), FilesReply { tell });
        // Field tags take the four bytes more.
        assert_eq!(request().encoded_len(), 44);
        assert_eq!(answer(request()).encoded_len(), 44);
    }
}

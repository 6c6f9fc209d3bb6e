//! The same echo server on tokio: one thread, and tuned for memory.
//!
//! A connection's task owns nothing but its socket. It waits until the socket is readable and
//! only then borrows the one buffer of its thread, so idle connections hold no buffer. What the
//! socket does not take at once is the exception and gets an allocation of its own.
//!
//! `--idle-ms` gives each connection a deadline, moved by every read, as a connection of our
//! `echo` sample has.

use rotor_bench::args::{Args, fail};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 65_536]);
}

fn main() {
    let mut args = Args::from_env();
    let addr: SocketAddr = args
        .option("--listen")
        .unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let idle_ms: u64 = args.option("--idle-ms").unwrap_or(0);
    args.finish();

    let idle = (idle_ms > 0).then(|| Duration::from_millis(idle_ms));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let served = runtime.and_then(|runtime| runtime.block_on(serve(addr, idle)));
    if let Err(error) = served {
        fail(&error.to_string());
    }
}

async fn serve(addr: SocketAddr, idle: Option<Duration>) -> io::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    println!("listening on {}", listener.local_addr()?);
    // Without the macros feature there is no select!, so the accepting is a task of its own.
    let accepting = tokio::spawn(accept(listener, idle));
    let interrupted = tokio::spawn(async move { interrupt.recv().await });
    let terminated = tokio::spawn(async move { terminate.recv().await });
    first_of(interrupted, terminated).await;
    accepting.abort();
    Ok(())
}

async fn first_of(
    mut one: tokio::task::JoinHandle<Option<()>>,
    mut other: tokio::task::JoinHandle<Option<()>>,
) {
    use std::future::{Future, poll_fn};
    use std::pin::Pin;
    use std::task::Poll;
    poll_fn(|cx| {
        let ready =
            Pin::new(&mut one).poll(cx).is_ready() || Pin::new(&mut other).poll(cx).is_ready();
        if ready {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await
}

async fn accept(listener: TcpListener, idle: Option<Duration>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let _ = stream.set_nodelay(true);
                // Separate futures, so that a connection without a deadline holds no timer.
                match idle {
                    None => drop(tokio::spawn(echo(stream))),
                    Some(idle) => drop(tokio::spawn(echo_until_idle(stream, idle))),
                }
            }
            // Out of descriptors, most likely: leave the others time to close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn echo(mut stream: TcpStream) {
    while stream.readable().await.is_ok() && answer(&mut stream).await {}
}

async fn echo_until_idle(mut stream: TcpStream, idle: Duration) {
    while let Ok(Ok(())) = tokio::time::timeout(idle, stream.readable()).await {
        if !answer(&mut stream).await {
            return;
        }
    }
}

/// Echoes what is there to read. False means that the connection is at its end.
async fn answer(stream: &mut TcpStream) -> bool {
    match BUFFER.with_borrow_mut(|buffer| exchange(stream, buffer)) {
        Ok(Exchange::Done) => true,
        Ok(Exchange::Eof) => false,
        Ok(Exchange::Rest(rest)) => stream.write_all(&rest).await.is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

enum Exchange {
    Done,
    Eof,
    /// Boxed, so that the task of an idle connection has no room for it.
    Rest(Box<[u8]>),
}

/// One read and one write, neither of which waits.
fn exchange(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<Exchange> {
    let len = stream.try_read(buffer)?;
    if len == 0 {
        return Ok(Exchange::Eof);
    }
    let sent = match stream.try_write(&buffer[..len]) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
        sent => sent.unwrap_or(0),
    };
    if sent == len {
        return Ok(Exchange::Done);
    }
    Ok(Exchange::Rest(buffer[sent..len].into()))
}

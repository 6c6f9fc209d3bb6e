//! The floor: epoll and nothing else. One thread, one read and one write for all that has arrived on a connection.

use crate::Shape;
use crate::frame::{self, Asking};
use crate::meter::{Found, Meter};
use rotor_fsm::Result;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

/// The token of the listener; connections have their index.
const LISTENER: u64 = u64::MAX;

/// Connections, and what is known of them.
struct Wires {
    epoll: OwnedFd,
    wires: Vec<Option<Wire>>,
    free: Vec<usize>,
    input: Vec<u8>,
    output: Vec<u8>,
}

struct Wire {
    stream: TcpStream,
    /// An incomplete frame.
    held: Vec<u8>,
    /// What the socket did not take. Nothing is read meanwhile.
    unsent: Vec<u8>,
}

/// Serves until the process is ended.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let mut wires = Wires::new()?;
    epoll::add(
        &wires.epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    println!("listening on {}", listener.local_addr()?);
    let mut events = Vec::with_capacity(256);
    loop {
        wires.wait(&mut events)?;
        for event in events.drain(..) {
            let token = event.data;
            match token.u64() {
                LISTENER => wires.accept(&listener)?,
                at => wires.ready(at as usize, &mut frame::serve),
            }
        }
    }
}

/// Asks until the meter says that it is enough.
pub fn load(addr: SocketAddr, shape: Shape, meter: Meter) -> Result<Option<Found>> {
    let mut asking = Asking::new(meter);
    let mut wires = Wires::new()?;
    let mut first = Vec::new();
    asking.begin(shape.in_flight, &mut first)?;
    for _ in 0..shape.connections {
        let mut stream = TcpStream::connect(addr)?;
        // It fits into an empty socket buffer.
        stream.write_all(&first)?;
        wires.add(stream)?;
    }
    let mut events = Vec::with_capacity(256);
    while asking.ended < shape.connections * shape.in_flight {
        wires.wait(&mut events)?;
        for event in events.drain(..) {
            let token = event.data;
            wires.ready(token.u64() as usize, &mut |input, out| {
                frame::ask_on(input, out, &mut asking)
            });
        }
        if wires.free.len() == wires.wires.len() {
            break;
        }
    }
    Ok(asking.meter.finish()?)
}

impl Wires {
    fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            wires: Vec::new(),
            free: Vec::new(),
            input: vec![0; 64 << 10],
            output: Vec::new(),
        })
    }

    fn wait(&self, events: &mut Vec<Event>) -> io::Result<()> {
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), None) {
            Err(rustix::io::Errno::INTR) => Ok(()),
            other => other.map(drop).map_err(io::Error::from),
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => self.add(stream)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let at = self.free.pop().unwrap_or(self.wires.len());
        let token = EventData::new_u64(at as u64);
        epoll::add(&self.epoll, &stream, token, EventFlags::IN)?;
        if at == self.wires.len() {
            self.wires.push(None);
        }
        self.wires[at] = Some(Wire {
            stream,
            held: Vec::new(),
            unsent: Vec::new(),
        });
        Ok(())
    }

    /// Something happened on a connection. Closes it at its end.
    #[inline]
    fn ready(&mut self, at: usize, handler: &mut Handler<'_>) {
        let Some(wire) = &mut self.wires[at] else {
            return;
        };
        let was_stuck = !wire.unsent.is_empty();
        if !matches!(
            wire.turn(&mut self.input, &mut self.output, handler),
            Ok(true)
        ) {
            self.wires[at] = None;
            self.free.push(at);
            return;
        }
        let is_stuck = !wire.unsent.is_empty();
        if is_stuck != was_stuck {
            let flags = if is_stuck {
                EventFlags::OUT
            } else {
                EventFlags::IN
            };
            // It only fails for a descriptor that is not there.
            let _ = epoll::modify(
                &self.epoll,
                &wire.stream,
                EventData::new_u64(at as u64),
                flags,
            );
        }
    }
}

/// Handles input, appends output, and says how many bytes of input are left over.
type Handler<'a> = dyn FnMut(&[u8], &mut Vec<u8>) -> io::Result<usize> + 'a;

impl Wire {
    /// One read, and one write of all that comes of it. False at the end of input.
    #[inline]
    fn turn(
        &mut self,
        input: &mut [u8],
        output: &mut Vec<u8>,
        handler: &mut Handler<'_>,
    ) -> io::Result<bool> {
        if !self.unsent.is_empty() {
            let sent = or_none(self.stream.write(&self.unsent))?;
            self.unsent.drain(..sent.unwrap_or(0));
            return Ok(true);
        }
        let Some(len) = or_none(self.stream.read(input))? else {
            return Ok(true);
        };
        if len == 0 {
            return Ok(false);
        }
        output.clear();
        if self.held.is_empty() {
            let left = handler(&input[..len], output)?;
            self.held.extend_from_slice(&input[len - left..len]);
        } else {
            self.held.extend_from_slice(&input[..len]);
            let left = handler(&self.held, output)?;
            self.held.drain(..self.held.len() - left);
        }
        if !output.is_empty() {
            let sent = or_none(self.stream.write(output))?.unwrap_or(0);
            self.unsent.extend_from_slice(&output[sent..]);
        }
        Ok(true)
    }
}

/// `None` where one would have to wait.
#[inline]
fn or_none(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(len) => Ok(Some(len)),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

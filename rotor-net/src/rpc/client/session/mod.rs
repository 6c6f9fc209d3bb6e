//! `Session`: the client's side of one connection, from the handshake to its end, without the connection: bytes go in
//! and out, and time is told to it.
//!
//! ```text
//! call ──→ slot, frame ──→ out          bytes ──→ frames ──→ replies, items, failures ──→ calls
//! ```
//!
//! Invariant: a call is in `slots` exactly while the server has it, as far as this side can know; what arrives for one
//! that is over is late, and ignored; what arrives for one that was never sent ends the session.

mod input;
mod life;
mod outgoing;
mod route;
#[cfg(all(test, not(loom)))]
mod tests;

use super::line::ClientLine;
use super::shared::Shared;
use super::slots::{Begun, InFlight, Slots};
use super::state::ServerInfo;
use crate::rpc::codec::{CodecError, Limits};
use crate::rpc::error::words;
use crate::rpc::frame::{CallId, FailCode, Front, Header, Kind, front};
use crate::rpc::handshake::{self, Hello, WELCOME_BYTES_MAX, read_preamble, read_welcome};
use crate::rpc::{CallError, SessionError};
use input::Kept;
use life::Life;
use rotor_fsm::Time;
use route::Routes;
use std::sync::Arc;

pub(super) struct Session {
    shared: Arc<Shared>,
    /// What is to be written.
    pub out: Vec<u8>,
    pub line: Arc<ClientLine>,
    /// Calls that the server has handed back: it had not begun them.
    pub returned: Vec<Begun>,
    kept: Kept,
    phase: Phase,
    slots: Slots,
    /// The number of the next call.
    sequence: u32,
    /// No call in flight has a deadline before this.
    earliest: Time,
    life: Life,
    has_said_close: bool,
    has_heard_close: bool,
    owes_pong: bool,
    is_of_use: bool,
}

enum Phase {
    Preamble,
    Welcome { protocol_version: u8 },
    Open(Box<Opened>),
}

/// What the handshake has settled.
struct Opened {
    server: Arc<ServerInfo>,
    routes: Routes,
    /// The client's own limits, and no larger frames than the server takes.
    limits: Limits,
    in_flight_max: usize,
}

/// The longest credential.
const CREDENTIAL_BYTES_MAX: usize = 4 << 10;

impl Session {
    /// On a connection that stands: says who this is.
    ///
    /// # Errors
    /// A credential that is too long.
    pub fn new(shared: &Arc<Shared>, now: Time) -> Result<Self, CodecError> {
        let config = &shared.config;
        if config.credential.len() > CREDENTIAL_BYTES_MAX {
            return Err(CodecError::TooLong {
                encoded_bytes_max: CREDENTIAL_BYTES_MAX,
            });
        }
        let hello = Hello {
            frame_bytes_max: u32::try_from(config.frame_bytes_max()).unwrap_or(u32::MAX),
            window_bytes: config.window_bytes,
            credential: &config.credential,
        };
        let mut out = Vec::new();
        handshake::write_hello(&hello, &mut out)?;
        Ok(Self {
            shared: shared.clone(),
            out,
            line: ClientLine::new(shared),
            returned: Vec::new(),
            kept: Kept::default(),
            phase: Phase::Preamble,
            slots: Slots::default(),
            sequence: 0,
            earliest: Time::NEVER,
            life: Life::new(config, now),
            has_said_close: false,
            has_heard_close: false,
            owes_pong: false,
            is_of_use: false,
        })
    }

    /// What the server has said of itself, once it has.
    pub fn server(&self) -> Option<&Arc<ServerInfo>> {
        match &self.phase {
            Phase::Open(opened) => Some(&opened.server),
            _ => None,
        }
    }

    /// Whether anything has come of it but the handshake.
    pub fn is_of_use(&self) -> bool {
        self.is_of_use
    }

    /// Whether the server takes no more calls.
    pub fn is_draining(&self) -> bool {
        self.has_heard_close
    }

    /// Whether all is done that there was to do before it closes.
    pub fn is_done(&self) -> bool {
        self.has_said_close && self.slots.len() == 0
    }

    /// Bytes have arrived.
    ///
    /// # Errors
    /// Whatever the server did wrong, or its goodbye: the session is over.
    pub fn received(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        self.life.has_heard();
        let mut kept = std::mem::take(&mut self.kept);
        let result = kept.feed(bytes, |input| self.step(input));
        self.kept = kept;
        result?;
        self.answer_ping();
        Ok(())
    }

    /// Looks at the front of the input: so many bytes are consumed, or are needed.
    fn step(&mut self, input: &[u8]) -> Result<input::Step, SessionError> {
        let bytes_max = match &self.phase {
            Phase::Preamble => {
                let Some(protocol_version) = read_preamble(input)? else {
                    return Ok(input::Step::Needs(handshake::PREAMBLE_BYTES));
                };
                self.phase = Phase::Welcome { protocol_version };
                return Ok(input::Step::Consumed(handshake::PREAMBLE_BYTES));
            }
            Phase::Welcome { .. } => WELCOME_BYTES_MAX,
            Phase::Open(_) => self.shared.config.frame_bytes_max(),
        };
        match front(input, bytes_max)? {
            Front::Partial(whole) => Ok(input::Step::Needs(whole)),
            Front::Frame(header, body, rest) => {
                let consumed = input.len() - rest.len();
                self.frame(header, body)?;
                Ok(input::Step::Consumed(consumed))
            }
        }
    }
}

/// Frames of the server's.
impl Session {
    fn frame(&mut self, header: Header, body: &[u8]) -> Result<(), SessionError> {
        if header.kind == Kind::Goodbye {
            return Err(SessionError::Goodbye(words(body)));
        }
        if let Phase::Welcome { protocol_version } = self.phase {
            return match header.kind {
                Kind::Welcome => self.welcomed(protocol_version, body),
                other => Err(unexpected(other)),
            };
        }
        match header.kind {
            Kind::Ping => self.owes_pong = true,
            Kind::Pong => {}
            Kind::CloseStarted => self.server_closes(),
            Kind::Reply | Kind::Fail | Kind::Item | Kind::End | Kind::Credit => {
                return self.of_call(header, body);
            }
            other => return Err(unexpected(other)),
        }
        self.is_of_use |= header.kind != Kind::CloseStarted;
        Ok(())
    }

    fn welcomed(&mut self, protocol_version: u8, body: &[u8]) -> Result<(), SessionError> {
        let welcome = read_welcome(body)?;
        if welcome.in_flight_max == 0 || welcome.window_bytes == 0 {
            return Err(SessionError::BadFrame {
                what: "limits of the server that let anything be called",
            });
        }
        let config = &self.shared.config;
        let frame_bytes_max = welcome.frame_bytes_max as usize;
        let server = ServerInfo {
            protocol_version,
            frame_bytes_max,
            window_bytes: welcome.window_bytes,
            in_flight_max: welcome.in_flight_max as usize,
            meta_bytes_max: usize::from(welcome.meta_bytes_max),
            takes_unknown: welcome.takes_unknown,
            menu: welcome.menu,
        };
        let limits = Limits {
            encoded_bytes_max: config.codec.encoded_bytes_max.min(frame_bytes_max),
            ..config.codec.clone()
        };
        self.phase = Phase::Open(Box::new(Opened {
            in_flight_max: config.in_flight_max.clamp(1, server.in_flight_max),
            server: Arc::new(server),
            routes: Routes::default(),
            limits,
        }));
        Ok(())
    }

    /// The server takes no more calls: neither will it get any.
    fn server_closes(&mut self) {
        self.has_heard_close = true;
        self.say_close();
    }

    /// A frame of a call that is in flight, or was.
    fn of_call(&mut self, header: Header, body: &[u8]) -> Result<(), SessionError> {
        // Or a server that refuses every call would be connected to again and again, without a wait.
        self.is_of_use |= header.kind != Kind::Fail || header.number != FailCode::Draining as u16;
        let Some(in_flight) = self.slots.get(header.id) else {
            return self.late(header);
        };
        let core = in_flight.begun.call.core();
        let fits = match header.kind {
            Kind::Reply => !core.kind.has_items(),
            Kind::Item | Kind::End => core.kind.has_items(),
            Kind::Credit => core.kind.has_input(),
            _ => true,
        };
        if !fits {
            return Err(unexpected(header.kind));
        }
        match header.kind {
            Kind::Item => {
                let pushed = core.flows.inflow.as_ref().map(|inflow| inflow.push(body));
                if let Some(Err(_)) = pushed {
                    let slot = header.id.slot;
                    return Err(SessionError::CreditExceeded { slot });
                }
            }
            Kind::Credit => {
                let bytes = body.try_into().map_err(|_| SessionError::BadFrame {
                    what: "a credit of four bytes",
                })?;
                if let Some(outflow) = &core.flows.outflow {
                    outflow.credit(u32::from_le_bytes(bytes));
                }
            }
            kind => self.over(kind, header, body),
        }
        Ok(())
    }

    /// The server's last frame of a call. Whoever sends items learns of it first, then none are taken any more, and then
    /// the answer is given.
    fn over(&mut self, kind: Kind, header: Header, body: &[u8]) {
        let Some(in_flight) = self.slots.take(header.id.slot) else {
            return;
        };
        let call = &in_flight.begun.call;
        call.core().set_slot(None);
        let failure = match kind {
            Kind::Fail => Some(CallError::from_wire(header.number, body)),
            _ => None,
        };
        if failure == Some(CallError::Draining) {
            self.server_closes();
            // What has gone along with it is lost, so a call with items of its own cannot be made again; nor can one whose
            // items have come in part.
            let inflow = &call.core().flows.inflow;
            let has_had_items = inflow.as_ref().is_some_and(|inflow| !inflow.is_untouched());
            if !call.core().kind.has_input() && !has_had_items {
                return self.give_back(header.id, in_flight);
            }
        }
        let flows = &call.core().flows;
        flows.close_outflow(failure.as_ref().unwrap_or(&CallError::Answered));
        self.close_line(header.id.slot, &in_flight);
        match (failure, kind) {
            (Some(error), _) => call.fail(error),
            (None, Kind::End) => call.end_items(),
            (None, _) => call.replied(in_flight.version, body, &self.shared.config.codec),
        }
    }

    fn give_back(&mut self, id: CallId, in_flight: InFlight) {
        self.close_line(id.slot, &in_flight);
        self.returned.push(in_flight.begun);
    }

    /// What comes for a call that is over may have crossed its end on the way.
    fn late(&self, header: Header) -> Result<(), SessionError> {
        let was_sent = self
            .sequence
            .wrapping_sub(header.id.sequence)
            .wrapping_sub(1)
            < 1 << 31;
        match was_sent {
            true => Ok(()),
            false => Err(unexpected(header.kind)),
        }
    }
}

fn unexpected(kind: Kind) -> SessionError {
    SessionError::Unexpected { frame: kind.name() }
}

//! `Link`: a connection that stands, with the session on it: moves bytes between the two.
//!
//! All that a dispatch has for the server leaves in one write. What does not fit into the socket's queue waits in the
//! session, and then calls do too; so what waits is about [`queued_bytes_max`](crate::rpc::ClientConfig::queued_bytes_max)
//! at most.

use super::session::Session;
use rotor_fsm::{HandleId, IoErrorKind, Machine, Scope, Socket, Time};
use std::time::Duration;

pub(super) struct Link {
    socket: Socket,
    pub session: Session,
    phase: Phase,
    /// The socket has as much as it should.
    is_blocked: bool,
}

enum Phase {
    /// Until the server has said what it offers.
    Greeting {
        until: Time,
    },
    Open,
    /// The session is over: its last words leave, and what still comes is thrown away, until the server closes too.
    /// Closing at once with unread input would reset the connection, and the server would not get them.
    Lingering {
        until: Time,
    },
}

const LINGER: Duration = Duration::from_secs(5);

/// Written in one go. The socket's queue takes all of a piece, or none.
const PIECE_BYTES: usize = 64 << 10;

/// A larger buffer is given back when it has been written.
const KEPT_BYTES_MAX: usize = 64 << 10;

impl Link {
    pub fn new(socket: Socket, session: Session, until: Time) -> Self {
        Self {
            socket,
            session,
            phase: Phase::Greeting { until },
            is_blocked: false,
        }
    }

    pub fn id(&self) -> HandleId {
        self.socket.id()
    }

    pub fn is_lingering(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. })
    }

    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// True when the server has just said what it offers.
    pub fn has_opened(&mut self) -> bool {
        let has_opened =
            matches!(self.phase, Phase::Greeting { .. }) && self.session.server().is_some();
        if has_opened {
            self.phase = Phase::Open;
        }
        has_opened
    }

    /// When time is up for the handshake, or for lingering.
    pub fn until(&self) -> Time {
        match self.phase {
            Phase::Greeting { until } | Phase::Lingering { until } => until,
            Phase::Open => Time::NEVER,
        }
    }

    /// When something is to be done at last.
    pub fn next_deadline(&self) -> Time {
        match self.phase {
            Phase::Open => self.session.next_deadline(),
            Phase::Greeting { until } | Phase::Lingering { until } => until,
        }
    }

    /// Whether another call may be sent.
    pub fn has_room(&self) -> bool {
        !self.is_blocked
            && self.session.out.len() < self.session.queued_bytes_max()
            && self.session.has_room()
    }

    /// Whether something can be sent that was left from another thread.
    pub fn has_news(&self) -> bool {
        self.is_open() && !self.is_blocked && !self.session.line.is_empty()
    }

    /// Writes what there is to write, as far as there is room: what was left from other threads, too. Before calls are
    /// sent, since those may have been made after that.
    pub fn flush<M: Machine>(&mut self, scope: &mut Scope<'_, M>) {
        self.session.answer_ping();
        loop {
            self.write(scope);
            if self.is_blocked {
                return;
            }
            let queued = scope.parts(&self.socket).out.peek_queued();
            self.session.line.take(&mut self.session.out, queued);
            if self.session.out.is_empty() {
                break;
            }
        }
        if self.session.line.has_room_again() {
            self.session.tell_room();
        }
    }

    /// Writes what the session has, as far as there is room.
    pub fn write<M: Machine>(&mut self, scope: &mut Scope<'_, M>) {
        if !self.is_blocked && self.session.out.is_empty() {
            return;
        }
        let is_written = self.write_pieces(scope);
        let queued = scope.parts(&self.socket).out.peek_queued();
        self.is_blocked = !is_written || queued >= self.session.queued_bytes_max();
        if self.is_blocked {
            // So that the end of this is told.
            scope.queued(&self.socket);
        }
    }

    /// False if there was no room for all of it.
    fn write_pieces<M: Machine>(&mut self, scope: &mut Scope<'_, M>) -> bool {
        let out = &mut self.session.out;
        let mut written = 0;
        for piece in out.chunks(PIECE_BYTES) {
            match scope.write(&self.socket, piece) {
                Err(error) if error.kind() == IoErrorKind::Limit => break,
                // Output is over: what is written goes nowhere, and an event says so.
                _ => written += piece.len(),
            }
        }
        out.drain(..written);
        if out.is_empty() && out.capacity() > KEPT_BYTES_MAX {
            *out = Vec::new();
        }
        out.is_empty()
    }

    /// Nothing more is to be said. What is written leaves.
    pub fn linger<M: Machine>(&mut self, scope: &mut Scope<'_, M>) {
        if self.is_lingering() {
            return;
        }
        self.write_pieces(scope);
        // A stream that is gone tells so by an event.
        let _ = scope.shutdown_write(&self.socket);
        let until = scope.now() + LINGER;
        self.phase = Phase::Lingering { until };
        self.session.line.close_all();
    }
}

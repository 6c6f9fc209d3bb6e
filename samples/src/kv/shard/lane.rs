//! `Lane`: a client's way to one other worker.
//!
//! States: no envelope yet; the envelope at home, with replies to take or commands that could not be sent; the
//! envelope away. Commands that come meanwhile gather, and leave together with its next journey. It leaves when all
//! replies it brought were taken; what came back undone goes first, by itself, so that an envelope never grows.
//!
//! Invariant: every command that was gathered is answered exactly once, in order: by its worker, or by an error if
//! that is down.

use super::super::client::Message;
use super::envelope::Envelope;
use super::parts::Parts;
use rotor_fsm::{Notifier, SendError};
use rotor_net::server::Mesh;

/// The answer to a command that could not be sent.
const DOWN: &[u8] = b"-CLUSTERDOWN the worker that holds this key is down, try again\r\n";
/// The answer to a command whose envelope was lost.
const LOST: &[u8] =
    b"-CLUSTERDOWN the worker that holds this key went down, the command may have been done\r\n";

#[derive(Default)]
pub(super) struct Lane {
    /// What leaves next.
    pub next: Parts,
    place: Place,
}

#[derive(Default)]
enum Place {
    #[default]
    New,
    Home(Box<Envelope>),
    Away {
        /// The worker's when it left.
        epoch: u64,
        /// Commands in it.
        commands: usize,
    },
}

/// What became of the wish to send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sent {
    /// There is nothing to send, or not yet.
    Nothing,
    /// It left, with so many bytes of what had gathered.
    Left(usize),
    /// The same, but there is no room at the worker: try again.
    Full(usize),
    /// The same, but the worker is down: there are errors to take.
    Down(usize),
}

impl Lane {
    /// The oldest reply that was not taken.
    pub fn front(&self) -> Option<&[u8]> {
        match &self.place {
            Place::Home(envelope) => envelope.answers.front(),
            _ => None,
        }
    }

    /// The oldest reply was taken.
    pub fn pop(&mut self) {
        if let Place::Home(envelope) = &mut self.place {
            envelope.answers.pop();
        }
    }

    /// Sends what waits, if the envelope is at home and has nothing more to tell.
    pub fn send(
        &mut self,
        worker: usize,
        back: &Notifier<Message>,
        answers_bytes_max: usize,
        mesh: &Mesh<Box<Envelope>>,
    ) -> Sent {
        let mut envelope = match std::mem::take(&mut self.place) {
            Place::New if self.next.is_empty() => return Sent::Nothing,
            Place::New => Envelope::new(back, worker, answers_bytes_max),
            Place::Home(envelope)
                if envelope.answers.is_empty()
                    && !(envelope.commands.is_empty() && self.next.is_empty()) =>
            {
                envelope
            }
            other => {
                self.place = other;
                return Sent::Nothing;
            }
        };
        let mut bytes = 0;
        if envelope.commands.is_empty() {
            bytes = self.next.held_bytes();
            std::mem::swap(&mut envelope.commands, &mut self.next);
        }
        let commands = envelope.commands.len();
        // Read before it is sent: if the worker restarts in between, the envelope is taken for lost too early at worst.
        let epoch = mesh.epoch(worker);
        envelope.epoch = epoch;
        let (place, sent) = match mesh.send(worker, envelope) {
            Ok(()) => (Place::Away { epoch, commands }, Sent::Left(bytes)),
            Err(SendError::Full(envelope)) => (Place::Home(envelope), Sent::Full(bytes)),
            Err(SendError::Closed(mut envelope)) => {
                envelope.refuse(DOWN);
                (Place::Home(envelope), Sent::Down(bytes))
            }
        };
        self.place = place;
        sent
    }

    /// The envelope is back. One that was taken for lost is dropped.
    pub fn returned(&mut self, envelope: Box<Envelope>) {
        match self.place {
            Place::Away { epoch, .. } if epoch == envelope.epoch => {
                self.place = Place::Home(envelope);
            }
            _ => {}
        }
    }

    /// Looks whether the envelope was lost with its worker; then there are errors to take.
    pub fn look_after(
        &mut self,
        worker: usize,
        back: &Notifier<Message>,
        answers_bytes_max: usize,
        mesh: &Mesh<Box<Envelope>>,
    ) {
        let Place::Away { epoch, commands } = self.place else {
            return;
        };
        if mesh.epoch(worker) != epoch {
            let mut envelope = Envelope::new(back, worker, answers_bytes_max);
            (0..commands).for_each(|_| envelope.answers.push(LOST));
            self.place = Place::Home(envelope);
        }
    }
}

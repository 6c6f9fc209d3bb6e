//! A connection on its way from one stream machine to another: socket, unconsumed input and its place in the limits.

use crate::feed::Held;
use crate::streams::Ticket;
use rotor_fsm::Incoming;

/// What goes along when a protocol is switched. Dropping it closes the connection.
pub(crate) struct Handover {
    pub incoming: Incoming,
    pub held: Option<Box<Held>>,
    pub ticket: Ticket,
    /// Facts about the socket that its next machine could not learn again.
    pub facts: u16,
}

/// Makes the next machine, or gives the connection back if there is no room for one.
pub(crate) type Switch = Box<dyn FnOnce(Handover) -> Result<(), Handover>>;

//! `MachineId`: index and generation of a machine's slot, and how it travels as a token through the driver.

use uv_sys_wrap::Token;

/// Names one machine of one loop: a slot of its table and the slot's generation.
///
/// A slot's generation moves on when its machine ends, so an id never comes to mean a later machine (rule R2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(align(8))] // loaded, stored and compared as one word
pub struct MachineId {
    index: u32,
    generation: u32,
}

/// No slot has this index: tokens with it are the loop's own.
const INTERNAL: u32 = u32::MAX;

impl MachineId {
    /// No machine.
    pub(crate) const NONE: MachineId = MachineId::new(INTERNAL, u32::MAX);

    /// The first machine of a new loop.
    pub(crate) const FIRST: MachineId = MachineId::new(0, 1);

    /// Owner of the signals that shut the loop down.
    pub(crate) const TERMINATION: MachineId = MachineId::new(INTERNAL, Internal::Terminate as u32);

    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The slot.
    pub const fn index(self) -> u32 {
        self.index
    }

    /// The slot's generation.
    pub const fn generation(self) -> u32 {
        self.generation
    }

    #[inline]
    pub(crate) const fn token(self) -> Token {
        Token((self.index as u64) << 32 | self.generation as u64)
    }

    #[inline]
    pub(crate) const fn of(token: Token) -> Self {
        Self {
            index: (token.0 >> 32) as u32,
            generation: token.0 as u32,
        }
    }

    /// The token of one of the loop's own handles; `what` tells which.
    pub(crate) const fn internal(what: Internal) -> Token {
        Self::new(INTERNAL, what as u32).token()
    }

    #[inline]
    pub(crate) const fn is_internal(self) -> bool {
        self.index == INTERNAL
    }
}

/// The loop's own event sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Internal {
    /// Before the loop sleeps.
    Prepare = 0,
    /// After the loop has polled.
    Check = 1,
    /// Keeps the loop from sleeping; nothing is done on it.
    Idle = 2,
    /// The one timer.
    Alarm = 3,
    /// Another thread woke the loop; the inbox is drained in the check phase.
    Wake = 4,
    /// SIGTERM or SIGINT, when the loop was asked to shut down on them.
    Terminate = 5,
    /// A connection that no machine has opened yet.
    Unowned = 6,
    /// A job of the thread pool is done.
    Worked = 7,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_the_trip_through_a_token() {
        let id = MachineId::new(7, u32::MAX - 1);
        assert_eq!(MachineId::of(id.token()), id);
        assert!(!id.is_internal());
        assert!(MachineId::of(MachineId::internal(Internal::Wake)).is_internal());
    }
}

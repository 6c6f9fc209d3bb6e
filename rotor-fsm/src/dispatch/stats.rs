//! What a loop tells of itself.

use super::Engine;
use crate::Machine;

/// What a loop has done so far, and holds now.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Machines now, seeds included.
    pub machines: usize,
    /// Machines that have ended.
    pub ended: u64,
    /// Wakes that machines were told of: [`Io::Woken`](crate::Io::Woken).
    pub woken: u64,
    /// Panics caught, in handlers and in drops.
    pub panics: u64,
    /// Open streams now.
    pub sockets: usize,
    /// Times a listener had to wait for room or for descriptors.
    pub accepts_paused: u64,
    /// Deadlines set now.
    pub deadlines: usize,
}

impl<R: Machine> Engine<R> {
    pub fn stats(&self) -> Stats {
        Stats {
            machines: self.nest.live(),
            ended: self.ended,
            woken: self.woken,
            panics: self.panics,
            sockets: self.effects.sockets,
            accepts_paused: self.effects.accepts_paused,
            deadlines: self.deadlines.len(),
        }
    }
}

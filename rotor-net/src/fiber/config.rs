//! `StackConfig`: how large fibers' stacks are and how many there may be; and what one fiber may make a program hold.

use std::time::Duration;

/// A pool of stacks, and the limits of the fibers that live on them.
#[derive(Clone, Debug)]
pub struct StackConfig {
    /// Bytes of one stack, rounded up to pages; at least 16 KiB. Default 64 KiB: the deepest thing that ordinary code
    /// does is a panic that prints a full backtrace, and that takes less than half of it (24 KiB, measured). Only pages
    /// that were touched take memory, so a parked fiber costs one or two, however large its stack may become.
    pub stack_bytes: usize,
    /// Stacks, and so fibers, at once. Default 131,072. Address space for all of them is reserved when the pool is
    /// made (8.5 GiB with the default stack), memory only as they are used.
    pub stacks_max: usize,
    /// Free stacks keep their memory for the next fiber while they cannot hold more than this together; the memory of
    /// others goes back to the system. Default 64 MiB. Each is counted as if it had been used to its end, so this is
    /// an upper bound.
    pub free_bytes_max: usize,
    /// How stacks are guarded. Default [`Guards::Auto`].
    pub guards: Guards,
    /// What one fiber may hold.
    pub limits: FiberLimits,
}

/// What keeps a stack that overflows from running into the next: a page below each that cannot be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guards {
    /// Guard regions of the page table where the kernel has them (Linux 6.13), else protected pages.
    Auto,
    /// Protected pages. Each splits the mapping, of which Linux allows a process 65,530 (`vm.max_map_count`), so there
    /// can be less than half as many stacks.
    Protected,
}

/// What one fiber may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FiberLimits {
    /// Messages that wait while the fiber does something else than [`recv`](super::Cx::recv). One more ends the fiber
    /// with [`FiberError::MailboxFull`](super::FiberError::MailboxFull): a message that was accepted is never
    /// silently lost by one that goes on. Default 1,024.
    pub messages_max: usize,
    /// Input kept for a stream that the fiber does not read just then. With so much reading pauses; what one read
    /// brings (64 KiB at most) may come on top. Default 16 KiB.
    pub input_bytes_max: usize,
    /// Writing suspends while more output than this waits on a stream. Default 64 KiB.
    pub output_high_bytes: usize,
    /// Suspended writing goes on when no more than this waits. Default 32 KiB; at most the high mark.
    pub output_low_bytes: usize,
    /// How long a dropped stream may take until its output has left and the peer has closed. Default 5 s.
    pub linger: Duration,
    /// How much of what the peer still sends is read and thrown away meanwhile. Default 16 MiB.
    pub linger_bytes_max: usize,
}

impl Default for StackConfig {
    fn default() -> Self {
        Self {
            stack_bytes: 64 << 10,
            stacks_max: 1 << 17,
            free_bytes_max: 64 << 20,
            guards: Guards::Auto,
            limits: FiberLimits::default(),
        }
    }
}

impl Default for FiberLimits {
    fn default() -> Self {
        Self {
            messages_max: 1024,
            input_bytes_max: 16 << 10,
            output_high_bytes: 64 << 10,
            output_low_bytes: 32 << 10,
            linger: Duration::from_secs(5),
            linger_bytes_max: 16 << 20,
        }
    }
}

impl FiberLimits {
    /// The same made to fit together.
    pub(super) fn fitted(mut self) -> Self {
        self.output_high_bytes = self.output_high_bytes.max(1);
        self.output_low_bytes = self.output_low_bytes.min(self.output_high_bytes - 1);
        self
    }
}

//! `Limits`: what one peer, and all peers together, may make a program hold. Each has a default and its reason.

use std::time::Duration;

/// Limits of streams that share a [`Streams`](crate::Streams).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once, lingering ones included; at this number accepting pauses. Default 10,000. The loop's own
    /// `sockets_max`, which follows from the descriptors that the process may open, applies as well.
    pub connections: usize,
    /// The largest frame, and the most that a protocol may leave unread. Default 1 MiB. At most 4 GiB - 1.
    pub input_bytes_max: usize,
    /// Output that waits on one connection; a write beyond it fails. Default 1 MiB: 16 times the high watermark, so
    /// that one large answer fits where reading would have paused.
    pub output_bytes_max: usize,
    /// Above this much waiting output, nothing more is read and delivered. Default 64 KiB: a read's worth. If
    /// `output_bytes_max` is less than twice as much, half of that counts instead, so that a peer that reads slowly
    /// is made to wait before it is cut.
    pub output_high_bytes: usize,
    /// At this much or less, reading goes on. Default 32 KiB. At most half of the high watermark in effect.
    pub output_low_bytes: usize,
    /// Handler calls in one dispatch of one connection; what is left goes on next turn, after the others. Default
    /// 256: well under a millisecond of ordinary handlers.
    pub calls_per_dispatch: u32,
    /// How long a stream may take, after its protocol has ended, until its output has left and the peer has closed.
    /// Default 5 s.
    pub linger: Duration,
    /// How much of what the peer still sends is read and thrown away in that time. Default 16 MiB; a peer that sends
    /// more is cut, and may lose the end of the output.
    pub linger_bytes_max: usize,
    /// Messages kept for a protocol while its connection is being made. Default 64.
    pub early_messages_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            input_bytes_max: 1 << 20,
            output_bytes_max: 1 << 20,
            output_high_bytes: 64 << 10,
            output_low_bytes: 32 << 10,
            calls_per_dispatch: 256,
            linger: Duration::from_secs(5),
            linger_bytes_max: 16 << 20,
            early_messages_max: 64,
        }
    }
}

impl Limits {
    /// Whether so much waiting output is too much to read on (L1). Between the watermarks it stays as it was.
    #[inline]
    pub(crate) fn is_over(&self, queued_bytes: usize, was_over: bool) -> bool {
        queued_bytes > self.output_high_bytes || (was_over && queued_bytes > self.output_low_bytes)
    }

    /// The same limits made to fit together.
    pub(crate) fn fitted(mut self) -> Self {
        self.output_high_bytes = self.output_high_bytes.min(self.output_bytes_max / 2);
        self.output_low_bytes = self.output_low_bytes.min(self.output_high_bytes / 2);
        self.input_bytes_max = self.input_bytes_max.min(u32::MAX as usize);
        self.calls_per_dispatch = self.calls_per_dispatch.max(1);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The model remembers which of the two marks was crossed last.
        #[test]
        fn l1_watermarks_have_hysteresis(
            marks in (0usize..200, 0usize..200),
            queued in proptest::collection::vec(0usize..150, 0..100),
        ) {
            let limits = Limits {
                output_high_bytes: marks.0,
                output_low_bytes: marks.1,
                ..Limits::default()
            }
            .fitted();
            let (high, low) = (limits.output_high_bytes, limits.output_low_bytes);
            let mut over = false;
            for (at, &now) in queued.iter().enumerate() {
                over = limits.is_over(now, over);
                let crossed = queued[..=at].iter().rev().find(|&&n| n > high || n <= low);
                prop_assert_eq!(over, crossed.is_some_and(|&n| n > high));
            }
        }
    }

    #[test]
    fn limits_are_made_to_fit_together() {
        let default = Limits::default();
        assert_eq!(default.clone().fitted(), default);
        let chat = Limits {
            output_bytes_max: 64 << 10,
            ..Limits::default()
        }
        .fitted();
        assert_eq!(
            (chat.output_high_bytes, chat.output_low_bytes),
            (32 << 10, 16 << 10)
        );
        let none = Limits {
            output_bytes_max: 0,
            calls_per_dispatch: 0,
            ..Limits::default()
        }
        .fitted();
        assert_eq!(
            (
                none.output_high_bytes,
                none.output_low_bytes,
                none.calls_per_dispatch
            ),
            (0, 0, 1)
        );
    }
}

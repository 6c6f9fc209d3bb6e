//! `Parts`: commands, or the parts of commands that concern one worker, on their way to it: one buffer for all.
//!
//! A part is the number of its arguments and then each argument with its length before it. What is written here is
//! read by the same program, so nothing of it is ever wrong; reading does not panic nevertheless.

use super::super::resp::{Args, Span};
use super::SHARE_BYTES;

/// A queue of commands. Its buffer is kept, up to a size, when it is empty.
#[derive(Default)]
pub(super) struct Parts {
    bytes: Vec<u8>,
    /// Where the oldest part begins.
    at: usize,
    count: usize,
    /// Where the part that is being written begins.
    open: Option<usize>,
}

/// The oldest part.
pub(super) struct Part<'a> {
    /// Empty for a question for the totals.
    pub args: Args<'a>,
    end: usize,
}

/// The number of a part's arguments, or the length of one.
const NUMBER_BYTES: usize = 4;

impl Parts {
    /// Parts that wait.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes that wait.
    pub fn held_bytes(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Adds a whole command.
    pub fn push(&mut self, args: Args<'_>) {
        let bytes: usize = args.iter().map(|arg| NUMBER_BYTES + arg.len()).sum();
        self.bytes.reserve(NUMBER_BYTES + bytes);
        self.number(args.len());
        args.iter().for_each(|arg| self.text(arg));
        self.count += 1;
    }

    /// Adds an argument to the part that is being written, which is begun with `name` if there is none.
    pub fn push_arg(&mut self, name: &[u8], arg: &[u8]) {
        if self.open.is_none() {
            self.open = Some(self.bytes.len());
            self.number(0);
            self.push_text(name);
        }
        self.push_text(arg);
    }

    /// Ends the part that is being written; whether there was one.
    pub fn end_part(&mut self) -> bool {
        let is_open = self.open.take().is_some();
        self.count += usize::from(is_open);
        is_open
    }

    /// Whether a part is being written.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Adds a question for the totals.
    pub fn push_totals(&mut self) {
        self.number(0);
        self.count += 1;
    }

    /// The oldest part. `spans` is scratch memory.
    pub fn front<'a>(&'a self, spans: &'a mut Vec<Span>) -> Option<Part<'a>> {
        if self.count == 0 {
            return None;
        }
        spans.clear();
        let mut at = self.at + NUMBER_BYTES;
        for _ in 0..number_at(&self.bytes, self.at) {
            let len = number_at(&self.bytes, at);
            spans.push(Span::new(at + NUMBER_BYTES, len));
            at += NUMBER_BYTES + len;
        }
        Some(Part {
            args: Args::new(&self.bytes, spans),
            end: at,
        })
    }

    /// The oldest part, which ends there, is done.
    pub fn pop(&mut self, end: usize) {
        self.at = end;
        self.count -= 1;
        if self.count == 0 {
            self.clear();
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(SHARE_BYTES);
        (self.at, self.count) = (0, 0);
    }

    fn push_text(&mut self, text: &[u8]) {
        self.text(text);
        let Some(open) = self.open else { return };
        if let Some(number) = self.bytes.get_mut(open..open + NUMBER_BYTES) {
            let mut bytes = [0; NUMBER_BYTES];
            bytes.copy_from_slice(number);
            number.copy_from_slice(&(u32::from_le_bytes(bytes) + 1).to_le_bytes());
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len());
        self.bytes.extend_from_slice(text);
    }

    /// Requests are less than 4 GiB long, and so is all within them.
    fn number(&mut self, number: usize) {
        self.bytes.extend_from_slice(&(number as u32).to_le_bytes());
    }
}

impl Part<'_> {
    /// For [`Parts::pop`].
    pub fn end(&self) -> usize {
        self.end
    }
}

fn number_at(bytes: &[u8], at: usize) -> usize {
    let number = bytes.get(at..).and_then(<[u8]>::first_chunk);
    number.map_or(0, |number| u32::from_le_bytes(*number) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Command = Vec<Vec<u8>>;

    fn taken(parts: &mut Parts) -> Option<Command> {
        let mut spans = Vec::new();
        let part = parts.front(&mut spans)?;
        let (command, end) = (part.args.iter().map(<[u8]>::to_vec).collect(), part.end());
        parts.pop(end);
        Some(command)
    }

    fn push(parts: &mut Parts, command: &Command, whole: bool) {
        if command.is_empty() {
            return parts.push_totals();
        }
        if whole || command.len() < 2 {
            let (mut bytes, mut spans) = (Vec::new(), Vec::new());
            for arg in command {
                spans.push(Span::new(bytes.len(), arg.len()));
                bytes.extend_from_slice(arg);
            }
            return parts.push(Args::new(&bytes, &spans));
        }
        for arg in &command[1..] {
            parts.push_arg(&command[0], arg);
        }
        assert!(parts.end_part() && !parts.end_part());
    }

    fn command() -> impl Strategy<Value = Command> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..5)
    }

    proptest! {
        #[test]
        fn come_out_as_they_went_in(
            commands in prop::collection::vec((command(), any::<bool>()), 0..8),
            taken_first in 0..10usize,
        ) {
            let mut parts = Parts::default();
            let mut expected = commands.iter().map(|(command, _)| command);
            let (first, second) = commands.split_at(taken_first.min(commands.len()));
            first.iter().for_each(|(command, whole)| push(&mut parts, command, *whole));
            prop_assert_eq!(parts.len(), first.len());
            for _ in 0..first.len() / 2 {
                let command = taken(&mut parts);
                prop_assert_eq!(command.as_ref(), expected.next());
            }
            second.iter().for_each(|(command, whole)| push(&mut parts, command, *whole));
            while let Some(command) = taken(&mut parts) {
                prop_assert_eq!(Some(&command), expected.next());
            }
            prop_assert_eq!(expected.next(), None);
            prop_assert!(parts.is_empty() && parts.held_bytes() == 0);
        }
    }
}

//! The service as a fiber: what it waits for is where it is.

use super::command::{Command, listing, ok, refusal};
use super::dir::{Dir, chunk};
use super::{BYE, IDLE, LINE_MAX, TOO_LONG};
use rotor_fsm::prelude::*;
use rotor_net::fiber::{Cx, Fiber, FiberError, FiberStream, Stacks};
use std::sync::Arc;

/// What the fibers of a worker share.
pub struct Shared {
    /// What is served.
    pub dir: Dir,
    /// Where they run.
    pub stacks: Stacks,
}

/// One client's machine.
pub type Files = Fiber<Shared>;

/// One client's conversation.
struct Client<'a, 'f> {
    cx: &'a Cx<'f, Shared>,
    stream: FiberStream,
    dir: Dir,
    /// The server drains: ends after this command.
    is_last: bool,
}

/// Serves one client until it leaves, or the server drains and its command is answered.
///
/// # Errors
/// If the connection fails, or a file becomes shorter while it is sent.
pub fn serve(cx: &Cx<'_, Shared>, incoming: Incoming) -> Result<()> {
    let mut client = Client {
        cx,
        stream: cx.open(incoming)?,
        dir: cx.with_context(|shared| shared.dir.clone())?,
        is_last: false,
    };
    let mut line = Vec::new();
    while !client.is_last && client.command(&mut line)? {
        let dir = client.dir.clone();
        let answer = match Command::parse(&line) {
            Ok(Command::List) => client.job(move || dir.list())?.map(|found| listing(&found)),
            Ok(Command::Size(name)) => {
                let name = name.to_vec();
                let found = client.job(move || dir.file(&name))?;
                found.map(|(_, size)| ok(size))
            }
            Ok(Command::Get(name)) => {
                let name = name.to_vec();
                match client.job(move || dir.file(&name))? {
                    Ok((file, size)) => {
                        client.send(file, size)?;
                        continue;
                    }
                    Err(error) => Err(error),
                }
            }
            Ok(Command::Quit) => {
                client.answer(BYE)?;
                break;
            }
            Err(answer) => Ok(answer.to_vec()),
        };
        let answer = answer.unwrap_or_else(|error| refusal(&error));
        client.answer(&answer)?;
    }
    Ok(())
}

impl Client<'_, '_> {
    /// Waits for a command; false if there will be none.
    fn command(&mut self, line: &mut Vec<u8>) -> Result<bool> {
        let cx = self.cx.within(IDLE);
        match cx.read_until(&mut self.stream, b"\n", LINE_MAX, line) {
            Ok(false) | Err(FiberError::TimedOut | FiberError::Cancelled) => return Ok(false),
            Ok(true) => {}
            Err(FiberError::TooLong { .. }) => {
                self.answer(TOO_LONG)?;
                return Ok(false);
            }
            Err(error) => return Err(error.into()),
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(true)
    }

    fn answer(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.cx.within(IDLE).write_all(&mut self.stream, bytes)?)
    }

    fn send(&mut self, file: std::fs::File, size: u64) -> Result<()> {
        self.answer(&ok(size))?;
        let file = Arc::new(file);
        let mut at = 0;
        while at < size {
            let file = file.clone();
            // The length was promised: there is no way to say that it cannot be kept but to hang up.
            let bytes = self.job(move || chunk(&file, at, size - at))??;
            self.answer(&bytes)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Runs a job on the thread pool; again, if the server begins to drain meanwhile: this command is still answered.
    fn job<T: Send + 'static>(
        &mut self,
        job: impl Fn() -> T + Clone + Send + 'static,
    ) -> Result<T> {
        match self.cx.work(job.clone()) {
            Err(FiberError::Cancelled) => {
                self.is_last = true;
                self.cx.carry_on();
                Ok(self.cx.work(job)?)
            }
            other => Ok(other?),
        }
    }
}

//! The service as an enum: what it waits for is its state.

use super::command::{Command, listing, ok, refusal};
use super::dir::{Dir, Entry, chunk};
use super::{BYE, CHUNK, IDLE, LINE_MAX, TOO_LONG};
use rotor_net::prelude::*;
use std::fs::File;
use std::io;

/// One client.
pub struct Files {
    state: State,
    /// The server drains: ends after this command.
    is_last: bool,
}

enum State {
    /// For a command.
    Idle,
    /// For a job.
    Busy,
    /// For room in the output.
    Sending(Download),
}

/// A file on its way.
pub struct Download {
    file: File,
    at: u64,
    size: u64,
}

/// What a job found.
pub enum Done {
    /// The directory's files.
    Listed(io::Result<Vec<Entry>>),
    /// A file's length.
    Sized(io::Result<u64>),
    /// A file, open.
    Opened(io::Result<(File, u64)>),
    /// The next bytes of it.
    Read(Download, io::Result<Vec<u8>>),
}

impl Protocol for Files {
    type Context = Dir;
    type Message = Done;
    type Seed = ();

    fn create(_: (), _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let idle = Files {
            state: State::Idle,
            is_last: false,
        };
        Ok(Intent::of(idle).line(LINE_MAX).after(IDLE))
    }

    fn received(self, line: Input<'_>, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let dir = conn.ctx.clone();
        match Command::parse(&line) {
            Ok(Command::List) => conn.work(move || dir.list(), Done::Listed)?,
            Ok(Command::Size(name)) => {
                let name = name.to_vec();
                conn.work(move || dir.file(&name).map(|(_, size)| size), Done::Sized)?;
            }
            Ok(Command::Get(name)) => {
                let name = name.to_vec();
                conn.work(move || dir.file(&name), Done::Opened)?;
            }
            Ok(Command::Quit) => {
                conn.out.write(BYE)?;
                return Ok(Intent::done());
            }
            Err(answer) => {
                conn.out.write(answer)?;
                return Ok(Intent::of(self).after(IDLE));
            }
        }
        Ok(self.wait(State::Busy))
    }

    fn wakeup(self, done: Done, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        match done {
            Done::Listed(Ok(entries)) => conn.out.write(&listing(&entries))?,
            Done::Sized(Ok(size)) => conn.out.write(&ok(size))?,
            Done::Opened(Ok((file, size))) => {
                conn.out.write(&ok(size))?;
                return self.send_on(Download { file, at: 0, size }, conn);
            }
            Done::Listed(Err(error)) | Done::Sized(Err(error)) | Done::Opened(Err(error)) => {
                conn.out.write(&refusal(&error))?
            }
            Done::Read(mut download, read) => {
                // The length was promised: there is no way to say that it cannot be kept but to hang up.
                let bytes = read?;
                conn.out.write(&bytes)?;
                download.at += bytes.len() as u64;
                return self.send_on(download, conn);
            }
        }
        Ok(self.next())
    }

    fn flushed(self, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        match self.state {
            State::Sending(download) => {
                let busy = Files {
                    state: State::Busy,
                    ..self
                };
                busy.read_on(download, conn)
            }
            _ => Ok(Intent::of(self)),
        }
    }

    fn failed(self, failure: Failure, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        if let Failure::TooLong { .. } = failure {
            conn.out.write(TOO_LONG)?;
        }
        Ok(Intent::done())
    }

    fn timeout(self, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        Ok(Intent::done())
    }

    fn finish(self, _: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        match self.state {
            State::Idle => Ok(Intent::done()),
            _ => Ok(Intent::of(Files {
                is_last: true,
                ..self
            })),
        }
    }
}

impl Files {
    /// Reads no commands until the one at hand is answered.
    fn wait(self, state: State) -> Intent<Self> {
        Intent::of(Files { state, ..self }).pause().after(IDLE)
    }

    /// The command is answered.
    fn next(self) -> Intent<Self> {
        if self.is_last {
            return Intent::done();
        }
        let idle = Files {
            state: State::Idle,
            ..self
        };
        Intent::of(idle).line(LINE_MAX).after(IDLE)
    }

    /// Goes on with a file, once there is room for more of it.
    fn send_on(self, download: Download, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        match download.size - download.at {
            0 => Ok(self.next()),
            _ if conn.out.queued() < CHUNK => self.read_on(download, conn),
            _ => Ok(self.wait(State::Sending(download)).flushed_below(CHUNK)),
        }
    }

    fn read_on(self, download: Download, conn: &mut Conn<'_, Self>) -> Result<Intent<Self>> {
        let job = move || {
            let read = chunk(&download.file, download.at, download.size - download.at);
            (download, read)
        };
        conn.work(job, |(download, read)| Done::Read(download, read))?;
        Ok(self.wait(State::Busy))
    }
}

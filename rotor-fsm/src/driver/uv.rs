//! The libuv driver: each method is one call of the wrapper, or two.
//!
//! It owns the loop's own handles: prepare and check (the phases of a turn), an idle handle that keeps the loop from
//! sleeping, the one timer, and the async handle by which other threads wake the loop. The async handle is the one
//! that keeps the loop alive while all streams are paused (U4).

use super::{Driver, IoResult, SocketOption};
use crate::error::IoError;
use crate::id::Internal;
use crate::work::Job;
use crate::{Addr, Detached, MachineId, Time};
use std::os::fd::OwnedFd;
use uv_sys_wrap as uv;
use uv_sys_wrap::{HandleId, ListenOptions, ListenSocket, Stream, Token, Uv, WorkId, WriteBufs};

pub(crate) struct UvDriver {
    uv: Uv,
    idle: uv::Idle,
    is_busy: bool,
    alarm: uv::Timer,
    wake: uv::Wake,
    _prepare: uv::Prepare,
    _check: uv::Check,
    random: u64,
}

const fn own(what: Internal) -> Token {
    MachineId::internal(what)
}

impl UvDriver {
    pub fn new(uv: &Uv) -> IoResult<Self> {
        let prepare = uv::Prepare::new(uv, own(Internal::Prepare))?;
        let check = uv::Check::new(uv, own(Internal::Check))?;
        let idle = uv::Idle::new(uv, own(Internal::Idle))?;
        let alarm = uv::Timer::new(uv, own(Internal::Alarm))?;
        let wake = uv::Wake::new(uv, own(Internal::Wake))?;
        prepare.start()?;
        check.start()?;
        for id in [prepare.id(), check.id(), alarm.id()] {
            uv.set_referenced(id, false)?;
        }
        let random = uv.hrtime() ^ (std::process::id() as u64) << 32 ^ hasher_seed();
        Ok(Self {
            uv: uv.clone(),
            idle,
            is_busy: false,
            alarm,
            wake,
            _prepare: prepare,
            _check: check,
            random,
        })
    }

    /// Wakes the loop from any thread.
    pub fn waker(&self) -> IoResult<uv::Waker> {
        self.wake.waker()
    }
}

/// Bits that differ between processes and runs, from the standard library's own randomness.
fn hasher_seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish()
}

impl Driver for UvDriver {
    fn now(&mut self) -> Time {
        Time::from_nanos(self.uv.hrtime())
    }

    fn random(&mut self) -> u64 {
        // SplitMix64: for jitter and identifiers, not for secrets.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn listen(&mut self, at: &Addr, options: &ListenOptions, token: Token) -> IoResult<HandleId> {
        let acceptor = match at {
            Addr::Tcp(addr) => uv::Acceptor::tcp(&self.uv, *addr, options, token)?,
            Addr::Unix(path) => uv::Acceptor::unix(&self.uv, path.as_path(), options, token)?,
        };
        Ok(acceptor.into_handle().release())
    }

    fn accept(&mut self, listener: HandleId, token: Token) -> IoResult<Option<HandleId>> {
        let accepted = self.uv.acceptor(listener).accept(token)?;
        Ok(accepted.map(uv::Handle::release))
    }

    fn listen_on(&mut self, socket: ListenSocket, token: Token) -> IoResult<HandleId> {
        let acceptor = uv::Acceptor::new(&self.uv, socket, token)?;
        Ok(acceptor.into_handle().release())
    }

    fn accept_detached(&mut self, listener: HandleId) -> IoResult<Option<Detached>> {
        let acceptor = self.uv.acceptor(listener);
        let Some(fd) = acceptor.accept_fd()? else {
            return Ok(None);
        };
        Ok(Some(Detached {
            fd,
            is_unix: acceptor.is_unix()?,
            lease: None,
        }))
    }

    fn adopt(&mut self, fd: OwnedFd, is_unix: bool, token: Token) -> IoResult<HandleId> {
        let handle = match is_unix {
            true => {
                let pipe = uv::Pipe::new(&self.uv, token)?;
                pipe.open(fd)?;
                pipe.into_handle()
            }
            false => {
                let tcp = uv::Tcp::new(&self.uv, token)?;
                tcp.open(fd)?;
                tcp.into_handle()
            }
        };
        Ok(handle.release())
    }

    fn leave_file(&mut self, listener: HandleId) -> IoResult<()> {
        self.uv.acceptor(listener).leave_file()
    }

    fn set_listening(&mut self, listener: HandleId, on: bool) -> IoResult<()> {
        let acceptor = self.uv.acceptor(listener);
        if on {
            acceptor.resume()
        } else {
            acceptor.pause()
        }
    }

    fn connect(&mut self, to: &Addr, token: Token) -> IoResult<(HandleId, Option<IoError>)> {
        let (handle, begun) = match to {
            Addr::Tcp(addr) => {
                let tcp = uv::Tcp::new(&self.uv, token)?;
                let begun = tcp.connect(*addr);
                (tcp.into_handle(), begun)
            }
            Addr::Unix(path) => {
                let pipe = uv::Pipe::new(&self.uv, token)?;
                let begun = pipe.connect(path.as_path());
                (pipe.into_handle(), begun)
            }
        };
        Ok((handle.release(), begun.err()))
    }

    fn token(&self, id: HandleId) -> Option<Token> {
        self.uv.token(id).ok()
    }

    fn set_token(&mut self, id: HandleId, token: Token) -> IoResult<()> {
        self.uv.set_token(id, token)
    }

    fn close(&mut self, id: HandleId) {
        self.uv.close(id);
    }

    fn reset(&mut self, id: HandleId) {
        // Fails only where there is nothing to reset; the handle closes with its owner in any case.
        let _ = self.uv.stream(id).reset();
    }

    fn set_reading(&mut self, id: HandleId, on: bool) -> IoResult<()> {
        let stream = self.uv.stream(id);
        if on {
            stream.read_start()
        } else {
            stream.read_stop()
        }
    }

    #[inline(always)]
    fn try_write(&mut self, id: HandleId, bytes: &[u8]) -> IoResult<usize> {
        self.uv.stream(id).try_write_one(bytes)
    }

    fn write(
        &mut self,
        id: HandleId,
        bytes: Vec<u8>,
        start: usize,
    ) -> Result<(), (IoError, Vec<u8>)> {
        let bufs = WriteBufs::from(uv::WriteBuf::Vec { bytes, start });
        self.uv.stream(id).write(bufs).map_err(|refused| {
            let bytes = refused.bufs.into_iter().find_map(|buf| match buf {
                uv::WriteBuf::Vec { bytes, .. } => Some(bytes),
                _ => None,
            });
            (refused.error, bytes.unwrap_or_default())
        })
    }

    fn shutdown(&mut self, id: HandleId) -> IoResult<()> {
        self.uv.stream(id).shutdown()
    }

    fn set_option(&mut self, id: HandleId, option: SocketOption) -> IoResult<()> {
        match option {
            SocketOption::NoDelay(on) => self.uv.stream(id).nodelay(on),
            SocketOption::KeepAlive(after) => self.uv.stream(id).keepalive(after),
            SocketOption::SendBuffer(bytes) => self.uv.stream(id).set_send_buffer_bytes(bytes),
            SocketOption::ReceiveBuffer(bytes) => self.uv.stream(id).set_recv_buffer_bytes(bytes),
        }
    }

    fn local_addr(&self, id: HandleId) -> IoResult<Addr> {
        let (acceptor, stream) = (self.uv.acceptor(id), self.uv.stream(id));
        let tcp = acceptor.local_addr().or_else(|_| stream.local_addr());
        tcp.map(Addr::Tcp)
            .or_else(|_| acceptor.local_name().map(Addr::Unix))
            .or_else(|_| stream.local_name().map(Addr::Unix))
    }

    fn peer_addr(&self, id: HandleId) -> IoResult<Addr> {
        let stream = self.uv.stream(id);
        let tcp = stream.peer_addr();
        tcp.map(Addr::Tcp)
            .or_else(|error| stream.peer_name().map(Addr::Unix).map_err(|_| error))
    }

    fn signal(&mut self, signum: i32, token: Token) -> IoResult<HandleId> {
        let signal = uv::Signal::new(&self.uv, token)?;
        signal.start(signum)?;
        Ok(signal.into_handle().release())
    }

    fn stdin(&mut self, token: Token) -> IoResult<HandleId> {
        Ok(uv::stdin(&self.uv, token)?.release())
    }

    fn work(&mut self, job: Job) -> IoResult<WorkId> {
        self.uv.work(own(Internal::Worked), job)
    }

    fn cancel_work(&mut self, work: WorkId) {
        self.uv.cancel_work(work);
    }

    fn set_alarm(&mut self, at: Option<Time>) {
        let Some(at) = at else {
            let _ = self.alarm.stop();
            return;
        };
        // The loop's own clock is as old as its turn (U18).
        self.uv.update_time();
        let left = at.since(self.now()).as_nanos().div_ceil(1_000_000);
        let _ = self.alarm.start(u64::try_from(left).unwrap_or(u64::MAX), 0);
    }

    fn set_busy(&mut self, on: bool) {
        if on != self.is_busy {
            self.is_busy = on;
            let _ = if on {
                self.idle.start()
            } else {
                self.idle.stop()
            };
        }
    }

    fn stop(&mut self) {
        self.uv.stop();
    }
}

//! Where a server listens: sockets made here, inherited from who started the process, or taken over from a
//! predecessor; and who accepts from each, the acceptor or (with `ReusePort`) the workers.

use rotor_fsm::{Addr, Error, IoError, ListenOptions, ListenSocket, Result};
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the program asked to listen at.
pub(super) enum Wanted {
    At(Result<Addr>),
    Inherited,
}

/// Listening sockets, each with the position of its address.
#[derive(Default)]
pub(super) struct Bound {
    pub addresses: Vec<Addr>,
    /// The acceptor's.
    pub shared: Vec<(usize, ListenSocket)>,
    /// Each worker's own.
    pub own: Vec<Vec<(usize, ListenSocket)>>,
    /// Which of the acceptor's were a predecessor's.
    taken: Vec<usize>,
}

impl Bound {
    /// Binds what is wanted and was not taken over.
    ///
    /// `own` is for how many workers to make a socket each, where the address allows it.
    pub fn new(
        wanted: Vec<Wanted>,
        taken: Vec<(String, OwnedFd)>,
        own: Option<usize>,
        options: &ListenOptions,
    ) -> Result<Self> {
        let mut taken = taken
            .into_iter()
            .map(|(text, fd)| Ok((text, ListenSocket::from_fd(fd)?)))
            .collect::<Result<Vec<_>>>()?;
        let mut bound = Self {
            own: (0..own.unwrap_or(0)).map(|_| Vec::new()).collect(),
            ..Self::default()
        };
        for wanted in wanted {
            match wanted {
                Wanted::At(addr) => bound.listen(addr?, &mut taken, options)?,
                Wanted::Inherited => {
                    for fd in super::inherited::inherited()? {
                        bound.share(ListenSocket::from_fd(fd)?)?;
                    }
                }
            }
        }
        if bound.addresses.is_empty() {
            return Err(Error::msg(
                "the server listens nowhere: no address was given, and no socket inherited",
            ));
        }
        Ok(bound)
    }

    /// Makes the files of a predecessor's sockets this process's to remove. Not before it serves: until then they are the
    /// predecessor's, which goes on if this process fails.
    pub fn own_files(&mut self) {
        for &at in &self.taken {
            self.shared[at].1.own_file();
        }
    }

    /// Copies of all sockets, with their addresses, for a successor.
    pub fn copies(&self) -> Result<Vec<(String, ListenSocket)>> {
        let own = self.own.iter().flatten();
        let copies = self.shared.iter().chain(own).map(|(address, socket)| {
            let text = self.addresses[*address].to_string();
            Ok((text, socket.try_clone()?))
        });
        copies.collect()
    }

    fn listen(
        &mut self,
        addr: Addr,
        taken: &mut Vec<(String, ListenSocket)>,
        options: &ListenOptions,
    ) -> Result<()> {
        let text = addr.to_string();
        let mut here = Vec::new();
        while let Some(at) = taken.iter().position(|(address, _)| *address == text) {
            here.push(taken.swap_remove(at).1);
        }
        match addr {
            Addr::Tcp(addr) if !self.own.is_empty() => self.spread(addr, here, options),
            _ if !here.is_empty() => here.into_iter().try_for_each(|socket| {
                self.taken.push(self.shared.len());
                self.share(socket)
            }),
            addr => self.share(bind(addr, options)?),
        }
    }

    /// One socket for the acceptor.
    fn share(&mut self, socket: ListenSocket) -> Result<()> {
        let address = self.address(&socket)?;
        self.shared.push((address, socket));
        Ok(())
    }

    /// A socket for each worker. More than that may have been taken over: no connection may wait at one in vain.
    fn spread(
        &mut self,
        mut addr: SocketAddr,
        taken: Vec<ListenSocket>,
        options: &ListenOptions,
    ) -> Result<()> {
        let options = ListenOptions {
            reuse_port: true,
            ..*options
        };
        let missing = self.own.len().saturating_sub(taken.len());
        let mut sockets = taken;
        for _ in 0..missing {
            let socket = bind(Addr::Tcp(addr), &options)?;
            // All at the port that the first was given.
            addr = socket.local_addr()?;
            sockets.push(socket);
        }
        let Some(first) = sockets.first() else {
            return Ok(());
        };
        let address = self.address(first)?;
        let workers = self.own.len();
        for (n, socket) in sockets.into_iter().enumerate() {
            self.own[n % workers].push((address, socket));
        }
        Ok(())
    }

    /// The position of a socket's address, which is new unless a socket there is known already.
    fn address(&mut self, socket: &ListenSocket) -> Result<usize> {
        let addr = match socket.local_addr() {
            Ok(addr) => Addr::Tcp(addr),
            Err(_) => Addr::Unix(socket.local_name()?),
        };
        let known = self.addresses.iter().position(|known| *known == addr);
        Ok(known.unwrap_or_else(|| {
            self.addresses.push(addr);
            self.addresses.len() - 1
        }))
    }
}

fn bind(at: Addr, options: &ListenOptions) -> Result<ListenSocket, ListenError> {
    let bound = match &at {
        Addr::Tcp(addr) => ListenSocket::tcp(*addr, options),
        Addr::Unix(path) => ListenSocket::unix(path.as_path(), options),
    };
    bound.map_err(|error| ListenError { at, error })
}

/// An address that a server could not listen at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenError {
    /// The address.
    pub at: Addr,
    /// Why: most often it is taken, not this machine's, or not permitted.
    pub error: IoError,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen at {}: {}", self.at, self.error)
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// With `ReusePort`, where a worker listens itself, in this life of its loop and the next; each with the position of its
/// address. Clones share.
#[derive(Clone, Default)]
pub(super) struct OwnSockets(Arc<Mutex<Vec<(usize, ListenSocket)>>>);

impl OwnSockets {
    pub fn new(sockets: Vec<(usize, ListenSocket)>) -> Self {
        Self(Arc::new(Mutex::new(sockets)))
    }

    /// Copies, for one life of the loop.
    pub fn copies(&self) -> Result<Vec<(usize, ListenSocket)>> {
        let sockets = self.lock();
        let copies = sockets
            .iter()
            .map(|(address, socket)| Ok((*address, socket.try_clone()?)));
        copies.collect()
    }

    /// There will be no other life.
    pub fn close(&self) {
        let closed = std::mem::take(&mut *self.lock());
        drop(closed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(usize, ListenSocket)>> {
        // Nothing under the lock panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

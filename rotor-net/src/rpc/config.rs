//! Limits of sessions: what one peer may make a program hold, each with a default and its reason.

use super::codec;
use std::time::Duration;

/// Limits of the server's side of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionConfig {
    /// Limits of one request, reply or item. Frames that cannot hold more are refused by their header.
    pub codec: codec::Limits,
    /// Calls of one connection in flight at once. Default 256: more only queue behind each other. A client that begins
    /// more breaks the protocol. Calls that were cancelled, and whose replies or streams the service still keeps, are
    /// refused beyond about four times as many.
    pub in_flight_max: usize,
    /// Bytes of items that a client may send on one stream before the handler has taken some, and the longest item (1 KiB
    /// is always taken). Default 128 KiB: two pieces of a file. A stream holds at most twice as much, all streams of a
    /// connection `in_flight_max` times that.
    pub window_bytes: u32,
    /// Encoded output of one connection that may wait for it to be read; a client that lets more gather does not read,
    /// and is cut. Default 16 MiB: replies that handlers give later are not held back as reading is, and a client that
    /// reads well may have asked for many large ones at once. One reply or item is at most half as long. What the stream
    /// holds of it is in [`Limits::output_bytes_max`](crate::Limits::output_bytes_max).
    pub queued_bytes_max: usize,
    /// Metadata with one call. Default 1 KiB: a few trace ids.
    pub meta_bytes_max: u16,
    /// From the connection to a complete `Hello`. Default 10 s.
    pub handshake: Duration,
    /// How often a session looks whether anything has arrived since it last looked; if not, it asks for a sign of life.
    /// Default 15 s. `Duration::MAX` turns it off.
    pub heartbeat: Duration,
    /// Looks in a row that find nothing, after which the peer is gone. They are counted, so that a machine that slept
    /// does not take its peers for dead. Default 4.
    pub silent_heartbeats_max: u32,
    /// The longest deadline of a call; longer ones and none become this. Default `Duration::MAX`: the client decides.
    pub deadline_max: Duration,
    /// What becomes of calls that are not on the menu. Default [`Unknown::Refuse`].
    pub unknown: Unknown,
}

/// What a server does about calls that are not on its menu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unknown {
    /// The call fails; the session goes on.
    #[default]
    Refuse,
    /// The session ends.
    Close,
    /// The service gets the raw bytes: [`Serve::unknown`](super::Serve::unknown). Clients may then call by name what
    /// is not on the menu.
    Proxy,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            codec: codec::Limits::DEFAULT,
            in_flight_max: 256,
            window_bytes: 128 << 10,
            queued_bytes_max: 16 << 20,
            meta_bytes_max: 1 << 10,
            handshake: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            silent_heartbeats_max: 4,
            deadline_max: Duration::MAX,
            unknown: Unknown::Refuse,
        }
    }
}

/// What leads a request in its frame, beside metadata: deadline, lengths, and the name of an unranked call.
const OPENING_BYTES_MAX: usize = 4 + 2 + 3 + 255;

/// No other frame is longer than this: credit, and what a server says of a failure.
const FRAME_BYTES_MIN: usize = 1 << 10;

impl SessionConfig {
    /// The longest body of a frame that the server takes.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        let around = OPENING_BYTES_MAX + usize::from(self.meta_bytes_max);
        self.codec.encoded_bytes_max.saturating_add(around)
    }
}

/// Limits and habits of the client's side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Limits of one request, reply or item.
    pub codec: codec::Limits,
    /// Calls in flight at once; the server's limit counts if it is lower. What is called beyond that waits. Default 1,024.
    pub in_flight_max: usize,
    /// Calls that wait, for a connection or for a place among those in flight. Default 4,096. A call beyond that fails at
    /// once.
    pub waiting_max: usize,
    /// Encoded output that waits for the kernel; above it calls stay in the queue. Default 1 MiB. 0 counts as 1.
    pub queued_bytes_max: usize,
    /// Bytes of items that the server may send on one stream before some are taken, and the longest item, as
    /// [`SessionConfig::window_bytes`]. Default 256 KiB. 0 counts as 1, or nothing could be sent.
    pub window_bytes: u32,
    /// What the server may know this client by, such as a token. At most 4 KiB. Default empty.
    pub credential: Vec<u8>,
    /// From the beginning of a connection to the server's `Welcome`. Default 10 s.
    pub connect: Duration,
    /// As [`SessionConfig::heartbeat`].
    pub heartbeat: Duration,
    /// As [`SessionConfig::silent_heartbeats_max`].
    pub silent_heartbeats_max: u32,
    /// Whether, and how, a connection that is lost is made again.
    pub reconnect: Reconnect,
    /// What becomes of calls that were in flight when a connection was lost, if it is made again.
    pub in_flight: InFlight,
}

/// How a lost connection, or one that could not be made, is made again: with waits whose bound doubles each time,
/// and of which a random part is waited (full jitter), so that clients of a server that comes back do not come all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// It is not: all calls fail from then on.
    Never,
    /// Always.
    Backoff {
        /// The longest first wait. Default 50 ms. Less than 1 ms counts as that: doubled, it would never grow.
        first: Duration,
        /// The longest wait. Default 10 s. Less than 1 ms counts as that.
        longest: Duration,
        /// Attempts in a row that fail before the client gives up and fails what waits. Default unlimited.
        attempts_max: Option<u32>,
    },
}

impl Default for Reconnect {
    fn default() -> Self {
        Self::Backoff {
            first: Duration::from_millis(50),
            longest: Duration::from_secs(10),
            attempts_max: None,
        }
    }
}

/// What becomes of calls in flight when their connection is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InFlight {
    /// They fail with [`CallError::Disconnected`](super::CallError::Disconnected): they may have been done. Default.
    #[default]
    Fail,
    /// Unary calls are sent again: for services whose calls may be done twice. Streams fail.
    Resend {
        /// How often one call is sent again, at most; it fails like others then. A call that brings its server down would
        /// otherwise bring down every one that comes after. Calls that are lost together with such a call count their
        /// losses as well.
        times_max: u32,
    },
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            codec: codec::Limits::DEFAULT,
            in_flight_max: 1024,
            waiting_max: 4096,
            queued_bytes_max: 1 << 20,
            window_bytes: 256 << 10,
            credential: Vec::new(),
            connect: Duration::from_secs(10),
            heartbeat: Duration::from_secs(15),
            silent_heartbeats_max: 4,
            reconnect: Reconnect::default(),
            in_flight: InFlight::Fail,
        }
    }
}

/// A shorter bound of the wait between attempts would make a client that cannot connect do nothing else.
const WAIT_MIN: Duration = Duration::from_millis(1);

impl ClientConfig {
    /// With the least that works instead of zeros.
    pub(crate) fn with_floors(mut self) -> Self {
        self.window_bytes = self.window_bytes.max(1);
        self.queued_bytes_max = self.queued_bytes_max.max(1);
        if let Reconnect::Backoff { first, longest, .. } = &mut self.reconnect {
            *first = WAIT_MIN.max(*first);
            *longest = WAIT_MIN.max(*longest);
        }
        self
    }

    /// The longest body of a frame that the client takes.
    pub(crate) fn frame_bytes_max(&self) -> usize {
        self.codec.encoded_bytes_max.max(FRAME_BYTES_MIN)
    }
}

//! The limits of the server, each with its reason. Every buffer and table here has one.

/// What one peer, and all peers together, may make the server hold.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Arguments of one request. Redis' historical bound: a larger count is an attack or a bug.
    pub args_max: usize,
    /// Bytes of one argument, and so of one value (Redis: `proto-max-bulk-len`, 512 MiB).
    pub bulk_bytes_max: usize,
    /// Bytes of one inline request or of one length line; a person types less than 64 KiB.
    pub inline_bytes_max: usize,
    /// Bytes of one whole request (Redis: `client-query-buffer-limit`, 1 GiB). At most 4 GiB - 1.
    pub request_bytes_max: usize,
    /// Bytes that keys, values and their bookkeeping may take (Redis: `maxmemory`), each worker's shard an equal part.
    /// [`u64::MAX`] means no limit, as in Redis.
    pub store_bytes_max: u64,
    /// Clients at once (Redis: `maxclients`); one more is told so and hung up on.
    pub clients_max: usize,
    /// Reply bytes that may wait for one client. A client's next request waits until its replies have nearly left,
    /// so that this must only hold what one request can answer: the largest value and then some.
    pub reply_bytes_max: usize,
    /// Bytes that may wait for a subscriber when a message comes; one that reads too slowly is cut (Redis:
    /// `client-output-buffer-limit pubsub`, 32 MiB).
    pub push_bytes_max: usize,
    /// Messages on their way to subscribers; publishers wait when there are as many. Half of what the loop's inbox
    /// takes by default.
    pub pushes_max: usize,
    /// Commands of one client whose replies are awaited from other workers, or wait for such; when there are as many,
    /// the client's next command stays unread. Enough for any pipeline that is worth its memory.
    pub awaited_max: usize,
    /// Channels and patterns of one client. Each costs memory that lasts.
    pub subscriptions_max: usize,
    /// Bytes of a channel's name or a pattern, for the same reason; a pattern is also matched again and again.
    pub channel_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            args_max: 1024 * 1024,
            bulk_bytes_max: 512 << 20,
            inline_bytes_max: 64 << 10,
            request_bytes_max: 1 << 30,
            store_bytes_max: u64::MAX,
            clients_max: 10_000,
            reply_bytes_max: 1 << 30,
            push_bytes_max: 32 << 20,
            pushes_max: 32_768,
            awaited_max: 1024,
            subscriptions_max: 1024,
            channel_bytes_max: 1024,
        }
    }
}

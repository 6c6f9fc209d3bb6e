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
    /// Bytes that keys, values and their bookkeeping may take (Redis: `maxmemory`).
    /// [`u64::MAX`] means no limit, as in Redis.
    pub store_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            args_max: 1024 * 1024,
            bulk_bytes_max: 512 << 20,
            inline_bytes_max: 64 << 10,
            request_bytes_max: 1 << 30,
            store_bytes_max: u64::MAX,
        }
    }
}

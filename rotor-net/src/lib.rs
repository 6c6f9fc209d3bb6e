//! Protocols on streams.

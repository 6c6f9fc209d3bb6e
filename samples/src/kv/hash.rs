//! SipHash-1-3 of a byte string, keyed by the caller.
//!
//! Keys come from peers, so the hash must be one that nobody can aim at without knowing the
//! key: SipHash is what Redis (1-2) and the standard library (1-3) chose for that. It is
//! written out here for two reasons: `std` hides its version behind a random key, and the
//! simulator needs runs that repeat; and hashing a slice in one go skips the buffering of an
//! incremental `Hasher`. Source: Aumasson and Bernstein, "SipHash: a fast short-input PRF".

/// The secret of one store.
#[derive(Clone, Copy)]
pub(super) struct HashKey(u64, u64);

impl HashKey {
    pub(super) fn new(key: [u64; 2]) -> Self {
        HashKey(key[0], key[1])
    }

    /// The hash of `bytes`; about one nanosecond per round of eight bytes plus eight.
    #[inline]
    pub(super) fn hash(self, bytes: &[u8]) -> u64 {
        let mut state = State([
            self.0 ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            self.0 ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ]);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            state.absorb(u64::from_le_bytes(*word));
        }
        // The last word: what is left over, and the length modulo 256 on top.
        let tail = match bytes.last_chunk::<8>() {
            _ if rest.is_empty() => 0,
            // The last eight bytes overlap the previous word; shift that overlap out.
            Some(last) => u64::from_le_bytes(*last) >> (64 - 8 * rest.len()),
            None => rest
                .iter()
                .rev()
                .fold(0, |tail, byte| tail << 8 | u64::from(*byte)),
        };
        state.absorb((bytes.len() as u64) << 56 | tail);
        state.finish()
    }
}

struct State([u64; 4]);

impl State {
    #[inline(always)]
    fn absorb(&mut self, word: u64) {
        self.0[3] ^= word;
        self.round();
        self.0[0] ^= word;
    }

    #[inline(always)]
    fn finish(mut self) -> u64 {
        self.0[2] ^= 0xff;
        self.round();
        self.round();
        self.round();
        self.0[0] ^ self.0[1] ^ self.0[2] ^ self.0[3]
    }

    #[inline(always)]
    fn round(&mut self) {
        let [mut a, mut b, mut c, mut d] = self.0;
        a = a.wrapping_add(b);
        b = b.rotate_left(13) ^ a;
        a = a.rotate_left(32);
        c = c.wrapping_add(d);
        d = d.rotate_left(16) ^ c;
        a = a.wrapping_add(d);
        d = d.rotate_left(21) ^ a;
        c = c.wrapping_add(b);
        b = b.rotate_left(17) ^ c;
        c = c.rotate_left(32);
        self.0 = [a, b, c, d];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::{DefaultHasher, Hasher};

    #[test]
    fn agrees_with_the_standard_library_at_its_zero_key() {
        let bytes: Vec<u8> = (0..200).map(|i| (i * 7 + 3) as u8).collect();
        for len in 0..bytes.len() {
            let mut std = DefaultHasher::new();
            std.write(&bytes[..len]);
            assert_eq!(
                HashKey::new([0, 0]).hash(&bytes[..len]),
                std.finish(),
                "{len}"
            );
        }
    }

    #[test]
    fn depends_on_both_halves_of_the_key() {
        let hash = |key| HashKey::new(key).hash(b"key:1");
        assert_ne!(hash([1, 2]), hash([1, 3]));
        assert_ne!(hash([1, 2]), hash([0, 2]));
    }
}

//! Which worker holds a key.

use super::super::hash::HashKey;

/// Shares the keys out among workers; the same for all of them, and for as long as the server runs.
#[derive(Clone, Copy)]
pub(in super::super) struct Sharding {
    hash: HashKey,
    workers: u32,
}

impl Sharding {
    /// Among so many workers (at least 1), by a secret.
    pub fn new(workers: usize, hash_key: [u64; 2]) -> Self {
        Self {
            // Another function than the stores' own, so that a shard's keys spread evenly over its index.
            hash: HashKey::new([hash_key[1], hash_key[0]]),
            workers: u32::try_from(workers.max(1)).unwrap_or(u32::MAX),
        }
    }

    pub fn workers(&self) -> usize {
        self.workers as usize
    }

    /// The worker that holds this key.
    #[inline]
    pub fn of(&self, key: &[u8]) -> usize {
        let hash = self.hash.hash(tag(key));
        (((hash >> 32) * u64::from(self.workers)) >> 32) as usize
    }
}

/// What is hashed of a key: what is between the first `{` and the next `}`, if there is something, as in a Redis
/// cluster. Keys with the same tag are held by the same worker.
#[inline]
fn tag(key: &[u8]) -> &[u8] {
    // The quick search first: hardly any key has a tag.
    if !key.contains(&b'{') {
        return key;
    }
    let open = key.iter().take_while(|byte| **byte != b'{').count();
    let inside = key.get(open + 1..).unwrap_or(&[]);
    match inside.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => inside.get(..close).unwrap_or(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_evenly() {
        for workers in [1, 2, 3, 7, 64] {
            let sharding = Sharding::new(workers, [1, 2]);
            let mut held = vec![0; workers];
            let keys = 2000 * workers;
            (0..keys).for_each(|n| held[sharding.of(format!("key:{n}").as_bytes())] += 1);
            for count in held {
                assert!((1700..2300).contains(&count), "{count} of {keys}");
            }
        }
    }

    #[test]
    fn depends_on_the_secret() {
        let with = |key| {
            let sharding = Sharding::new(64, key);
            (0..64u8).map(|n| sharding.of(&[n])).collect::<Vec<_>>()
        };
        assert_ne!(with([1, 2]), with([1, 3]));
        assert_ne!(with([1, 2]), with([3, 2]));
    }

    #[test]
    fn a_tag_stands_for_its_key() {
        for (key, expected) in [
            (&b"plain"[..], &b"plain"[..]),
            (b"a{tag}b", b"tag"),
            (b"{a}{b}", b"a"),
            (b"{{a}}", b"{a"),
            (b"a{}b", b"a{}b"),
            (b"a{b", b"a{b"),
            (b"a}b{c}", b"c"),
            (b"{", b"{"),
        ] {
            assert_eq!(tag(key), expected);
        }
    }
}

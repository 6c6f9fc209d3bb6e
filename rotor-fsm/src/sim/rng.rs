//! Chance, all of it from the seed: SplitMix64. The numbers are part of what a seed means, so they must never change
//! with a version of some library; that is why they are made here.

pub(super) struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A generator of its own for somebody else, so that what one draws does not disturb the other.
    pub fn fork(&mut self) -> Self {
        Self(self.next())
    }

    #[inline]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `n`; 0 if `n` is 0.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// From `1` to `n`; 0 if `n` is 0.
    #[inline]
    pub fn one_to(&mut self, n: usize) -> usize {
        if n == 0 {
            0
        } else {
            1 + self.below(n as u64) as usize
        }
    }

    /// From `low` to `high`, both included. `low` if they are the wrong way round.
    pub fn between(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True so many times in a hundred.
    #[inline]
    pub fn percent(&mut self, percent: u8) -> bool {
        // Nothing is drawn where there is nothing to decide.
        percent > 0 && self.below(100) < u64::from(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_in_range_and_reach_both_ends() {
        let mut rng = Rng::new(7);
        let mut seen = [false; 5];
        for _ in 0..1000 {
            seen[rng.below(5) as usize] = true;
            assert!((3..=9).contains(&rng.between((3, 9))));
            assert_eq!(rng.between((9, 9)), 9);
            assert!((1..=4).contains(&rng.one_to(4)));
            assert!(!rng.percent(0) && rng.percent(100));
        }
        assert_eq!(seen, [true; 5]);
        assert_eq!((rng.below(0), rng.one_to(0)), (0, 0));
    }

    #[test]
    fn a_seed_means_the_same_for_ever() {
        let mut rng = Rng::new(1);
        assert_eq!(
            (rng.next(), rng.next()),
            (0x910a_2dec_8902_5cc1, 0xbeeb_8da1_658e_ec67)
        );
    }
}

//! Medians of interleaved rounds.
//!
//! Contestants take turns, round by round, so that whatever disturbs the machine for a while
//! disturbs all of them; the median then drops what disturbed only one.

use std::time::Duration;

/// One way of doing the job that is compared.
pub trait Contestant {
    /// How the result is labelled.
    fn name(&self) -> &str;

    /// Does the job `count` times and says how long that took, without set-up and tear-down.
    fn run(&mut self, count: u64) -> Duration;
}

/// Runs every contestant `rounds` times, in turns, after one shorter round that warms up.
/// Answers the median number of nanoseconds per item, in the contestants' order.
pub fn compare(contestants: &mut [Box<dyn Contestant>], rounds: usize, count: u64) -> Vec<f64> {
    for contestant in contestants.iter_mut() {
        contestant.run(count / 8 + 1);
    }
    let mut results = vec![Vec::with_capacity(rounds); contestants.len()];
    for _ in 0..rounds {
        for (contestant, result) in contestants.iter_mut().zip(&mut results) {
            let took = contestant.run(count);
            result.push(took.as_nanos() as f64 / count as f64);
        }
    }
    results.iter_mut().map(|result| median(result)).collect()
}

/// The middle value (the upper one of two); 0 of nothing.
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Contestant for Fixed {
        fn name(&self) -> &str {
            "fixed"
        }
        fn run(&mut self, count: u64) -> Duration {
            Duration::from_nanos(self.0 * count)
        }
    }

    #[test]
    fn results_come_per_item_and_in_order() {
        let mut contestants: Vec<Box<dyn Contestant>> =
            vec![Box::new(Fixed(7)), Box::new(Fixed(3))];
        assert_eq!(compare(&mut contestants, 3, 100), [7.0, 3.0]);
    }

    #[test]
    fn a_median_ignores_the_outlier() {
        assert_eq!(median(&mut [900.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }
}

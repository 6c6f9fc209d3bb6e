//! `Progress`: a line on the terminal that says how far a transfer is. Shown only where somebody sees it, and only if the
//! transfer takes a while.

use super::name::Name;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Transfers that are over before need no progress.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the line is drawn.
const REDRAW: Duration = Duration::from_millis(100);
/// Characters of the bar, and of the name before it: with the numbers less than 80.
const BAR: u64 = 10;
const NAME: usize = 20;

/// A transfer under way. Dropping it removes the line.
#[derive(Debug)]
pub struct Progress {
    name: String,
    total: Option<u64>,
    /// Where it began.
    from: u64,
    at: u64,
    begun: Instant,
    drawn: Option<Instant>,
    is_shown: bool,
}

impl Progress {
    /// A transfer that begins now, at `from` of so many bytes, if that is known. Without standard error on a terminal it
    /// shows nothing.
    pub fn new(name: &Name, total: Option<u64>, from: u64) -> Self {
        let name = name.to_string();
        let skipped = name.chars().count().saturating_sub(NAME);
        let shown = match skipped {
            0 => name,
            // The end of a path says more than its beginning.
            _ => std::iter::once('…')
                .chain(name.chars().skip(skipped + 1))
                .collect(),
        };
        Self {
            name: shown,
            total,
            from,
            at: from,
            begun: Instant::now(),
            drawn: None,
            is_shown: std::io::stderr().is_terminal(),
        }
    }

    /// The same, but shown only if this is so, too.
    pub fn only_if(mut self, is_shown: bool) -> Self {
        self.is_shown &= is_shown;
        self
    }

    /// So many bytes more.
    pub fn advance(&mut self, bytes: u64) {
        self.at += bytes;
        let elapsed = self.begun.elapsed();
        let is_fresh = |drawn: Instant| drawn.elapsed() < REDRAW;
        if !self.is_shown || elapsed < PATIENCE || self.drawn.is_some_and(is_fresh) {
            return;
        }
        self.drawn = Some(Instant::now());
        // A terminal that is gone does not matter to the transfer.
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", self.line(elapsed));
    }

    fn line(&self, elapsed: Duration) -> String {
        let rate = (self.at - self.from) as f64 / elapsed.as_secs_f64().max(0.001);
        let (done, rate) = (human(self.at as f64), human(rate));
        let name = &self.name;
        match self.total {
            Some(total) => {
                let part = |of: u64| match total {
                    0 => of,
                    total => {
                        (u128::from(self.at.min(total)) * u128::from(of) / u128::from(total)) as u64
                    }
                };
                let bar: String = (0..BAR)
                    .map(|n| if n < part(BAR) { '#' } else { '.' })
                    .collect();
                format!(
                    "{name} {:3}% [{bar}] {done} of {}, {rate}/s",
                    part(100),
                    human(total as f64)
                )
            }
            None => format!("{name} {done}, {rate}/s"),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

/// Bytes in a unit that people read.
fn human(bytes: f64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024.0 {
        return format!("{bytes:.0} B");
    }
    let mut left = bytes / 1024.0;
    let mut unit = units[0];
    for larger in &units[1..] {
        if left >= 1024.0 {
            (left, unit) = (left / 1024.0, larger);
        }
    }
    format!("{left:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(name: &str, total: Option<u64>, from: u64, at: u64) -> Progress {
        let mut progress = Progress::new(&Name::from(name), total, from).only_if(false);
        progress.at = at;
        progress
    }

    #[test]
    fn the_line_says_how_far_and_how_fast() {
        let two = Duration::from_secs(2);
        assert_eq!(
            progress("a", Some(4 << 20), 0, 1 << 20).line(two),
            "a  25% [##........] 1.0 MiB of 4.0 MiB, 512.0 KiB/s"
        );
        assert_eq!(
            progress("a", None, 0, 3 << 30).line(two),
            "a 3.0 GiB, 1.5 GiB/s"
        );
        // From the middle: what was there before was not transferred.
        assert_eq!(
            progress("a", Some(1000), 500, 1000).line(two),
            "a 100% [##########] 1000 B of 1000 B, 250 B/s"
        );
        // A file that grows meanwhile, and one of no length.
        assert!(progress("a", Some(10), 0, 20).line(two).contains(" 100% "));
        assert!(progress("a", Some(0), 0, 0).line(two).contains(" 100% "));
    }

    #[test]
    fn the_line_fits_a_terminal_and_cannot_move_it() {
        let name = "some/very/long/path/to/the/file\x1b[2J.txt";
        let max = (1 << 50) - 1;
        let line = progress(name, Some(max), 0, max).line(Duration::from_secs(1));
        assert!(line.starts_with("…"), "{line}");
        assert!(
            line.chars().count() < 80 && !line.contains('\x1b'),
            "{line}"
        );
    }
}

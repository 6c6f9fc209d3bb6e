//! Command lines of the form `--name value`, enough for programs that only scripts start.
//!
//! Every option is taken out of the list when it is asked for, so that [`Args::finish`] can name
//! what nobody asked for: a misspelt option must not silently measure something else.

use std::fmt::Display;
use std::process::exit;
use std::str::FromStr;

/// The words of a command line that have not been asked for yet.
pub struct Args {
    words: Vec<String>,
}

impl Args {
    /// The command line of this process, without its name.
    pub fn from_env() -> Self {
        Args {
            words: std::env::args().skip(1).collect(),
        }
    }

    /// The first word if it is no option: the name of a mode. Ends the process without one.
    pub fn mode(&mut self, valid: &[&str]) -> String {
        match self.words.first() {
            Some(word) if valid.contains(&word.as_str()) => self.words.remove(0),
            _ => fail(&format!(
                "the first word must be one of: {}",
                valid.join(", ")
            )),
        }
    }

    /// The value of `--name value`, if it is there. Ends the process when the value is no `T`.
    pub fn option<T>(&mut self, name: &str) -> Option<T>
    where
        T: FromStr,
        T::Err: Display,
    {
        let at = self.words.iter().position(|word| word == name)?;
        if at + 1 == self.words.len() {
            fail(&format!("{name} needs a value"));
        }
        let value = self.words.remove(at + 1);
        self.words.remove(at);
        match value.parse() {
            Ok(value) => Some(value),
            Err(error) => fail(&format!("{name} {value}: {error}")),
        }
    }

    /// The value of `--name value`; ends the process when it is missing.
    pub fn required<T>(&mut self, name: &str) -> T
    where
        T: FromStr,
        T::Err: Display,
    {
        self.option(name)
            .unwrap_or_else(|| fail(&format!("{name} is missing")))
    }

    /// Ends the process when a word is left that no one asked for.
    pub fn finish(self) {
        if let Some(word) = self.words.first() {
            fail(&format!("{word}: no such option"));
        }
    }
}

/// Says what is wrong on standard error and ends the process with 2.
pub fn fail(what: &str) -> ! {
    eprintln!("error: {what}");
    exit(2)
}

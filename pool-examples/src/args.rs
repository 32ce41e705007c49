//! Arguments that several programs take, and what they may be.

use std::fmt;
use std::num::{IntErrorKind, NonZeroUsize};
use std::ops::RangeInclusive;

use clap::ValueEnum;

/// How workers are started, as an argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StartMethod {
    /// A clean process forks the workers.
    #[default]
    #[value(name = "forkserver")]
    ForkServer,
    /// Each worker executes the program again.
    Spawn,
    /// Workers are threads of the program.
    Thread,
}

impl StartMethod {
    /// All of them, processes first.
    pub const ALL: [Self; 3] = [Self::ForkServer, Self::Spawn, Self::Thread];
}

impl From<StartMethod> for pool_core::StartMethod {
    fn from(method: StartMethod) -> Self {
        match method {
            StartMethod::ForkServer => Self::ForkServer,
            StartMethod::Spawn => Self::Spawn,
            StartMethod::Thread => Self::Thread,
        }
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        pool_core::StartMethod::from(*self).fmt(f)
    }
}

/// A number of workers: from 1 to 1000.
///
/// # Errors
///
/// What the number must be.
pub fn workers(text: &str) -> Result<usize, String> {
    number(text, 1..=1000)
}

/// A number of things that may be none.
///
/// # Errors
///
/// What the number must be.
pub fn count(text: &str) -> Result<usize, String> {
    number(text, 0..=usize::MAX)
}

/// A number of things of which there is one at least.
///
/// # Errors
///
/// What the number must be.
pub fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    let number = number(text, 1..=usize::MAX)?;
    NonZeroUsize::new(number).ok_or_else(|| "must be at least 1".to_owned())
}

/// A whole number within `range`.
///
/// ```
/// use pool_examples::args::number;
///
/// assert_eq!(number("5", 1..=10), Ok(5));
/// assert_eq!(number("0", 1..=10).unwrap_err(), "must be at least 1");
/// assert_eq!(number("11", 1..=10).unwrap_err(), "must be at most 10");
/// assert_eq!(number("ten", 1..=10).unwrap_err(), "must be a whole number of at least 1");
/// ```
///
/// # Errors
///
/// What the number must be.
pub fn number(text: &str, range: RangeInclusive<usize>) -> Result<usize, String> {
    let (low, high) = (range.start(), range.end());
    match text.parse::<usize>() {
        Ok(number) if number < *low => Err(format!("must be at least {low}")),
        Ok(number) if number > *high => Err(format!("must be at most {high}")),
        Ok(number) => Ok(number),
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => {
            Err(format!("must be at most {high}"))
        }
        Err(_) if text.parse::<i128>().is_ok() => Err(format!("must be at least {low}")),
        Err(_) => Err(format!("must be a whole number of at least {low}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_told_the_range() {
        let text = |text| count(text).unwrap_err();
        assert_eq!(text("-5"), "must be at least 0");
        assert_eq!(text("x"), "must be a whole number of at least 0");
        assert_eq!(text("1.5"), "must be a whole number of at least 0");
        assert_eq!(
            text("99999999999999999999"),
            format!("must be at most {}", usize::MAX)
        );
        assert_eq!(workers("0").unwrap_err(), "must be at least 1");
        assert_eq!(workers("1001").unwrap_err(), "must be at most 1000");
        assert_eq!((workers("1"), workers("1000")), (Ok(1), Ok(1000)));
        assert_eq!(at_least_one("-1").unwrap_err(), "must be at least 1");
        assert_eq!(at_least_one("7").map(NonZeroUsize::get), Ok(7));
    }
}

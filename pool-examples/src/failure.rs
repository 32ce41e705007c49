//! How a program ends: its errors, their line on standard error, and its exit status.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

/// Why a program could not do what it was asked.
///
/// Any error becomes one by `?`; what the user gave and can correct is made by [`Failure::input`].
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// An argument or a file of the user's does not do.
    Input(String),
    /// Anything else.
    Other(Box<dyn Error + Send + Sync>),
}

impl Failure {
    /// The input does not do; `text` says which and why, in one line.
    ///
    /// The program ends with status 2, like one with wrong arguments.
    pub fn input(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Input(text.into()),
        }
    }

    /// Something else than the input is wrong; `text` says what. The program ends with status 1.
    pub fn other(text: impl Into<String>) -> Self {
        Self {
            kind: Kind::Other(text.into().into()),
        }
    }

    /// Whether the input is what is wrong.
    pub fn is_input(&self) -> bool {
        matches!(self.kind, Kind::Input(_))
    }

    /// The exit status of a program that ends with this failure: 2 for input, else 1.
    pub fn status(&self) -> u8 {
        if self.is_input() { 2 } else { 1 }
    }

    /// What happened, then each cause that the text before does not tell already, in one line.
    pub fn text(&self) -> String {
        let error = match &self.kind {
            Kind::Input(text) => return one_line(text),
            Kind::Other(error) => error,
        };
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                text = format!("{text}: {more}");
            }
            cause = error.source();
        }
        one_line(&text)
    }

    /// The reader of our output has gone, as in `populate | head`; nobody is left to be told.
    fn is_broken_pipe(&self) -> bool {
        let Kind::Other(error) = &self.kind else {
            return false;
        };
        error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            kind: Kind::Other(Box::new(error)),
        }
    }
}

/// Runs a program with standard output to write to, and turns its result into an exit code.
///
/// A failure is one line on standard error, `error: …`. A closed output ends the program quietly and in order.
pub fn run(program: impl FnOnce(&mut dyn Write) -> Result<(), Failure>) -> ExitCode {
    let mut output = io::BufWriter::new(io::stdout());
    let result = program(&mut output).and_then(|()| Ok(output.flush()?));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if failure.is_broken_pipe() => {
            // What is still buffered has no reader; writing it again would only fail again.
            drop(output.into_parts());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            // What was printed before comes first; if even that fails, the failure below is the one to tell.
            drop(output.flush());
            tell(&failure);
            ExitCode::from(failure.status())
        }
    }
}

/// The one place where programs report a failure. If nobody listens, the exit status has to do.
fn tell(failure: &Failure) {
    drop(writeln!(io::stderr(), "error: {}", failure.text()));
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the upper part failed")]
    struct Upper(#[source] io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("the upper part failed: {0}")]
    struct Telling(#[source] io::Error);

    #[test]
    fn causes_are_told_once() {
        let failure = Failure::from(Upper(io::Error::other("no disk")));
        assert_eq!(failure.text(), "the upper part failed: no disk");
        let failure = Failure::from(Telling(io::Error::other("no disk")));
        assert_eq!(failure.text(), "the upper part failed: no disk");
        assert_eq!(failure.status(), 1);
    }

    #[test]
    fn input_ends_with_status_two_and_one_line() {
        let failure = Failure::input("a.wav is empty\n  really\n");
        assert_eq!(
            (failure.status(), failure.text().as_str()),
            (2, "a.wav is empty; really")
        );
    }

    #[test]
    fn a_closed_output_is_no_failure_to_report() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_broken_pipe());
        assert!(!Failure::other("x").is_broken_pipe());
    }
}

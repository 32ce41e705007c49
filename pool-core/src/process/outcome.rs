//! What a single process says at its end: bytes in a file without a name that only the two have.
//!
//! ```text
//! mark (8 bytes) | postcard of `Said`
//! ```
//!
//! The mark is written last: what a killed process leaves behind is complete or nothing. A file has no size that must be known
//! before, and no reader that the writer would have to wait for.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use pool_shm::SegmentHandle;
use pool_shm::transfer::{self, Held};
use serde::{Deserialize, Serialize};

use crate::error::TaskError;
use crate::sys;

const MARK: u64 = 0x5d1e_70c2_98ab_e463;
const HEAD: u64 = 8;

/// The message.
#[derive(Debug, Serialize, Deserialize)]
enum Said {
    /// The encoded value, and the segments of the process that it names.
    Value(Vec<u8>, Vec<SegmentHandle>),
    Failed(TaskError),
}

/// The same as the reader has it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The encoded value, and what keeps the segments that it names.
    Value(Vec<u8>, Held),
    Failed(TaskError),
}

/// The file.
#[derive(Debug)]
pub(super) struct OutcomeFile(File);

impl OutcomeFile {
    pub(super) fn create() -> io::Result<OutcomeFile> {
        Ok(OutcomeFile(File::from(sys::memory_file("outcome")?)))
    }

    /// The child's end.
    pub(super) fn received(descriptor: OwnedFd) -> OutcomeFile {
        OutcomeFile(File::from(descriptor))
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Says the value, or why there is none.
    pub(super) fn write(
        &self,
        value: Result<Vec<u8>, TaskError>,
        named: Vec<SegmentHandle>,
    ) -> io::Result<()> {
        let said = match value {
            Ok(bytes) => Said::Value(bytes, named),
            Err(error) => Said::Failed(error),
        };
        let bytes = postcard::to_stdvec(&said).map_err(io::Error::other)?;
        self.0.write_all_at(&bytes, HEAD)?;
        self.0.write_all_at(&MARK.to_le_bytes(), 0)
    }

    /// What was said; none if nothing was.
    pub(super) fn read(&self) -> Option<Outcome> {
        let len = self.0.metadata().ok()?.len().checked_sub(HEAD)?;
        let mut mark = [0; HEAD as usize];
        self.0.read_exact_at(&mut mark, 0).ok()?;
        if u64::from_le_bytes(mark) != MARK {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.0.read_exact_at(&mut bytes, HEAD).ok()?;
        Some(parse(&bytes))
    }
}

/// Reads the message; what makes no sense is an error of the process.
fn parse(bytes: &[u8]) -> Outcome {
    let failed = |message: String| Outcome::Failed(TaskError::DecodeResult { message });
    match postcard::from_bytes(bytes) {
        Ok(Said::Value(bytes, named)) => match transfer::hold(&named) {
            Ok(held) => Outcome::Value(bytes, held),
            Err(error) => failed(error.to_string()),
        },
        Ok(Said::Failed(error)) => Outcome::Failed(error),
        Err(error) => failed(format!(
            "what the process said of its end was overwritten ({error})"
        )),
    }
}

/// For the fuzz target: any bytes are read as the message.
#[cfg(fuzzing)]
pub(crate) fn fuzz(bytes: &[u8]) {
    drop(parse(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_back(bytes: &[u8]) -> Option<Outcome> {
        let file = OutcomeFile::create().unwrap();
        file.0.write_all_at(bytes, 0).unwrap();
        file.read()
    }

    #[test]
    fn nothing_is_said_before_the_mark_stands() {
        let file = OutcomeFile::create().unwrap();
        assert!(file.read().is_none());
        file.write(Ok(vec![1, 2, 3]), Vec::new()).unwrap();
        assert!(matches!(file.read(), Some(Outcome::Value(bytes, _)) if bytes == [1, 2, 3]));
        file.0.write_all_at(&[0; 8], 0).unwrap();
        assert!(file.read().is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_behind_the_mark_are_an_outcome_or_an_error(bytes: Vec<u8>) {
            let whole = [&MARK.to_le_bytes()[..], &bytes].concat();
            prop_assert!(read_back(&whole).is_some());
            prop_assert!(bytes.starts_with(&MARK.to_le_bytes()) || read_back(&bytes).is_none());
        }
    }
}

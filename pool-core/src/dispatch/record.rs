//! The records in a worker's stream: results of items and their errors, under headings that say to what they belong.
//!
//! A record is a head of eight bytes (kind in the upper 8 bits, length in the lower 56, little endian) and its payload, filled up
//! to a multiple of eight bytes.

use pool_shm::SegmentHandle;
use serde::{Deserialize, Serialize};

use crate::error::TaskError;

/// Bytes of a record's head.
pub(crate) const HEAD: usize = 8;
const KIND_SHIFT: u32 = 56;
const LENGTH_MASK: u64 = (1 << KIND_SHIFT) - 1;

/// What the items that follow belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Target {
    /// A chunk of a job, from its item `first` on.
    Chunk { job: u64, chunk: u32, first: u32 },
    /// A task of the table, from its item `first` on.
    Task { id: u64, first: u32 },
    /// The initializer.
    Initializer,
    /// The exit hook.
    ExitHook,
}

/// One record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Record<'a> {
    Heading(Target),
    /// The encoded result of the next item.
    Item(&'a [u8]),
    /// The next item, or in a job with results in place item `item`, has no result.
    Failed {
        item: u32,
        error: TaskError,
    },
    /// The results under this heading name these segments of the worker.
    Kept(Vec<SegmentHandle>),
}

/// Bytes that are no record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker's stream holds {0}: its memory was overwritten")]
pub(crate) struct BadRecord(String);

#[derive(Clone, Copy)]
#[repr(u8)]
pub(crate) enum Kind {
    Heading = 1,
    Item = 2,
    Failed = 3,
    Kept = 4,
}

/// Bytes that a payload of `len` bytes takes in the stream.
pub(crate) fn padded(len: usize) -> Option<usize> {
    len.checked_next_multiple_of(8)
}

/// The head of a record with a payload of `len` bytes.
pub(crate) fn head(kind: Kind, len: usize) -> [u8; HEAD] {
    (((kind as u64) << KIND_SHIFT) | (len as u64 & LENGTH_MASK)).to_le_bytes()
}

/// Appends a result as a record.
pub(crate) fn append_item(payload: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&head(Kind::Item, payload.len()));
    bytes.extend_from_slice(payload);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
}

/// Takes the first record off `bytes`; none if it is not complete yet.
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Result<Option<Record<'a>>, BadRecord> {
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD>() else {
        return Ok(None);
    };
    let head = u64::from_le_bytes(*head);
    let (kind, len) = (head >> KIND_SHIFT, head & LENGTH_MASK);
    if !(1..=4).contains(&kind) {
        return Err(BadRecord(format!("a record of kind {kind}")));
    }
    let Some(len) = usize::try_from(len).ok() else {
        return Ok(None);
    };
    let Some((payload, rest)) = padded(len).and_then(|padded| rest.split_at_checked(padded)) else {
        return Ok(None);
    };
    let payload = &payload[..len];
    *bytes = rest;
    match kind {
        1 => decode(payload).map(|target| Some(Record::Heading(target))),
        2 => Ok(Some(Record::Item(payload))),
        3 => decode(payload).map(|(item, error)| Some(Record::Failed { item, error })),
        _ => decode(payload).map(|handles| Some(Record::Kept(handles))),
    }
}

/// Takes the first record off `bytes` if it is a whole result.
pub(crate) fn take_item<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
    let head = u64::from_le_bytes(*head);
    if head >> KIND_SHIFT != Kind::Item as u64 {
        return None;
    }
    let len = usize::try_from(head & LENGTH_MASK).ok()?;
    let (payload, rest) = rest.split_at_checked(padded(len)?)?;
    *bytes = rest;
    Some(&payload[..len])
}

fn decode<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, BadRecord> {
    postcard::from_bytes(payload)
        .map_err(|error| BadRecord(format!("a record that cannot be decoded ({error})")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(kind: Kind, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [&head(kind, payload.len())[..], payload].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn records_come_back_in_order_and_a_cut_one_waits() {
        let target = Target::Chunk {
            job: 7,
            chunk: 3,
            first: 2,
        };
        let mut bytes = encode(Kind::Heading, &postcard::to_stdvec(&target).unwrap());
        bytes.extend(encode(Kind::Item, b"abc"));
        bytes.extend(encode(
            Kind::Failed,
            &postcard::to_stdvec(&(9u32, TaskError::Cancelled)).unwrap(),
        ));
        bytes.extend(&encode(Kind::Item, b"cut off")[..10]);
        let mut rest = &bytes[..];
        assert_eq!(take(&mut rest), Ok(Some(Record::Heading(target))));
        assert_eq!(take(&mut rest), Ok(Some(Record::Item(b"abc"))));
        assert_eq!(
            take(&mut rest),
            Ok(Some(Record::Failed {
                item: 9,
                error: TaskError::Cancelled
            }))
        );
        assert_eq!(take(&mut rest), Ok(None));
        assert_eq!(rest.len(), 10);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_read_within_bounds(bytes: Vec<u8>) {
            let mut rest = &bytes[..];
            while let Ok(Some(_)) = take(&mut rest) {}
            prop_assert!(rest.len() <= bytes.len());
        }
    }
}

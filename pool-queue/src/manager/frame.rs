//! Frames: what a connection carries, cut out of its stream of bytes.
//!
//! ```text
//! version (2 bytes) | zero (2) | length of the body (4) | request (8) | body
//! ```
//!
//! All numbers are little-endian. Memory is taken for what has arrived, never for what a header promises.

use serde::Serialize;

/// Changes with every change of frames or messages.
pub(crate) const VERSION: u16 = 3;
/// Where the length stands.
const LEN: usize = 4;
/// Bytes before the body.
pub(crate) const HEAD: usize = 16;
/// What is put comes back with so many bytes more around it at most.
pub(crate) const MARGIN: u64 = 64;
/// The longest body, unless a builder says otherwise.
pub(crate) const LIMIT: usize = 64 << 20;

/// A frame that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Ties a reply to its request; chosen by whoever asks.
    pub(crate) request: u64,
    pub(crate) body: Vec<u8>,
}

/// Why a stream of bytes is no sequence of frames. The connection is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("the peer speaks version {found} of the manager's protocol, this is {VERSION}")]
    Version { found: u16 },
    #[error("the head of a frame holds {found:#x} where zero belongs")]
    Reserved { found: u16 },
    #[error("a frame of {len} bytes is longer than the limit of {limit}")]
    TooLong { len: usize, limit: usize },
}

/// Appends a frame with this message to `bytes`; the length of its body. An error leaves a part of it there.
pub(crate) fn append_message(
    request: u64,
    message: &impl Serialize,
    bytes: &mut Vec<u8>,
) -> Result<usize, postcard::Error> {
    let start = bytes.len();
    append(request, &[], bytes);
    postcard::to_io(message, &mut *bytes)?;
    let len = bytes.len() - start - HEAD;
    let word = u32::try_from(len).unwrap_or(u32::MAX); // longer ones are refused by the caller
    bytes[start + LEN..start + LEN + 4].copy_from_slice(&word.to_le_bytes());
    Ok(len)
}

/// Appends a frame to `bytes`.
pub(crate) fn append(request: u64, body: &[u8], bytes: &mut Vec<u8>) {
    let len = u32::try_from(body.len()).unwrap_or(u32::MAX); // longer ones are refused before
    bytes.reserve(HEAD + body.len());
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&request.to_le_bytes());
    bytes.extend_from_slice(body);
}

/// Cuts frames out of a stream that arrives in pieces.
#[derive(Debug)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
    limit: usize,
}

/// A buffer that held a large frame is given back.
const KEPT: usize = 64 << 10;

impl Decoder {
    pub(crate) fn new(limit: usize) -> Decoder {
        Decoder {
            bytes: Vec::new(),
            start: 0,
            limit,
        }
    }

    /// Takes a piece that has arrived.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        } else if self.start > KEPT {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(piece);
    }

    /// The next complete frame.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(head) = self
            .bytes
            .get(self.start..)
            .and_then(|rest| rest.first_chunk::<HEAD>())
        else {
            return Ok(None);
        };
        let [v0, v1, z0, z1, l0, l1, l2, l3, request @ ..] = *head;
        let found = u16::from_le_bytes([v0, v1]);
        if found != VERSION {
            return Err(FrameError::Version { found });
        }
        let found = u16::from_le_bytes([z0, z1]);
        if found != 0 {
            return Err(FrameError::Reserved { found });
        }
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if len > self.limit {
            let limit = self.limit;
            return Err(FrameError::TooLong { len, limit });
        }
        let body = self.start + HEAD;
        let Some(bytes) = self.bytes.get(body..body + len) else {
            return Ok(None);
        };
        let frame = Frame {
            request: u64::from_le_bytes(request),
            body: bytes.to_vec(),
        };
        self.start = body + len;
        if self.start == self.bytes.len() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
            self.start = 0;
        }
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_they_are_cut(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            cut in 1usize..50,
        ) {
            let mut stream = Vec::new();
            for (i, body) in bodies.iter().enumerate() {
                append(i as u64, body, &mut stream);
            }
            let mut decoder = Decoder::new(300);
            let mut found = Vec::new();
            for piece in stream.chunks(cut) {
                decoder.feed(piece);
                while let Some(frame) = decoder.next().unwrap() {
                    found.push(frame);
                }
            }
            let expected: Vec<Frame> = (0..).zip(bodies).map(|(request, body)| Frame { request, body }).collect();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes: Vec<u8>) {
            let mut decoder = Decoder::new(100);
            decoder.feed(&bytes);
            while let Ok(Some(frame)) = decoder.next() {
                prop_assert!(frame.body.len() <= 100);
            }
        }
    }

    #[test]
    fn a_message_is_written_as_its_bytes_are() {
        let message = ("some", 7_u64, vec![1_u8; 300]);
        let mut frames = [vec![1, 2], vec![1, 2]];
        append(9, &postcard::to_stdvec(&message).unwrap(), &mut frames[0]);
        let len = append_message(9, &message, &mut frames[1]).unwrap();
        assert_eq!(frames[0], frames[1]);
        assert_eq!(frames[0].len(), 2 + HEAD + len);
    }

    #[test]
    fn a_promise_of_much_takes_no_memory() {
        let mut bytes = Vec::new();
        append(1, &[], &mut bytes);
        bytes[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut decoder = Decoder::new(usize::MAX);
        decoder.feed(&bytes);
        assert_eq!(decoder.next(), Ok(None));
        assert!(decoder.bytes.capacity() < 1000);
        let mut strict = Decoder::new(1000);
        strict.feed(&bytes);
        assert!(matches!(strict.next(), Err(FrameError::TooLong { .. })));
    }

    #[test]
    fn another_version_is_refused_with_both_numbers() {
        let mut decoder = Decoder::new(10);
        decoder.feed(&[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let error = decoder.next().unwrap_err().to_string();
        assert!(
            error.contains("version 9") && error.contains("this is 3"),
            "{error}"
        );
    }
}

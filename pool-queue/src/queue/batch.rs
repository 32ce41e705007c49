//! Values on their way into a queue together.

use super::codec::{self, Encoded};
use super::errors::PutError;
use super::handle::{Message, unwritable, with_buffer};
use super::ring::Payload;
use pool_shm::transfer::Exports;

/// A batch is put in pieces of so many values, or bytes, so that it can be endless.
const PIECE_ITEMS: usize = 256;
const PIECE_BYTES: usize = 256 << 10;

/// How long messages may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes of the largest that goes into the queue's memory.
    pub(crate) capacity: usize,
    /// One that is longer than this goes into a segment of its own.
    pub(crate) apart_above: Option<usize>,
}

impl Room {
    /// The message of `value`; it will have room once the queue is empty.
    pub(crate) fn encode<'a, T: Message>(
        self,
        value: &'a T,
        buffer: &'a mut Vec<u8>,
    ) -> Result<Encoded<'a>, PutError<()>> {
        let encoded = codec::encode(value, buffer, self.apart_above).map_err(unwritable)?;
        check_length(encoded.bytes.len(), self.capacity)?;
        Ok(encoded)
    }
}

/// Values on their way into a queue together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    /// Where each ends, and whether it starts with a table.
    ends: Vec<(usize, bool)>,
    pub(crate) exports: Vec<Exports>,
}

impl Batch {
    /// Takes values for one piece into `piece` and encodes the message that `part` finds in each. An error is about the last of them.
    pub(crate) fn fill<V, T: Message>(
        &mut self,
        values: &mut impl Iterator<Item = V>,
        piece: &mut Vec<V>,
        part: impl Fn(&V) -> &T,
        room: Room,
    ) -> Result<(), PutError<()>> {
        while piece.len() < PIECE_ITEMS && self.bytes.len() < PIECE_BYTES {
            let Some(value) = values.next() else { break };
            let encoded = self.append(part(&value), room);
            piece.push(value);
            encoded?;
        }
        Ok(())
    }

    /// What was encoded.
    pub(crate) fn payloads(&self) -> Vec<Payload<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(end, _)| end));
        starts
            .zip(&self.ends)
            .map(|(start, &(end, table))| Payload {
                bytes: &self.bytes[start..end],
                table,
            })
            .collect()
    }

    fn append<T: Message>(&mut self, value: &T, room: Room) -> Result<(), PutError<()>> {
        with_buffer(|buffer| {
            let encoded = room.encode(value, buffer)?;
            self.bytes.extend_from_slice(encoded.bytes);
            self.ends.push((self.bytes.len(), encoded.table));
            self.exports.push(encoded.exports);
            Ok(())
        })
    }
}

/// Whether a message of so many bytes can ever have room.
fn check_length(need: usize, capacity: usize) -> Result<(), PutError<()>> {
    if need <= capacity {
        return Ok(());
    }
    Err(PutError::TooLarge {
        value: (),
        need,
        capacity,
    })
}

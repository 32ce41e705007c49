//! From values to bytes and back: plain data as it lies in memory, everything else by postcard.

use super::errors::DecodeError;
use crate::arrays;
use bytemuck::Pod;
use num_complex::Complex;
use pool_core::remote::explain;
use pool_shm::transfer::{self, Exports, Held};
use pool_shm::{Cells, Segment, SegmentHandle, ShmError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};
use std::ops::Range;
use std::sync::Arc;

/// A message that was copied out of the ring: a value already, or bytes yet to be decoded.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    /// Plain data.
    Value(T),
    /// Bytes for postcard, a part of the buffer, with the segments that they name.
    Bytes(Range<usize>, Vec<Held>),
    /// So many bytes in a segment of their own, with the segments that they name and that one.
    Apart(SegmentHandle, usize, Vec<Held>),
    /// Plain data of another length than its type has, or something else that is no message of this type.
    Wrong(DecodeError),
}

/// The bytes of a message, and the segments that it names.
#[derive(Debug)]
pub(crate) struct Encoded<'a> {
    pub(crate) bytes: &'a [u8],
    /// Whether the bytes start with a table of the segments.
    pub(crate) table: bool,
    pub(crate) exports: Exports,
}

/// Why a value became no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    /// It cannot be serialised.
    #[error("{0}")]
    Value(String),
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] ShmError),
}

impl From<postcard::Error> for EncodeError {
    fn from(error: postcard::Error) -> Self {
        EncodeError::Value(explain(&error))
    }
}

/// The bytes of `value`: its own if it is plain data, else serialised into `buffer`, which is cleared.
///
/// If they are more than `most`, they go into a segment of their own, and what comes back stands for them.
pub(crate) fn encode<'a, T: Serialize + 'static>(
    value: &'a T,
    buffer: &'a mut Vec<u8>,
    most: Option<usize>,
) -> Result<Encoded<'a>, EncodeError> {
    let is_large = |bytes: &[u8]| most.is_some_and(|most| bytes.len() > most);
    if let Some(bytes) = plain_bytes(value) {
        let exports = Exports::default();
        if is_large(bytes) {
            return set_apart(bytes, exports, buffer);
        }
        return Ok(Encoded {
            bytes,
            table: false,
            exports,
        });
    }
    buffer.clear();
    let (written, exports) = transfer::export(|| postcard::to_io(value, &mut *buffer).map(drop));
    written?;
    if is_large(buffer) {
        let bytes = std::mem::take(buffer);
        return set_apart(&bytes, exports, buffer);
    }
    let handles = exports.handles();
    let table = !handles.is_empty();
    if table {
        buffer.splice(0..0, arrays::table(&handles));
    }
    Ok(Encoded {
        bytes: buffer,
        table,
        exports,
    })
}

/// Puts the bytes of a message into a segment of their own; `buffer` gets what stands for them.
fn set_apart<'a>(
    bytes: &[u8],
    named: Exports,
    buffer: &'a mut Vec<u8>,
) -> Result<Encoded<'a>, EncodeError> {
    let segment = Segment::create(bytes.len())?;
    segment.cells::<u8>(0, bytes.len())?.write_from(0, bytes);
    let (written, own) = transfer::export(|| postcard::to_io(&segment, std::io::sink()).map(drop));
    written?;
    let handles = [own.handles(), named.handles()].concat();
    *buffer = arrays::apart(&handles, bytes.len());
    let ((), exports) = transfer::export(|| {
        [own, named]
            .into_iter()
            .for_each(|exports| transfer::keep(Arc::new(exports)));
    });
    Ok(Encoded {
        bytes: buffer,
        table: true,
        exports,
    })
}

impl Encoded<'_> {
    /// The bytes without the table.
    pub(crate) fn body(&self) -> &[u8] {
        let table = if self.table {
            arrays::table_len(self.exports.handles().len())
        } else {
            0
        };
        &self.bytes[table..]
    }
}

/// Decodes the bytes of a message that has no table.
pub(crate) fn from_bytes<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T, DecodeError> {
    match take_plain(&Bytes(bytes)) {
        Some(taken) => taken.decode(&[]),
        None => decode(bytes),
    }
}

/// A message in private memory.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn has_table(&self) -> bool {
        false
    }

    fn copy_to(&self, to: &mut [u8]) {
        to.copy_from_slice(self.0);
    }
}

/// What a message is copied out of, while a lock is held.
pub(crate) trait Source {
    /// Bytes of the message.
    fn len(&self) -> usize;

    /// Whether it starts with a table of segments.
    fn has_table(&self) -> bool;

    /// Copies the message to `to`, which is as long.
    fn copy_to(&self, to: &mut [u8]);
}

/// Copies a message out of shared memory; runs no code of `T`'s, so it may be called under the lock.
///
/// An error means that this process cannot open the segments that the message names; it should stay where it is.
pub(crate) fn take<T: 'static>(
    source: &impl Source,
    buffer: &mut Vec<u8>,
) -> Result<Taken<T>, ShmError> {
    // Plain data come with a table only if they lie apart.
    if !source.has_table()
        && let Some(taken) = take_plain(source)
    {
        return Ok(taken);
    }
    let start = buffer.len();
    buffer.resize(start + source.len(), 0);
    source.copy_to(&mut buffer[start..]);
    if !source.has_table() {
        return Ok(Taken::Bytes(start..buffer.len(), Vec::new()));
    }
    let opened = arrays::open(&buffer[start..])?;
    Ok(match opened {
        Some(opened) => match opened.apart {
            Some((own, len)) => Taken::Apart(own, len, opened.held),
            None => Taken::Bytes(start + opened.body..buffer.len(), opened.held),
        },
        None => {
            let reason = "its table of segments is longer than the message".to_owned();
            Taken::Wrong(DecodeError::new::<T>(source.len(), reason))
        }
    })
}

impl<T: DeserializeOwned + 'static> Taken<T> {
    /// The value; `buffer` is what the message was taken into.
    pub(crate) fn decode(self, buffer: &[u8]) -> Result<T, DecodeError> {
        match self {
            Taken::Value(value) => Ok(value),
            Taken::Wrong(error) => Err(error),
            Taken::Bytes(range, _held) => decode(&buffer[range]),
            Taken::Apart(own, len, _held) => {
                let segment = Segment::attach(&own);
                let found = segment.and_then(|segment| Ok(from_cells(segment.cells(0, len)?)));
                found.unwrap_or_else(|error| Err(DecodeError::new::<T>(len, error.to_string())))
            }
        }
    }
}

/// Decodes a message that lies in a segment of its own.
fn from_cells<T: DeserializeOwned + 'static>(cells: Cells<'_, u8>) -> Result<T, DecodeError> {
    let body = Apart(cells);
    match take_plain(&body) {
        Some(taken) => taken.decode(&[]),
        None => {
            let mut bytes = vec![0; body.len()];
            body.copy_to(&mut bytes);
            decode(&bytes)
        }
    }
}

/// A message in a segment of its own.
struct Apart<'a>(Cells<'a, u8>);

impl Source for Apart<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn has_table(&self) -> bool {
        false
    }

    fn copy_to(&self, to: &mut [u8]) {
        self.0.read_into(0, to);
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    transfer::take_failure(); // of something else
    postcard::from_bytes(bytes).map_err(|error| DecodeError::new::<T>(bytes.len(), explain(&error)))
}

/// Bytes of every message of this type, if it is plain data of one size.
pub(crate) fn fixed_size<T: 'static>() -> Option<usize> {
    is_single::<T>().then_some(size_of::<T>())
}

macro_rules! plain_types {
    ($($plain:ty),* $(,)?) => {
        fn is_single<T: 'static>() -> bool {
            let kind = TypeId::of::<T>();
            $(kind == TypeId::of::<$plain>())||*
        }

        fn plain_bytes<T: 'static>(value: &T) -> Option<&[u8]> {
            let value: &dyn Any = value;
            $(
                if let Some(value) = value.downcast_ref::<$plain>() {
                    return Some(bytemuck::bytes_of(value));
                }
                if let Some(values) = value.downcast_ref::<Vec<$plain>>() {
                    return Some(bytemuck::cast_slice(values));
                }
            )*
            value.downcast_ref::<String>().map(String::as_bytes)
        }

        fn take_plain<T: 'static>(frame: &impl Source) -> Option<Taken<T>> {
            let kind = TypeId::of::<T>();
            $(
                if kind == TypeId::of::<$plain>() {
                    return Some(as_taken(single::<$plain>(frame)));
                }
                if kind == TypeId::of::<Vec<$plain>>() {
                    return Some(as_taken(several::<$plain>(frame)));
                }
            )*
            (kind == TypeId::of::<String>()).then(|| as_taken(text(frame)))
        }
    };
}

plain_types!(
    u8,
    u16,
    u32,
    u64,
    u128,
    usize,
    i8,
    i16,
    i32,
    i64,
    i128,
    isize,
    f32,
    f64,
    Complex<f32>,
    Complex<f64>,
);

fn single<P: Pod>(frame: &impl Source) -> Result<P, DecodeError> {
    let mut value = P::zeroed();
    let bytes = bytemuck::bytes_of_mut(&mut value);
    if bytes.len() != frame.len() {
        return Err(wrong_length::<P>(frame.len(), bytes.len()));
    }
    frame.copy_to(bytes);
    Ok(value)
}

fn several<P: Pod>(frame: &impl Source) -> Result<Vec<P>, DecodeError> {
    if !frame.len().is_multiple_of(size_of::<P>()) {
        return Err(wrong_length::<Vec<P>>(frame.len(), size_of::<P>()));
    }
    let mut values = zeroed(frame.len() / size_of::<P>());
    frame.copy_to(bytemuck::cast_slice_mut(&mut values));
    Ok(values)
}

/// So many zeros. The allocator has large pieces of them ready, and small ones faster if it need not clear them.
fn zeroed<P: Pod>(len: usize) -> Vec<P> {
    const LARGE: usize = 64 << 10;
    if len.saturating_mul(size_of::<P>()) >= LARGE {
        return vec![P::zeroed(); len];
    }
    let mut values = Vec::with_capacity(len);
    values.resize(len, P::zeroed());
    values
}

fn text(frame: &impl Source) -> Result<String, DecodeError> {
    let bytes = several::<u8>(frame)?;
    String::from_utf8(bytes)
        .map_err(|error| DecodeError::new::<String>(frame.len(), error.to_string()))
}

fn wrong_length<T>(len: usize, element: usize) -> DecodeError {
    DecodeError::new::<T>(
        len,
        format!("its length is no multiple of {element} bytes, or not that of one value"),
    )
}

/// `P` and `T` are one type, which the compiler does not know.
fn as_taken<P: 'static, T: 'static>(value: Result<P, DecodeError>) -> Taken<T> {
    match value {
        Ok(value) => {
            let mut value = Some(value);
            let same = (&mut value as &mut dyn Any).downcast_mut::<Option<T>>();
            Taken::Value(
                same.and_then(Option::take)
                    .expect("the caller compared the types"),
            )
        }
        Err(error) => Taken::Wrong(error),
    }
}

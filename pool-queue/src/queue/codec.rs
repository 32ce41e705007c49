//! From values to bytes and back: plain data as it lies in memory, everything else by postcard.

use super::errors::DecodeError;
use super::ring::Frame;
use bytemuck::Pod;
use num_complex::Complex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::{Any, TypeId};

/// A message that was copied out of the ring: a value already, or bytes yet to be decoded.
#[derive(Debug)]
pub(crate) enum Taken<T> {
    /// Plain data.
    Value(T),
    /// Bytes for postcard; they end at this offset of the buffer.
    Bytes(usize),
    /// Plain data of another length than its type has.
    Wrong(DecodeError),
}

/// The bytes of `value`: its own if it is plain data, else serialised into `buffer`, which is cleared.
pub(crate) fn encode<'a, T: Serialize + 'static>(
    value: &'a T,
    buffer: &'a mut Vec<u8>,
) -> Result<&'a [u8], postcard::Error> {
    if let Some(bytes) = plain_bytes(value) {
        return Ok(bytes);
    }
    buffer.clear();
    postcard::to_io(value, &mut *buffer)?;
    Ok(buffer)
}

/// Copies a message out of the ring; runs no code of `T`'s, so it may be called under the lock.
pub(crate) fn take<T: 'static>(frame: &Frame<'_>, buffer: &mut Vec<u8>) -> Taken<T> {
    if let Some(taken) = take_plain(frame) {
        return taken;
    }
    let start = buffer.len();
    buffer.resize(start + frame.len(), 0);
    frame.copy_to(&mut buffer[start..]);
    Taken::Bytes(buffer.len())
}

/// Decodes the bytes of a message.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    postcard::from_bytes(bytes)
        .map_err(|error| DecodeError::new::<T>(bytes.len(), error.to_string()))
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

        fn take_plain<T: 'static>(frame: &Frame<'_>) -> Option<Taken<T>> {
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

fn single<P: Pod>(frame: &Frame<'_>) -> Result<P, DecodeError> {
    let mut value = P::zeroed();
    let bytes = bytemuck::bytes_of_mut(&mut value);
    if bytes.len() != frame.len() {
        return Err(wrong_length::<P>(frame.len(), bytes.len()));
    }
    frame.copy_to(bytes);
    Ok(value)
}

fn several<P: Pod>(frame: &Frame<'_>) -> Result<Vec<P>, DecodeError> {
    if !frame.len().is_multiple_of(size_of::<P>()) {
        return Err(wrong_length::<Vec<P>>(frame.len(), size_of::<P>()));
    }
    let mut values = vec![P::zeroed(); frame.len() / size_of::<P>()];
    frame.copy_to(bytemuck::cast_slice_mut(&mut values));
    Ok(values)
}

fn text(frame: &Frame<'_>) -> Result<String, DecodeError> {
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

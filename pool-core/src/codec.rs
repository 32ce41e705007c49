//! The wire format: postcard, appended to memory that is used again and again.

use pool_shm::transfer;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends the encoded `value` to `bytes`. After an error they hold a part of it.
pub(crate) fn append<T: Serialize + ?Sized>(
    value: &T,
    bytes: &mut Vec<u8>,
) -> postcard::Result<()> {
    postcard::serialize_with_flavor(value, Append(bytes))
}

/// Reads a value, or says why it cannot be read.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    transfer::take_failure(); // of something else
    // postcard's errors hold no text of their own.
    postcard::from_bytes(bytes)
        .map_err(|error| transfer::take_failure().unwrap_or_else(|| error.to_string()))
}

/// Appends whole runs of bytes, where postcard's own flavour for growing memory goes byte by byte.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_what_postcard_writes() {
        let value = (7u64, "text".to_owned(), Some(1.5f64));
        let mut bytes = vec![9];
        append(&value, &mut bytes).unwrap();
        assert_eq!(bytes[1..], postcard::to_stdvec(&value).unwrap());
    }
}

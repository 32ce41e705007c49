//! The wire format: postcard, appended to memory that is used again and again.

use std::any::type_name;

use pool_shm::transfer;
use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Appends the encoded `value` to `bytes`, or says why it cannot be encoded; then they hold a part of it.
pub(crate) fn append<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    postcard::serialize_with_flavor(value, Append(bytes)).map_err(|error| failed::<T>(&error))
}

/// Reads a value, or says why it cannot be read.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    transfer::take_failure(); // of something else
    postcard::from_bytes(bytes).map_err(|error| failed::<T>(&error))
}

#[cold]
fn failed<T: ?Sized>(error: &postcard::Error) -> String {
    format!("`{}`: {}", type_name::<T>(), explain(error))
}

/// What is wrong with a type that postcard could not write or read, and what to do about it: its errors keep no text of the type's
/// own implementation, and speak of the format.
pub fn explain(error: &postcard::Error) -> String {
    if let Some(cause) = transfer::take_failure() {
        return cause;
    }
    let text = match error {
        postcard::Error::SerdeSerCustom => {
            "its `Serialize`, or that of a type in it, returned an error (whose text is not kept)"
        }
        postcard::Error::SerdeDeCustom => {
            "its `Deserialize`, or that of a type in it, returned an error (whose text is not kept)"
        }
        postcard::Error::WontImplement => {
            "it asks what comes next, which the bytes do not tell: `#[serde(untagged)]`, `#[serde(tag = …)]`, `#[serde(flatten)]` and \
             values of any type, like those of JSON, cannot be sent; send another type, or text"
        }
        postcard::Error::SerializeSeqLengthUnknown => {
            "it writes a sequence or a map without saying first how long that is, as `#[serde(flatten)]` does: collect it before"
        }
        other => {
            return format!(
                "{other}; its `Deserialize` has to read exactly what its `Serialize` writes, so nothing can be skipped on one side"
            );
        }
    };
    text.to_owned()
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

    #[test]
    fn types_that_cannot_be_sent_are_told_why() {
        #[derive(Debug, Serialize, serde::Deserialize)]
        #[serde(untagged)]
        enum Untagged {
            Number(u8),
        }
        #[derive(Debug, Serialize, serde::Deserialize)]
        struct Skipping {
            #[serde(skip_serializing_if = "Option::is_none")]
            skipped: Option<u8>,
        }
        struct Endless;
        impl Serialize for Endless {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_seq(std::iter::from_fn(|| Some(1u8)).take_while(|n| *n > 1))
            }
        }
        let mut bytes = Vec::new();
        append(&Untagged::Number(1), &mut bytes).unwrap();
        let error = read::<Untagged>(&bytes).unwrap_err();
        assert!(
            error.contains("Untagged`: ") && error.contains("serde(untagged)"),
            "{error}"
        );
        bytes.clear();
        append(&Skipping { skipped: None }, &mut bytes).unwrap();
        let error = read::<Skipping>(&bytes).unwrap_err();
        assert!(
            error.contains("Skipping`: ") && error.contains("exactly what"),
            "{error}"
        );
        let error = append(&Endless, &mut bytes).unwrap_err();
        assert!(
            error.contains("Endless`: ") && error.contains("how long"),
            "{error}"
        );
        transfer::note_failure("its end is used elsewhere");
        let error = failed::<u8>(&postcard::Error::SerdeSerCustom);
        assert_eq!(error, "`u8`: its end is used elsewhere");
    }
}

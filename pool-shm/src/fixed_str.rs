//! A text of bounded length that is plain data.

use bytemuck::{Pod, Zeroable};
use std::fmt;
use std::str::Utf8Error;

/// A text of at most `N` bytes, as plain data: part of a record in shared memory, element of an array.
///
/// It keeps what it was given, NULs and characters of several bytes included: the length is stored beside the bytes. Its alignment is 1 and its size
/// `N + 4` bytes. Zeros are the empty text.
///
/// ```
/// use pool_shm::FixedStr;
///
/// let text: FixedStr<12> = FixedStr::new("a\0é")?;
/// assert_eq!(text.as_str()?, "a\0é");
/// let error = FixedStr::<3>::new("äöü").unwrap_err();
/// assert_eq!(error.to_string(), "the text has 6 bytes, and there is room for 3");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, packed)]
pub struct FixedStr<const N: usize> {
    len: [u8; 4],
    bytes: [u8; N],
}

/// A text that is too long for its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text has {len} bytes, and there is room for {room}")]
pub struct TooLong {
    /// The bytes of the text.
    pub len: usize,
    /// The most that there may be.
    pub room: usize,
}

impl<const N: usize> FixedStr<N> {
    /// The text, if it fits.
    ///
    /// # Errors
    /// [`TooLong`] if it has more than `N` bytes.
    pub fn new(text: &str) -> Result<Self, TooLong> {
        let too_long = TooLong {
            len: text.len(),
            room: N,
        };
        let len = u32::try_from(text.len()).map_err(|_| too_long)?;
        let mut bytes = [0; N];
        let place = bytes.get_mut(..text.len()).ok_or(too_long)?;
        place.copy_from_slice(text.as_bytes());
        Ok(Self {
            len: len.to_le_bytes(),
            bytes,
        })
    }

    /// The text.
    ///
    /// # Errors
    /// If the bytes are no text: somebody wrote something else over them.
    pub fn as_str(&self) -> Result<&str, Utf8Error> {
        std::str::from_utf8(self.as_bytes())
    }

    /// The bytes of the text. A length above `N`, which only something that was written over it can have, is taken as `N`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        let len = u32::from_le_bytes(self.len) as usize;
        // A field of a packed struct gives no reference, all of it does.
        &bytemuck::bytes_of(self)[size_of::<u32>()..][..len.min(N)]
    }
}

impl<const N: usize> Default for FixedStr<N> {
    fn default() -> Self {
        Self::zeroed()
    }
}

impl<const N: usize> PartialEq for FixedStr<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> Eq for FixedStr<N> {}

impl<const N: usize> PartialEq<str> for FixedStr<N> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl<const N: usize> TryFrom<&str> for FixedStr<N> {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        Self::new(text)
    }
}

impl<const N: usize> fmt::Debug for FixedStr<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

impl<const N: usize> fmt::Display for FixedStr<N> {
    /// The text; bytes that are none are shown as U+FFFD.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&String::from_utf8_lossy(self.as_bytes()), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_whatever_they_hold() {
        for text in ["", "plain", "\0", "end\0\0", "ΑΒΓ", "😀😀"] {
            let fixed = FixedStr::<8>::new(text).unwrap();
            assert_eq!(fixed.as_str().unwrap(), text);
            assert_eq!(fixed, *text);
            assert_eq!(fixed.to_string(), text);
        }
        assert!(FixedStr::<8>::new("ninebytes").is_err());
        assert_eq!(FixedStr::<0>::new("").unwrap(), FixedStr::default());
        assert_eq!(size_of::<FixedStr<7>>(), 11);
    }

    #[test]
    fn bytes_that_were_written_over_are_an_error() {
        let forged: FixedStr<4> = bytemuck::cast([9, 0, 0, 0, b'a', 0xff, b'c', b'd']);
        assert_eq!(forged.as_bytes(), [b'a', 0xff, b'c', b'd']);
        assert!(forged.as_str().is_err());
        assert_eq!(forged.to_string(), "a\u{fffd}cd");
    }
}

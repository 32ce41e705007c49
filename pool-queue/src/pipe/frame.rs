//! What stands before each message.

/// Bytes of a header.
pub(super) const HEAD: usize = 16;
const MAGIC: u8 = 0xA7;

/// What a message is: its length, what it holds, and the descriptors that come with its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) len: u64,
    /// Raw bytes; else a value.
    pub(super) raw: bool,
    /// Descriptors of segments that the value names.
    pub(super) segments: u16,
    /// Descriptors that the user sends, after those.
    pub(super) descriptors: u16,
}

impl Head {
    pub(super) fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8] = MAGIC;
        bytes[9] = u8::from(self.raw);
        bytes[12..14].copy_from_slice(&self.segments.to_le_bytes());
        bytes[14..].copy_from_slice(&self.descriptors.to_le_bytes());
        bytes
    }

    /// `None` if these are not the bytes of a header.
    pub(super) fn from_bytes(bytes: [u8; HEAD]) -> Option<Self> {
        let part = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let (len, _) = bytes.split_first_chunk::<8>()?;
        let head = Self {
            len: u64::from_le_bytes(*len),
            raw: bytes[9] == 1,
            segments: part(12),
            descriptors: part(14),
        };
        (head.to_bytes() == bytes).then_some(head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_header_comes_back(len: u64, raw: bool, segments: u16, descriptors: u16) {
            let head = Head { len, raw, segments, descriptors };
            prop_assert_eq!(Head::from_bytes(head.to_bytes()), Some(head));
        }

        #[test]
        fn anything_else_is_none(bytes: [u8; HEAD]) {
            if let Some(head) = Head::from_bytes(bytes) {
                prop_assert_eq!(head.to_bytes(), bytes);
            }
        }
    }
}

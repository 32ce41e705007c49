//! The segment that an object of this module has to itself.
//!
//! 64 bytes say what it is: a magic word, a number that it was made with, a word that describes its value. The object follows.

use crate::error::Kind;
use crate::{Segment, ShmError};

/// Where the object begins.
pub(crate) const BODY: usize = 64;

/// Where the size begins in what [`kind`] gives.
pub(crate) const KIND_BITS: u32 = 32;

/// What a segment says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    /// Which object, and the version of its layout.
    pub(crate) magic: [u8; 8],
    /// How many of whatever it consists of.
    pub(crate) count: u64,
    /// The type of its value, from [`kind`].
    pub(crate) kind: u64,
}

impl Label {
    /// The label of an object whose value is a `T`, `()` for none.
    pub(crate) fn new<T>(magic: [u8; 8], count: usize) -> Self {
        Self {
            magic,
            count: count as u64,
            kind: kind::<T>(),
        }
    }
}

/// Makes a segment for an object of `bytes` bytes.
pub(crate) fn create(label: Label, bytes: usize) -> Result<Segment, ShmError> {
    let segment = Segment::create(BODY.saturating_add(bytes))?;
    let words = segment.cells::<u64>(0, 3)?;
    // Nobody else knows the segment yet, and whatever tells them of it orders these stores before their loads.
    words.write_from(
        0,
        &[u64::from_le_bytes(label.magic), label.count, label.kind],
    );
    Ok(segment)
}

/// Reads what a segment from somewhere holds, once, and checks magic and kind; the count is the caller's to check.
pub(crate) fn check<T>(
    segment: &Segment,
    magic: [u8; 8],
    what: &'static str,
) -> Result<Label, ShmError> {
    let mut words = [0; 3];
    segment.cells::<u64>(0, 3)?.read_into(0, &mut words);
    let found = Label {
        magic: words[0].to_le_bytes(),
        count: words[1],
        kind: words[2],
    };
    if found.magic != magic {
        return Err(mismatch(
            "contents",
            what,
            format!("{:?}", String::from_utf8_lossy(&magic)),
            format!("{:?}", String::from_utf8_lossy(&found.magic)),
        ));
    }
    if found.kind != kind::<T>() {
        return Err(mismatch(
            "types",
            what,
            format!("{} of {} bytes", std::any::type_name::<T>(), size_of::<T>()),
            format!("another type, of {} bytes", found.kind >> KIND_BITS),
        ));
    }
    Ok(found)
}

/// A count from a label if it lies in 1..=`most`.
pub(crate) fn count(label: Label, most: usize, what: &'static str) -> Result<usize, ShmError> {
    usize::try_from(label.count)
        .ok()
        .filter(|count| (1..=most).contains(count))
        .ok_or_else(|| {
            mismatch(
                "counts",
                what,
                format!("1 to {most}"),
                label.count.to_string(),
            )
        })
}

fn mismatch(what: &'static str, of: &'static str, asked: String, found: String) -> ShmError {
    Kind::Mismatch {
        what,
        of,
        asked,
        found,
    }
    .into()
}

/// Size and a hash of the name of a type: catches a handle that is read as one of another type.
pub(crate) fn kind<T>() -> u64 {
    let hash = std::any::type_name::<T>()
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
    (size_of::<T>() as u64) << KIND_BITS | u64::from(hash)
}

/// What all objects with a field `inner: Arc<_>` and a function `attach(Segment)` have: clones are the same object, and it travels as its segment's handle.
macro_rules! handle {
    ($name:ident $(<$param:ident: $bound:path>)?) => {
        impl$(<$param: $bound>)? Clone for $name$(<$param>)? {
            fn clone(&self) -> Self {
                Self {
                    inner: ::std::sync::Arc::clone(&self.inner),
                }
            }
        }

        impl$(<$param: $bound>)? ::std::fmt::Debug for $name$(<$param>)? {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("segment", &self.inner.segment.id())
                    .finish_non_exhaustive()
            }
        }

        impl$(<$param: $bound>)? ::serde::Serialize for $name$(<$param>)? {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.inner.segment.serialize(serializer)
            }
        }

        impl<'de, $($param: $bound)?> ::serde::Deserialize<'de> for $name$(<$param>)? {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let segment = <$crate::Segment as ::serde::Deserialize>::deserialize(deserializer)?;
                Self::attach(segment).map_err($crate::ShmError::into_serde)
            }
        }
    };
}

pub(crate) use handle;

//! What can go wrong with a name.

use crate::error::{Kind, ShmError, system};
use std::io;

/// The errors that speak of a name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NameError {
    #[error("{name:?} cannot be the name of a shared segment: {reason}")]
    Invalid { name: String, reason: String },
    #[error(
        "a shared segment named {name:?} exists already; choose another name, or remove it if its maker is gone (pool_shm::named::sweep)"
    )]
    Taken { name: String },
    #[error(
        "there is no shared segment named {name:?}: it was never made, or its maker has dropped it, \
         or Python's resource tracker has removed it"
    )]
    NotFound { name: String },
    #[error(
        "the shared segment {name:?} belongs to user {owner}, this process runs as user {user}"
    )]
    Foreign { name: String, owner: u32, user: u32 },
    #[error("not allowed to open the shared segment {name:?}")]
    Denied { name: String, source: io::Error },
    #[error("{name:?} in /dev/shm is not a regular file")]
    NotRegular { name: String },
    #[error(
        "the shared segment {name:?} bears no stamp of this library, or a damaged one; \
         if another program made it, attach with the shape (`attach_plain`)"
    )]
    NoStamp { name: String },
    #[error("the shared segment {name:?} holds {found}, asked for {asked}")]
    Mismatch {
        name: String,
        asked: String,
        found: String,
    },
    #[error("the shared segment {name:?} has {found} bytes, {need} are needed for {what}")]
    Short {
        name: String,
        need: u64,
        found: u64,
        what: String,
    },
}

impl NameError {
    pub(crate) fn is_mismatch(&self) -> bool {
        matches!(
            self,
            NameError::NotRegular { .. }
                | NameError::NoStamp { .. }
                | NameError::Mismatch { .. }
                | NameError::Short { .. }
        )
    }
}

/// The error for a failure to open or to make the segment `name`.
pub(super) fn failed(name: &str, doing: &'static str, source: io::Error) -> ShmError {
    let name = name.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => NameError::NotFound { name },
        io::ErrorKind::AlreadyExists => NameError::Taken { name },
        io::ErrorKind::PermissionDenied => NameError::Denied { name, source },
        _ => return system(doing, source).into(),
    }
    .into()
}

impl From<NameError> for ShmError {
    fn from(error: NameError) -> Self {
        Kind::Name(error).into()
    }
}

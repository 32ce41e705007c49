//! Names, and the files that they stand for.

use super::error::{NameError, failed};
use crate::error::ShmError;
use crate::sys;
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// The longest name of a file, in bytes.
const LONGEST: usize = 255;

/// A name that a shared segment can have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// Checks a name. A slash before it, as C programs write it, is not part
    /// of it.
    pub(super) fn new(name: &str) -> Result<Self, ShmError> {
        let bare = name.strip_prefix('/').unwrap_or(name);
        let reason = match bare {
            "" => "it is empty".to_owned(),
            "." | ".." => "it is a directory".to_owned(),
            _ if bare.contains('/') => "it contains a slash".to_owned(),
            _ if bare.contains('\0') => "it contains a NUL".to_owned(),
            _ if bare.len() > LONGEST => {
                format!("it has {} bytes, {LONGEST} are possible", bare.len())
            }
            _ => return Ok(Name(bare.to_owned())),
        };
        let name = name.to_owned();
        Err(NameError::Invalid { name, reason }.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn path(&self) -> PathBuf {
        sys::shared_memory_dir().join(&self.0)
    }

    /// Opens what the name stands for, if it is a file of this user. It gives
    /// the length too.
    pub(super) fn open(&self) -> Result<(OwnedFd, u64), ShmError> {
        let name = || self.0.clone();
        let failed = |source| failed(&self.0, "open a shared segment by its name", source);
        let fd = sys::open_file(&self.path(), true, false).map_err(failed)?;
        let (owner, user) = (
            sys::owner(fd.as_fd()).map_err(failed)?,
            sys::effective_user(),
        );
        if owner != user {
            let name = name();
            return Err(NameError::Foreign { name, owner, user }.into());
        }
        match sys::identify_regular(fd.as_fd()).map_err(failed)? {
            Some(identity) => Ok((fd, identity.len)),
            None => Err(NameError::NotRegular { name: name() }.into()),
        }
    }
}

/// The file that a name stands for, if it can be a name.
#[cfg(fuzzing)]
pub(crate) fn file_of(name: &str) -> Option<PathBuf> {
    Name::new(name).ok().map(|name| name.path())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked_with_the_reason() {
        for (name, text) in [
            ("", "is empty"),
            ("/", "is empty"),
            ("a/b", "a slash"),
            ("//a", "a slash"),
            ("..", "a directory"),
            ("a\0b", "a NUL"),
            (&"x".repeat(256), "256 bytes, 255 are possible"),
        ] {
            let error = Name::new(name).unwrap_err();
            assert!(error.is_invalid_name());
            assert!(error.to_string().contains(text), "{error}");
        }
        assert_eq!(Name::new("/psm_1").unwrap(), Name::new("psm_1").unwrap());
        assert!(Name::new(&"x".repeat(255)).is_ok());
    }
}

//! Taking names away.

use super::error::failed;
use super::name::Name;
use super::stamp::{Maker, PAGE, Stamp};
use crate::error::{ShmError, system};
use crate::segment::LockedFile;
use crate::sys::{self, FileLock};
use std::os::fd::{AsFd, BorrowedFd};

/// Removes the named segments of this user that this library made and whose
/// makers have died without removing them; gives their names.
///
/// What is there without our stamp, of another user, of a living process, or
/// left on purpose stays. Whoever is attached keeps the memory.
///
/// A program calls it when it begins to use names.
///
/// ```
/// for name in pool_shm::named::sweep()? {
///     println!("removed {name}, whose maker was killed");
/// }
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
///
/// # Errors
///
/// A failure of the operating system to list the names.
pub fn sweep() -> Result<Vec<String>, ShmError> {
    let namespace = sys::pid_namespace().map_err(|e| system("read the process namespace", e))?;
    let listed = std::fs::read_dir(sys::shared_memory_dir());
    let listed = listed.map_err(|e| system("list the names of shared segments", e))?;
    let names = listed.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter(|name| sweep_one(name, namespace)).collect())
}

/// Removes one segment, if it is a dead process's.
fn sweep_one(name: &str, namespace: u64) -> bool {
    let Ok(name) = Name::new(name) else {
        return false;
    };
    // What cannot be opened or vanishes meanwhile is not ours to remove.
    let Ok((fd, len)) = name.open() else {
        return false;
    };
    let dead = read_stamp(fd.as_fd(), len)
        .is_some_and(|stamp| !stamp.left && stamp.maker.is_gone(namespace));
    let mut fd = LockedFile::from(fd);
    // The lock excludes a maker that lives, and others that sweep: whoever
    // holds it and finds the name on this file removes this file's name.
    dead && matches!(fd.lock(FileLock::Exclusive), Ok(true)) && unlink_if_same(&name, fd.as_fd())
}

/// Takes the name of a named segment away, whoever made it, ours or another
/// program's, if it belongs to this user. Whoever is attached keeps the
/// memory.
///
/// # Errors
///
/// `is_invalid_name`; `is_not_found`; `is_denied` if it belongs to another
/// user; `is_mismatch` if it is no file.
pub fn remove(name: &str) -> Result<(), ShmError> {
    let name = Name::new(name)?;
    let (_fd, _len) = name.open()?;
    sys::unlink(&name.path())
        .map_err(|source| failed(name.as_str(), "remove a shared segment's name", source))
}

/// Takes the name away if it still stands for this file.
pub(super) fn unlink_if_same(name: &Name, fd: BorrowedFd<'_>) -> bool {
    let path = name.path();
    let named = sys::identify_path(&path).ok().flatten();
    let same = match (named, sys::identify(fd)) {
        (Some(named), Ok(ours)) => (named.dev, named.ino) == (ours.dev, ours.ino),
        _ => false,
    };
    same && sys::unlink(&path).is_ok()
}

/// The stamp at the end of a file of `len` bytes, if there is one.
pub(super) fn read_stamp(fd: BorrowedFd<'_>, len: u64) -> Option<Stamp> {
    let at = len.checked_sub(PAGE as u64)?;
    let mut page = vec![0; PAGE];
    let mut filled = 0;
    while filled < PAGE {
        match sys::read_at(fd, at + filled as u64, &mut page[filled..]) {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
    }
    Stamp::parse(&page)
}

/// What this process stamps.
pub(super) fn this_process() -> Result<Maker, ShmError> {
    Ok(Maker::this().map_err(|e| system("tell when this process was started", e))?)
}

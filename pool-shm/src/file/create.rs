//! Making a file that has its name only when it is complete.

use super::error::{FileProblem, error, system};
use crate::error::ShmError;
use crate::segment::{LockedFile, SegmentFile, check_file_size};
use crate::sys::{self, FileLock};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Zeros that are written where the file system cannot reserve.
const PIECE: usize = 1 << 20;

/// A file that does not have its name yet.
///
/// A process that is killed leaves nothing behind, where the file system knows
/// files without a name; elsewhere (few network file systems) it leaves a
/// hidden file beside where the name would have been.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    /// The name that it has meanwhile, where it must have one.
    hidden: Option<PathBuf>,
}

/// A new file that begins with `header`, followed by `bytes` zeros; all of it
/// has room on the disk.
pub(super) fn create(
    path: &Path,
    header: &[u8],
    bytes: usize,
) -> Result<(SegmentFile, Unfinished), ShmError> {
    if sys::identify_path(path).is_ok() {
        return Err(error(path, FileProblem::Exists));
    }
    let len = header
        .len()
        .checked_add(bytes)
        .filter(|&len| isize::try_from(len).is_ok())
        .ok_or(crate::error::Kind::TooLarge { len: u64::MAX })?;
    check_file_size(len as u64)?;
    let (fd, unfinished) = open(path)?;
    let mut fd = LockedFile::from(fd);
    fill(path, fd.as_fd(), header, len as u64)?;
    // Nobody else can have it open, so nobody else can have it locked.
    let _ = fd.lock(FileLock::Exclusive);
    Ok((SegmentFile::regular(fd, len)?, unfinished))
}

fn open(path: &Path) -> Result<(OwnedFd, Unfinished), ShmError> {
    let named = |hidden| Unfinished {
        path: path.to_owned(),
        hidden,
    };
    let failed = |source| system(path, "create it", 0, source);
    match sys::create_unnamed(directory(path)) {
        Ok(fd) => Ok((fd, named(None))),
        Err(source) if sys::is_unsupported(&source) => {
            let Some(name) = path.file_name() else {
                return Err(error(path, FileProblem::NotRegular));
            };
            let pid = std::process::id();
            let hidden = path.with_file_name(format!(".{}.{pid}", name.display()));
            let fd = sys::create_file(&hidden).map_err(failed)?;
            Ok((fd, named(Some(hidden))))
        }
        Err(source) => Err(failed(source)),
    }
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Writes the header and puts room behind the rest.
fn fill(path: &Path, fd: BorrowedFd<'_>, header: &[u8], len: u64) -> Result<(), ShmError> {
    let failed = |source| system(path, "write it", len, source);
    write(fd, 0, header).map_err(failed)?;
    if len == header.len() as u64 {
        return Ok(());
    }
    match sys::reserve(fd, 0, len) {
        Err(source) if sys::is_unsupported(&source) => {
            let zeros = vec![0; PIECE];
            let mut at = header.len() as u64;
            while at < len {
                let piece = usize::try_from(len - at).map_or(PIECE, |rest| rest.min(PIECE));
                write(fd, at, &zeros[..piece]).map_err(failed)?;
                at += piece as u64;
            }
            Ok(())
        }
        reserved => reserved.map_err(failed),
    }
}

fn write(fd: BorrowedFd<'_>, mut offset: u64, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let written = sys::write_at(fd, offset, bytes)?;
        bytes = &bytes[written..];
        offset += written as u64;
    }
    Ok(())
}

impl Unfinished {
    /// Gives the file its name, when all of it is on the disk.
    pub(super) fn finish(&mut self, fd: BorrowedFd<'_>) -> Result<(), ShmError> {
        let failed = |doing| move |path: &Path, source| system(path, doing, 0, source);
        sys::sync(fd).map_err(|e| failed("write it to the disk")(&self.path, e))?;
        let named = match &self.hidden {
            Some(hidden) => sys::rename(hidden, &self.path),
            None => sys::link(fd, &self.path),
        };
        named.map_err(|e| failed("give it its name")(&self.path, e))?;
        self.hidden = None;
        // The name is there; that it survives a crash of the machine is a
        // matter of the directory, and not every file system syncs those.
        let directory = sys::open_file(directory(&self.path), false, true);
        if let Err(error) = directory.and_then(|directory| sys::sync(directory.as_fd())) {
            tracing::debug!(path = %self.path.display(), %error, "could not sync the directory");
        }
        Ok(())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(hidden) = &self.hidden {
            // Whoever removed it before has done what was to be done.
            let _ = sys::unlink(hidden);
        }
    }
}

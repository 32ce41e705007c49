//! What can go wrong with a file.

use crate::error::{Kind, ShmError};
use crate::sys;
use std::io;
use std::path::{Path, PathBuf};

/// The errors that name a file.
#[derive(Debug, thiserror::Error)]
#[error("the file {}: {problem}", path.display())]
pub(crate) struct FileError {
    pub(crate) path: PathBuf,
    pub(crate) problem: FileProblem,
    pub(crate) source: Option<io::Error>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FileProblem {
    #[error("it does not exist, or a directory above it does not")]
    NotFound,
    #[error("this user may not open it so; for reading alone use `open`")]
    Denied,
    #[error(
        "it or its file system is read-only; for reading use `open`, for changes that are not kept `open_private`"
    )]
    ReadOnly,
    #[error("something of that name exists; remove it, or choose another name")]
    Exists,
    #[error("it is not a regular file")]
    NotRegular,
    #[error("another array of this or of another process {0}; drop that one first")]
    Locked(&'static str),
    #[error(
        "no room for {need} bytes: the disk or a quota is full, or the file system has no files of that size"
    )]
    Full { need: u64 },
    #[error("it is no .npy file that can be read: {0}")]
    Header(String),
    #[error(
        "its elements are big-endian ({descr}), this machine is little-endian; convert it in NumPy: np.save(path, array.astype(array.dtype.newbyteorder('<')))"
    )]
    ForeignOrder { descr: String },
    #[error("its elements are {found}, asked for {asked}")]
    DType { asked: String, found: String },
    #[error("elements of {0} have no name in .npy files; use the raw form")]
    NoName(String),
    #[error("it holds truth values (|b1), which `u8` may read but not write")]
    Truth,
    #[error(
        "it holds {need} bytes by its header and shape, and has {found}; it was truncated, or never completed"
    )]
    Short { need: u64, found: u64 },
    #[error(
        "its elements begin at byte {offset}, which is not a multiple of {align}, their alignment"
    )]
    Misaligned { offset: u64, align: usize },
    #[error("cannot {0}")]
    Failed(&'static str),
}

pub(super) fn error(path: &Path, problem: FileProblem) -> ShmError {
    failed(path, problem, None)
}

fn failed(path: &Path, problem: FileProblem, source: Option<io::Error>) -> ShmError {
    let path = path.to_owned();
    Kind::File(FileError {
        path,
        problem,
        source,
    })
    .into()
}

/// The error for a failure of the operating system while `doing` something
/// for which `need` bytes of the disk are wanted.
pub(super) fn system(path: &Path, doing: &'static str, need: u64, source: io::Error) -> ShmError {
    if sys::descriptor_limit(&source).is_some() {
        return crate::error::system(doing, source).into();
    }
    let problem = match source.kind() {
        _ if sys::is_full(&source) => FileProblem::Full { need },
        io::ErrorKind::NotFound => FileProblem::NotFound,
        io::ErrorKind::PermissionDenied => FileProblem::Denied,
        io::ErrorKind::ReadOnlyFilesystem => FileProblem::ReadOnly,
        io::ErrorKind::AlreadyExists => FileProblem::Exists,
        io::ErrorKind::IsADirectory => FileProblem::NotRegular,
        _ => FileProblem::Failed(doing),
    };
    failed(path, problem, Some(source))
}

impl FileError {
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self.problem, FileProblem::NotFound)
    }

    pub(crate) fn is_denied(&self) -> bool {
        matches!(self.problem, FileProblem::Denied | FileProblem::ReadOnly)
    }

    pub(crate) fn is_full(&self) -> bool {
        matches!(self.problem, FileProblem::Full { .. })
    }

    pub(crate) fn is_taken(&self) -> bool {
        matches!(self.problem, FileProblem::Exists)
    }

    pub(crate) fn is_busy(&self) -> bool {
        matches!(self.problem, FileProblem::Locked(_))
    }

    pub(crate) fn is_truncated(&self) -> bool {
        matches!(self.problem, FileProblem::Short { .. })
    }

    /// Whether the file is not what was asked for.
    pub(crate) fn is_mismatch(&self) -> bool {
        matches!(
            self.problem,
            FileProblem::NotRegular
                | FileProblem::Header(_)
                | FileProblem::ForeignOrder { .. }
                | FileProblem::DType { .. }
                | FileProblem::NoName(_)
                | FileProblem::Truth
                | FileProblem::Short { .. }
                | FileProblem::Misaligned { .. }
        )
    }
}

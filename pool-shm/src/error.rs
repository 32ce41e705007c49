//! What can go wrong with shared memory.

use crate::file::FileError;
use crate::named::NameError;
use crate::sys;
use std::error::Error;
use std::io;

/// An error of shared memory: what was asked, what is there, what to do.
///
/// The kinds are private, so that new ones can be added; ask with the `is_…`
/// methods. [`std::error::Error::source`] gives the operating system's error
/// where there is one.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ShmError(Box<Kind>);

impl ShmError {
    /// Whether there is too little memory, by the system, by the cgroup or by
    /// a resource limit.
    #[must_use]
    pub fn is_out_of_memory(&self) -> bool {
        matches!(
            *self.0,
            Kind::TooLittleMemory { .. }
                | Kind::NoSpace { .. }
                | Kind::FileSizeLimit { .. }
                | Kind::AddressSpace { .. }
        )
    }

    /// Whether the process or the system has too many open files.
    #[must_use]
    pub fn is_out_of_descriptors(&self) -> bool {
        matches!(*self.0, Kind::Descriptors { .. })
    }

    /// Whether the segment of a handle does not exist any more, or not under
    /// this handle.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(*self.0, Kind::Gone { .. } | Kind::Reused { .. })
    }

    /// Whether the operating system does not let this process reach the
    /// segment's owner.
    #[must_use]
    pub fn is_denied(&self) -> bool {
        matches!(*self.0, Kind::Denied { .. })
            || self.file().is_some_and(FileError::is_denied)
            || matches!(
                self.name(),
                Some(NameError::Foreign { .. } | NameError::Denied { .. })
            )
    }

    /// Whether a handle, an offset or a descriptor does not fit what is there.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(
            *self.0,
            Kind::Mismatch { .. }
                | Kind::Reused { .. }
                | Kind::NotFrozen { .. }
                | Kind::NotSealed { .. }
                | Kind::NotMemory { .. }
                | Kind::NotRegular { .. }
                | Kind::Unexpected
        ) || self.file().is_some_and(FileError::is_mismatch)
            || self.name().is_some_and(NameError::is_mismatch)
    }

    /// Whether a file is shorter than what is used of it.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        matches!(*self.0, Kind::Truncated { .. })
            || self.file().is_some_and(FileError::is_truncated)
    }

    /// Whether there is no file or segment of that name.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.file().is_some_and(FileError::is_not_found)
            || matches!(self.name(), Some(NameError::NotFound { .. }))
    }

    /// Whether the name is taken already.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.file().is_some_and(FileError::is_taken)
            || matches!(self.name(), Some(NameError::Taken { .. }))
    }

    /// Whether the disk, a quota or the largest file that there may be leaves
    /// no room.
    #[must_use]
    pub fn is_out_of_space(&self) -> bool {
        matches!(*self.0, Kind::FileSizeLimit { .. }) || self.file().is_some_and(FileError::is_full)
    }

    /// Whether a name is not one that a shared segment can have.
    #[must_use]
    pub fn is_invalid_name(&self) -> bool {
        matches!(self.name(), Some(NameError::Invalid { .. }))
    }

    fn name(&self) -> Option<&NameError> {
        match &*self.0 {
            Kind::Name(error) => Some(error),
            _ => None,
        }
    }

    fn file(&self) -> Option<&FileError> {
        match &*self.0 {
            Kind::File(error) => Some(error),
            _ => None,
        }
    }

    /// Whether a range lies outside its segment, or a part outside its array, or
    /// is not aligned.
    #[must_use]
    pub fn is_out_of_bounds(&self) -> bool {
        matches!(
            *self.0,
            Kind::OutOfBounds { .. } | Kind::OutsideArray { .. } | Kind::Misaligned { .. }
        )
    }

    /// Whether a shape is not possible: too large, of another number of
    /// elements, or not fit for complex numbers.
    #[must_use]
    pub fn is_invalid_shape(&self) -> bool {
        matches!(*self.0, Kind::InvalidShape { .. })
    }

    /// Whether an array cannot be cut as asked, or arrays cannot be cut
    /// together.
    #[must_use]
    pub fn is_invalid_cut(&self) -> bool {
        matches!(
            *self.0,
            Kind::InvalidCut { .. }
                | Kind::UnequalCuts { .. }
                | Kind::UnequalLengths { .. }
                | Kind::Overlap { .. }
                | Kind::OverlappingBlocks { .. }
        )
    }

    /// Whether blocks that are lent for writing have elements in common.
    #[must_use]
    pub fn is_overlap(&self) -> bool {
        matches!(
            *self.0,
            Kind::Overlap { .. } | Kind::OverlappingBlocks { .. }
        )
    }

    /// The numbers of two blocks of one list that have elements in common, if
    /// that is the error.
    #[must_use]
    pub fn overlapping_blocks(&self) -> Option<[usize; 2]> {
        match *self.0 {
            Kind::OverlappingBlocks { blocks, .. } => Some(blocks),
            _ => None,
        }
    }

    /// Whether somebody still has a segment mapped for writing, or has a file
    /// open.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(*self.0, Kind::Busy { .. }) || self.file().is_some_and(FileError::is_busy)
    }

    /// Whether an array that was given away has been claimed already.
    #[must_use]
    pub fn is_claimed(&self) -> bool {
        matches!(*self.0, Kind::Claimed { .. })
    }

    /// Whether write access was asked to a segment that is sealed against
    /// writing.
    #[must_use]
    pub fn is_frozen(&self) -> bool {
        matches!(*self.0, Kind::Frozen { .. })
    }
}

impl ShmError {
    /// The error of a deserialiser, which takes a text only: this error's and
    /// those of its sources.
    pub(crate) fn into_serde<E: serde::de::Error>(self) -> E {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        crate::transfer::note_failure(&text);
        E::custom(text)
    }
}

impl From<Kind> for ShmError {
    fn from(kind: Kind) -> Self {
        ShmError(Box::new(kind))
    }
}

/// The kinds of [`ShmError`], with the numbers and names of the text.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Kind {
    #[error(
        "too little memory for a shared segment: need {need} bytes, available to the system {}, available to the cgroup {}; \
         use fewer or smaller arrays, drop arrays that are done, or raise the limit",
        Bytes(.system), Bytes(.cgroup)
    )]
    TooLittleMemory {
        need: u64,
        system: Option<u64>,
        cgroup: Option<u64>,
    },
    #[error(
        "the system could not put memory behind {need} bytes of a shared segment; \
         free memory, or check the limits of the cgroup and of shared memory"
    )]
    NoSpace { need: u64, source: io::Error },
    #[error(
        "no room in the address space to map a shared segment of {need} bytes; \
         check the limits on memory and on the number of maps (ulimit -v, vm.max_map_count)"
    )]
    AddressSpace { need: usize, source: io::Error },
    #[error(
        "a shared segment of {need} bytes is larger than the largest file that this process may make, {limit} bytes; \
         raise the limit (ulimit -f, RLIMIT_FSIZE)"
    )]
    FileSizeLimit { need: u64, limit: u64 },
    #[error(
        "no file descriptor left {} while {doing}; close some, or raise the limit ({})",
        if *.system { "in the whole system" } else { "in this process" },
        if *.system { "fs.file-max" } else { "ulimit -n" }
    )]
    Descriptors {
        system: bool,
        doing: &'static str,
        source: io::Error,
    },
    #[error(
        "the segment {id} is gone: process {pid} {}; keep the array alive in its owner until the handle has been used",
        if *.alive { "has closed it, or /proc does not show its descriptors" } else { "has ended, or /proc is hidden" }
    )]
    Gone { id: String, pid: u32, alive: bool },
    #[error(
        "not allowed to open the segment {id} of process {pid}: it belongs to another user, \
         or it is not dumpable (PR_SET_DUMPABLE), or /proc is restricted"
    )]
    Denied {
        id: String,
        pid: u32,
        source: io::Error,
    },
    #[error(
        "descriptor {fd} of process {pid} is another segment than the handle says: asked for {asked}, found {found}; \
         the segment is gone and its number was given to something else"
    )]
    Reused {
        pid: u32,
        fd: i32,
        asked: String,
        found: String,
    },
    #[error("{what} of the {of} do not agree: asked for {asked}, found {found}")]
    Mismatch {
        what: &'static str,
        of: &'static str,
        asked: String,
        found: String,
    },
    #[error(
        "descriptor {fd} is a memfd that is not sealed against shrinking and growing; only segments made by this library are mapped"
    )]
    NotSealed { fd: i32 },
    #[error("descriptor {fd} is not a memfd; only segments made by this library are mapped")]
    NotMemory { fd: i32, source: io::Error },
    #[error(transparent)]
    Name(NameError),
    #[error(transparent)]
    File(#[from] crate::file::FileError),
    #[error("a handle of a regular file stands where memory is expected")]
    Unexpected,
    #[error("descriptor {fd} is not a regular file; only regular files can be mapped as arrays")]
    NotRegular { fd: i32 },
    #[error(
        "the file {name} is too short: {need} bytes of it are used, and it has {found}; \
         another program has truncated it, or it was never complete"
    )]
    Truncated { name: String, need: u64, found: u64 },
    #[error("the segment {id} is frozen: it is sealed against writing and cannot be mapped for it")]
    Frozen { id: String },
    #[error(
        "the segment {id} is not frozen: it is not sealed against writing, so what it holds could change"
    )]
    NotFrozen { id: String },
    #[error(
        "the array in segment {id} was claimed by somebody else, or is not on offer; each handle is good for one claim"
    )]
    Claimed { id: String },
    #[error(
        "the segment {id} cannot be frozen while somebody has it mapped for writing: {}; \
         drop what refers to the array there, or end the process",
        if .users.is_empty() { "a process that /proc does not show" } else { .users }
    )]
    Busy { id: String, users: String },
    #[error("the shape {shape:?} is not possible: {reason}")]
    InvalidShape { shape: Vec<usize>, reason: String },
    #[error("an array of shape {shape:?} cannot be cut {cut}: {reason}")]
    InvalidCut {
        shape: Vec<usize>,
        cut: String,
        reason: &'static str,
    },
    #[error("arrays that are cut together must give equally many blocks, not {counts:?}")]
    UnequalCuts { counts: Vec<usize> },
    #[error(
        "arrays that are cut alike, into blocks of {sizes:?}, must be equally long: these are {:?} and {:?} along the axes that are cut",
        lengths[0], lengths[1]
    )]
    UnequalLengths {
        lengths: [Vec<usize>; 2],
        sizes: Vec<usize>,
    },
    #[error(
        "arrays that are cut together overlap: array {first} and array {second} of the tuple have elements of segment {id} in common, \
         and one of them is lent for writing"
    )]
    Overlap {
        id: String,
        first: usize,
        second: usize,
    },
    #[error(
        "blocks that are lent for writing overlap: block {}, {}, and block {}, {}, have elements in common",
        .blocks[0], .ranges[0], .blocks[1], .ranges[1]
    )]
    OverlappingBlocks {
        blocks: [usize; 2],
        ranges: [String; 2],
    },
    #[error(
        "elements of {size} bytes of shape {shape:?} with strides {strides:?}, the first {first} bytes behind the array's begin, \
         do not lie in an array of {bytes} bytes"
    )]
    OutsideArray {
        shape: Vec<usize>,
        strides: Vec<isize>,
        first: isize,
        size: usize,
        bytes: usize,
    },
    #[error("{count} x {size} bytes at offset {offset} do not lie in a segment of {len} bytes")]
    OutOfBounds {
        offset: usize,
        count: usize,
        size: usize,
        len: usize,
    },
    #[error("offset {offset} is not a multiple of {align}, the alignment of {type_name}")]
    Misaligned {
        offset: usize,
        align: usize,
        type_name: &'static str,
    },
    #[error("a segment of {len} bytes is larger than the address space")]
    TooLarge { len: u64 },
    #[error("cannot {doing}")]
    System {
        doing: &'static str,
        source: io::Error,
    },
}

/// The kind for a failure of the operating system while `doing` something.
pub(crate) fn system(doing: &'static str, source: io::Error) -> Kind {
    match sys::descriptor_limit(&source) {
        Some(limit) => Kind::Descriptors {
            system: limit == sys::DescriptorLimit::System,
            doing,
            source,
        },
        None => Kind::System { doing, source },
    }
}

/// The kind for a failure to map `need` bytes.
pub(crate) fn mapping(need: usize, source: io::Error) -> Kind {
    match source.kind() {
        io::ErrorKind::OutOfMemory => Kind::AddressSpace { need, source },
        _ => system("map a shared segment", source),
    }
}

/// A number of bytes that may be unknown or without limit.
struct Bytes<'a>(&'a Option<u64>);

impl std::fmt::Display for Bytes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(bytes) => write!(f, "{bytes} bytes"),
            None => f.write_str("unlimited"),
        }
    }
}

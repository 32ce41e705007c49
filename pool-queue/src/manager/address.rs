//! Where a manager listens.

use std::fmt;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sys;

/// Where a manager listens: a path, or a name that is in no file system and vanishes with the manager.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Address {
    /// A socket in the file system. Its directory is open to its owner only.
    Path(PathBuf),
    /// A name of the kernel's own ("abstract"), seen by all processes of the same network namespace.
    Name(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Path(path) => write!(f, "{}", path.display()),
            Address::Name(name) => write!(f, "@{name}"),
        }
    }
}

impl From<&Path> for Address {
    fn from(path: &Path) -> Self {
        Address::Path(path.to_owned())
    }
}

impl From<PathBuf> for Address {
    fn from(path: PathBuf) -> Self {
        Address::Path(path)
    }
}

impl Address {
    fn socket(&self) -> io::Result<SocketAddr> {
        match self {
            Address::Path(path) => SocketAddr::from_pathname(path),
            Address::Name(name) => sys::abstract_name(name),
        }
    }

    /// Listens there. What a dead manager left at a path is replaced; a living one is not.
    pub(crate) fn listen(&self) -> io::Result<UnixListener> {
        if let Address::Path(path) = self {
            prepare_directory(path)?;
            if path.exists() {
                if self.connect().is_ok() {
                    return Err(io::Error::from(io::ErrorKind::AddrInUse));
                }
                std::fs::remove_file(path)?;
            }
        }
        UnixListener::bind_addr(&self.socket()?)
    }

    pub(crate) fn connect(&self) -> io::Result<UnixStream> {
        UnixStream::connect_addr(&self.socket()?)
    }

    /// Removes what is in the file system.
    pub(crate) fn remove(&self) {
        if let Address::Path(path) = self {
            // It may be gone already.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// The directory of a socket belongs to us and is open to nobody else; it is made if there is none.
fn prepare_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    let directory = directory.unwrap_or(Path::new("."));
    if !directory.exists() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
    }
    let found = std::fs::metadata(directory)?;
    if found.uid() == sys::own_user() && found.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::new(
        io::ErrorKind::PermissionDenied,
        format!(
            "{} has mode {:o}; the directory of a manager's socket must be yours and have mode 700",
            directory.display(),
            found.mode() & 0o777
        ),
    ))
}

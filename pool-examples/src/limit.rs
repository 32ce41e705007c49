//! A limit on the memory of this process and of all that it starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::sys;

/// The least limit, in bytes: below it not even the program fits.
pub const LEAST: u64 = 16 << 20;

/// A limit that is in force.
#[derive(Debug)]
pub enum Limit {
    /// A cgroup that this process made and went into: it counts everything, pages of files among it.
    Group(Group),
    /// No cgroup could be made, so the private memory of each process is limited (`RLIMIT_DATA`), and the pages of files are not.
    Private,
}

/// A cgroup with a limit; left and removed on drop.
#[derive(Debug)]
pub struct Group {
    /// Where this process was before.
    parent: PathBuf,
    dir: PathBuf,
    peak: &'static str,
}

impl Limit {
    /// Limits this process, and the processes that it starts from now on, to `bytes` of memory.
    ///
    /// # Errors
    ///
    /// The system lets this process limit itself neither way.
    pub fn set(bytes: u64) -> io::Result<Self> {
        if let Some(group) = Group::enter(bytes) {
            return Ok(Self::Group(group));
        }
        sys::limit_private_memory(bytes)?;
        Ok(Self::Private)
    }

    /// The most memory that was in use at any time, in bytes, where the limit counts it.
    pub fn peak(&self) -> Option<u64> {
        match self {
            Self::Group(group) => number(&group.dir.join(group.peak)),
            Self::Private => None,
        }
    }

    /// What is limited, and how.
    pub fn describe(&self) -> &'static str {
        match self {
            Self::Group(_) => "a cgroup for all processes, pages of files included",
            Self::Private => {
                "RLIMIT_DATA for each process, since no cgroup can be made here; pages of files are not counted"
            }
        }
    }
}

impl Group {
    fn enter(bytes: u64) -> Option<Self> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let (controllers, path) = (fields.next()?, fields.next()?);
            let path = path.trim_start_matches('/');
            if controllers.is_empty() {
                let parent = Path::new("/sys/fs/cgroup").join(path);
                Self::below(&parent, bytes, "memory.max", "memory.peak")
            } else if controllers.split(',').any(|name| name == "memory") {
                let parent = Path::new("/sys/fs/cgroup/memory").join(path);
                let (limit, peak) = ("memory.limit_in_bytes", "memory.max_usage_in_bytes");
                Self::below(&parent, bytes, limit, peak)
            } else {
                None
            }
        })
    }

    fn below(parent: &Path, bytes: u64, limit: &'static str, peak: &'static str) -> Option<Self> {
        let pid = std::process::id();
        let dir = parent.join(format!("out-of-core-{pid}"));
        fs::create_dir(&dir).ok()?;
        let group = Self {
            parent: parent.to_owned(),
            dir,
            peak,
        };
        // A group without a controller of memory has no such file; it is removed again.
        fs::write(group.dir.join(limit), bytes.to_string()).ok()?;
        fs::write(group.dir.join("cgroup.procs"), pid.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // If processes are still in it, it stays, empty of meaning, until the system is started again: nothing can be done about it.
        drop(fs::write(
            self.parent.join("cgroup.procs"),
            std::process::id().to_string(),
        ));
        drop(fs::remove_dir(&self.dir));
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

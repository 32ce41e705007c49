//! How much memory may still be asked for.
//!
//! A memfd is bounded by nothing but the machine: past the end comes not an
//! error but the out-of-memory killer. So before a reservation the library
//! compares it with what the kernel says is available, to the system and to
//! each cgroup above the process.

use crate::error::{Kind, ShmError};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests below this many bytes are not compared one by one, since reading
/// the files costs more than making a small segment, but whenever they have
/// come to this many bytes together.
const SMALL: u64 = 1 << 20;

/// One part in this many of what is available is left to everybody else.
const HEADROOM: u64 = 50;

/// What was asked for by this process since the last comparison.
static UNCOMPARED: AtomicU64 = AtomicU64::new(0);

/// Refuses a request of `need` bytes that the machine cannot give.
pub(crate) fn check(need: u64) -> Result<(), ShmError> {
    if !is_due(&UNCOMPARED, need) {
        return Ok(());
    }
    Available::read(Path::new("/")).admit(need)?;
    UNCOMPARED.store(0, Ordering::Relaxed);
    Ok(())
}

/// Whether it is time for a comparison. While memory is short it stays so.
fn is_due(uncompared: &AtomicU64, need: u64) -> bool {
    let before = uncompared.fetch_add(need.min(SMALL), Ordering::Relaxed);
    before.saturating_add(need) >= SMALL
}

/// What may still be taken, in bytes; `None` where nothing is known to limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Available {
    system: Option<u64>,
    cgroup: Option<u64>,
}

impl Available {
    /// Reads the files below `root`, which is `/` outside tests.
    fn read(root: &Path) -> Self {
        Available {
            system: system_available(root),
            cgroup: cgroup_available(root),
        }
    }

    fn admit(self, need: u64) -> Result<(), ShmError> {
        let least = self.system.into_iter().chain(self.cgroup).min();
        match least {
            Some(least) if need > least - least / HEADROOM => Err(Kind::TooLittleMemory {
                need,
                system: self.system,
                cgroup: self.cgroup,
            }
            .into()),
            _ => Ok(()),
        }
    }
}

fn system_available(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/meminfo")).ok()?;
    Some(field(&text, "MemAvailable:")?.saturating_mul(1024))
}

/// The least that any memory cgroup above this process leaves.
fn cgroup_available(root: &Path) -> Option<u64> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    text.lines()
        .filter_map(|line| Group::parse(root, line))
        .filter_map(|group| group.available())
        .min()
}

/// A cgroup and the names of its files, which differ between versions.
struct Group {
    mount: PathBuf,
    path: PathBuf,
    limit: &'static str,
    usage: &'static str,
    cache: &'static str,
}

impl Group {
    /// Reads a line `N:controllers:/path` of `/proc/self/cgroup`.
    fn parse(root: &Path, line: &str) -> Option<Group> {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next()?;
        let path = PathBuf::from(parts.next()?.trim_start_matches('/'));
        if controllers.is_empty() {
            return Some(Group {
                mount: root.join("sys/fs/cgroup"),
                path,
                limit: "memory.max",
                usage: "memory.current",
                cache: "inactive_file",
            });
        }
        controllers
            .split(',')
            .any(|c| c == "memory")
            .then(|| Group {
                mount: root.join("sys/fs/cgroup/memory"),
                path,
                limit: "memory.limit_in_bytes",
                usage: "memory.usage_in_bytes",
                cache: "total_inactive_file",
            })
    }

    /// The least that this cgroup and those above it leave.
    fn available(&self) -> Option<u64> {
        self.path
            .ancestors()
            .filter_map(|path| self.left(&self.mount.join(path)))
            .min()
    }

    /// What one cgroup leaves: its limit less its use, not counting files in
    /// the page cache that can be dropped.
    fn left(&self, dir: &Path) -> Option<u64> {
        let limit = number(&dir.join(self.limit)).filter(|limit| *limit < NO_LIMIT)?;
        let usage = number(&dir.join(self.usage))?;
        let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
        let cache = field(&stat, self.cache).unwrap_or(0);
        Some(limit.saturating_sub(usage.saturating_sub(cache)))
    }
}

/// Version 1 of cgroups says "no limit" by the largest number of whole pages.
const NO_LIMIT: u64 = 1 << 62;

/// The number in a file; `None` for `max`, for no number and for no file.
fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .filter_map(|line| line.strip_prefix(name))
        .find(|rest| rest.starts_with([' ', '\t']))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the given files, removed on drop.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let dir = std::env::temp_dir();
            let root = Root(dir.join(format!("pool-shm-{}-{name}", std::process::id())));
            for (path, text) in files {
                let path = root.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            root
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_tightest_group_above_counts() {
        let root = Root::new(
            "v2",
            &[
                ("proc/meminfo", "MemTotal: 9 kB\nMemAvailable:    2000 kB\n"),
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/b/memory.max", "max\n"),
                ("sys/fs/cgroup/a/b/memory.current", "10\n"),
                ("sys/fs/cgroup/a/memory.max", "1000\n"),
                ("sys/fs/cgroup/a/memory.current", "700\n"),
                (
                    "sys/fs/cgroup/a/memory.stat",
                    "inactive_file_x 9\ninactive_file 50\n",
                ),
                ("sys/fs/cgroup/memory.max", "5000\n"),
                ("sys/fs/cgroup/memory.current", "4000\n"),
            ],
        );
        let available = Available::read(&root.0);
        assert_eq!(available.system, Some(2_048_000));
        assert_eq!(available.cgroup, Some(350));
    }

    #[test]
    fn version_1_is_read_too() {
        let root = Root::new(
            "v1",
            &[
                ("proc/self/cgroup", "3:cpu:/x\n2:memory,other:/a\n0::/\n"),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "900\n"),
                ("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "1000\n"),
                (
                    "sys/fs/cgroup/memory/a/memory.stat",
                    "total_inactive_file 300\n",
                ),
            ],
        );
        assert_eq!(Available::read(&root.0).cgroup, Some(200));
    }

    #[test]
    fn where_nothing_is_known_nothing_is_refused() {
        let nothing = Available::read(Path::new("/nonexistent"));
        assert!(nothing.admit(u64::MAX).is_ok());
    }

    #[test]
    fn a_little_is_left_to_others() {
        let available = Available {
            system: Some(5000),
            cgroup: Some(1000),
        };
        assert!(available.admit(980).is_ok());
        let text = available.admit(981).unwrap_err().to_string();
        assert!(
            text.contains("need 981 bytes, available to the system 5000 bytes, available to the cgroup 1000 bytes"),
            "{text}"
        );
    }

    #[test]
    fn small_requests_are_compared_when_they_have_come_to_much() {
        let sum = AtomicU64::new(0);
        let due = (0..255).filter(|_| is_due(&sum, 4096)).count();
        assert_eq!(due, 0);
        // From here on each one, until a comparison has been passed.
        assert!(is_due(&sum, 4096) && is_due(&sum, 4096));
        sum.store(0, Ordering::Relaxed);
        assert!(!is_due(&sum, 4096) && is_due(&sum, SMALL) && is_due(&sum, u64::MAX));
    }
}

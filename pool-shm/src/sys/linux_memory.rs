//! What Linux says about mapped memory, and where it puts it.

use super::ProcessMapping;
use rustix::fs::MemfdFlags;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

/// The bytes that are behind a file.
pub(crate) fn allocated(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(u64::try_from(rustix::fs::fstat(fd)?.st_blocks).unwrap_or(0) * 512)
}

/// The processes that have the file mapped, as far as `/proc` shows them.
pub(crate) fn mappings(dev: u64, ino: u64) -> Vec<ProcessMapping> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let file = File::new(dev, ino);
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|pid| mapping(pid, &file))
        .collect()
}

/// What this process has mapped of the file.
pub(crate) fn own_mapping(dev: u64, ino: u64) -> Option<ProcessMapping> {
    mapping(std::process::id(), &File::new(dev, ino))
}

fn mapping(pid: u32, file: &File) -> Option<ProcessMapping> {
    // Reading smaps walks all page tables of the process; most have nothing.
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    maps.lines().find(|line| file.is_named(line))?;
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    let mut mapping = file.sum(&smaps)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    mapping.pid = pid;
    name.trim().clone_into(&mut mapping.name);
    Some(mapping)
}

/// A file, as lines of `/proc/PID/maps` name it.
struct File {
    dev: String,
    ino: String,
}

impl File {
    fn new(dev: u64, ino: u64) -> Self {
        let (major, minor) = (rustix::fs::major(dev), rustix::fs::minor(dev));
        File {
            dev: format!("{major:02x}:{minor:02x}"),
            ino: ino.to_string(),
        }
    }

    /// Whether a line `addresses permissions offset device inode path` is of
    /// this file.
    fn is_named(&self, line: &str) -> bool {
        let mut fields = line.split_ascii_whitespace().skip(3);
        fields.next() == Some(&self.dev) && fields.next() == Some(&self.ino)
    }

    /// Adds up all mappings of this file; `None` if there is none.
    fn sum(&self, smaps: &str) -> Option<ProcessMapping> {
        let mut sum = None;
        let mut inside = false;
        for line in smaps.lines() {
            let Some((key, rest)) = line.split_once(' ') else {
                continue;
            };
            let Some(key) = key.strip_suffix(':') else {
                inside = self.is_named(line);
                if inside {
                    let sum = sum.get_or_insert_with(ProcessMapping::default);
                    sum.writable |= rest.as_bytes().get(1) == Some(&b'w');
                }
                continue;
            };
            let bytes = rest.split_ascii_whitespace().next();
            let bytes = bytes.and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024;
            let (true, Some(sum)) = (inside, &mut sum) else {
                continue;
            };
            match key {
                "Size" => sum.mapped += bytes,
                "Rss" => sum.resident += bytes,
                "Pss" => sum.proportional += bytes,
                "ShmemPmdMapped" | "FilePmdMapped" => sum.huge += bytes,
                // The pages of a pool of huge ones are not counted in "Rss".
                "Shared_Hugetlb" | "Private_Hugetlb" => {
                    sum.huge += bytes;
                    sum.resident += bytes;
                }
                _ => {}
            }
        }
        sum
    }
}

/// A new memfd of huge pages that the administrator has set aside.
pub(crate) fn create_huge(name: &str) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::HUGETLB;
    Ok(rustix::fs::memfd_create(name, flags)?)
}

/// The length of those pages in bytes.
pub(crate) fn huge_page_size() -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("Hugepagesize:"))?;
    let size: usize = line.split_ascii_whitespace().nth(1)?.parse().ok()?;
    size.checked_mul(1024)
}

/// When the kernel gives shared memory huge pages: the administrator's choice.
pub(crate) fn shared_huge_pages() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/shmem_enabled").ok()?;
    let chosen = text.split_once('[')?.1.split_once(']')?.0;
    Some(chosen.to_owned())
}

/// The numbers of the nodes that have memory.
pub(crate) fn memory_nodes() -> Vec<u32> {
    let text = fs::read_to_string("/sys/devices/system/node/has_memory");
    text.map(|text| parse_list(&text)).unwrap_or_default()
}

/// Reads `0-2,5`.
fn parse_list(text: &str) -> Vec<u32> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?)
    });
    ranges.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
7f0000000000-7f0000400000 rw-s 00000000 00:01 1234   /memfd:pool-shm (deleted)
Size:               4096 kB
KernelPageSize:        4 kB
Rss:                2048 kB
Pss:                1024 kB
ShmemPmdMapped:     2048 kB
VmFlags: rd wr sh
7f0000400000-7f0000800000 r--s 00000000 00:1c 1234   /dev/shm/other
Size:               4096 kB
Rss:                4096 kB
7f0000800000-7f0000900000 r--s 00000000 00:01 1234   /memfd:pool-shm (deleted)
Size:               1024 kB
Rss:                   4 kB
Shared_Hugetlb:        8 kB
";

    #[test]
    fn maps_of_one_file_are_added_up() {
        let file = File::new(rustix::fs::makedev(0, 1), 1234);
        let sum = file.sum(SMAPS).unwrap();
        let kib = |n: u64| n * 1024;
        assert_eq!((sum.mapped, sum.resident), (kib(5120), kib(2060)));
        assert_eq!((sum.proportional, sum.huge), (kib(1024), kib(2056)));
        assert!(sum.writable);
        assert!(File::new(0, 1234).sum(SMAPS).is_none());
    }

    #[test]
    fn lists_of_nodes() {
        assert_eq!(parse_list("0\n"), [0]);
        assert_eq!(parse_list("0-2,5\n"), [0, 1, 2, 5]);
        assert!(parse_list("\n").is_empty());
    }
}

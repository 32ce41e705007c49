//! The memory of a process, as the kernel counts it.

use std::{fs, io};

/// Sizes in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Every page that is mapped and there.
    pub resident: u64,
    /// The same, but a page that several processes share counts in parts.
    pub proportional: u64,
    /// Pages that nobody else maps.
    pub private: u64,
}

impl Memory {
    /// The memory of process `pid`.
    ///
    /// # Errors
    ///
    /// There is no such process, it belongs to somebody else, or the system does not tell.
    pub fn of(pid: u32) -> io::Result<Self> {
        let path = format!("/proc/{pid}/smaps_rollup");
        let explain =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot read {path}: {error}"));
        Ok(Self::parse(&fs::read_to_string(&path).map_err(explain)?))
    }

    fn parse(text: &str) -> Self {
        let mut memory = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (name, size) = (words.next().unwrap_or_default(), words.next());
            let bytes = size
                .and_then(|size| size.parse::<u64>().ok())
                .unwrap_or(0)
                .saturating_mul(1024);
            match name {
                "Rss:" => memory.resident += bytes,
                "Pss:" => memory.proportional += bytes,
                "Private_Clean:" | "Private_Dirty:" | "Private_Hugetlb:" => memory.private += bytes,
                _ => {}
            }
        }
        memory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_kibibytes() {
        let text = "5581-7fff ---p 00000000 00:00 0 [rollup]\nRss:    1000 kB\nPss:     400 kB\nPss_Anon: 9 kB\nPrivate_Clean: 20 kB\nPrivate_Dirty: 30 kB\n";
        let memory = Memory {
            resident: 1000 << 10,
            proportional: 400 << 10,
            private: 50 << 10,
        };
        assert_eq!(Memory::parse(text), memory);
        assert_eq!(Memory::parse("nonsense\n\nRss: x kB"), Memory::default());
    }

    #[test]
    fn our_own_memory_is_there() {
        let memory = Memory::of(std::process::id()).unwrap();
        assert!(
            memory.resident >= memory.proportional
                && memory.proportional >= memory.private
                && memory.private > 0,
            "{memory:?}"
        );
        assert!(
            Memory::of(u32::MAX)
                .unwrap_err()
                .to_string()
                .contains("/proc/4294967295/smaps_rollup")
        );
    }
}

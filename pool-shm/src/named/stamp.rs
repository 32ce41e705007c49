//! The page behind the elements of a named segment: what they are, and who
//! made them.

use crate::sys;
use std::io;

/// The length of a stamp's page in bytes, whatever the machine's pages are.
pub(crate) const PAGE: usize = 4096;

/// `pool-shm`, a name, and the version of this layout.
const MAGIC: u64 = u64::from_le_bytes(*b"poolnam\x01");

/// The words before the shape.
const HEAD: usize = 10;

/// The most axes that fit.
pub(crate) const MOST_AXES: usize = 64;

/// What a stamp says. Nothing in it is believed; whoever uses a field compares
/// it with what it must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) maker: Maker,
    /// Its maker has said that it shall stay.
    pub(crate) left: bool,
    pub(crate) element: [u64; 2],
    pub(crate) bytes: u64,
    pub(crate) column_major: bool,
    pub(crate) shape: Vec<u64>,
}

/// A process, by numbers that no other one ever has on this system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Maker {
    pub(crate) pid: u32,
    /// In ticks since the system was started.
    pub(crate) start: u64,
    /// The namespace in which `pid` means something.
    pub(crate) namespace: u64,
}

impl Maker {
    /// This process.
    pub(crate) fn this() -> io::Result<Self> {
        let pid = std::process::id();
        let start = sys::start_time(pid).ok_or(io::ErrorKind::NotFound)?;
        let namespace = sys::pid_namespace()?;
        Ok(Maker {
            pid,
            start,
            namespace,
        })
    }

    /// Whether the process has certainly ended.
    pub(crate) fn is_gone(self, namespace: u64) -> bool {
        self.namespace == namespace && sys::start_time(self.pid) != Some(self.start)
    }
}

impl Stamp {
    /// The page to write.
    pub(crate) fn to_page(&self) -> Vec<u8> {
        let mut words = vec![
            MAGIC,
            u64::from(self.maker.pid),
            self.maker.start,
            self.maker.namespace,
            u64::from(self.left),
            self.element[0],
            self.element[1],
            self.bytes,
            u64::from(self.column_major),
            self.shape.len() as u64,
        ];
        words.extend(&self.shape);
        words.push(checksum(&words));
        let mut page: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        page.resize(PAGE, 0);
        page
    }

    /// Reads a page; `None` if it is no stamp.
    pub(crate) fn parse(page: &[u8]) -> Option<Self> {
        let word = |i: usize| {
            let bytes = page.get(8 * i..8 * i + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let axes = usize::try_from(word(HEAD - 1)?).ok()?;
        if page.len() != PAGE || word(0)? != MAGIC || axes > MOST_AXES {
            return None;
        }
        let words: Vec<u64> = (0..HEAD + axes).map(word).collect::<Option<_>>()?;
        if word(HEAD + axes)? != checksum(&words) {
            return None;
        }
        let flag = |word| match word {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        };
        Some(Stamp {
            maker: Maker {
                pid: u32::try_from(words[1]).ok()?,
                start: words[2],
                namespace: words[3],
            },
            left: flag(words[4])?,
            element: [words[5], words[6]],
            bytes: words[7],
            column_major: flag(words[8])?,
            shape: words[HEAD..].to_vec(),
        })
    }
}

/// FNV-1a over the words: a page that was half overwritten is no stamp.
/// <http://www.isthe.com/chongo/tech/comp/fnv/>
fn checksum(words: &[u64]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stamp(shape: Vec<u64>, left: bool) -> Stamp {
        Stamp {
            maker: Maker::this().unwrap(),
            left,
            element: [0, 17],
            bytes: 144,
            column_major: left,
            shape,
        }
    }

    proptest! {
        #[test]
        fn stamps_are_read_as_written_and_changed_ones_are_none(
            shape in prop::collection::vec(any::<u64>(), 0..MOST_AXES),
            left: bool,
            at in 0_usize..PAGE,
            byte: u8,
        ) {
            let stamp = stamp(shape, left);
            let mut page = stamp.to_page();
            prop_assert_eq!(Stamp::parse(&page), Some(stamp.clone()));
            prop_assert_eq!(Stamp::parse(&page[1..]), None);
            page[at] ^= byte;
            let used = 8 * (HEAD + stamp.shape.len() + 1);
            let same = byte == 0 || at >= used;
            prop_assert_eq!(Stamp::parse(&page).is_some(), same);
        }
    }

    #[test]
    fn a_process_is_known_by_its_start() {
        let this = Maker::this().unwrap();
        assert!(!this.is_gone(this.namespace));
        let other = Maker {
            start: this.start + 1,
            ..this
        };
        assert!(other.is_gone(this.namespace));
        // Of other namespaces nothing is known.
        assert!(!other.is_gone(this.namespace + 1));
    }
}

//! What stands before the samples in a WAV file: enough of it to see what `hound` does not read.

use std::io::{self, Read};

/// What a program that streams writes for a length that it does not know yet.
const UNKNOWN: u32 = u32::MAX;
const FLOAT: u16 = 3;
const EXTENSIBLE: u16 = 0xFFFE;

/// The beginning of a file up to its samples; all that there is if they do not come.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// The bytes, as they were read.
    pub(crate) bytes: Vec<u8>,
    /// How the samples are encoded, if the file tells it before them.
    pub(crate) format: Option<Format>,
    /// The length of the samples in bytes, as the file tells it.
    pub(crate) length: Option<u32>,
}

/// How samples are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    tag: u16,
    /// Samples that belong to one moment.
    pub(crate) channels: u16,
    /// Moments in a second.
    pub(crate) rate: u32,
    /// Bytes of one moment.
    align: u16,
    bits: u16,
}

impl Head {
    /// Reads on until the samples begin, the file ends, or it is none of this kind.
    pub(crate) fn read(file: &mut impl Read) -> io::Result<Self> {
        let mut head = Self::default();
        let Some(riff) = head.take(file, 12)? else {
            return Ok(head);
        };
        if !riff.starts_with(b"RIFF") || !riff.ends_with(b"WAVE") {
            return Ok(head);
        }
        while let Some(chunk) = head.take(file, 8)? {
            let length = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
            if chunk.starts_with(b"data") {
                head.length = Some(length);
                break;
            }
            let is_format = chunk.starts_with(b"fmt ");
            // Chunks begin at even places.
            let Some(body) = head.take(file, u64::from(length) + u64::from(length % 2))? else {
                break;
            };
            if is_format {
                head.format = Format::parse(body);
            }
        }
        Ok(head)
    }

    /// The next `count` bytes; none if the file ends before.
    fn take(&mut self, file: &mut impl Read, count: u64) -> io::Result<Option<&[u8]>> {
        let start = self.bytes.len();
        let got = file.by_ref().take(count).read_to_end(&mut self.bytes)?;
        Ok((got as u64 == count).then(|| &self.bytes[start..]))
    }

    /// Whether the writer did not know the length: it lasts as long as the file.
    pub(crate) fn is_streamed(&self) -> bool {
        self.length == Some(UNKNOWN)
    }

    /// Puts the length that the samples have, in whole moments, in the place of one that was not known.
    pub(crate) fn set_length(&mut self, length: usize) {
        let align = self.format.map_or(1, |format| format.align.max(1));
        let whole = length - length % usize::from(align);
        let length = u32::try_from(whole).unwrap_or(UNKNOWN);
        self.length = Some(length);
        if let Some(place) = self.bytes.last_chunk_mut() {
            *place = length.to_le_bytes();
        }
    }
}

impl Format {
    fn parse(body: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_le_bytes([*body.get(at)?, *body.get(at + 1)?]));
        let tag = word(0)?;
        Some(Self {
            // The extended form tells the kind behind the masks.
            tag: if tag == EXTENSIBLE { word(24)? } else { tag },
            channels: word(2)?,
            rate: u32::from(word(4)?) | u32::from(word(6)?) << 16,
            align: word(12)?,
            bits: word(14)?,
        })
    }

    /// Floats of 64 bits, one after the other.
    pub(crate) fn is_double(self) -> bool {
        let align = usize::from(self.channels) * size_of::<f64>();
        self.tag == FLOAT
            && self.bits == 64
            && self.channels > 0
            && usize::from(self.align) == align
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        [name, &(body.len() as u32).to_le_bytes()[..], body].concat()
    }

    fn format(tag: u16, bits: u16) -> Vec<u8> {
        let mut body = [tag, 2, 8000, 0, 0, 0, 2 * bits / 8, bits]
            .map(u16::to_le_bytes)
            .concat();
        body.extend_from_slice(&[22, 0, 64, 0, 3, 0, 0, 0, FLOAT as u8, 0]);
        chunk(b"fmt ", &body)
    }

    #[test]
    fn chunks_before_the_samples_are_passed() {
        for (tag, is_double) in [(FLOAT, true), (EXTENSIBLE, true), (1, false)] {
            let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
            file.extend(chunk(b"LIST", b"odd"));
            file.push(0);
            file.extend(format(tag, 64));
            file.extend(b"data\xff\xff\xff\xffsamples");
            let mut rest = file.as_slice();
            let mut head = Head::read(&mut rest).unwrap();
            assert_eq!(rest, b"samples");
            let format = head.format.unwrap();
            assert_eq!((format.channels, format.rate), (2, 8000));
            assert_eq!(format.is_double(), is_double, "{tag}");
            assert!(head.is_streamed());
            head.set_length(70);
            assert_eq!(head.length, Some(64));
            assert!(head.bytes.ends_with(b"data\x40\0\0\0"));
        }
    }

    #[test]
    fn what_is_cut_off_or_something_else_is_kept() {
        let file = [
            b"RIFF\0\0\0\0WAVE".to_vec(),
            format(1, 16),
            b"data\x04\0\0\0".to_vec(),
        ]
        .concat();
        for end in 0..file.len() {
            let head = Head::read(&mut &file[..end]).unwrap();
            assert_eq!((head.bytes.as_slice(), head.length), (&file[..end], None));
        }
        assert_eq!(Head::read(&mut file.as_slice()).unwrap().length, Some(4));
        let head = Head::read(&mut &b"a text of more than twelve bytes"[..]).unwrap();
        assert_eq!((head.bytes.len(), head.format), (12, None));
    }
}

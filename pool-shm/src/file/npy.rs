//! What stands before the elements in a `.npy` file.
//!
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use super::error::FileProblem;
use crate::element::DType;
use ndarray_npy::npy::header::{Header, Layout};

/// The longest header that is read, in bytes; NumPy itself refuses those above
/// 10,000 characters.
pub(super) const LONGEST: usize = 1 << 16;

/// The deepest nesting that is read: the type of a structure of structures is
/// nested, and what is not readable must not exhaust the stack.
const DEEPEST: usize = 32;

/// The order of the other kind of machine.
const FOREIGN: char = if cfg!(target_endian = "little") {
    '>'
} else {
    '<'
};

/// What a header says. Nothing of it was compared with the file yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Npy {
    /// The type of the elements, in NumPy's words.
    pub(crate) descr: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) column_major: bool,
    /// Where the elements begin, in bytes.
    pub(crate) offset: u64,
}

/// Reads the header at the beginning of a file, of which the first [`LONGEST`]
/// bytes are given, or all if there are fewer.
pub(crate) fn parse(bytes: &[u8]) -> Result<Npy, FileProblem> {
    let header = |text: &str| FileProblem::Header(text.to_owned());
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err(header("it does not begin with \\x93NUMPY"));
    }
    let (start, len) = match bytes.get(6..12) {
        Some([1, 0, a, b, ..]) => (10, u32::from(u16::from_le_bytes([*a, *b]))),
        Some([2 | 3, 0, a, b, c, d]) => (12, u32::from_le_bytes([*a, *b, *c, *d])),
        Some([major, minor, ..]) => {
            return Err(header(&format!(
                "its format has version {major}.{minor}; versions 1.0 to 3.0 are known"
            )));
        }
        _ => return Err(header("it ends within its header")),
    };
    let end = (len as usize).saturating_add(start);
    if end > LONGEST {
        return Err(header(&format!("its header has {len} bytes, far too many")));
    }
    let Some(whole) = bytes.get(..end) else {
        return Err(header("it ends within its header"));
    };
    check_nesting(&whole[start..])?;
    let read = Header::from_reader(&mut &*whole).map_err(|e| header(&e.to_string()))?;
    let descr = match read.type_descriptor.as_string() {
        Some(descr) => descr.clone(),
        None => read.type_descriptor.to_string(),
    };
    Ok(Npy {
        descr,
        shape: read.shape,
        column_major: read.layout.is_fortran(),
        offset: end as u64,
    })
}

fn check_nesting(text: &[u8]) -> Result<(), FileProblem> {
    let mut depth = 0_usize;
    for byte in text {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(FileProblem::Header("its header is nested too deep".into()));
        }
    }
    Ok(())
}

impl Npy {
    /// Checks that the elements are of type `dtype`.
    pub(super) fn check_type(&self, dtype: DType, write: bool) -> Result<(), FileProblem> {
        let Some(name) = name(dtype) else {
            return Err(FileProblem::NoName(dtype.to_string()));
        };
        let order = self.descr.chars().next().unwrap_or_default();
        let bare = self.descr.trim_start_matches(['<', '>', '|', '=']);
        match () {
            () if bare == "b1" && name == "u1" && write => Err(FileProblem::Truth),
            () if bare == "b1" && name == "u1" => Ok(()),
            () if order == FOREIGN && dtype.size() > 1 => Err(FileProblem::ForeignOrder {
                descr: self.descr.clone(),
            }),
            () if bare != name => Err(FileProblem::DType {
                asked: format!("{dtype} ({})", descr(name, dtype)),
                found: self.descr.clone(),
            }),
            () => Ok(()),
        }
    }
}

/// The header of a new file.
pub(super) fn header(
    dtype: DType,
    shape: &[usize],
    column_major: bool,
) -> Result<Vec<u8>, FileProblem> {
    let Some(name) = name(dtype) else {
        return Err(FileProblem::NoName(dtype.to_string()));
    };
    let literal = format!("'{}'", descr(name, dtype));
    let failed = |text: String| FileProblem::Header(text);
    let layout = if column_major {
        Layout::Fortran
    } else {
        Layout::Standard
    };
    let header = Header {
        type_descriptor: literal
            .parse()
            .map_err(|error| failed(format!("{literal}: {error:?}")))?,
        layout,
        shape: shape.to_vec(),
    };
    header.to_bytes().map_err(|error| failed(error.to_string()))
}

/// The type's name in NumPy, with the order of bytes before it.
fn descr(name: &str, dtype: DType) -> String {
    let order = match dtype.size() {
        1 => '|',
        _ if cfg!(target_endian = "little") => '<',
        _ => '>',
    };
    format!("{order}{name}")
}

/// The type's name in NumPy without the order of bytes.
fn name(dtype: DType) -> Option<&'static str> {
    let word = size_of::<usize>() == 8;
    Some(match dtype {
        DType::I8 => "i1",
        DType::I16 => "i2",
        DType::I32 => "i4",
        DType::I64 => "i8",
        DType::U8 => "u1",
        DType::U16 => "u2",
        DType::U32 => "u4",
        DType::U64 => "u8",
        DType::Isize if word => "i8",
        DType::Usize if word => "u8",
        DType::Isize => "i4",
        DType::Usize => "u4",
        DType::F32 => "f4",
        DType::F64 => "f8",
        DType::Complex32 => "c8",
        DType::Complex64 => "c16",
        DType::I128 | DType::U128 | DType::Other { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A header of this version around `text`, as NumPy writes it.
    fn file(major: u8, text: &str) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY".to_vec();
        bytes.extend([major, 0]);
        let len = text.len() + 1;
        if major == 1 {
            bytes.extend(u16::try_from(len).unwrap().to_le_bytes());
        } else {
            bytes.extend(u32::try_from(len).unwrap().to_le_bytes());
        }
        bytes.extend(text.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    const DICT: &str = "{'descr': '<c16', 'fortran_order': True, 'shape': (3, 4), }";

    #[test]
    fn versions_1_to_3_are_read() {
        for major in 1..=3 {
            let npy = parse(&file(major, DICT)).unwrap();
            assert_eq!((npy.descr.as_str(), &npy.shape[..]), ("<c16", &[3, 4][..]));
            assert!(npy.column_major);
            assert_eq!(npy.offset, file(major, DICT).len() as u64);
        }
        let text = parse(&file(4, DICT)).unwrap_err().to_string();
        assert!(text.contains("version 4.0"), "{text}");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (dtype, column_major) in [
            (DType::F64, false),
            (DType::Complex64, true),
            (DType::U8, true),
        ] {
            for shape in [&[][..], &[5], &[0, 7], &[2, 3, 4]] {
                let bytes = header(dtype, shape, column_major).unwrap();
                assert_eq!(bytes.len() % 64, 0);
                let npy = parse(&bytes).unwrap();
                assert_eq!((&npy.shape[..], npy.column_major), (shape, column_major));
                assert_eq!(npy.offset, bytes.len() as u64);
                npy.check_type(dtype, true).unwrap();
            }
        }
    }

    #[test]
    fn types_are_told_apart() {
        let of = |descr: &str| Npy {
            descr: descr.into(),
            shape: vec![],
            column_major: false,
            offset: 0,
        };
        let check = |descr, dtype, write| {
            let result: Result<(), FileProblem> = of(descr).check_type(dtype, write);
            result.map_err(|problem| problem.to_string())
        };
        assert!(check("<f8", DType::F64, true).is_ok());
        assert!(check("=f8", DType::F64, true).is_ok());
        assert!(check("|u1", DType::U8, true).is_ok());
        assert!(check("|b1", DType::U8, false).is_ok());
        assert!(check("<i8", DType::Isize, true).is_ok());
        for (descr, dtype, text) in [
            (">f8", DType::F64, "big-endian (>f8)"),
            ("<f4", DType::F64, "are <f4, asked for f64 (<f8)"),
            ("<i8", DType::U64, "are <i8, asked for u64 (<u8)"),
            ("|b1", DType::U8, "truth values"),
            ("[('x', '<f8')]", DType::F64, "asked for f64"),
            ("", DType::F64, "asked for f64"),
            ("<f8", DType::I128, "raw form"),
        ] {
            let error = check(descr, dtype, true).unwrap_err();
            assert!(error.contains(text), "{error}");
        }
    }

    #[test]
    fn what_is_cut_short_or_nested_deep_is_refused() {
        let whole = file(1, DICT);
        for end in 0..whole.len() {
            assert!(parse(&whole[..end]).is_err());
        }
        let deep = "(".repeat(60_000);
        let text = parse(&file(2, &deep)).unwrap_err().to_string();
        assert!(text.contains("nested too deep"), "{text}");
        let mut long = file(2, DICT);
        long[8..12].fill(0xff);
        let text = parse(&long).unwrap_err().to_string();
        assert!(text.contains("far too many"), "{text}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            tail in prop::collection::vec(any::<u8>(), 0..200),
            place in 0_usize..60,
            byte: u8,
        ) {
            let _ = parse(&tail);
            let _ = parse(&[b"\x93NUMPY\x01\x00", &tail[..]].concat());
            let mut changed = file(1, DICT);
            changed[place] = byte;
            let _ = parse(&changed);
        }
    }
}

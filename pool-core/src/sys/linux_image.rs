//! The running executable as it stands in memory: where it was loaded, what of it can no longer be written, its build id.

use std::ops::Range;
use std::sync::OnceLock;

use super::Image;

/// The main executable. Read once.
pub(crate) fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut image = None;
        let slot: *mut Option<Image> = &mut image;
        // SAFETY: `visit` has the signature that the function wants and gets back the pointer to `image`, which outlives the call.
        unsafe { libc::dl_iterate_phdr(Some(visit), slot.cast()) };
        image.expect("the loader reports the main executable first")
    })
}

/// Takes the first object, which is the main executable, and stops.
unsafe extern "C" fn visit(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: `image` passes a pointer to its own variable, which nobody else uses during the call.
    let slot = unsafe { &mut *data.cast::<Option<Image>>() };
    // SAFETY: the loader gives a valid description for the duration of this call.
    let info = unsafe { &*info };
    // SAFETY: `dlpi_phdr` points to `dlpi_phnum` program headers that stay as they are while the program runs.
    let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    *slot = Some(Image::read(info.dlpi_addr as usize, headers));
    1
}

impl Image {
    fn read(base: usize, headers: &[libc::Elf64_Phdr]) -> Image {
        let span = |header: &libc::Elf64_Phdr| {
            let start = base.wrapping_add(header.p_vaddr as usize);
            start..start.saturating_add(header.p_memsz as usize)
        };
        let of = |kind: u32| headers.iter().filter(move |header| header.p_type == kind);
        let sealed = of(libc::PT_GNU_RELRO).next().is_some();
        // A program linked without RELRO keeps its tables of functions in plain data.
        let constant =
            of(libc::PT_LOAD).filter(|header| !sealed || header.p_flags & libc::PF_W == 0);
        let read_only = constant.chain(of(libc::PT_GNU_RELRO)).map(span).collect();
        let identity = of(libc::PT_NOTE)
            .find_map(|header| build_id(span(header)))
            .unwrap_or_else(|| {
                let words = headers
                    .iter()
                    .flat_map(|header| [header.p_vaddr, header.p_filesz, header.p_memsz]);
                digest(words.flat_map(u64::to_le_bytes))
            });
        Image {
            base,
            read_only,
            identity,
            dynamic: of(libc::PT_DYNAMIC).next().map(span),
        }
    }

    /// The constructors of this executable, in the order in which the loader calls them.
    pub(super) fn constructors(&self) -> &'static [usize] {
        let Some(dynamic) = &self.dynamic else {
            return &[];
        };
        let count = dynamic.len() / size_of::<[u64; 2]>();
        // SAFETY: the segment PT_DYNAMIC is an array of (tag, value) that stays mapped and unchanged after loading.
        let entries =
            unsafe { std::slice::from_raw_parts(dynamic.start as *const [u64; 2], count) };
        let value = |tag: u64| {
            entries
                .iter()
                .take_while(|[t, _]| *t != 0)
                .find(|[t, _]| *t == tag)
                .map(|[_, value]| *value as usize)
        };
        const DT_INIT_ARRAY: u64 = 25;
        const DT_INIT_ARRAYSZ: u64 = 27;
        let (Some(offset), Some(bytes)) = (value(DT_INIT_ARRAY), value(DT_INIT_ARRAYSZ)) else {
            return &[];
        };
        let start = self.base.wrapping_add(offset) as *const usize;
        // SAFETY: by the ELF specification these two entries describe the array of constructor addresses, relocated before
        // the first of them runs.
        unsafe { std::slice::from_raw_parts(start, bytes / size_of::<usize>()) }
    }
}

/// Finds the GNU build id among the notes in `span`.
fn build_id(span: Range<usize>) -> Option<u64> {
    // SAFETY: a PT_NOTE segment is part of a loaded, readable segment that stays as it is.
    let mut notes = unsafe { std::slice::from_raw_parts(span.start as *const u8, span.len()) };
    const NT_GNU_BUILD_ID: u32 = 3;
    while let [n0, n1, n2, n3, d0, d1, d2, d3, k0, k1, k2, k3, rest @ ..] = notes {
        let name_len = u32::from_le_bytes([*n0, *n1, *n2, *n3]) as usize;
        let desc_len = u32::from_le_bytes([*d0, *d1, *d2, *d3]) as usize;
        let kind = u32::from_le_bytes([*k0, *k1, *k2, *k3]);
        let name = rest.get(..name_len)?;
        let rest = rest.get(name_len.next_multiple_of(4)..)?;
        let desc = rest.get(..desc_len)?;
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            return Some(digest(desc.iter().copied()));
        }
        notes = rest.get(desc_len.next_multiple_of(4)..)?;
    }
    None
}

/// FNV-1a, 64 bits.
fn digest(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    static CONSTANT: fn() -> &'static Image = image;

    #[test]
    fn tables_of_functions_are_read_only_and_locals_are_not() {
        let holds = |address: usize| {
            image()
                .read_only
                .iter()
                .any(|range| range.contains(&address))
        };
        assert!(holds(&raw const CONSTANT as usize));
        let local = 0u8;
        assert!(!holds(&raw const local as usize));
    }

    #[test]
    fn the_constructors_are_those_of_this_executable() {
        assert!(!image().constructors().is_empty());
    }

    #[test]
    fn notes_that_lie_about_their_length_are_no_build_id() {
        let notes = [255u8; 16];
        let start = notes.as_ptr() as usize;
        assert_eq!(build_id(start..start + notes.len()), None);
    }
}

//! What the fuzz targets reach of this crate: functions that take any bytes, and panic if a promise is broken. Under `--cfg fuzzing`
//! only; not part of the interface.

use crate::array::{DATA_OFFSET, Description};
use crate::element::{DType, Element};
use crate::lease::CutPlan;
use crate::named::{self, Maker, STAMP_PAGE, Stamp};
use crate::segment::{Segment, SegmentFile};
use crate::{
    ArrayHandle, AxisChunks, AxisChunksMut, Blocks, FileArray, FrozenArray, HaloBlocks, LeaseCache,
    NamedArray, RawArray, RegionsMut, SharedArray, TilesMut,
};
use ndarray::{ArrayViewD, Dimension, Ix1, Ix2, IxDyn};
use num_complex::Complex;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// The elements of the arrays that are attacked.
const LEN: usize = 24;

/// More blocks than this are not looked at.
const BLOCKS: usize = 100;

/// What a handle says beside the segment.
#[derive(Deserialize)]
struct Says {
    frozen: bool,
    array: u64,
    offset: u64,
    dtype: DType,
    shape: Vec<usize>,
    strides: Vec<isize>,
}

/// Arrays of zeros.
struct Victims {
    raw: RawArray<u64, Ix1>,
    frozen: FrozenArray<u64, Ix1>,
}

thread_local! {
    static VICTIMS: Victims = Victims::new();
}

impl Victims {
    fn new() -> Self {
        let made = "a small segment can be made";
        let raw = RawArray::zeros(LEN).expect(made);
        let file = SegmentFile::open(&handle(&raw).segment).expect(made);
        // Whatever is read behind the elements is not zero.
        let end = DATA_OFFSET + LEN * 8;
        file.write(end, &vec![0xff; file.len() - end]).expect(made);
        let frozen = SharedArray::zeros(LEN).expect(made).freeze().expect(made);
        Victims { raw, frozen }
    }

    /// The handle of one of the arrays, with what `says` instead of the truth.
    fn forged(&self, says: Says) -> Description {
        let truth = if says.frozen {
            handle(&self.frozen)
        } else {
            handle(&self.raw)
        };
        Description {
            segment: truth.segment,
            frozen: says.frozen,
            array: says.array,
            offset: says.offset,
            dtype: says.dtype,
            shape: says.shape,
            strides: says.strides,
        }
    }

    /// Checks that no element was written twice, and makes all zero again.
    fn clear(&self) {
        // SAFETY: this thread alone has the array, and no block lives.
        let mut view = unsafe { self.raw.view_mut() };
        assert!(view.iter().all(|value| *value <= 1), "blocks overlap");
        view.fill(0);
    }
}

fn handle(array: &impl serde::Serialize) -> Description {
    let bytes = postcard::to_allocvec(array).expect("a handle can be written");
    postcard::from_bytes(&bytes).expect("a handle is a description")
}

/// Reads `bytes` as handles of every kind, and as a handle of an array that there is: each is refused, or its elements lie in the array.
pub fn array_handle(bytes: &[u8]) {
    let refused = refuses::<FrozenArray<f64, IxDyn>>(bytes)
        & refuses::<RawArray<u64, Ix2>>(bytes)
        & refuses::<ArrayHandle<f64, IxDyn>>(bytes)
        & refuses::<Segment>(bytes);
    assert!(refused, "a handle that nobody made was accepted");
    let Ok(says) = postcard::from_bytes::<Says>(bytes) else {
        return;
    };
    VICTIMS.with(|victims| {
        let forged = victims.forged(says);
        let bytes = postcard::to_allocvec(&forged).expect("a handle can be written");
        look::<u64, IxDyn>(&bytes);
        look::<u64, Ix1>(&bytes);
        look::<u64, Ix2>(&bytes);
        look::<f64, IxDyn>(&bytes);
        look::<Complex<f64>, Ix1>(&bytes);
        look::<u8, Ix2>(&bytes);
    });
}

fn refuses<T: DeserializeOwned>(bytes: &[u8]) -> bool {
    postcard::from_bytes::<T>(bytes).is_err()
}

fn look<T: Element + PartialEq, D: Dimension>(bytes: &[u8]) {
    let zeros = |view: ndarray::ArrayView<'_, T, D>| {
        assert!(view.len() <= LEN, "more elements than there are");
        let mut values = view.iter();
        assert!(
            values.all(|value| *value == T::zeroed()),
            "an element from elsewhere"
        );
    };
    if let Ok(array) = postcard::from_bytes::<FrozenArray<T, D>>(bytes) {
        zeros(array.view());
        let mut private = array.to_private().expect("a page can be mapped");
        zeros(private.view());
        private.view_mut().fill(T::zeroed());
    }
    if let Ok(array) = postcard::from_bytes::<RawArray<T, D>>(bytes) {
        // SAFETY: this thread alone has the array.
        zeros(unsafe { array.view() });
    }
}

/// Reads `bytes` as a plan of blocks of an array that there is: it is refused, or its blocks lie in the array, those for writing without
/// an element in common.
pub fn cut_plan(bytes: &[u8]) {
    let Ok((says, cut)) = postcard::take_from_bytes::<Says>(bytes) else {
        return;
    };
    VICTIMS.with(|victims| {
        let forged = victims.forged(says);
        let mut bytes = postcard::to_allocvec(&forged).expect("a handle can be written");
        bytes.extend_from_slice(cut);
        let Ok(plan) = postcard::from_bytes::<CutPlan>(&bytes) else {
            return;
        };
        let zeros = |view: ArrayViewD<'_, u64>| {
            assert!(
                view.iter().all(|value| *value == 0),
                "an element from elsewhere"
            );
        };
        each::<AxisChunks<'_, u64, Ix2>>(&plan, |block| zeros(block.view().into_dyn()));
        each::<HaloBlocks<'_, u64, Ix2>>(&plan, |block| {
            zeros(block.view().into_dyn());
            zeros(block.halo_view().into_dyn());
        });
        each::<AxisChunksMut<'_, u64, IxDyn>>(&plan, |mut block| block.view_mut().map_inplace(add));
        victims.clear();
        each::<TilesMut<'_, u64, Ix1>>(&plan, |mut block| block.view_mut().map_inplace(add));
        victims.clear();
        each::<RegionsMut<'_, u64, Ix2>>(&plan, |mut block| block.view_mut().map_inplace(add));
        victims.clear();
    });
}

fn add(value: &mut u64) {
    *value += 1;
}

/// Makes the first blocks of a plan, and one behind the last.
fn each<B: Blocks<Plan = CutPlan>>(plan: &CutPlan, mut f: impl FnMut(B::Block<'_>)) {
    let Ok(attached) = B::attach(plan, &mut LeaseCache::default()) else {
        return;
    };
    let count = B::count(&attached);
    for index in (0..count.min(BLOCKS)).chain([count]) {
        // SAFETY: this thread alone has the array, and each block is made once
        // and gone before the next.
        let block = unsafe { B::block(&attached, index) };
        assert_eq!(block.is_some(), index < count);
        block.into_iter().for_each(&mut f);
    }
}

/// Has a `.npy` file begin with `bytes`: its header is refused, or it lies in what was given, and the array of it in the file.
pub fn npy_header(bytes: &[u8]) {
    if let Ok(npy) = crate::file::parse(bytes) {
        assert!(npy.offset <= bytes.len() as u64, "more than there is");
    }
    SCRATCH.with(|scratch| {
        fs::write(&scratch.0, bytes).expect("a small file can be written");
        open::<f64, Ix2>(&scratch.0, bytes.len());
        open::<u8, IxDyn>(&scratch.0, bytes.len());
        open::<Complex<f32>, Ix1>(&scratch.0, bytes.len());
    });
}

fn open<T: Element, D: Dimension>(path: &Path, len: usize) {
    // SAFETY: this thread alone knows the file.
    if let Ok(array) = unsafe { FileArray::<T, D>::open(path) } {
        assert!(array.len() * size_of::<T>() < len, "more than the file has");
        array
            .view()
            .iter()
            .for_each(|value| drop(std::hint::black_box(*value)));
    }
}

/// A file that one thread has, removed at its end.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

thread_local! {
    static SCRATCH: Scratch = Scratch({
        let name = format!("pool-fuzz-{}-{:?}.npy", std::process::id(), std::thread::current().id());
        std::env::temp_dir().join(name)
    });
    static NAMED: (NamedArray<u64, Ix1>, Vec<u8>) = named_victim();
}

/// An array with a name, and its true stamp.
fn named_victim() -> (NamedArray<u64, Ix1>, Vec<u8>) {
    named::sweep().expect("names can be listed"); // of a run that was ended
    let name = format!("pool-fuzz-{}", std::process::id());
    let array = NamedArray::create(&name, LEN).expect("a small segment can be made");
    let bytes = fs::read(named_file(&name)).expect("it can be read");
    let stamp = bytes[bytes.len() - STAMP_PAGE..].to_vec();
    (array, stamp)
}

fn named_file(name: &str) -> PathBuf {
    named::file_of(name).expect("a name that can be")
}

/// What a stamp says, in a form that bytes are read as.
#[derive(Deserialize)]
struct Stamped {
    maker: (u32, u64, u64),
    left: bool,
    ours: bool,
    element: [u64; 2],
    bytes: u64,
    column_major: bool,
    shape: Vec<u64>,
}

/// Reads `bytes` as a name, as a stamp, and as what a stamp says that is put behind an array with a name: each is refused, or what is
/// attached lies in the segment.
pub fn named_segment(bytes: &[u8]) {
    if let Ok(name) = std::str::from_utf8(bytes)
        && let Some(path) = named::file_of(name)
    {
        let dir = named_file("x");
        assert_eq!(
            path.parent(),
            dir.parent(),
            "a name that leaves the directory"
        );
        assert_eq!(
            path.file_name(),
            Some(name.strip_prefix('/').unwrap_or(name).as_ref())
        );
    }
    NAMED.with(|(array, stamp)| {
        let mut page = bytes.to_vec();
        page.resize(STAMP_PAGE, 0);
        attach_stamped(array.name(), &page);
        if let Ok(says) = postcard::from_bytes::<Stamped>(bytes)
            && says.shape.len() <= 64
        {
            attach_stamped(array.name(), &says.page());
        }
        stamp_with(array.name(), stamp);
        assert!(NamedArray::<u64, Ix1>::attach(array.name()).is_ok());
    });
}

impl Stamped {
    fn page(self) -> Vec<u8> {
        let (pid, start, namespace) = self.maker;
        let stamp = Stamp {
            maker: Maker {
                pid,
                start,
                namespace,
            },
            left: self.left,
            element: if self.ours {
                u64::dtype().code()
            } else {
                self.element
            },
            bytes: self.bytes,
            column_major: self.column_major,
            shape: self.shape,
        };
        let page = stamp.to_page();
        assert_eq!(Stamp::parse(&page), Some(stamp), "read as it was written");
        page
    }
}

fn stamp_with(name: &str, page: &[u8]) {
    let path = named_file(name);
    let mut file = File::options().write(true).open(path).expect("it is there");
    let end = SeekFrom::End(-(STAMP_PAGE as i64));
    file.seek(end).expect("it has a stamp");
    file.write_all(page).expect("it can be written");
}

fn attach_stamped(name: &str, page: &[u8]) {
    stamp_with(name, page);
    attach_named::<u64, Ix1>(name);
    attach_named::<u64, IxDyn>(name);
    attach_named::<u8, Ix2>(name);
}

fn attach_named<T: Element, D: Dimension>(name: &str) {
    if let Ok(array) = NamedArray::<T, D>::attach(name) {
        // SAFETY: this thread alone has the segment, and writes it before and behind only.
        let view = unsafe { array.raw().view() };
        // The elements, their page, and the stamp.
        assert!(view.len() * size_of::<T>() <= 2 * STAMP_PAGE);
        view.iter()
            .for_each(|value| drop(std::hint::black_box(*value)));
    }
}

//! How the memory of a new array is to be had.

use super::owner::Owner;
use super::{DATA_OFFSET, Layout, Memory, Placed, SharedArray};
use crate::element::Element;
use crate::error::ShmError;
use crate::segment::Segment;
use crate::sys;
use ndarray::{Dimension, ShapeBuilder};

/// Options for the memory of a new array: prefaulted, in huge pages, spread
/// over the nodes of the machine.
///
/// All are wishes; [`zeros`](Self::zeros) says what was obtained. That the
/// memory is there is no wish: it is reserved, as for every array.
///
/// ```
/// use pool_shm::{HugePages, Placement};
///
/// let placement = Placement::new()
///     .prefault(true)
///     .huge_pages(HugePages::Transparent)
///     .interleave(true);
/// let (array, obtained) = placement.zeros::<f64, _>((1000, 1000))?;
/// assert_eq!(array.len(), 1_000_000);
/// assert!(obtained.prefaulted);
/// println!("{} bytes in huge pages; {:?}", obtained.huge, obtained.notes);
/// # Ok::<(), pool_shm::ShmError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    prefault: bool,
    huge_pages: HugePages,
    interleave: bool,
}

/// Which pages the memory shall have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HugePages {
    /// Huge ones for a large array, as far as the kernel finds them in good
    /// time (Linux 6.1 and later), but not for one that is spread over nodes.
    #[default]
    System,
    /// The same, and where the kernel did not find them, or before Linux 6.1,
    /// those that the administrator lets it give
    /// (`/sys/kernel/mm/transparent_hugepage/shmem_enabled` is `advise`,
    /// `within_size` or `always`). Such an array is always prefaulted.
    Transparent,
    /// From those that the administrator has set aside (`vm.nr_hugepages`).
    Reserved,
}

/// What of a [`Placement`] was obtained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Obtained {
    /// Whether every page is there and mapped in this process.
    pub prefaulted: bool,
    /// Bytes in huge pages, as far as they are mapped in this process: before
    /// it is touched, memory that is not prefaulted has none.
    pub huge: u64,
    /// The nodes over which the memory is spread; none if it is not.
    pub nodes: Vec<u32>,
    /// Why a wish was not fulfilled, one sentence each.
    pub notes: Vec<String>,
}

impl Placement {
    /// No wishes: what [`SharedArray::zeros`] does.
    #[must_use]
    pub fn new() -> Self {
        Placement::default()
    }

    /// Whether every page is made and mapped at once, so that the first writes
    /// of this process meet no page faults. Workers have maps of their own.
    #[must_use]
    pub fn prefault(self, prefault: bool) -> Self {
        Placement { prefault, ..self }
    }

    /// Which pages the memory shall have.
    #[must_use]
    pub fn huge_pages(self, huge_pages: HugePages) -> Self {
        Placement { huge_pages, ..self }
    }

    /// Whether pages are put on all memory nodes in turn, so that processes on
    /// each have the same way to them.
    #[must_use]
    pub fn interleave(self, interleave: bool) -> Self {
        Placement { interleave, ..self }
    }

    /// An array of zeros, as [`SharedArray::zeros`], and what was obtained.
    ///
    /// # Errors
    ///
    /// As for [`SharedArray::zeros`].
    pub fn zeros<T: Element, D: Dimension>(
        &self,
        shape: impl ShapeBuilder<Dim = D>,
    ) -> Result<(SharedArray<T, D>, Obtained), ShmError> {
        let layout = Layout::from_builder(shape, size_of::<T>())?;
        let bytes = layout.len() * size_of::<T>();
        let mut obtained = Obtained::default();
        let segment = self.segment(bytes.saturating_add(DATA_OFFSET), &mut obtained)?;
        let memory = Memory::Writable(segment.clone());
        memory.header(0)?.fill(T::dtype(), bytes);
        let id = segment.id();
        obtained.huge = sys::own_mapping(id.dev, id.ino).map_or(0, |own| own.huge);
        let placed = Placed::new(memory, 0, layout)?;
        Ok((
            SharedArray::from_parts(Owner::new(segment), placed),
            obtained,
        ))
    }

    /// A segment with memory behind it.
    fn segment(&self, len: usize, obtained: &mut Obtained) -> Result<Segment, ShmError> {
        let transparent = self.huge_pages == HugePages::Transparent;
        let segment = match self.reserved(len, obtained) {
            Some(segment) => segment,
            None if transparent || self.interleave => self.sparse(len, obtained)?,
            None => Segment::create_gathered(len)?,
        };
        if self.prefault {
            segment.populate()?;
        }
        obtained.prefaulted = self.prefault || transparent;
        Ok(segment)
    }

    /// A segment whose memory is put behind it only when the kernel knows where
    /// and in which pages it shall be.
    fn sparse(&self, len: usize, obtained: &mut Obtained) -> Result<Segment, ShmError> {
        let segment = Segment::create_sparse(len)?;
        if self.interleave {
            spread(&segment, obtained);
        }
        if self.huge_pages == HugePages::Transparent {
            segment.check_budget()?;
            // Huge pages that are gathered come from one node.
            let gathered = if self.interleave { 0 } else { segment.gather() };
            if gathered == 0 {
                // Pages that are there already would not become huge ones, so
                // they are made by touching them, not by reserving.
                advise(&segment, obtained);
            }
            segment.populate()?;
        }
        segment.reserve(0..segment.len())?;
        Ok(segment)
    }

    /// A segment of huge pages that were set aside, if it was asked for and
    /// there are enough.
    fn reserved(&self, len: usize, obtained: &mut Obtained) -> Option<Segment> {
        if self.huge_pages != HugePages::Reserved {
            return None;
        }
        match Segment::create_huge(len) {
            Ok(segment) => Some(segment),
            Err(error) => {
                let source = std::error::Error::source(&error).map(|e| format!(": {e}"));
                obtained.notes.push(format!(
                    "no reserved huge pages (too few set aside, vm.nr_hugepages): {error}{}",
                    source.unwrap_or_default()
                ));
                None
            }
        }
    }
}

fn advise(segment: &Segment, obtained: &mut Obtained) {
    let note = match (segment.advise_huge(), sys::shared_huge_pages()) {
        (Err(error), _) => format!("the kernel refuses transparent huge pages: {error}"),
        (Ok(()), Some(chosen)) if matches!(chosen.as_str(), "never" | "deny") => format!(
            "the system gives shared memory no huge pages (transparent_hugepage/shmem_enabled is {chosen})"
        ),
        (Ok(()), None) => "the system does not know huge pages of shared memory".to_owned(),
        (Ok(()), Some(_)) => return,
    };
    obtained.notes.push(note);
}

fn spread(segment: &Segment, obtained: &mut Obtained) {
    let nodes = sys::memory_nodes();
    if nodes.len() < 2 {
        let note = format!(
            "the machine has {} memory nodes, there is nothing to spread over",
            nodes.len()
        );
        obtained.notes.push(note);
        return;
    }
    match sys::interleave(segment.as_ptr().addr(), segment.len(), &nodes) {
        Ok(()) => obtained.nodes = nodes,
        Err(error) => {
            let note =
                format!("the kernel did not spread the memory over nodes {nodes:?}: {error}");
            obtained.notes.push(note);
        }
    }
}

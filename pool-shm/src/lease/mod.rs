//! Lending arrays to tasks, block by block.

mod block;
mod blocks;
mod cache;
mod cut;
mod cuts;
mod lessee;
mod region;
mod tuples;

pub use block::{Block, BlockMut, HaloBlock};
pub use blocks::Blocks;
pub use cache::LeaseCache;
pub(crate) use cache::{attach, attach_any};
pub use cuts::{
    AttachedCut, AxisChunks, AxisChunksMut, CutPlan, HaloBlocks, Regions, RegionsMut, Tiles,
    TilesMut,
};
pub use lessee::{LentSegment, Lessee};
pub use region::Region;

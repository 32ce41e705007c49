//! The ways to lend an array, the same for all that can be lent in safe code.

/// Lending for reading, for an array with a field `placed` that nobody writes
/// while it is borrowed.
macro_rules! lend {
    ($array:ident $(<$life:lifetime>)?) => {
        impl<T: $crate::Element, D: ::ndarray::Dimension> $array<$($life,)? T, D> {
            /// Lends it in blocks of `size` along `axis`, for reading. The last
            /// block is smaller if `size` does not divide the axis.
            ///
            /// An invalid cut (an axis that there is not, a size of 0) is an
            /// error of whoever the blocks are lent to.
            pub fn axis_chunks(
                &self,
                axis: ::ndarray::Axis,
                size: usize,
            ) -> $crate::AxisChunks<'_, T, D> {
                $crate::AxisChunks::new(&self.placed, axis, size)
            }

            /// Lends it in tiles of at most this shape, for reading. Tiles at
            /// the end of an axis are smaller if the shape does not divide it;
            /// they are numbered with the last axis fastest.
            pub fn tiles(
                &self,
                tile: impl ::ndarray::IntoDimension<Dim = D>,
            ) -> $crate::Tiles<'_, T, D> {
                $crate::Tiles::new(&self.placed, tile)
            }

            /// Lends it in blocks of the user's choice, for reading, numbered
            /// as they are given: see [`Region`](crate::Region). They need not
            /// cover the array, and may overlap.
            ///
            /// # Errors
            ///
            /// `is_invalid_cut` if a region does not lie in the array.
            pub fn regions<R: $crate::Region>(
                &self,
                regions: impl IntoIterator<Item = R>,
            ) -> Result<$crate::Regions<'_, T, D>, $crate::ShmError> {
                $crate::Regions::new(&self.placed, regions)
            }

            /// As [`axis_chunks`](Self::axis_chunks), and each task may also
            /// read `rim` elements before and behind its block: see
            /// [`HaloBlock`](crate::HaloBlock).
            pub fn halo_axis_chunks(
                &self,
                axis: ::ndarray::Axis,
                size: usize,
                rim: usize,
            ) -> $crate::HaloBlocks<'_, T, D> {
                $crate::HaloBlocks::along(&self.placed, axis, size, rim)
            }

            /// As [`tiles`](Self::tiles), and each task may also read as many
            /// elements around its tile as `rim` says for each axis: see
            /// [`HaloBlock`](crate::HaloBlock).
            ///
            /// It is made for computations by steps: the next state is lent by
            /// [`tiles_mut`](crate::SharedArray::tiles_mut), the one before by
            /// this, in one call; then the two arrays are swapped.
            pub fn halo_tiles(
                &self,
                tile: impl ::ndarray::IntoDimension<Dim = D>,
                rim: impl ::ndarray::IntoDimension<Dim = D>,
            ) -> $crate::HaloBlocks<'_, T, D> {
                $crate::HaloBlocks::tiles(&self.placed, tile, rim)
            }
        }
    };
}

/// Lending for writing, for an array with a field `placed` that nobody else
/// uses while it is mutably borrowed.
macro_rules! lend_mut {
    ($array:ident $(<$life:lifetime>)?) => {
        impl<T: $crate::Element, D: ::ndarray::Dimension> $array<$($life,)? T, D> {
            /// Lends it in blocks of `size` along `axis`, for writing: the
            /// argument of `map_blocks`. The last block is smaller if `size`
            /// does not divide the axis.
            ///
            /// An invalid cut (an axis that there is not, a size of 0) is an
            /// error of whoever the blocks are lent to.
            pub fn axis_chunks_mut(
                &mut self,
                axis: ::ndarray::Axis,
                size: usize,
            ) -> $crate::AxisChunksMut<'_, T, D> {
                $crate::AxisChunksMut::new(&self.placed, axis, size)
            }

            /// Lends it in tiles of at most this shape, for writing. Tiles at
            /// the end of an axis are smaller if the shape does not divide it;
            /// they are numbered with the last axis fastest.
            pub fn tiles_mut(
                &mut self,
                tile: impl ::ndarray::IntoDimension<Dim = D>,
            ) -> $crate::TilesMut<'_, T, D> {
                $crate::TilesMut::new(&self.placed, tile)
            }

            /// Lends it in blocks of the user's choice, for writing, numbered
            /// as they are given: see [`Region`](crate::Region). They need not
            /// cover the array, but no element may lie in two of them.
            ///
            /// Checking sorts the regions, which takes little time for
            /// thousands that come from cutting an array again and again.
            ///
            /// ```
            /// use ndarray::s;
            /// use pool_shm::SharedArray;
            ///
            /// let mut matrix = SharedArray::<f64, _>::zeros((100, 100))?;
            /// let lent = matrix.regions_mut([s![..10, ..], s![10.., 5..8], s![50.., 8..]])?;
            /// drop(lent); // normally an argument of `map_blocks`
            /// let error = matrix.regions_mut([[0..60, 0..60], [70..80, 0..9], [59..70, 0..7]]);
            /// assert_eq!(error.unwrap_err().overlapping_blocks(), Some([0, 2]));
            /// # Ok::<(), pool_shm::ShmError>(())
            /// ```
            ///
            /// # Errors
            ///
            /// `is_invalid_cut` if a region does not lie in the array;
            /// `is_overlap` if two have an element in common, with the numbers
            /// of both.
            pub fn regions_mut<R: $crate::Region>(
                &mut self,
                regions: impl IntoIterator<Item = R>,
            ) -> Result<$crate::RegionsMut<'_, T, D>, $crate::ShmError> {
                $crate::RegionsMut::new(&self.placed, regions)
            }
        }
    };
}

pub(crate) use {lend, lend_mut};

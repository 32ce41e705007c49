//! What all arrays say about their shape.

use super::Placed;
use crate::element::Element;
use ndarray::Dimension;
use std::fmt;

/// The questions about shape, for an array with a field `placed`.
macro_rules! geometry {
    ($array:ident $(<$life:lifetime>)?) => {
        impl<T: $crate::Element, D: ::ndarray::Dimension> $array<$($life,)? T, D> {
            pub(crate) fn placed(&self) -> &$crate::array::Placed<T, D> {
                &self.placed
            }

            /// The number of elements along each axis.
            #[must_use]
            pub fn shape(&self) -> &[usize] {
                self.placed.layout().shape()
            }

            /// The steps along the axes, in elements, as ndarray counts them.
            #[must_use]
            pub fn strides(&self) -> Vec<isize> {
                self.placed.layout().signed_strides()
            }

            /// The shape as a value of ndarray.
            #[must_use]
            pub fn raw_dim(&self) -> D {
                self.placed.layout().dim().clone()
            }

            /// The number of axes.
            #[must_use]
            pub fn ndim(&self) -> usize {
                self.shape().len()
            }

            /// The number of elements.
            #[must_use]
            pub fn len(&self) -> usize {
                self.placed.layout().len()
            }

            /// Whether there is no element.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }
        }
    };
}

pub(crate) use geometry;

/// Shows element type and shape, not the elements.
pub(crate) fn debug<T: Element, D: Dimension>(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    placed: &Placed<T, D>,
) -> fmt::Result {
    f.debug_struct(name)
        .field("dtype", &T::dtype())
        .field("shape", &placed.layout().shape())
        .field("segment", &placed.memory().file().id())
        .finish()
}

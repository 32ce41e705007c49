//! The tasks of `spectrogram`: spectra of a recording that all workers see, then levels, by block of frames.

use ndarray::{Axis, Ix1, Ix2};
use num_complex::Complex64;
use pool_shm::{Block, BlockMut, FrozenArray};
use serde::{Deserialize, Serialize};

use crate::transform::{Settings, Transform, level};

/// What each worker holds: the recording, sealed, and its own plan and buffers.
#[derive(Debug)]
pub struct State {
    samples: FrozenArray<f64, Ix1>,
    transform: Transform,
}

/// The initializer's argument.
pub type Setup = (FrozenArray<f64, Ix1>, Settings);

/// A level and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Peak {
    /// In decibels, 0 for a sine of full scale.
    pub level: f32,
    /// The frame, from 0.
    pub frame: usize,
    /// The frequency, from 0: a multiple of the sampling rate divided by the frame's size.
    pub bin: usize,
}

/// The initializer.
pub fn initialize((samples, settings): Setup) -> State {
    State {
        samples,
        transform: Transform::new(settings),
    }
}

/// Task: the spectra of a block of frames, one row for each frame.
///
/// # Panics
///
/// Never: an array of one axis that was made at once is contiguous.
pub fn transform_block(state: &mut State, mut block: BlockMut<'_, Complex64, Ix2>) {
    let State { samples, transform } = state;
    let samples = samples.view();
    let samples = samples
        .as_slice()
        .expect("an array of one axis that was made at once is contiguous");
    let frames = block.range();
    for (frame, mut row) in frames.zip(block.view_mut().rows_mut()) {
        let spectrum = transform.frame(samples, frame);
        row.iter_mut()
            .zip(spectrum)
            .for_each(|(to, from)| *to = *from);
    }
}

/// Task: the levels of a block of spectra, and the highest; of several, the first. None in a block without elements.
pub fn level_block(
    (spectra, mut levels): (Block<'_, Complex64, Ix2>, BlockMut<'_, f32, Ix2>),
) -> Option<Peak> {
    let first = levels.start();
    let mut levels = levels.view_mut();
    levels.zip_mut_with(&spectra.view(), |to, from| *to = level(*from));
    let rows = levels.axis_iter(Axis(0)).enumerate();
    let peaks = rows.flat_map(|(row, levels)| {
        let frame = first + row;
        let peaks = levels.into_iter().enumerate();
        peaks
            .map(move |(bin, level)| Peak {
                level: *level,
                frame,
                bin,
            })
            .collect::<Vec<_>>()
    });
    highest(peaks)
}

/// The highest of some peaks; of several, the first.
pub fn highest(peaks: impl IntoIterator<Item = Peak>) -> Option<Peak> {
    peaks
        .into_iter()
        .reduce(|best, next| if next.level > best.level { next } else { best })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_peaks_the_first_is_the_highest() {
        let peak = |level, frame| Peak {
            level,
            frame,
            bin: 0,
        };
        assert_eq!(
            highest([peak(-3.0, 0), peak(-1.0, 1), peak(-1.0, 2)]),
            Some(peak(-1.0, 1))
        );
        assert_eq!(highest([]), None);
    }
}

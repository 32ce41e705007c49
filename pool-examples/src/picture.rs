//! The picture of a spectrogram: time to the right, frequency upwards, level as a colour, with axes and a colour bar.

use std::ops::Range;
use std::path::Path;

use ndarray::ArrayView2;
use plotters::prelude::*;

use crate::axes::{Area, Scale, caption, figure, paint, style, write_png};
use crate::failure::Failure;

/// What is drawn: levels and the scales of their axes.
#[derive(Clone, Debug)]
pub struct Spectrogram<'a> {
    /// Levels in decibels, one row for each frame, one column for each frequency, lowest first.
    pub levels: ArrayView2<'a, f32>,
    /// How long the recording lasts, in seconds: the end of the axis of time.
    pub seconds: f64,
    /// Seconds from the middle of a frame to the middle of the next; the first is at 0.
    pub frame_step: f64,
    /// The highest frequency of the axis, in hertz.
    pub hertz: f64,
    /// Hertz from a frequency to the next; the first is 0.
    pub bin_step: f64,
    /// The levels at the two ends of the colours, in decibels.
    pub range: Range<f32>,
    /// A line above the picture.
    pub caption: String,
}

impl Spectrogram<'_> {
    /// Draws the picture with `width` x `height` pixels and writes it to `path` as PNG, whatever the name ends in.
    ///
    /// A pixel shows the highest of the values that lie in it, or the nearest value if none does. A picture that was there before stays if
    /// the new one cannot be written.
    ///
    /// # Errors
    ///
    /// A [`Failure::input`] if `path` cannot be written; any other if the picture is too small for its axes.
    pub fn write(&self, path: &Path, width: u32, height: u32) -> Result<(), Failure> {
        write_png(path, (width, height), |area| self.draw(area))
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let area = area.margin(6, 0, 0, 0);
        let area = area.titled(&self.caption, caption())?;
        let width = area.dim_in_pixel().0 as i32;
        let (left, right) = area.split_horizontally(width - 110);
        self.draw_levels(&left)?;
        self.scale().draw(&right, (10, 58))?;
        area.present()?;
        Ok(())
    }

    fn draw_levels(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        // A label of a short recording has eight characters.
        let x_labels = (area.dim_in_pixel().0 / 100).clamp(2, 10) as usize;
        let mut chart = ChartBuilder::on(area)
            .margin(10)
            .x_label_area_size(48)
            .y_label_area_size(76)
            .build_cartesian_2d(0.0..self.seconds, 0.0..self.hertz)?;
        let (frames, bins) = self.levels.dim();
        let scale = self.scale();
        paint(&chart, |x, y| {
            let frames = cells(&x, self.seconds / self.frame_step, frames);
            let bins = cells(&y, self.hertz / self.bin_step, bins);
            scale.colour(f64::from(highest(self.levels, frames, bins)))
        })?;
        style(&mut chart.configure_mesh())
            .disable_mesh()
            .x_desc("time (s)")
            .y_desc("frequency (Hz)")
            .x_labels(x_labels)
            .y_labels(10)
            .x_label_formatter(&|seconds| figure(*seconds, self.seconds))
            .y_label_formatter(&|hertz| figure(*hertz, self.hertz))
            .draw()?;
        Ok(())
    }

    /// Decibels relative to full scale.
    fn scale(&self) -> Scale<'static> {
        Scale {
            range: f64::from(self.range.start)..f64::from(self.range.end),
            meaning: "level (dB re full scale)",
        }
    }
}

/// The values, of `count`, that a part of an axis shows: those that lie in it, or the nearest to its middle. The axis is `length` steps
/// long, and value `k` lies `k` steps from its beginning.
fn cells(part: &Range<f64>, length: f64, count: usize) -> Range<usize> {
    let (start, end) = (part.start * length, part.end * length);
    let (mut first, mut last) = (start.ceil() as usize, end.floor() as usize);
    if last < first {
        first = f64::midpoint(start, end).round() as usize;
        last = first;
    }
    let highest = count.saturating_sub(1);
    first.min(highest)..last.min(highest) + 1
}

fn highest(levels: ArrayView2<'_, f32>, frames: Range<usize>, bins: Range<usize>) -> f32 {
    let part = levels.slice(ndarray::s![frames, bins]);
    part.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pixel(at: u32, of: u32) -> Range<f64> {
        f64::from(at) / f64::from(of)..f64::from(at + 1) / f64::from(of)
    }

    #[test]
    fn every_cell_is_shown_and_every_pixel_shows_one() {
        for (pixels, count) in [(10, 3), (3, 10), (7, 7), (5, 1), (800, 4099)] {
            for length in [count as f64 - 1.0, count as f64 - 0.3, count as f64] {
                let mut seen = vec![false; count];
                for at in 0..pixels {
                    let cells = cells(&pixel(at, pixels), length, count);
                    assert!(!cells.is_empty() && cells.end <= count, "{cells:?}");
                    seen[cells].fill(true);
                }
                assert!(
                    seen.iter().all(|seen| *seen),
                    "{pixels} pixels, {count} cells"
                );
            }
        }
    }

    #[test]
    fn a_value_is_shown_about_its_own_place() {
        // Ten pixels for each step, and half a step after the last value, as with a hop that does not divide the length.
        for at in 0..35 {
            let nearest = (at as usize + 5) / 10;
            assert_eq!(cells(&pixel(at, 35), 3.5, 4), nearest..nearest + 1, "{at}");
        }
    }
}

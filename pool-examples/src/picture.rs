//! The picture of a spectrogram: time to the right, frequency upwards, level as a colour, with axes and a colour bar.

use std::io;
use std::ops::Range;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use ndarray::ArrayView2;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::failure::Failure;
use crate::font::{self, FONT, INK};
use crate::replace::replace;

pub(crate) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
pub(crate) type Chart<'a> =
    ChartContext<'a, BitMapBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

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
        let area = area.titled(&self.caption, (FONT, 20).into_font().color(&INK))?;
        let width = area.dim_in_pixel().0 as i32;
        let (left, right) = area.split_horizontally(width - 110);
        self.draw_levels(&left)?;
        self.draw_colour_bar(&right)?;
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
        paint(&chart, |x, y| {
            let frames = cells(&x, self.seconds / self.frame_step, frames);
            let bins = cells(&y, self.hertz / self.bin_step, bins);
            let level = highest(self.levels, frames, bins);
            self.colour(level)
        })?;
        chart
            .configure_mesh()
            .disable_mesh()
            .axis_style(INK)
            .label_style((FONT, 16).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .x_desc("time (s)")
            .y_desc("frequency (Hz)")
            .x_labels(x_labels)
            .y_labels(10)
            .x_label_formatter(&|seconds| figure(*seconds, self.seconds))
            .y_label_formatter(&|hertz| figure(*hertz, self.hertz))
            .draw()?;
        Ok(())
    }

    fn draw_colour_bar(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        let (low, high) = (f64::from(self.range.start), f64::from(self.range.end));
        let mut chart = ChartBuilder::on(area)
            .margin_top(10)
            .margin_bottom(58)
            .margin_right(8)
            .right_y_label_area_size(72)
            .build_cartesian_2d(0.0..1.0, low..high)?;
        paint(&chart, |_, y| {
            self.colour((low + (high - low) * (y.start + y.end) / 2.0) as f32)
        })?;
        chart
            .configure_mesh()
            .disable_mesh()
            .disable_x_axis()
            .axis_style(INK)
            .label_style((FONT, 16).into_font().color(&INK))
            .axis_desc_style((FONT, 17).into_font().color(&INK))
            .y_desc("level (dB re full scale)")
            .y_label_formatter(&|level| format!("  {}", figure(*level, high - low)))
            .draw()?;
        Ok(())
    }

    fn colour(&self, level: f32) -> RGBColor {
        let part = (level - self.range.start) / (self.range.end - self.range.start);
        let colorous::Color { r, g, b } =
            colorous::INFERNO.eval_continuous(f64::from(part.clamp(0.0, 1.0)));
        RGBColor(r, g, b)
    }
}

/// Draws a picture of `size` pixels and writes it to `path` as PNG.
pub(crate) fn write_png(
    path: &Path,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Failure> {
    let (width, height) = size;
    let mut pixels = vec![255; 3 * width as usize * height as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, size).into_drawing_area();
        font::register();
        draw(&area).map_err(|error| Failure::other(format!("cannot draw the picture: {error}")))?;
    }
    replace(path, |file| {
        PngEncoder::new(file)
            .write_image(&pixels, width, height, ExtendedColorType::Rgb8)
            .map_err(io::Error::other)
    })
    .map_err(|error| Failure::input(format!("cannot write {}: {error}", path.display())))
}

/// Fills a chart: `colour` is asked for each pixel, which covers the given parts of the axes (0 is left and bottom, 1 right and top).
pub(crate) fn paint(
    chart: &Chart<'_>,
    colour: impl Fn(Range<f64>, Range<f64>) -> RGBColor,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = chart.plotting_area();
    let (columns, rows) = area.get_pixel_range();
    let area = area.strip_coord_spec();
    let (base_x, base_y) = area.get_base_pixel();
    let part = |at: i32, of: &Range<i32>| {
        let length = f64::from(of.len() as u32);
        f64::from(at - of.start) / length..f64::from(at - of.start + 1) / length
    };
    for y in rows.clone() {
        for x in columns.clone() {
            let up = part(rows.end - 1 - (y - rows.start), &rows);
            let colour = colour(part(x, &columns), up);
            area.draw_pixel((x - base_x, y - base_y), &colour)?;
        }
    }
    Ok(())
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

/// A figure of an axis of this length, of which some ten have labels: as many digits as tell them apart, none needless.
pub(crate) fn figure(value: f64, length: f64) -> String {
    let digits = 1.0 - (length / 10.0).log10().floor();
    let text = format!("{value:.0$}", digits.clamp(1.0, 15.0) as usize);
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" {
        "0".to_owned()
    } else {
        text.to_owned()
    }
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

    #[test]
    fn figures_have_no_needless_digits() {
        assert_eq!(
            [0.0, -0.0, 2000.0, 7500.0].map(|value| figure(value, 8000.0)),
            ["0", "0", "2000", "7500"]
        );
        assert_eq!(
            [0.25, 0.5, -80.0].map(|value| figure(value, 4.0)),
            ["0.25", "0.5", "-80"]
        );
        assert_eq!(
            [0.0, 2e-6, 2.5e-6, 4e-6].map(|value| figure(value, 22e-6)),
            ["0", "0.000002", "0.0000025", "0.000004"]
        );
    }
}

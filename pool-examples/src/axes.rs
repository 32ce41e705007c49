//! What pictures have in common: axes, a colour bar, pixels in the colours of values, and the file that they are written to.

use std::io;
use std::ops::Range;
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use crate::failure::Failure;
use crate::font::{self, FONT, INK};
use crate::replace::replace;

pub(crate) type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;
pub(crate) type Chart<'a> =
    ChartContext<'a, BitMapBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(crate) type Mesh<'a, 'b, 'c> =
    MeshStyle<'a, 'b, RangedCoordf64, RangedCoordf64, BitMapBackend<'c>>;

/// What the colours of a picture mean.
#[derive(Clone, Debug)]
pub(crate) struct Scale<'a> {
    /// The values at its two ends.
    pub(crate) range: Range<f64>,
    /// What the values are, with their unit.
    pub(crate) meaning: &'a str,
}

impl Scale<'_> {
    /// The colour of `value`; beyond an end it is that of the end.
    pub(crate) fn colour(&self, value: f64) -> RGBColor {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        let colorous::Color { r, g, b } = colorous::INFERNO.eval_continuous(part.clamp(0.0, 1.0));
        RGBColor(r, g, b)
    }

    /// Draws all colours as a bar with their values, between `above` and `below` pixels that stay free.
    pub(crate) fn draw(
        &self,
        area: &Area<'_>,
        (above, below): (u32, u32),
    ) -> Result<(), Box<dyn std::error::Error>> {
        let length = self.range.end - self.range.start;
        let mut chart = ChartBuilder::on(area)
            .margin_top(above)
            .margin_bottom(below)
            .margin_right(8)
            .right_y_label_area_size(72)
            .build_cartesian_2d(0.0..1.0, self.range.clone())?;
        paint(&chart, |_, y| {
            self.colour(self.range.start + length * f64::midpoint(y.start, y.end))
        })?;
        style(&mut chart.configure_mesh())
            .disable_mesh()
            .disable_x_axis()
            .y_desc(self.meaning)
            .y_label_formatter(&|value| format!("  {}", figure(*value, length)))
            .draw()?;
        Ok(())
    }
}

/// The ink and the font of axes and of what stands at them.
pub(crate) fn style<'m, 'a, 'b, 'c>(mesh: &'m mut Mesh<'a, 'b, 'c>) -> &'m mut Mesh<'a, 'b, 'c> {
    mesh.axis_style(INK)
        .label_style((FONT, 16).into_font().color(&INK))
        .axis_desc_style((FONT, 17).into_font().color(&INK))
}

/// The style of a line above a picture.
pub(crate) fn caption<'a>() -> TextStyle<'a> {
    (FONT, 20).into_font().color(&INK)
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

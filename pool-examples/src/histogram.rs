//! A histogram: the values of `histogram`, how they are counted, and the picture of the counts.

use std::f64::consts::TAU;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::axes::{Area, caption, figure, style, write_png};
use crate::failure::Failure;

/// The bells that values are drawn from: how many of all values, the middle, the standard deviation.
const BELLS: [(f64, f64, f64); 2] = [(0.6, -1.0, 0.5), (0.4, 1.5, 1.0)];

/// How many values lie in each of some bins of equal width.
///
/// ```
/// use pool_examples::histogram::Histogram;
///
/// let mut histogram = Histogram::new(0.0..4.0, 2.try_into()?);
/// [0.5, 1.9, 2.0, 4.0].into_iter().for_each(|value| histogram.add(value));
/// assert_eq!((histogram.counts(), histogram.outside()), (&[2, 1][..], 1));
/// # Ok::<(), std::num::TryFromIntError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Histogram {
    range: Range<f64>,
    counts: Vec<u64>,
    outside: u64,
}

impl Histogram {
    /// Nothing counted yet, in `bins` bins that share `range`.
    pub fn new(range: Range<f64>, bins: NonZeroUsize) -> Self {
        Self {
            range,
            counts: vec![0; bins.get()],
            outside: 0,
        }
    }

    /// Counts a value. The beginning of a bin belongs to it, its end to the next.
    pub fn add(&mut self, value: f64) {
        let length = self.range.end - self.range.start;
        let part = (value - self.range.start) / length;
        let bin = (part * self.counts.len() as f64).floor();
        // Neither what is not a number nor what is below the first bin becomes an index.
        let counts = if bin >= 0.0 {
            self.counts.get_mut(bin as usize)
        } else {
            None
        };
        *counts.unwrap_or(&mut self.outside) += 1;
    }

    /// Counts what `other`, which has the same bins, has counted.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.outside += other.outside;
    }

    /// How many values lie in each bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many values lie in none.
    pub fn outside(&self) -> u64 {
        self.outside
    }

    /// How many values were counted.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.outside
    }

    /// Where each bin begins and ends.
    pub fn bins(&self) -> impl Iterator<Item = Range<f64>> + '_ {
        let width = (self.range.end - self.range.start) / self.counts.len() as f64;
        let at = move |bin: usize| self.range.start + width * bin as f64;
        (0..self.counts.len()).map(move |bin| at(bin)..at(bin + 1))
    }

    /// Draws the counts as bars, and the numbers that are expected of [`draw`] as a line, and writes the picture to `path` as PNG.
    ///
    /// # Errors
    ///
    /// A [`Failure::input`] if `path` cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        write_png(path, (900, 520), |area| self.picture(area))
    }

    fn picture(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let Range { start, end } = self.range;
        let most = self.counts.iter().copied().max().unwrap_or(0).max(1) as f64;
        let mut chart = ChartBuilder::on(area)
            .margin(12)
            .caption(format!("{} values", self.total()), caption())
            .x_label_area_size(48)
            .y_label_area_size(84)
            .build_cartesian_2d(start..end, 0.0..most * 1.05)?;
        style(&mut chart.configure_mesh())
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .x_desc("value")
            .y_desc("values in a bin")
            .x_labels(10)
            .y_labels(8)
            .x_label_formatter(&|value| figure(*value, end - start))
            .y_label_formatter(&|count| figure(*count, most))
            .draw()?;
        let bars = self.bins().zip(&self.counts).map(|(bin, count)| {
            let corners = [(bin.start, 0.0), (bin.end, *count as f64)];
            Rectangle::new(corners, RGBColor(87, 119, 173).filled())
        });
        chart.draw_series(bars)?;
        let scale = self.total() as f64 * (end - start) / self.counts.len() as f64;
        let line = (0..=900).map(|step| {
            let at = start + (end - start) * f64::from(step) / 900.0;
            (at, scale * density(at))
        });
        chart.draw_series(LineSeries::new(line, RGBColor(203, 75, 22).stroke_width(2)))?;
        area.present()?;
        Ok(())
    }
}

/// The values of one share of the work: the same for the same seed and share, whoever draws them.
pub fn draw(seed: u64, share: usize, values: usize) -> impl Iterator<Item = f64> {
    // Streams of neighbouring shares have nothing in common: the generator spreads each bit of its seed.
    let mut random = StdRng::seed_from_u64(seed ^ (share as u64).rotate_left(32));
    (0..values).map(move |_| {
        let [bell, radius, angle]: [f64; 3] = random.random();
        let (_, middle, deviation) = BELLS[usize::from(bell >= BELLS[0].0)];
        // Box and Muller: two numbers that are spread evenly make one that is spread like a bell. `radius` is below 1.
        middle + deviation * (-2.0 * (1.0 - radius).ln()).sqrt() * (TAU * angle).cos()
    })
}

/// The density of what [`draw`] draws.
fn density(value: f64) -> f64 {
    let bell = |(part, middle, deviation): (f64, f64, f64)| {
        let distance = (value - middle) / deviation;
        part * (-0.5 * distance * distance).exp() / (deviation * TAU.sqrt())
    };
    BELLS.into_iter().map(bell).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_counted_once() {
        let mut histogram = Histogram::new(-1.0..1.0, NonZeroUsize::new(4).unwrap());
        let values = [
            -1.0,
            -0.5,
            -0.1,
            0.99,
            1.0,
            -1.01,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        values.into_iter().for_each(|value| histogram.add(value));
        assert_eq!(histogram.counts(), [1, 2, 0, 1]);
        assert_eq!((histogram.outside(), histogram.total()), (5, 9));
        let bins: Vec<_> = histogram.bins().collect();
        assert_eq!(bins, [-1.0..-0.5, -0.5..0.0, 0.0..0.5, 0.5..1.0]);
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!((twice.counts(), twice.total()), (&[2, 4, 0, 2][..], 18));
    }

    #[test]
    fn values_are_those_of_the_density() {
        let mut histogram = Histogram::new(-5.0..5.0, NonZeroUsize::new(20).unwrap());
        let total = 200_000;
        draw(1, 0, total).for_each(|value| histogram.add(value));
        for (bin, count) in histogram.bins().zip(histogram.counts()) {
            let steps = (0..100).map(|step| bin.start + 0.5 * (f64::from(step) + 0.5) / 100.0);
            let expected = total as f64 * steps.map(density).sum::<f64>() * 0.5 / 100.0;
            let difference = (*count as f64 - expected).abs();
            assert!(
                difference < 5.0 * expected.sqrt() + 5.0,
                "{bin:?}: {count}, not {expected}"
            );
        }
    }

    #[test]
    fn shares_differ_and_come_again() {
        let values = |seed, share| draw(seed, share, 3).collect::<Vec<_>>();
        assert_eq!(values(1, 2), values(1, 2));
        assert_ne!(values(1, 2), values(1, 3));
        assert_ne!(values(1, 2), values(2, 2));
    }
}

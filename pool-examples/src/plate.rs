//! A plate whose heat spreads: the heat equation in two dimensions, by explicit steps. The plate's edges let no heat through.

use std::path::Path;

use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, Ix2};
use plotters::prelude::*;
use pool_shm::{BlockMut, HaloBlock};

use crate::axes::{Area, Scale, caption, figure, paint, style, write_png};
use crate::failure::Failure;

/// How much of the difference to its four neighbours a cell takes over in a step. Above a quarter the scheme is not stable.
const RATE: f64 = 0.2;

/// The highest temperature of a plate at the start, in degrees; the lowest is 0.
pub const HOTTEST: f64 = 100.0;

const SCALE: Scale<'static> = Scale {
    range: 0.0..HOTTEST,
    meaning: "temperature (degrees)",
};

/// The temperature of cell `(row, col)` of a plate at the start: a hot ring and a warm bar on a cold plate.
#[must_use]
pub fn start(shape: (usize, usize), (row, col): (usize, usize)) -> f64 {
    let part = |at: usize, of: usize| (at as f64 + 0.5) / of as f64;
    let (y, x) = (part(row, shape.0), part(col, shape.1));
    let distance = (x - 0.35).hypot(y - 0.4);
    if (0.15..0.22).contains(&distance) {
        HOTTEST
    } else if (0.7..0.85).contains(&x) && (0.15..0.9).contains(&y) {
        HOTTEST * 0.6
    } else {
        0.0
    }
}

/// Task: the next state of a tile, from the state before and its rim of one cell. The largest change of a cell.
pub fn step((mut next, now): (BlockMut<'_, f64, Ix2>, HaloBlock<'_, f64, Ix2>)) -> f64 {
    let begin = (now.rim_before(Axis(0)), now.rim_before(Axis(1)));
    relax(now.halo_view(), begin, next.view_mut())
}

/// Computes one step of the cells of `next`, which lie from `begin` on in `around`. Beyond the ends of `around` it is as warm as at them.
/// The largest change of a cell.
pub fn relax(
    around: ArrayView2<'_, f64>,
    begin: (usize, usize),
    mut next: ArrayViewMut2<'_, f64>,
) -> f64 {
    let (rows, cols) = around.dim();
    let near = |at: usize, len: usize| [at.saturating_sub(1), at, (at + 1).min(len - 1)];
    let mut largest = 0.0_f64;
    for (i, mut row) in next.rows_mut().into_iter().enumerate() {
        let [above, now, below] = near(begin.0 + i, rows).map(|row| around.row(row));
        for (j, cell) in row.iter_mut().enumerate() {
            let [left, at, right] = near(begin.1 + j, cols);
            let inflow = above[at] + below[at] + now[left] + now[right] - 4.0 * now[at];
            let change = RATE * inflow;
            *cell = now[at] + change;
            largest = largest.max(change.abs());
        }
    }
    largest
}

/// The state after `steps` steps, computed in one piece by this thread.
#[must_use]
pub fn sequential(mut now: Array2<f64>, steps: usize) -> Array2<f64> {
    let mut next = now.clone();
    for _ in 0..steps {
        relax(now.view(), (0, 0), next.view_mut());
        std::mem::swap(&mut now, &mut next);
    }
    now
}

/// The plate before and after, in colours.
#[derive(Clone, Debug)]
pub struct Picture<'a> {
    /// The temperatures at the start.
    pub before: ArrayView2<'a, f64>,
    /// The temperatures at the end.
    pub after: ArrayView2<'a, f64>,
    /// How many steps lie between them.
    pub steps: usize,
}

impl Picture<'_> {
    /// Draws both plates side by side and writes the picture to `path` as PNG.
    ///
    /// # Errors
    ///
    /// A [`Failure::input`] if `path` cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        write_png(path, (1110, 506), |area| self.draw(area))
    }

    fn draw(&self, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
        area.fill(&WHITE)?;
        let (plates, bar) = area.split_horizontally(1000);
        let (left, right) = plates.split_horizontally(500);
        draw_plate(&left, self.before, "at the start")?;
        let title = match self.steps {
            1 => "after 1 step".to_owned(),
            steps => format!("after {steps} steps"),
        };
        draw_plate(&right, self.after, &title)?;
        SCALE.draw(&bar, (45, 40))?;
        area.present()?;
        Ok(())
    }
}

fn draw_plate(
    area: &Area<'_>,
    plate: ArrayView2<'_, f64>,
    title: &str,
) -> Result<(), Box<dyn std::error::Error>> {
    let (rows, cols) = plate.dim();
    let mut chart = ChartBuilder::on(area)
        .margin(10)
        .caption(title, caption())
        .x_label_area_size(30)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..cols as f64, rows as f64..0.0)?;
    let cell = |middle: f64, count: usize| ((middle * count as f64) as usize).min(count - 1);
    paint(&chart, |x, y| {
        // Row 0 is at the top.
        let row = cell(1.0 - f64::midpoint(y.start, y.end), rows);
        SCALE.colour(plate[[row, cell(f64::midpoint(x.start, x.end), cols)]])
    })?;
    style(&mut chart.configure_mesh())
        .disable_mesh()
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|col| figure(*col, cols as f64))
        .y_label_formatter(&|row| figure(*row, rows as f64))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heat_spreads_and_none_is_lost() {
        let shape = (30, 40);
        let plate = Array2::from_shape_fn(shape, |cell| start(shape, cell));
        let later = sequential(plate.clone(), 200);
        assert!((later.sum() - plate.sum()).abs() < 1e-6 * plate.sum());
        let spread = |plate: &Array2<f64>| plate.std(0.0);
        assert!(spread(&later) < 0.9 * spread(&plate));
        let mean = plate.mean().unwrap();
        let even = sequential(plate, 20_000);
        assert!(even.iter().all(|cell| (cell - mean).abs() < 1e-3), "{even}");
    }

    #[test]
    fn one_step_is_that_of_the_formula() {
        let plate = Array2::from_shape_fn((3, 3), |(i, j)| f64::from(u8::from(i == 1 && j == 1)));
        let next = sequential(plate, 1);
        let expected = ndarray::array![[0.0, 0.2, 0.0], [0.2, 1.0 - 0.8, 0.2], [0.0, 0.2, 0.0]];
        assert!((next - expected).iter().all(|cell| cell.abs() < 1e-15));
    }
}

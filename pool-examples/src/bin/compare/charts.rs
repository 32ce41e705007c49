//! The pictures: our figure beside each peer's as bars, and how figures grow as curves.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use pool_examples::failure::Failure;
use pool_examples::font::{self, FONT, INK};

use crate::case::OURS;
use crate::measure::Outcome;
use crate::report::digits;

/// Colours that stay apart for every eye; the first is ours.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 90, 181),
    RGBColor(220, 120, 0),
    RGBColor(0, 135, 108),
    RGBColor(170, 50, 120),
    RGBColor(90, 90, 90),
    RGBColor(140, 110, 40),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws `ratios.svg`, and `growth-NAME.svg` for each picture of growth.
pub(crate) fn write(folder: &Path, outcomes: &[Outcome]) -> Result<(), Failure> {
    font::register();
    let bars = bars(outcomes);
    if !bars.is_empty() {
        let height = 90 + 22 * bars.len() as u32;
        draw(&folder.join("ratios.svg"), (900, height), |area| {
            draw_bars(area, &bars)
        })?;
    }
    let mut pictures: Vec<&str> = outcomes
        .iter()
        .filter_map(|of| Some(of.growth?.picture))
        .collect();
    pictures.dedup();
    for picture in pictures {
        let points = outcomes
            .iter()
            .filter(|of| of.growth.is_some_and(|growth| growth.picture == picture));
        let points: Vec<&Outcome> = points.collect();
        draw(
            &folder.join(format!("growth-{picture}.svg")),
            (760, 460),
            |area| draw_curves(area, &points),
        )?;
    }
    Ok(())
}

fn draw(
    path: &Path,
    size: (u32, u32),
    picture: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), Failure> {
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)
        .map_err(Into::into)
        .and_then(|()| picture(&area))
        .and_then(|()| Ok(area.present()?))
        .map_err(|error| Failure::input(format!("cannot draw {}: {error}", path.display())))
}

/// How many times better we are than a peer, with what is measured.
struct Bar {
    text: String,
    times: f64,
}

fn bars(outcomes: &[Outcome]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for outcome in outcomes.iter().filter(|outcome| outcome.growth.is_none()) {
        // Other ways of ours to do it begin with our name too.
        let peers = outcome
            .figures
            .iter()
            .filter(|(name, _)| !name.starts_with(OURS));
        for (peer, _) in peers {
            let ratio = outcome
                .ratio(peer)
                .filter(|ratio| ratio.is_finite() && *ratio > 0.0);
            let Some(ratio) = ratio else { continue };
            let times = if outcome.unit.is_rate() {
                ratio
            } else {
                1.0 / ratio
            };
            bars.push(Bar {
                text: format!("{}, {peer}: {}", outcome.name, digits(times)),
                times,
            });
        }
    }
    bars
}

fn draw_bars(area: &Area<'_>, bars: &[Bar]) -> Result<(), Box<dyn std::error::Error>> {
    let area = area.titled(
        "times better than the peer (1: equal)",
        (FONT, 18).into_font().color(&INK),
    )?;
    let extremes = bars.iter().fold((0.5_f64, 2.0_f64), |(low, high), bar| {
        (low.min(bar.times), high.max(bar.times))
    });
    let (low, high) = (extremes.0 / 1.3, extremes.1 * 1.3);
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .margin_right(30)
        .x_label_area_size(30)
        .y_label_area_size(270)
        .build_cartesian_2d((low..high).log_scale(), 0.0..bars.len() as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .y_labels(0)
        .axis_style(INK)
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 13).into_font().color(&INK))
        .x_label_formatter(&|times| format!("{times}"))
        .draw()?;
    let (left, top) = area.get_base_pixel();
    for (place, bar) in bars.iter().rev().enumerate() {
        let middle = place as f64 + 0.5;
        let colour = if bar.times >= 1.0 {
            COLOURS[0]
        } else {
            COLOURS[1]
        };
        chart.draw_series([Rectangle::new(
            [(1.0, middle - 0.35), (bar.times, middle + 0.35)],
            colour.filled(),
        )])?;
        let (x, y) = chart.backend_coord(&(low, middle));
        let style = (FONT, 13).into_font().color(&INK);
        area.draw_text(&bar.text, &style, (x - left - 262, y - top - 4))?;
    }
    Ok(())
}

fn draw_curves(area: &Area<'_>, points: &[&Outcome]) -> Result<(), Box<dyn std::error::Error>> {
    let curves = curves(points);
    let all = || curves.iter().flat_map(|(_, curve)| curve);
    let range = |value: fn(&(f64, f64)) -> f64| {
        all()
            .map(value)
            .fold((f64::MAX, f64::MIN_POSITIVE), |(low, high), value| {
                (low.min(value), high.max(value))
            })
    };
    let (x, y) = (range(|point| point.0), range(|point| point.1));
    let growth = points[0]
        .growth
        .ok_or("a point of growth has its place on the axis")?;
    let caption = format!("median time by {}, shorter is better", growth.axis);
    let mut chart = ChartBuilder::on(area)
        .caption(caption, (FONT, 18).into_font().color(&INK))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d((x.0..x.1).log_scale(), (y.0 / 1.5..y.1 * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .light_line_style(TRANSPARENT)
        .label_style((FONT, 13).into_font().color(&INK))
        .axis_desc_style((FONT, 15).into_font().color(&INK))
        .x_desc(growth.axis)
        .y_desc(points[0].unit.text())
        .x_labels(6)
        .x_label_formatter(&|value| figure(*value))
        .y_label_formatter(&|value| figure(*value))
        .draw()?;
    for ((name, curve), colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart
            .draw_series(LineSeries::new(curve.iter().copied(), style))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        chart.draw_series(
            curve
                .iter()
                .map(|point| Circle::new(*point, 3, colour.filled())),
        )?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperMiddle)
        .label_font((FONT, 14).into_font().color(&INK))
        .border_style(INK)
        .background_style(WHITE)
        .draw()?;
    Ok(())
}

/// The points of each contender, in the order in which they first appear.
fn curves<'a>(points: &[&'a Outcome]) -> Vec<(&'a str, Vec<(f64, f64)>)> {
    let mut curves: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for point in points {
        let Some(growth) = point.growth else { continue };
        for (name, figures) in &point.figures {
            let at = (growth.at, figures.median());
            match curves.iter_mut().find(|(of, _)| of == name) {
                Some((_, curve)) => curve.push(at),
                None => curves.push((name, vec![at])),
            }
        }
    }
    curves
}

/// A figure of a logarithmic axis.
fn figure(value: f64) -> String {
    if (0.01..10_000.0).contains(&value) {
        digits(value)
    } else {
        format!("{value:e}")
    }
}

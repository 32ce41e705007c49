//! The table in Markdown and the figures as CSV.

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use pool_examples::failure::Failure;
use pool_examples::replace::replace;
use pool_examples::table;

use crate::case::{Case, OURS, Target, Unit};
use crate::machine::Machine;
use crate::measure::Outcome;

/// Prints what can be measured.
pub(crate) fn list(cases: &[Case], out: &mut dyn Write) -> Result<(), Failure> {
    let mut list = table::new(&["case", "what", "target"]);
    for column in list.column_iter_mut() {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    for case in cases {
        list.add_row([case.name, case.what, &target(case.target, case.unit)]);
    }
    writeln!(out, "{list}")?;
    Ok(())
}

/// The whole report.
pub(crate) fn markdown(outcomes: &[Outcome], machine: &Machine) -> Result<String, Failure> {
    let mut text = String::from("# Comparison with peers\n\n");
    text.push_str(
        "Medians of rounds that the contenders took in turns, in one run. *Ratio* is our figure divided by the peer's; of times and sizes, less \
         than 1 is better, of rates (GB/s, M/s) more.\n\n",
    );
    for (what, value) in &machine.lines {
        writeln!(text, "- {what}: {value}")?;
    }
    let mut groups: Vec<&str> = outcomes.iter().map(|outcome| outcome.group).collect();
    groups.dedup();
    for group in groups {
        let of_group = outcomes.iter().filter(|outcome| outcome.group == group);
        let of_group: Vec<&Outcome> = of_group.collect();
        writeln!(text, "\n## {group}\n\n{}", figures(&of_group))?;
    }
    let aimed: Vec<&Outcome> = outcomes
        .iter()
        .filter(|outcome| !matches!(outcome.target, Target::None))
        .collect();
    if !aimed.is_empty() {
        writeln!(text, "\n## Targets\n\n{}", targets(&aimed))?;
    }
    Ok(text)
}

/// One line for each contender of each case.
fn figures(outcomes: &[&Outcome]) -> comfy_table::Table {
    let mut figures = table::new(&[
        "case",
        "contender",
        "median",
        "least",
        "greatest",
        "unit",
        "ratio",
    ]);
    for outcome in outcomes {
        for (name, of) in &outcome.figures {
            let ours = *name == OURS;
            let ratio = outcome.ratio(name).filter(|_| !ours);
            figures.add_row([
                if ours { outcome.what } else { "" },
                name,
                &digits(of.median()),
                &digits(of.least()),
                &digits(of.greatest()),
                outcome.unit.text(),
                &ratio.map_or_else(|| "-".to_owned(), digits),
            ]);
        }
    }
    if let Some(column) = figures.column_mut(1) {
        column.set_cell_alignment(comfy_table::CellAlignment::Left);
    }
    figures
}

/// Each target beside its figure.
fn targets(outcomes: &[&Outcome]) -> comfy_table::Table {
    let mut targets = table::new(&["case", "target", "figure", "met"]);
    for outcome in outcomes {
        let verdict = outcome.verdict();
        targets.add_row([
            outcome.what,
            &target(outcome.target, outcome.unit),
            &verdict.map_or_else(|| "-".to_owned(), |(figure, _)| digits(figure)),
            verdict.map_or("not measured", |(_, met)| if met { "yes" } else { "no" }),
        ]);
    }
    targets
}

fn target(target: Target, unit: Unit) -> String {
    match target {
        Target::None => "-".to_owned(),
        Target::AtMost(limit) => format!("at most {} {}", digits(limit), unit.text()),
        Target::AtLeast(limit) => format!("at least {} {}", digits(limit), unit.text()),
        Target::AtMostTimes(limit, peer) => format!("at most {} x {peer}", digits(limit)),
        Target::AtLeastTimes(limit, peer) => format!("at least {} x {peer}", digits(limit)),
    }
}

/// Three significant digits.
pub(crate) fn digits(figure: f64) -> String {
    if figure == 0.0 || !figure.is_finite() {
        return format!("{figure}");
    }
    let before = figure.abs().log10().floor() as i32 + 1;
    let text = format!("{figure:.0$}", (3 - before).clamp(0, 9) as usize);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Writes `results.md` and `results.csv`.
pub(crate) fn write(folder: &Path, text: &str, outcomes: &[Outcome]) -> Result<(), Failure> {
    let explain = |name: &str, error: std::io::Error| {
        Failure::input(format!(
            "cannot write {}: {error}",
            folder.join(name).display()
        ))
    };
    replace(&folder.join("results.md"), |file| {
        file.write_all(text.as_bytes())
    })
    .map_err(|error| explain("results.md", error))?;
    replace(&folder.join("results.csv"), |file| {
        let mut rows = csv::Writer::from_writer(file);
        rows.write_record([
            "case",
            "contender",
            "unit",
            "median",
            "least",
            "greatest",
            "rounds",
        ])?;
        for outcome in outcomes {
            for (name, of) in &outcome.figures {
                rows.write_record([
                    outcome.name,
                    name,
                    outcome.unit.text(),
                    &of.median().to_string(),
                    &of.least().to_string(),
                    &of.greatest().to_string(),
                    &of.count().to_string(),
                ])?;
            }
        }
        rows.flush()
    })
    .map_err(|error| explain("results.csv", error))?;
    Ok(())
}

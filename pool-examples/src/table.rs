//! Tables and figures as the programs print them.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};

/// A table in Markdown: the first column to the left, figures to the right.
///
/// ```
/// let mut table = pool_examples::table::new(&["worker", "rows"]);
/// table.add_row(["0", "1200"]);
/// assert_eq!(table.to_string(), "| worker | rows |\n|--------|------|\n| 0      | 1200 |");
/// ```
pub fn new(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A number and what it counts, in the plural unless it is one.
///
/// ```
/// use pool_examples::table::count;
///
/// assert_eq!(count(1, "worker"), "1 worker");
/// assert_eq!(count(20, "worker"), "20 workers");
/// ```
pub fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// A size with a binary unit: `812 B`, `44.1 KiB`, `3.0 GiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = "B";
    for next in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{value:.1} {unit}")
}

/// A duration with a unit that suits it: `830 µs`, `12.3 ms`, `4.20 s`.
pub fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 1e-3 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{:.0} µs", seconds * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_largest_unit_that_fits() {
        let texts: Vec<String> = [0, 1023, 1024, 45_158, 3 << 30, u64::MAX].map(bytes).into();
        assert_eq!(
            texts,
            [
                "0 B", "1023 B", "1.0 KiB", "44.1 KiB", "3.0 GiB", "16.0 EiB"
            ]
        );
    }

    #[test]
    fn times_have_a_unit_that_suits() {
        let texts = [0, 830, 12_340, 4_200_000].map(|micros| time(Duration::from_micros(micros)));
        assert_eq!(texts, ["0 µs", "830 µs", "12.3 ms", "4.20 s"]);
    }
}

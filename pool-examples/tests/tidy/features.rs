//! Rules about `docs/features.md`: what is promised there is shown by a test that exists.

use std::collections::BTreeSet;

use proc_macro2::{Delimiter, TokenTree};

use crate::rules::Violation;
use crate::source::{self, Source};

/// Every test that the document names exists, and every row that does not say "later" names one.
///
/// A test is named as `crate/tests/file.rs::name`. `crate/src/file.rs::Name` may stand for an item whose documentation holds examples.
pub(crate) fn features_are_shown(document: &str, sources: &[Source]) -> Vec<Violation> {
    document
        .lines()
        .enumerate()
        .flat_map(|(number, line)| row(number + 1, line, sources))
        .collect()
}

/// No feature stands twice in a section, and none is called "later" beside a row that has it, or a kind of it.
///
/// "pipes, later" is wrong beside "pipes: typed messages, yes", and "mutex, pipe, later" beside "pipe, yes".
pub(crate) fn features_stand_once(document: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut section: Vec<(usize, &str, bool)> = Vec::new();
    for (number, line) in (1..).zip(document.lines()) {
        if line.starts_with('#') {
            violations.extend(late_rows(&section));
            section.clear();
        }
        let Some([feature, here, _]) = cells(line) else {
            continue;
        };
        let feature = feature.trim_matches('*');
        if let Some((first, ..)) = section.iter().find(|(_, other, _)| *other == feature) {
            violations.push(Violation(format!(
                "docs/features.md:{number}: `{feature}` stands in line {first} already; keep one row"
            )));
        }
        section.push((number, feature, here.starts_with("later")));
    }
    violations.extend(late_rows(&section));
    violations
}

/// The rows of a section that say "later" of what another row has.
fn late_rows(section: &[(usize, &str, bool)]) -> Vec<Violation> {
    let here = || section.iter().filter(|(_, _, is_later)| !is_later);
    let late = section.iter().filter(|(_, _, is_later)| *is_later);
    late.filter_map(|(number, feature, _)| {
        let (first, _, _) = here().find(|(_, other, _)| {
            let mut parts = feature.split([',', ';']).map(str::trim);
            parts.any(|part| is_kind_of(other, part))
        })?;
        Some(Violation(format!(
            "docs/features.md:{number}: `{feature}` is called \"later\", but line {first} has it"
        )))
    })
    .collect()
}

/// Whether `feature` is `part`, or begins with it as a word.
fn is_kind_of(feature: &str, part: &str) -> bool {
    let rest = feature.strip_prefix(part);
    rest.is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '-'))
}

/// The cells of a row of a table of features: the feature, what is here, and what shows it. None for other lines and for headers.
fn cells(line: &str) -> Option<[&str; 3]> {
    let is_row = line.starts_with('|') && !line.starts_with("|---");
    let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
    let cells = <[&str; 3]>::try_from(cells).ok()?.map(str::trim);
    (is_row && cells[2] != "shown by").then_some(cells)
}

fn row(number: usize, line: &str, sources: &[Source]) -> Vec<Violation> {
    let Some([feature, here, shown]) = cells(line) else {
        return Vec::new();
    };
    let shown: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
    if shown.is_empty() && !here.starts_with("later") {
        return vec![Violation(format!(
            "docs/features.md:{number}: names no test for `{feature}`"
        ))];
    }
    let missing = shown.into_iter().filter(|name| !exists(name, sources));
    missing
        .map(|name| {
            Violation(format!(
                "docs/features.md:{number}: there is no test `{name}`"
            ))
        })
        .collect()
}

fn exists(name: &str, sources: &[Source]) -> bool {
    name.split_once("::").is_some_and(|(path, name)| {
        sources
            .iter()
            .filter(|source| source.path == path)
            .any(|source| tests(source).contains(name) || has_example(source, name))
    })
}

/// The functions with an attribute that ends in `test`, also inside modules and macros.
fn tests(source: &Source) -> BTreeSet<String> {
    let mut marked = false;
    let mut names = BTreeSet::new();
    for window in source.tokens().windows(2) {
        match window {
            [TokenTree::Punct(sign), TokenTree::Group(group)]
                if sign.as_char() == '#' && group.delimiter() == Delimiter::Bracket =>
            {
                let last = group.stream().into_iter().last();
                marked |= matches!(last, Some(TokenTree::Ident(ident)) if ident == "test");
            }
            [TokenTree::Ident(word), TokenTree::Ident(name)]
                if word == "fn" && std::mem::take(&mut marked) =>
            {
                names.insert(name.to_string());
            }
            _ => {}
        }
    }
    names
}

/// Whether an item of this name stands at the top of the file with a code block in its documentation.
fn has_example(source: &Source, name: &str) -> bool {
    source.file.items.iter().any(|item| {
        let ident = match item {
            syn::Item::Trait(item) => &item.ident,
            syn::Item::Struct(item) => &item.ident,
            syn::Item::Enum(item) => &item.ident,
            syn::Item::Fn(item) => &item.sig.ident,
            _ => return false,
        };
        let documented = |attribute: &syn::Attribute| {
            attribute.path().is_ident("doc")
                && attribute.meta.require_name_value().is_ok_and(|meta| {
                    matches!(&meta.value, syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. })
                        if text.value().trim().starts_with("```"))
                })
        };
        ident == name && source::attributes(item).iter().any(documented)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources() -> [Source; 1] {
        let text = "/// A page.\n/// ```\n/// x();\n/// ```\npub trait Shown {}\npub trait Bare {}\n\
            #[test]\n#[ignore]\nfn real() {}\nfn helper() {}\n\
            proptest! { #[test] fn generated(x: u8) {} }\n#[cfg(test)]\nmod tests { fn inner() {} }\n";
        [Source::parse("pool-x/tests/a.rs", text)]
    }

    fn complaints(row: &str) -> usize {
        features_are_shown(row, &sources()).len()
    }

    #[test]
    fn tests_that_exist_are_found() {
        for name in ["real", "generated", "Shown"] {
            assert_eq!(
                complaints(&format!("| a | yes | `pool-x/tests/a.rs::{name}` |")),
                0,
                "{name}"
            );
        }
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        for name in ["gone", "helper", "inner", "Bare"] {
            assert_eq!(
                complaints(&format!("| a | yes | `pool-x/tests/a.rs::{name}` |")),
                1,
                "{name}"
            );
        }
        assert_eq!(complaints("| a | yes | `pool-x/tests/b.rs::real` |"), 1);
    }

    #[test]
    fn a_promise_without_a_test_is_found() {
        assert_eq!(complaints("| a | yes | |"), 1);
        assert_eq!(complaints("| a | later | |"), 0);
        assert_eq!(
            complaints("| feature | here | shown by |\n|---|---|---|"),
            0
        );
    }

    fn repeated(rows: &[&str]) -> usize {
        features_stand_once(&rows.join("\n")).len()
    }

    #[test]
    fn a_feature_that_stands_twice_is_found() {
        let row = "| a lock | yes | `t` |";
        assert_eq!(repeated(&[row, "| **a lock** | later | |"]), 2);
        assert_eq!(repeated(&[row, "| a lock | partly | `u` |", row]), 2);
        assert_eq!(repeated(&[row, "", "## Another section", row]), 0);
    }

    #[test]
    fn a_feature_that_is_there_is_not_called_later() {
        let rows = ["| pipes: duplex | yes | `t` |", "| event | yes | `t` |"];
        for late in ["pipes", "lock, event", "lock; pipes"] {
            assert_eq!(
                repeated(&[rows[0], rows[1], &format!("| {late} | later | |")]),
                1,
                "{late}"
            );
        }
        for late in ["pipe", "several events", "lock", "pipes: duplex and more"] {
            assert_eq!(
                repeated(&[rows[0], rows[1], &format!("| {late} | later | |")]),
                0,
                "{late}"
            );
        }
    }
}

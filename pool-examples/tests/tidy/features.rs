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

fn row(number: usize, line: &str, sources: &[Source]) -> Vec<Violation> {
    let cells: Vec<&str> = line.trim().trim_matches('|').split('|').collect();
    let is_row = line.starts_with('|') && !line.starts_with("|---") && cells.len() == 3;
    if !is_row || cells[2].trim() == "shown by" {
        return Vec::new();
    }
    let shown: Vec<&str> = cells[2].split('`').skip(1).step_by(2).collect();
    if shown.is_empty() && !cells[1].trim().starts_with("later") {
        return vec![Violation(format!(
            "docs/features.md:{number}: names no test for `{}`",
            cells[0].trim()
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
}

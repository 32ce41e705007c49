//! Rules about the workspace as a whole: how crates, files and documents fit each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::rules::Violation;
use crate::source::Source;

/// Crates depend downwards only: `edges` are (crate, its dependency), `order` names the lowest crate first.
pub(crate) fn crates_point_downwards(edges: &[(String, String)], order: &[&str]) -> Vec<Violation> {
    let rank = |name: &str| order.iter().position(|crate_name| *crate_name == name);
    edges
        .iter()
        .filter_map(|(from, to)| match (rank(from), rank(to)) {
            (Some(from_rank), Some(to_rank)) if to_rank >= from_rank => Some(Violation(format!(
                "{from} depends on {to}, which stands above it"
            ))),
            (None, _) => Some(Violation(format!(
                "{from} is a crate that the order does not name"
            ))),
            _ => None,
        })
        .collect()
}

/// Each end of a Release/Acquire pair carries the pair's name in a `SYNC:` comment, so every name stands at least twice.
pub(crate) fn sync_names_are_paired(sources: &[&Source]) -> Vec<Violation> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for source in sources {
        for (number, line) in source.text.lines().enumerate() {
            for name in sync_names(line) {
                places
                    .entry(name)
                    .or_default()
                    .push(format!("{}:{}", source.path, number + 1));
            }
        }
    }
    let alone = places.into_iter().filter(|(_, places)| places.len() < 2);
    alone
        .map(|(name, places)| Violation(format!("{}: `SYNC: {name}` has no other end", places[0])))
        .collect()
}

/// The code map names every module file, and every file that it names exists.
///
/// `document` is ARCHITECTURE.md; a module is named by its path from the workspace's root in back quotes, or, inside a list
/// below the heading of its crate, as the code map writes it: always `crate/src/….rs`.
pub(crate) fn code_map_is_complete(document: &str, modules: &[&str]) -> Vec<Violation> {
    let named: BTreeSet<&str> = quoted(document)
        .filter(|path| path.contains("/src/") && path.ends_with(".rs"))
        .collect();
    let existing: BTreeSet<&str> = modules.iter().copied().collect();
    let missing = existing
        .difference(&named)
        .map(|path| Violation(format!("ARCHITECTURE.md does not name `{path}`")));
    let stale = named.difference(&existing).map(|path| {
        Violation(format!(
            "ARCHITECTURE.md names `{path}`, which does not exist"
        ))
    });
    missing.chain(stale).collect()
}

/// Every `cargo` command that the README tells a reader to run is run by `.ci/run`, letter by letter.
pub(crate) fn commands_are_checked(readme: &str, ci: &str) -> Vec<Violation> {
    let checked: Vec<&str> = ci.lines().map(str::trim).collect();
    let runs = |command: &str| checked.iter().any(|line| line.ends_with(command));
    let commands = shell_lines(readme).filter(|line| line.starts_with("cargo "));
    commands
        .filter(|command| !runs(command))
        .map(|command| Violation(format!("README.md: `.ci/run` does not run `{command}`")))
        .collect()
}

/// Every program that can be run is shown in the README and run by `.ci/run`, and no other is shown.
pub(crate) fn programs_are_shown(readme: &str, ci: &str, programs: &[&str]) -> Vec<Violation> {
    let of = |document| named_programs(document).collect::<BTreeSet<&str>>();
    let exist: BTreeSet<&str> = programs.iter().copied().collect();
    let mut violations = Vec::new();
    for (name, shown) in [("README.md", of(readme)), (".ci/run", of(ci))] {
        let hidden = exist.difference(&shown);
        violations
            .extend(hidden.map(|program| Violation(format!("{name}: does not run `{program}`"))));
        let stale = shown.difference(&exist);
        violations.extend(
            stale.map(|program| Violation(format!("{name}: there is no program `{program}`"))),
        );
    }
    violations
}

/// The words behind `--bin`.
fn named_programs(document: &str) -> impl Iterator<Item = &str> {
    let rest = document.split("--bin ").skip(1);
    rest.filter_map(|rest| {
        rest.split(|c: char| c != '_' && !c.is_alphanumeric())
            .next()
    })
}

/// Both implementations of a `sys` module offer the same functions.
pub(crate) fn sys_modules_agree(
    folder: &str,
    linux: &[&Source],
    unsupported: &[&Source],
) -> Vec<Violation> {
    let (left, right) = (visible_functions(linux), visible_functions(unsupported));
    let missing = left.difference(&right).map(|name| {
        Violation(format!(
            "{folder}unsupported: lacks `{name}`, which linux has"
        ))
    });
    let extra = right.difference(&left).map(|name| {
        Violation(format!(
            "{folder}unsupported: has `{name}`, which linux lacks"
        ))
    });
    missing.chain(extra).collect()
}

/// Every entry of the list of files that may hold `unsafe` is a file that holds some.
pub(crate) fn unsafe_list_is_fresh(sources: &[Source], allowed: &[&str]) -> Vec<Violation> {
    let holds = |path: &&&str| {
        sources.iter().any(|source| {
            source.path == **path && !crate::rules::unsafe_is_listed(source, &[]).is_empty()
        })
    };
    allowed
        .iter()
        .filter(|path| !holds(path))
        .map(|path| Violation(format!("{path}: listed for `unsafe`, holds none")))
        .collect()
}

fn visible_functions(sources: &[&Source]) -> BTreeSet<String> {
    let items = sources.iter().flat_map(|source| &source.file.items);
    items
        .filter_map(|item| match item {
            syn::Item::Fn(function) if !matches!(function.vis, syn::Visibility::Inherited) => {
                Some(function.sig.ident.to_string())
            }
            _ => None,
        })
        .collect()
}

/// The names in a `// SYNC: first, second. Why.` comment of one line; what follows the names is for people.
fn sync_names(line: &str) -> Vec<String> {
    let Some((_, rest)) = line.split_once("// SYNC: ") else {
        return Vec::new();
    };
    let names = rest.split(['.', '(', ';', ':']).next().unwrap_or_default();
    names
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

fn quoted(document: &str) -> impl Iterator<Item = &str> {
    document
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// Lines inside fenced blocks marked `sh`.
fn shell_lines(document: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    document.lines().map(str::trim).filter(move |line| {
        if line.starts_with("```") {
            inside = *line == "```sh";
            return false;
        }
        inside
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(from: &str, to: &str) -> (String, String) {
        (from.to_owned(), to.to_owned())
    }

    #[test]
    fn an_upward_dependency_is_found() {
        let order = ["low", "high"];
        assert_eq!(
            crates_point_downwards(&[edge("high", "low"), edge("low", "serde")], &order),
            []
        );
        assert_eq!(
            crates_point_downwards(&[edge("low", "high")], &order)[0].0,
            "low depends on high, which stands above it"
        );
        assert_eq!(
            crates_point_downwards(&[edge("other", "low")], &order).len(),
            1
        );
    }

    #[test]
    fn a_lonely_sync_name_is_found() {
        let two = Source::parse(
            "pool-x/src/a.rs",
            "// SYNC: a-b\nfn f() {}\n// SYNC: a-b. Why, and more.\nfn g() {}\n",
        );
        assert_eq!(sync_names_are_paired(&[&two]), []);
        let one = Source::parse("pool-x/src/b.rs", "fn f() {} // SYNC: a-b, c\n");
        assert_eq!(
            sync_names_are_paired(&[&two, &one]),
            [Violation(
                "pool-x/src/b.rs:1: `SYNC: c` has no other end".to_owned()
            )]
        );
    }

    #[test]
    fn a_gap_in_the_code_map_is_found_and_a_stale_line_too() {
        let document = "- `pool-x/src/a.rs`: a\n- `pool-x/src/gone.rs`: b\n- `cargo test`\n";
        let violations = code_map_is_complete(document, &["pool-x/src/a.rs", "pool-x/src/new.rs"]);
        let texts: Vec<&str> = violations
            .iter()
            .map(|violation| violation.0.as_str())
            .collect();
        assert_eq!(
            texts,
            [
                "ARCHITECTURE.md does not name `pool-x/src/new.rs`",
                "ARCHITECTURE.md names `pool-x/src/gone.rs`, which does not exist",
            ]
        );
    }

    #[test]
    fn a_command_that_nobody_runs_is_found() {
        let readme = "```sh\ncargo test --workspace\n# a remark\ncargo run --bin x\n```\ncargo not a command\n";
        let violations = commands_are_checked(readme, "step \"tests\" cargo test --workspace\n");
        assert_eq!(
            violations,
            [Violation(
                "README.md: `.ci/run` does not run `cargo run --bin x`".to_owned()
            )]
        );
    }

    #[test]
    fn a_program_that_is_not_shown_is_found() {
        let violations = programs_are_shown(
            "`cargo run --bin a`, `--bin a -- x`",
            "--bin a\n--bin c\n",
            &["a", "b"],
        );
        assert_eq!(
            violations
                .iter()
                .map(|violation| violation.0.as_str())
                .collect::<Vec<_>>(),
            [
                "README.md: does not run `b`",
                ".ci/run: does not run `b`",
                ".ci/run: there is no program `c`",
            ]
        );
    }

    #[test]
    fn sys_modules_that_differ_are_found() {
        let linux = Source::parse(
            "pool-x/src/sys/linux.rs",
            "pub(crate) fn open() {}\nfn helper() {}\n",
        );
        let same = Source::parse("pool-x/src/sys/unsupported.rs", "pub(crate) fn open() {}\n");
        let other = Source::parse(
            "pool-x/src/sys/unsupported.rs",
            "pub(crate) fn close() {}\n",
        );
        assert_eq!(
            sys_modules_agree("pool-x/src/sys/", &[&linux], &[&same]),
            []
        );
        assert_eq!(
            sys_modules_agree("pool-x/src/sys/", &[&linux], &[&other]).len(),
            2
        );
    }

    #[test]
    fn a_stale_entry_of_the_unsafe_list_is_found() {
        let sources = [
            Source::parse("pool-x/src/a.rs", "unsafe fn f() {}"),
            Source::parse("pool-x/src/b.rs", "fn f() {}"),
        ];
        assert_eq!(unsafe_list_is_fresh(&sources, &["pool-x/src/a.rs"]), []);
        assert_eq!(
            unsafe_list_is_fresh(&sources, &["pool-x/src/b.rs", "pool-x/src/gone.rs"]).len(),
            2
        );
    }
}

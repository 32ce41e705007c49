//! The rules of the house, checked on the workspace as it is. Each rule is a function of its own with tests that show it can fail.

#[path = "tidy/features.rs"]
mod features;
#[path = "tidy/house.rs"]
mod house;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::fs;
use std::path::PathBuf;

use rules::Violation;
use source::{CRATES, Source};

/// The files that may hold `unsafe` and raw pointers.
const UNSAFE_FILES: &[&str] = &[
    "pool-core/src/identity.rs",
    "pool-core/src/index.rs",
    "pool-core/src/plain.rs",
    "pool-core/src/start/fork_server.rs",
    "pool-core/src/start/hook.rs",
    "pool-core/src/sys/linux.rs",
    "pool-core/src/sys/linux_code.rs",
    "pool-core/src/sys/linux_image.rs",
    "pool-core/src/sys/linux_worker.rs",
    "pool-core/src/sys/mod.rs",
    "pool-core/src/sys/unsupported.rs",
    "pool-core/src/worker/entry.rs",
    "pool-shm/src/array/frozen.rs",
    "pool-shm/src/array/part.rs",
    "pool-shm/src/array/locked.rs",
    "pool-shm/src/array/placed.rs",
    "pool-shm/src/array/private.rs",
    "pool-shm/src/array/raw.rs",
    "pool-shm/src/array/shared.rs",
    "pool-shm/src/atomics/array.rs",
    "pool-shm/src/atomics/cell.rs",
    "pool-shm/src/cells.rs",
    "pool-shm/src/file/array.rs",
    "pool-shm/src/fuzzing.rs",
    "pool-shm/src/lease/block.rs",
    "pool-shm/src/lease/blocks.rs",
    "pool-shm/src/lease/cuts.rs",
    "pool-shm/src/lease/tuples.rs",
    "pool-shm/src/segment/disk.rs",
    "pool-shm/src/segment/frozen.rs",
    "pool-shm/src/segment/map.rs",
    "pool-shm/src/segment/mapping.rs",
    "pool-shm/src/segment/private.rs",
    "pool-shm/src/shared.rs",
    "pool-shm/src/sync/event_count.rs",
    "pool-shm/src/sync/mutex.rs",
    "pool-shm/src/sync/protocol/reentrant.rs",
    "pool-shm/src/sync/raw_mutex.rs",
    "pool-shm/src/sys/linux_numa.rs",
    "pool-shm/src/sync/reentrant_mutex.rs",
    "pool-shm/src/sync/rw_lock.rs",
    "pool-shm/src/sys/linux_map.rs",
    "pool-shm/src/sys/linux_sync.rs",
    "pool-shm/src/sys/unsupported_map.rs",
    "pool-shm/src/sys/unsupported_sync.rs",
];

#[test]
fn lib_files_are_tables_of_contents() {
    each_source(|source| {
        [
            rules::lib_is_short(source),
            rules::lib_defines_nothing(source),
        ]
        .concat()
    });
}

#[test]
fn files_are_short() {
    each_source(rules::file_is_short);
}

#[test]
fn unsafe_stands_in_the_listed_files() {
    each_source(|source| rules::unsafe_is_listed(source, UNSAFE_FILES));
    report(house::unsafe_list_is_fresh(&sources(), UNSAFE_FILES));
}

#[test]
fn system_calls_stand_in_sys() {
    each_source(rules::system_calls_stand_in_sys);
}

#[test]
fn both_forms_of_a_sys_module_agree() {
    let sources = sources();
    for crate_name in CRATES {
        let folder = format!("{crate_name}/src/sys/");
        let part = |name: &str| -> Vec<&Source> {
            let belongs = |path: &str| {
                path.strip_prefix(&folder)
                    .is_some_and(|path| path.starts_with(name))
            };
            sources
                .iter()
                .filter(|source| belongs(&source.path))
                .collect()
        };
        report(house::sys_modules_agree(
            &folder,
            &part("linux"),
            &part("unsupported"),
        ));
    }
}

#[test]
fn no_lint_is_allowed_without_a_reason() {
    each_source(rules::nothing_is_allowed);
}

#[test]
fn nothing_sleeps() {
    each_source(rules::nothing_sleeps);
}

#[test]
fn sync_names_are_paired() {
    let sources = sources();
    let programs: Vec<&Source> = sources.iter().filter(|source| !source.is_test).collect();
    report(house::sync_names_are_paired(&programs));
}

#[test]
fn crates_point_downwards() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .current_dir(root())
        .no_deps()
        .exec()
        .expect("cargo metadata runs in the workspace");
    let edges: Vec<(String, String)> = metadata
        .packages
        .iter()
        .flat_map(|package| {
            package
                .dependencies
                .iter()
                .map(|dependency| (package.name.to_string(), dependency.name.clone()))
        })
        .collect();
    assert!(
        edges.len() > CRATES.len(),
        "cargo metadata shows no dependencies"
    );
    report(house::crates_point_downwards(&edges, &CRATES));
}

#[test]
fn the_code_map_names_every_module() {
    let sources = sources();
    let modules: Vec<&str> = sources
        .iter()
        .filter(|source| !source.is_test)
        .map(|source| source.path.as_str())
        .collect();
    report(house::code_map_is_complete(
        &read("ARCHITECTURE.md"),
        &modules,
    ));
}

#[test]
fn the_commands_of_the_readme_are_checked() {
    report(house::commands_are_checked(
        &read("README.md"),
        &read(".ci/run"),
    ));
}

#[test]
fn the_readme_shows_every_program() {
    let sources = sources();
    let programs = sources.iter().filter_map(|source| {
        let file = source.path.strip_prefix("pool-examples/src/bin/")?;
        let name = file.strip_suffix("/main.rs").or(file.strip_suffix(".rs"))?;
        (!name.contains('/')).then_some(name)
    });
    report(house::programs_are_shown(
        &read("README.md"),
        &read(".ci/run"),
        &programs.collect::<Vec<_>>(),
    ));
}

#[test]
fn features_stand_once() {
    report(features::features_stand_once(&read("docs/features.md")));
}

#[test]
fn features_are_shown_by_tests() {
    report(features::features_are_shown(
        &read("docs/features.md"),
        &sources(),
    ));
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .canonicalize()
        .expect("the workspace stands above this crate")
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn sources() -> Vec<Source> {
    let sources = source::workspace_sources(&root()).expect("the workspace's sources can be read");
    assert!(
        sources.len() > CRATES.len(),
        "found only {} source files",
        sources.len()
    );
    sources
}

fn each_source(rule: impl Fn(&Source) -> Vec<Violation>) {
    report(sources().iter().flat_map(rule).collect());
}

fn report(violations: Vec<Violation>) {
    let lines: Vec<String> = violations
        .into_iter()
        .map(|violation| violation.0)
        .collect();
    assert!(
        lines.is_empty(),
        "the rules of the house are broken in {} places:\n{}",
        lines.len(),
        lines.join("\n")
    );
}

//! Rules about one source file at a time: each takes a file and tells what breaks the rule.

use proc_macro2::TokenTree;

use crate::source::{self, Source};

/// `lib.rs` is a table of contents: at most this many lines.
const LIB_LINES: usize = 150;
/// Any file, without its tests.
const FILE_LINES: usize = 800;

/// A place that breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation(pub(crate) String);

/// `lib.rs` stays short.
pub(crate) fn lib_is_short(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    let breaks = source.path.ends_with("/src/lib.rs") && lines > LIB_LINES;
    breaks
        .then(|| {
            Violation(format!(
                "{}: {lines} lines, the ceiling for lib.rs is {LIB_LINES}",
                source.path
            ))
        })
        .into_iter()
        .collect()
}

/// `lib.rs` declares and exports; what it would define has a file of its own.
pub(crate) fn lib_defines_nothing(source: &Source) -> Vec<Violation> {
    if !source.path.ends_with("/src/lib.rs") {
        return Vec::new();
    }
    let defines = |item: &&syn::Item| match item {
        syn::Item::Mod(module) => module.content.is_some(),
        syn::Item::Use(_) | syn::Item::ExternCrate(_) => false,
        _ => true,
    };
    let items = source.file.items.iter().filter(defines);
    items
        .filter(|item| {
            !["test", "doctest"]
                .iter()
                .any(|word| source::is_configured_for(source::attributes(item), word))
        })
        .map(|item| {
            at(
                source,
                line(item),
                "lib.rs defines an item; give it a file and export it",
            )
        })
        .collect()
}

/// No file grows beyond what one reads in one go.
pub(crate) fn file_is_short(source: &Source) -> Vec<Violation> {
    let lines = source.program_lines();
    (lines > FILE_LINES)
        .then(|| {
            Violation(format!(
                "{}: {lines} lines without tests, the ceiling is {FILE_LINES}",
                source.path
            ))
        })
        .into_iter()
        .collect()
}

/// `unsafe` and raw pointers stand only in the files of `allowed`; one complaint a file, with the first line.
pub(crate) fn unsafe_is_listed(source: &Source, allowed: &[&str]) -> Vec<Violation> {
    if allowed.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut violations = program_matches(source, |window| {
        let pointee = |next| is_ident(next, "mut") || is_ident(next, "const");
        if is_ident(&window[0], "unsafe") {
            Some("`unsafe` in a file that is not listed for it")
        } else if is_punct(&window[0], '*') && window.get(1).is_some_and(pointee) {
            Some("a raw pointer in a file that is not listed for `unsafe`")
        } else {
            None
        }
    });
    violations.truncate(1);
    violations
}

/// System calls and questions about the platform stand behind a `sys` module.
pub(crate) fn system_calls_stand_in_sys(source: &Source) -> Vec<Violation> {
    if source.path.contains("/sys/") || source.path.ends_with("/sys.rs") {
        return Vec::new();
    }
    program_matches(source, |window| {
        let path = |name| is_ident(&window[0], name) && is_path_separator(&window[1..]);
        if path("libc") || path("rustix") {
            Some("a system call outside `sys/`")
        } else if is_ident(&window[0], "target_os") {
            Some("a question about the platform outside `sys/`")
        } else {
            None
        }
    })
}

/// Lints are expected with a reason, never allowed.
pub(crate) fn nothing_is_allowed(source: &Source) -> Vec<Violation> {
    let tokens = source.tokens();
    let mut violations = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let TokenTree::Group(group) = token else {
            continue;
        };
        let before = |back: usize, c| i >= back && is_punct(&tokens[i - back], c);
        if !(before(1, '#') || before(1, '!') && before(2, '#')) {
            continue;
        }
        if source::flat(group.stream())
            .iter()
            .any(|token| is_ident(token, "allow"))
        {
            violations.push(at(
                source,
                group.span().start().line,
                "`allow`; write `#[expect(lint, reason = \"…\")]`",
            ));
        }
    }
    violations
}

/// Everything waits for events, tests too.
pub(crate) fn nothing_sleeps(source: &Source) -> Vec<Violation> {
    let tokens = source.tokens();
    let sleeps = tokens.windows(4).filter(|window| {
        is_ident(&window[0], "thread")
            && is_path_separator(&window[1..])
            && is_ident(&window[3], "sleep")
    });
    sleeps
        .map(|window| {
            at(
                source,
                window[3].span().start().line,
                "`thread::sleep`; wait for an event",
            )
        })
        .collect()
}

/// Every place in the program, its tests left out, of which `rule` complains.
fn program_matches(
    source: &Source,
    rule: impl Fn(&[TokenTree]) -> Option<&'static str>,
) -> Vec<Violation> {
    let tokens = source.tokens();
    let complaints = (0..tokens.len())
        .filter_map(|i| Some((tokens[i].span().start().line, rule(&tokens[i..])?)));
    complaints
        .filter(|(line, _)| source.is_program(*line))
        .map(|(line, text)| at(source, line, text))
        .collect()
}

fn at(source: &Source, line: usize, text: &str) -> Violation {
    Violation(format!("{}:{line}: {text}", source.path))
}

fn line(item: &syn::Item) -> usize {
    use syn::spanned::Spanned;
    item.span().start().line
}

fn is_ident(token: &TokenTree, name: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == name)
}

fn is_punct(token: &TokenTree, c: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == c)
}

fn is_path_separator(tokens: &[TokenTree]) -> bool {
    tokens.len() >= 2 && is_punct(&tokens[0], ':') && is_punct(&tokens[1], ':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Source {
        Source::parse(path, text)
    }

    #[test]
    fn a_long_lib_breaks_the_ceiling() {
        let text = "//! x\n".repeat(LIB_LINES);
        assert!(lib_is_short(&file("pool-x/src/lib.rs", &text)).is_empty());
        let longer = text.clone() + "//! x\n";
        assert_eq!(lib_is_short(&file("pool-x/src/lib.rs", &longer)).len(), 1);
        assert!(lib_is_short(&file("pool-x/src/a.rs", &longer)).is_empty());
    }

    #[test]
    fn a_lib_that_defines_something_is_found() {
        let good = "//! page\nmod a;\npub use a::A;\n#[cfg(doctest)]\n#[doc = \"x\"]\npub struct Readme;\n#[cfg(test)]\nmod tests { fn f() {} }\n";
        assert_eq!(lib_defines_nothing(&file("pool-x/src/lib.rs", good)), []);
        for bad in ["fn f() {}", "mod a { }", "pub struct S;"] {
            assert_eq!(
                lib_defines_nothing(&file("pool-x/src/lib.rs", bad)).len(),
                1,
                "{bad}"
            );
        }
    }

    #[test]
    fn a_long_file_breaks_the_ceiling_but_its_tests_do_not_count() {
        let program = "fn f() {}\n".repeat(FILE_LINES);
        let tests = "#[cfg(test)]\nmod tests {\n    fn f() {}\n}\n";
        assert!(file_is_short(&file("pool-x/src/a.rs", &(program.clone() + tests))).is_empty());
        assert_eq!(
            file_is_short(&file("pool-x/src/a.rs", &(program + "fn g() {}\n"))).len(),
            1
        );
    }

    #[test]
    fn unsafe_outside_the_listed_files_is_found() {
        let text = "// unsafe in a comment\n/// unsafe in a page\nfn f() { let _ = \"unsafe\"; }\n";
        assert!(unsafe_is_listed(&file("pool-x/src/a.rs", text), &[]).is_empty());
        let bad = "fn f() { unsafe { g() } }\n";
        assert_eq!(
            unsafe_is_listed(&file("pool-x/src/a.rs", bad), &[])[0].0,
            "pool-x/src/a.rs:1: `unsafe` in a file that is not listed for it"
        );
        assert!(unsafe_is_listed(&file("pool-x/src/a.rs", bad), &["pool-x/src/a.rs"]).is_empty());
        let in_test = "#[cfg(test)]\nmod tests {\n    fn f() { unsafe { g() } }\n}\n";
        assert!(unsafe_is_listed(&file("pool-x/src/a.rs", in_test), &[]).is_empty());
    }

    #[test]
    fn raw_pointers_outside_the_listed_files_are_found() {
        assert_eq!(
            unsafe_is_listed(
                &file("pool-x/src/a.rs", "struct S { p: *mut u8, q: *const u8 }"),
                &[]
            )
            .len(),
            1
        );
        assert!(
            unsafe_is_listed(
                &file("pool-x/src/a.rs", "fn f(x: &mut i32) { *x = 2 * 3; }"),
                &[]
            )
            .is_empty()
        );
    }

    #[test]
    fn system_calls_outside_sys_are_found() {
        let bad = "use rustix::fs;\nfn f() { libc::getpid(); }\n#[cfg(target_os = \"linux\")]\nfn g() {}\n";
        assert_eq!(
            system_calls_stand_in_sys(&file("pool-x/src/a.rs", bad)).len(),
            3
        );
        assert!(system_calls_stand_in_sys(&file("pool-x/src/sys/linux.rs", bad)).is_empty());
        assert!(
            system_calls_stand_in_sys(&file(
                "pool-x/src/a.rs",
                "//! [`libc::getpid`]\nfn libc() {}"
            ))
            .is_empty()
        );
    }

    #[test]
    fn allow_is_found_in_every_kind_of_attribute() {
        for bad in [
            "#[allow(dead_code)]\nfn f() {}",
            "#![allow(dead_code)]",
            "#[cfg_attr(test, allow(dead_code))]\nfn f() {}",
        ] {
            assert_eq!(
                nothing_is_allowed(&file("pool-x/src/a.rs", bad)).len(),
                1,
                "{bad}"
            );
        }
        let good = "/// allow\n#[expect(dead_code, reason = \"we allow it\")]\nfn allow() {}";
        assert_eq!(nothing_is_allowed(&file("pool-x/src/a.rs", good)), []);
    }

    #[test]
    fn a_sleep_is_found_in_tests_too() {
        let bad = "#[cfg(test)]\nmod tests {\n    fn f() { std::thread::sleep(d); }\n}\n";
        assert_eq!(
            nothing_sleeps(&file("pool-x/src/a.rs", bad))[0].0,
            "pool-x/src/a.rs:3: `thread::sleep`; wait for an event"
        );
        assert!(nothing_sleeps(&file("pool-x/src/a.rs", "fn f() { thread::park(); }")).is_empty());
    }
}

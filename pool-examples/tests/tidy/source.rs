//! One Rust source file of the workspace: its text, its tokens, and which of its lines are tests.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::{fs, io};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;

/// The crates of the workspace, lowest first: each may depend only on those before it.
pub(crate) const CRATES: [&str; 4] = ["pool-shm", "pool-core", "pool-queue", "pool-examples"];

/// A parsed source file; `path` is relative to the workspace's root.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) file: syn::File,
    /// Lines (from 1) of items that are compiled for tests alone.
    pub(crate) test_lines: Vec<RangeInclusive<usize>>,
    /// The whole file is compiled for tests alone.
    pub(crate) is_test: bool,
}

impl Source {
    /// Parses `text` as the file at `path`.
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let test_lines = file
            .items
            .iter()
            .filter(|item| is_for_tests(attributes(item)))
            .map(lines_of)
            .collect();
        let is_test = path.ends_with("/tests.rs") || !path.contains("/src/");
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            file,
            test_lines,
            is_test,
        }
    }

    /// Whether line `line` belongs to the program and not only to its tests.
    pub(crate) fn is_program(&self, line: usize) -> bool {
        !self.is_test && !self.test_lines.iter().any(|lines| lines.contains(&line))
    }

    /// How many lines belong to the program.
    pub(crate) fn program_lines(&self) -> usize {
        (1..=self.text.lines().count())
            .filter(|&line| self.is_program(line))
            .count()
    }

    /// All tokens in order, groups opened; comments, doc comments and strings hold no identifiers.
    pub(crate) fn tokens(&self) -> Vec<TokenTree> {
        let stream = TokenStream::from_str(&self.text)
            .expect("a file that syn has parsed can be cut into tokens");
        flat(stream)
    }

    /// Files of modules that this file declares for tests alone, as they may be called.
    fn test_module_files(&self) -> Vec<String> {
        let path = Path::new(&self.path);
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = if matches!(stem, "lib" | "main" | "mod") {
            parent.to_owned()
        } else {
            parent.join(stem)
        };
        let modules = self.file.items.iter().filter_map(|item| match item {
            syn::Item::Mod(module) if module.content.is_none() && is_for_tests(&module.attrs) => {
                Some(&module.ident)
            }
            _ => None,
        });
        modules
            .flat_map(|name| {
                [
                    folder.join(format!("{name}.rs")),
                    folder.join(format!("{name}/mod.rs")),
                ]
            })
            .map(|file| file.display().to_string())
            .collect()
    }
}

/// Every Rust file of the workspace below `root`, sorted by path.
pub(crate) fn workspace_sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut paths = Vec::new();
    for name in CRATES {
        collect_files(&root.join(name), &mut paths)?;
    }
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let relative = path
            .strip_prefix(root)
            .expect("the files were found below the root")
            .display()
            .to_string();
        sources.push(Source::parse(&relative, &fs::read_to_string(&path)?));
    }
    let tests: Vec<String> = sources.iter().flat_map(Source::test_module_files).collect();
    for source in &mut sources {
        source.is_test |= tests.iter().any(|test| belongs_to(&source.path, test));
    }
    Ok(sources)
}

/// Whether a file is that of a module, or one of those below it.
fn belongs_to(path: &str, module: &str) -> bool {
    let folder = module.strip_suffix("mod.rs");
    path == module || folder.is_some_and(|folder| path.starts_with(folder))
}

/// The attributes of an item, for the kinds of items that stand at the top of a file.
pub(crate) fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether a `cfg` attribute names `word` (`cfg(test)`, `cfg(all(test, loom))`).
pub(crate) fn is_configured_for(attributes: &[syn::Attribute], word: &str) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .any(|attribute| {
            let tokens = attribute
                .meta
                .require_list()
                .map(|list| flat(list.tokens.clone()))
                .unwrap_or_default();
            let names = |name: &str| {
                tokens
                    .iter()
                    .any(|token| matches!(token, TokenTree::Ident(ident) if ident == name))
            };
            names(word) && !names("not")
        })
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    is_configured_for(attributes, "test")
}

fn lines_of(item: &syn::Item) -> RangeInclusive<usize> {
    let first = attributes(item)
        .iter()
        .map(|attribute| attribute.span().start().line)
        .min();
    let span = item.span();
    first.unwrap_or(span.start().line).min(span.start().line)..=span.end().line
}

/// The tokens of `stream` in order: each group, then what stands in it.
pub(crate) fn flat(stream: TokenStream) -> Vec<TokenTree> {
    let mut tokens = Vec::new();
    flatten(stream, &mut tokens);
    tokens
}

fn flatten(stream: TokenStream, tokens: &mut Vec<TokenTree>) {
    for token in stream {
        let inner = match &token {
            TokenTree::Group(group) => Some(group.stream()),
            _ => None,
        };
        tokens.push(token);
        if let Some(inner) = inner {
            flatten(inner, tokens);
        }
    }
}

fn collect_files(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            collect_files(&path, paths)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_test_modules_are_no_program() {
        let source = Source::parse(
            "pool-x/src/a.rs",
            "fn f() {}\n\n/// t\n#[cfg(test)]\nmod tests {\n}\nfn g() {}\n",
        );
        let program: Vec<usize> = (1..=7).filter(|&line| source.is_program(line)).collect();
        assert_eq!(program, [1, 2, 7]);
        assert_eq!(source.program_lines(), 3);
    }

    #[test]
    fn a_module_declared_for_models_alone_is_found_beside_its_parent() {
        let source = Source::parse(
            "pool-x/src/claim.rs",
            "#[cfg(all(test, loom))]\nmod model;\n#[cfg(not(test))]\nmod real;\n",
        );
        assert_eq!(
            source.test_module_files(),
            ["pool-x/src/claim/model.rs", "pool-x/src/claim/model/mod.rs"]
        );
        let root = Source::parse("pool-x/src/lib.rs", "#[cfg(test)]\nmod model;\n");
        assert_eq!(root.test_module_files()[0], "pool-x/src/model.rs");
        assert!(belongs_to(
            "pool-x/src/model/a.rs",
            &root.test_module_files()[1]
        ));
        assert!(!belongs_to(
            "pool-x/src/models.rs",
            &root.test_module_files()[1]
        ));
    }

    #[test]
    fn files_outside_src_are_tests() {
        assert!(Source::parse("pool-x/tests/a.rs", "").is_test);
        assert!(Source::parse("pool-x/src/lease/tests.rs", "").is_test);
        assert!(!Source::parse("pool-x/src/lease.rs", "").is_test);
    }
}

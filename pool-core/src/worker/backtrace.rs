//! Backtraces of tasks as people want to read them: without what the runtime and the pool put around the task.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::path::Path;

/// The backtrace of the panic that is under way, if the program's environment asks for such, cut to what stands between the runtime's
/// frames of the panic and the pool's; `RUST_BACKTRACE=full` leaves it whole.
pub(super) fn capture() -> Option<String> {
    let backtrace = Backtrace::capture();
    if backtrace.status() != BacktraceStatus::Captured {
        return None;
    }
    let asked =
        std::env::var_os("RUST_LIB_BACKTRACE").or_else(|| std::env::var_os("RUST_BACKTRACE"));
    let text = backtrace.to_string();
    Some(if asked.is_some_and(|how| how == "full") {
        text
    } else {
        let here = std::env::current_dir().unwrap_or_default();
        shorten(&text, own_folder(), &here)
    })
}

/// Where this crate's sources lie, as debug information names them.
fn own_folder() -> &'static str {
    file!().trim_end_matches("worker/backtrace.rs")
}

/// Leaves out the frames before the panic's beginning, and those after the first of this crate's, which names the task. Text that is
/// not as expected stays as it is.
fn shorten(text: &str, own_folder: &str, here: &Path) -> String {
    let frames = frames(text);
    let first = frames
        .iter()
        .position(|frame| frame.contains("__rust_end_short_backtrace"))
        .map_or(0, |last| last + 1);
    let shown = &frames[first..];
    let is_last = |frame: &&str| {
        is_own(frame, own_folder, here) || frame.contains("__rust_begin_short_backtrace")
    };
    let end = shown
        .iter()
        .position(is_last)
        .map_or(shown.len(), |last| last + 1);
    let mut short = shown[..end].concat();
    if end < shown.len() {
        short.push_str("      (frames of the pool are left out; RUST_BACKTRACE=full shows them)\n");
    }
    short
}

/// Names of functions that were inlined are short, so the file counts too. Files below the current directory, `here`, are named from there.
fn is_own(frame: &str, own_folder: &str, here: &Path) -> bool {
    let name = frame.split_once(": ").map_or("", |(_, name)| name);
    let place = frame.split_once(" at ").map_or("", |(_, place)| place);
    let place = here.join(place.trim_start_matches("./"));
    name.trim_start_matches('<').starts_with("pool_core::")
        || (!own_folder.is_empty() && place.to_string_lossy().contains(own_folder))
}

/// Pieces that begin with a line like `  12: name`.
fn frames(text: &str) -> Vec<&str> {
    let is_head = |line: &str| {
        let number = line
            .trim_start()
            .split_once(": ")
            .map_or("", |(number, _)| number);
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut starts = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if at == 0 || is_head(line) {
            starts.push(at);
        }
        at += line.len();
    }
    starts.push(text.len());
    starts
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "   0: {closure#0}
             at ./pool-core/src/worker/panic.rs:25:25
   1: std::sys::backtrace::__rust_end_short_backtrace
             at /rustc/library/std/src/sys/backtrace.rs:182:18
   2: core::panicking::panic_fmt
   3: work<pool_core::Worker>
             at ./program/src/main.rs:3:5
   4: {closure#0}
             at ./pool-core/src/worker/entry.rs:45:48
   5: main
             at ./program/src/main.rs:9:1
";

    #[test]
    fn a_backtrace_is_cut_to_the_task() {
        let short = shorten(WHOLE, "pool-core/src/", Path::new("/home"));
        let kept = [
            "panic_fmt",
            "work<pool_core::Worker>",
            "main.rs:3",
            "entry.rs",
            "full shows",
        ];
        assert!(kept.iter().all(|part| short.contains(part)), "{short}");
        assert!(
            !short.contains("panic.rs") && !short.contains("main.rs:9"),
            "{short}"
        );
    }

    #[test]
    fn files_are_known_from_anywhere() {
        let below = WHOLE.replace("./pool-core/", "./");
        let short = shorten(&below, "pool-core/src/", Path::new("/home/pool-core"));
        assert!(
            short.contains("entry.rs") && !short.contains("main.rs:9"),
            "{short}"
        );
    }

    #[test]
    fn names_alone_are_enough() {
        let text = "   0: rust_begin_unwind\n   1: work\n   2: <pool_core::worker::Call>::each\n   3: main\n";
        let short = shorten(text, "", Path::new("/home"));
        assert!(short.contains("each") && !short.contains("main"), "{short}");
    }

    #[test]
    fn what_is_no_backtrace_stays() {
        for text in ["", "nothing\nof the kind\n", "   0: a\n   1: b\n"] {
            assert_eq!(shorten(text, "pool-core/src/", Path::new("/home")), text);
        }
    }
}

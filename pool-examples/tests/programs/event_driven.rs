use crate::run::{help, refuse_arguments, succeed, table};

const PROGRAM: &str = env!("CARGO_BIN_EXE_event_driven");

/// At which readings the log says `what`, in its order.
fn readings(output: &str, what: &str) -> Vec<usize> {
    let lines = output.lines().filter(|line| line.contains(what));
    let readings = lines.map(|line| {
        let number = line
            .strip_prefix("reading ")
            .unwrap()
            .split(':')
            .next()
            .unwrap();
        number.parse().unwrap()
    });
    readings.collect()
}

#[test]
fn handlers_are_added_and_removed_while_events_flow() {
    let output = succeed(PROGRAM, &[]);
    assert_eq!(readings(&output, "started all (pid "), [0], "{output}");
    assert_eq!(readings(&output, "started alarm (pid "), [0], "{output}");
    assert_eq!(
        readings(&output, "joined all, 200 readings handled"),
        [199],
        "{output}"
    );
    assert_eq!(
        readings(&output, "joined alarm, 200 readings handled"),
        [199],
        "{output}"
    );
    // It is above 25 degrees from 9 to 41 and from 109 to 141; the alarm, the loop and the inboxes are a few readings apart.
    let (started, joined) = (
        readings(&output, "started hot (pid "),
        readings(&output, "joined hot, "),
    );
    assert_eq!((started.len(), joined.len()), (2, 2), "{output}");
    for (begin, (started, joined)) in [9, 109].into_iter().zip(started.into_iter().zip(joined)) {
        assert!((begin..begin + 8).contains(&started), "{output}");
        assert!((begin + 33..begin + 41).contains(&joined), "{output}");
    }
    let rows = table(&output, "handler");
    let names: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    assert_eq!(names, ["alarm", "all", "hot"], "{output}");
    assert_eq!(rows[1][1..], ["200", "20.000", "30.000"], "{output}");
    let mean: f64 = rows[2][2].parse().unwrap();
    assert!(mean > 24.0, "it was started when it was hot: {output}");
    assert!(
        output.ends_with("equal to one process alone: 200 readings\n"),
        "{output}"
    );
}

#[test]
fn a_handler_that_is_killed_loses_nothing() {
    for name in ["all", "alarm"] {
        let output = succeed(PROGRAM, &["--kill", name]);
        assert_eq!(
            readings(&output, &format!("{name} ended (signal 9")).len(),
            1,
            "{output}"
        );
        assert!(
            output.contains(&format!("joined {name}, 200 readings handled")),
            "{output}"
        );
        assert!(
            output.ends_with("equal to one process alone: 200 readings\n"),
            "{output}"
        );
    }
}

#[test]
fn what_the_managed_state_says_decides() {
    let cold = succeed(PROGRAM, &["--limit", "31"]);
    assert!(!cold.contains("hot"), "{cold}");
    let hot = succeed(PROGRAM, &["--limit", "5"]);
    assert_eq!(readings(&hot, "joined hot, "), [199], "{hot}");
    let none = succeed(PROGRAM, &["--readings", "0"]);
    assert!(
        none.ends_with("equal to one process alone: 0 readings\n"),
        "{none}"
    );
}

#[test]
fn wrong_arguments_are_explained() {
    refuse_arguments(
        PROGRAM,
        &["--readings=-1"],
        &["--readings", "must be at least 0"],
    );
    refuse_arguments(PROGRAM, &["--limit", "warm"], &["--limit"]);
    refuse_arguments(PROGRAM, &["--kill", "hot"], &["--kill", "all, alarm"]);
    help(PROGRAM, &["--readings", "--limit", "--kill"]);
}

//! An event loop whose handlers are processes. Which handlers there are stands in a dictionary of a manager: the loop, a handler or anybody
//! else adds and removes them there while it runs. Events reach each handler through a queue of its own.

use std::collections::BTreeMap;
use std::f64::consts::TAU;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pool_core::{Process, ProcessError};
use pool_examples::args;
use pool_examples::failure::{self, Failure};
use pool_examples::table;
use pool_queue::{
    DictProxy, GetError, JoinableQueue, Manager, NamespaceProxy, PutError, Queue, Select,
};
use serde::{Deserialize, Serialize};

/// Hands the readings of a sensor to handlers, each a process, that come and go meanwhile: above the limit, one handler asks for another.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Readings of the sensor
    #[arg(long, default_value = "200", value_parser = args::count)]
    readings: usize,
    /// Above this, in degrees, the handler `hot` is wanted; readings lie between 10 and 30
    #[arg(long, default_value = "25")]
    limit: f64,
    /// A handler to kill (SIGKILL) at half of the readings; another process goes on where it was
    #[arg(long, value_parser = ["all", "alarm"])]
    kill: Option<String>,
}

/// After this, a wait looks whether the process that it waits for is alive.
const PATIENCE: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Reading {
    time: usize,
    degrees: f64,
}

/// What a handler does besides keeping its summary.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Kind {
    Summary,
    /// Has the handler `hot` added above the limit, and removed below.
    Alarm,
}

/// What a handler knows. It stands in the manager, so it outlives the handler's process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Summary {
    readings: usize,
    last: Option<usize>,
    sum: f64,
    highest: f64,
}

impl Summary {
    /// With one more reading, unless it is in already: a handler may have died between noting a reading and saying so.
    fn and(self, Reading { time, degrees }: Reading) -> Summary {
        if self.last >= Some(time) {
            return self;
        }
        Summary {
            readings: self.readings + 1,
            last: Some(time),
            sum: self.sum + degrees,
            highest: self.highest.max(degrees),
        }
    }
}

/// What all processes share: it is an argument like any other.
#[derive(Clone, Serialize, Deserialize)]
struct Shared {
    /// The handlers that there should be.
    wanted: DictProxy<String, Kind>,
    /// Tells the loop to look at `wanted`.
    changed: Queue<()>,
    summaries: DictProxy<String, Summary>,
    settings: NamespaceProxy,
}

fn main() -> ExitCode {
    let args = Args::parse();
    failure::run(|out| program(&args, out))
}

/// The temperature over time: two days of a hundred readings, from morning to morning.
fn sense(time: usize) -> Reading {
    let degrees = 20.0 + 10.0 * (TAU * time as f64 / 100.0).sin();
    Reading { time, degrees }
}

/// The sensor's process.
fn measure((count, readings): (usize, Queue<Reading>)) {
    let sensed = readings.put_many((0..count).map(sense));
    sensed.expect("the loop listens as long as the sensor speaks");
    readings.close();
}

/// A handler's process: runs until its inbox is closed and empty. What fails here is told where it is joined.
fn handle((name, kind, inbox, shared): (String, Kind, JoinableQueue<Reading>, Shared)) {
    let gone = "the manager lives as long as the loop";
    for reading in inbox.iter() {
        let reading = reading.expect("an inbox holds readings");
        let noted = |summary: Option<Summary>| Some(summary.unwrap_or_default().and(*reading));
        shared.summaries.update(&name, noted).expect(gone);
        if kind == Kind::Alarm {
            let limit = shared
                .settings
                .get("limit")
                .expect(gone)
                .unwrap_or(f64::INFINITY);
            let (hot, is_hot) = ("hot".to_owned(), reading.degrees > limit);
            if is_hot != shared.wanted.contains_key(&hot).expect(gone) {
                let change = if is_hot {
                    shared.wanted.insert(hot, Kind::Summary)
                } else {
                    shared.wanted.remove(&hot)
                };
                change.expect(gone);
                shared.changed.put(()).expect("the loop does not close it");
            }
        }
        reading.task_done().expect("nobody wrote over the inbox");
    }
}

fn program(args: &Args, out: &mut dyn Write) -> Result<(), Failure> {
    let manager = Manager::start()?;
    let shared = Shared {
        wanted: manager.dict()?,
        changed: Queue::new(100)?,
        summaries: manager.dict()?,
        settings: manager.namespace()?,
    };
    shared.settings.set("limit", args.limit)?;
    shared.wanted.extend(
        [("all", Kind::Summary), ("alarm", Kind::Alarm)]
            .map(|(name, kind)| (name.to_owned(), kind)),
    )?;
    shared.changed.put(())?;
    let readings = Queue::<Reading>::new(100)?;
    let sensor = Process::builder()
        .name("sensor")
        .spawn(measure, (args.readings, readings.clone()))?;
    let mut handlers = Handlers {
        shared: &shared,
        running: BTreeMap::new(),
        out,
    };

    let mut select = Select::new();
    let (from_changed, from_readings) = (select.add(&shared.changed), select.add(&readings));
    let mut time = 0;
    loop {
        let ready = select.wait_timeout(PATIENCE);
        if ready == Some(from_changed) {
            shared
                .changed
                .try_get()
                .map_or(Ok(()), |()| handlers.adjust(time))?;
        } else if ready == Some(from_readings) {
            match readings.try_get() {
                Ok(reading) => {
                    time = reading.time;
                    if time == args.readings / 2 {
                        handlers.kill(args.kill.as_deref());
                    }
                    handlers.deliver(reading)?;
                }
                Err(GetError::Closed) => break,
                Err(GetError::Empty) => {}
                Err(error) => return Err(error.into()),
            }
        } else if !sensor.is_alive() && readings.is_empty() && !readings.is_closed() {
            break; // joining it tells why
        }
    }
    sensor.join()?;
    handlers.stop(time)?;
    report(args, out, &shared)
}

/// A process that is running, and its inbox.
struct Handler {
    kind: Kind,
    process: Process<()>,
    inbox: JoinableQueue<Reading>,
}

/// The handlers that there are.
struct Handlers<'a> {
    shared: &'a Shared,
    running: BTreeMap<String, Handler>,
    out: &'a mut dyn Write,
}

impl Handlers<'_> {
    /// Starts and joins handlers until there are those that are wanted.
    fn adjust(&mut self, time: usize) -> Result<(), Failure> {
        let wanted: BTreeMap<String, Kind> = self.shared.wanted.iter()?.collect();
        let unwanted = self
            .running
            .extract_if(.., |name, _| !wanted.contains_key(name));
        for (name, handler) in unwanted.collect::<Vec<_>>() {
            self.join(time, &name, handler)?;
        }
        for (name, kind) in wanted {
            if !self.running.contains_key(&name) {
                // A handler that falls behind holds the loop back. What a dead one had not finished goes back into its inbox.
                let inbox = JoinableQueue::builder().items(1).give_back().build()?;
                let process = start(&name, kind, &inbox, self.shared)?;
                writeln!(
                    self.out,
                    "reading {time}: started {name} (pid {})",
                    process.pid()
                )?;
                self.running.insert(
                    name,
                    Handler {
                        kind,
                        process,
                        inbox,
                    },
                );
            }
        }
        Ok(self.out.flush()?)
    }

    /// Puts a reading into every inbox.
    fn deliver(&mut self, reading: Reading) -> Result<(), Failure> {
        for (name, handler) in &mut self.running {
            while let Err(error) = handler.inbox.put_timeout(reading, PATIENCE) {
                match error {
                    PutError::Timeout(_) if handler.process.is_alive() => {}
                    PutError::Timeout(_) => {
                        let next = start(name, handler.kind, &handler.inbox, self.shared)?;
                        let dead = std::mem::replace(&mut handler.process, next);
                        mourn(self.out, reading.time, name, dead.join(), &handler.process)?;
                    }
                    error => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    fn kill(&self, name: Option<&str>) {
        if let Some(handler) = name.and_then(|name| self.running.get(name)) {
            handler.process.kill();
        }
    }

    fn stop(&mut self, time: usize) -> Result<(), Failure> {
        for (name, handler) in std::mem::take(&mut self.running) {
            self.join(time, &name, handler)?;
        }
        Ok(())
    }

    /// Has a handler finish what is in its inbox, and waits for its end.
    fn join(&mut self, time: usize, name: &str, handler: Handler) -> Result<(), Failure> {
        handler.inbox.close();
        let mut ended = handler.process.join();
        while handler.inbox.unfinished() > 0 && ended.is_err() {
            let next = start(name, handler.kind, &handler.inbox, self.shared)?;
            mourn(self.out, time, name, ended, &next)?;
            ended = next.join();
        }
        let summary = self
            .shared
            .summaries
            .get(&name.to_owned())?
            .unwrap_or_default();
        writeln!(
            self.out,
            "reading {time}: joined {name}, {} handled",
            table::count(summary.readings, "reading")
        )?;
        Ok(self.out.flush()?)
    }
}

fn start(
    name: &str,
    kind: Kind,
    inbox: &JoinableQueue<Reading>,
    shared: &Shared,
) -> Result<Process<()>, Failure> {
    let argument = (name.to_owned(), kind, inbox.clone(), shared.clone());
    Ok(Process::builder().name(name).spawn(handle, argument)?)
}

/// Tells of a handler that was killed and of the one that goes on. One that failed by itself would do so again.
fn mourn(
    out: &mut dyn Write,
    time: usize,
    name: &str,
    dead: Result<(), ProcessError>,
    next: &Process<()>,
) -> Result<(), Failure> {
    match dead {
        Err(ProcessError::Ended { exit, .. }) => {
            writeln!(
                out,
                "reading {time}: {name} ended ({exit}), pid {} goes on",
                next.pid()
            )?;
            Ok(())
        }
        other => Ok(other?),
    }
}

/// What the handlers know at the end. The one that was there all the time must know what one process alone would.
fn report(args: &Args, out: &mut dyn Write, shared: &Shared) -> Result<(), Failure> {
    let mut report = table::new(&["handler", "readings", "mean", "highest"]);
    let summaries: BTreeMap<String, Summary> = shared.summaries.iter()?.collect();
    for (
        name,
        Summary {
            readings,
            sum,
            highest,
            ..
        },
    ) in &summaries
    {
        report.add_row([
            name.clone(),
            readings.to_string(),
            format!("{:.3}", sum / *readings as f64),
            format!("{highest:.3}"),
        ]);
    }
    writeln!(out, "\n{report}\n")?;
    let alone = (0..args.readings)
        .map(sense)
        .fold(Summary::default(), Summary::and);
    let all = summaries.get("all").copied().unwrap_or_default();
    if all != alone {
        return Err(Failure::other(format!(
            "the handlers know {all:?}, one process alone {alone:?}"
        )));
    }
    writeln!(
        out,
        "equal to one process alone: {}",
        table::count(all.readings, "reading")
    )?;
    Ok(())
}

//! Peers from Python: a process that measures a round when it is told to.

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::rc::Rc;

use pool_examples::failure::Failure;

use crate::case::{Case, Contender, Setting};

/// The scripts and the versions that they are measured with.
const SCRIPT: &str = include_str!("../../../python/peers.py");
const REQUIREMENTS: &str = include_str!("../../../python/requirements.txt");

/// The running script.
#[derive(Debug)]
pub(crate) struct Python {
    server: Rc<RefCell<Server>>,
    versions: String,
}

#[derive(Debug)]
struct Server {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Python {
    /// Makes the virtual environment if it is not there, and starts the script in it.
    ///
    /// # Errors
    ///
    /// There is no `python3` with `venv`, or its packages cannot be had.
    pub(crate) fn start() -> Result<Self, Failure> {
        let folder = folder()?;
        let python = folder.join("bin/python");
        let stamp = folder.join("requirements.txt");
        if fs::read_to_string(&stamp).is_ok_and(|made| made == REQUIREMENTS) {
            // It was made before, with the same packages.
        } else {
            run(Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&folder))?;
            let wanted = folder.join("wanted.txt");
            fs::write(&wanted, REQUIREMENTS)?;
            run(Command::new(&python)
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                    "-r",
                ])
                .arg(&wanted))?;
            fs::rename(&wanted, &stamp)?;
        }
        let script = folder.join("peers.py");
        fs::write(&script, SCRIPT)?;
        let mut server = Server::start(&python, &script)?;
        let versions = server.ask("versions")?;
        Ok(Self {
            server: Rc::new(RefCell::new(server)),
            versions,
        })
    }

    /// What was installed, with versions.
    pub(crate) fn versions(&self) -> &str {
        &self.versions
    }

    /// One peer's part in a case.
    pub(crate) fn contender(
        &self,
        case: &Case,
        peer: &'static str,
        setting: &Setting,
    ) -> Contender {
        let server = Rc::clone(&self.server);
        let (unit, quick) = (case.unit, u8::from(setting.quick));
        let request = format!(
            "measure {} {} {} {quick}",
            case.name,
            peer.replace(' ', "-"),
            setting.workers
        );
        Contender::new(peer, move || {
            let answer = server.borrow_mut().ask(&request)?;
            let mut words = answer.split(' ').map(str::parse::<f64>);
            match (words.next(), words.next(), words.next()) {
                (Some(Ok(seconds)), Some(Ok(count)), None) => Ok(unit.figure(seconds, count)),
                _ => Err(Failure::other(format!(
                    "peers.py answered '{answer}' to '{request}'"
                ))),
            }
        })
    }
}

impl Server {
    fn start(python: &Path, script: &Path) -> Result<Self, Failure> {
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::other(format!("cannot run {}: {error}", python.display())))?;
        let answers = child
            .stdout
            .take()
            .ok_or_else(|| Failure::other("peers.py has no output"))?;
        Ok(Self {
            requests: child.stdin.take(),
            answers: BufReader::new(answers),
            child,
        })
    }

    /// One line there, one line back.
    fn ask(&mut self, request: &str) -> Result<String, Failure> {
        let requests = self
            .requests
            .as_mut()
            .ok_or_else(|| Failure::other("peers.py has no input"))?;
        writeln!(requests, "{request}")?;
        requests.flush()?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer)? == 0 {
            return Err(Failure::other(format!(
                "peers.py ended at '{request}'; what it printed above says why"
            )));
        }
        Ok(answer.trim_end().to_owned())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The end of its input ends the script.
        drop(self.requests.take());
        drop(self.child.wait());
    }
}

/// Where the environment stands: beside the program, so that `cargo clean` removes it.
fn folder() -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()?;
    let beside = program.parent().unwrap_or(Path::new("."));
    Ok(beside.join("compare-python"))
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let shown = format!("{command:?}");
    let status = command
        .stdin(Stdio::null())
        .status()
        .map_err(|error| Failure::other(format!("cannot run {shown}: {error}")))?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::other(format!(
        "{shown}: {status}; peers from Python need python3 with venv and its package index: without --with-python they are left out"
    )))
}

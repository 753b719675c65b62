//! A measured program: where it runs, what it has used, and its end.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Descriptors of a connection: its socket, and on the server the files of a stream that is recorded or cut into segments.
const DESCRIPTORS_EACH: usize = 3;
/// Descriptors beyond: files, libraries.
const DESCRIPTORS_SPARE: usize = 256;
/// The unit of times in `/proc`, the same on every Linux that Rust's standard library runs on.
const TICKS_PER_SEC: f64 = 100.0;

/// Which processors serve and which load, so that neither takes the other's time.
#[derive(Clone, Debug)]
pub(crate) struct Processors {
    pub(crate) count: usize,
    /// The first of them, this many, are the server's.
    server: usize,
}

impl Processors {
    /// Moves this process to its own side, and lets it have a descriptor for each connection.
    pub(crate) fn claim(server: usize, connections: usize) -> io::Result<Self> {
        let processors = Self { count: count()?, server };
        let pid = std::process::id().to_string();
        tool(Command::new("prlimit").args(["--pid", &pid, &descriptors(connections)]))?;
        tool(Command::new("taskset").args(["-a", "-c", "-p", &processors.load(), &pid]))?;
        Ok(processors)
    }

    /// The load's side: what the server leaves, or all where it leaves none.
    fn load(&self) -> String {
        let first = if self.server < self.count { self.server } else { 0 };
        format!("{first}-{}", self.count - 1)
    }

    /// Threads of the load: more than a few only disturb each other.
    pub(crate) fn load_threads(&self) -> usize {
        self.count.saturating_sub(self.server).clamp(1, 4)
    }

    pub(crate) fn describe(&self) -> String {
        format!("server on 0-{}, load on {} of {} processors", self.server - 1, self.load(), self.count)
    }
}

/// The machine's processors, those included that this process has left to the server.
fn count() -> io::Result<usize> {
    let text = std::fs::read_to_string("/proc/cpuinfo")?;
    Ok(text.lines().filter(|line| line.starts_with("processor")).count().max(1))
}

fn descriptors(connections: usize) -> String {
    let wanted = connections * DESCRIPTORS_EACH + DESCRIPTORS_SPARE;
    // Not every connection has a file beside it: what the machine allows may do, and what does not is an error of its own.
    let count = descriptors_max().map_or(wanted, |most| wanted.min(most));
    // The soft limit alone: a hard one that was lowered for a small scenario could not be raised again for the next.
    format!("--nofile={count}:")
}

/// The hard limit of this process.
fn descriptors_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    limits.lines().find(|line| line.starts_with("Max open files"))?.split_whitespace().nth(4)?.parse().ok()
}

fn tool(command: &mut Command) -> io::Result<()> {
    let output = command.output().map_err(|error| named(command, &error))?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{:?}: {}", command.get_program(), String::from_utf8_lossy(&output.stderr).trim())))
}

fn named(command: &Command, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{:?}: {error}", command.get_program()))
}

/// What a program has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) user_secs: f64,
    pub(crate) system_secs: f64,
    /// Resident memory that is its own: neither its code nor what files it maps.
    pub(crate) resident_bytes: u64,
}

/// A running program; killed by its id when it is dropped.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program on the server's processors. What it writes goes to a file in `dir`.
    pub(crate) fn start(processors: &Processors, connections: usize, dir: &Path, program: &Path, args: &[&str]) -> io::Result<Self> {
        let log = dir.join("log");
        let file = File::create(&log)?;
        // Both replace themselves by what they start, so that the child's id is the program's.
        let mut command = Command::new("prlimit");
        command.arg(descriptors(connections));
        command.args(["taskset", "-c", &format!("0-{}", processors.server.min(processors.count) - 1)]);
        command.arg(program).args(args).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().map_err(|error| named(&command, &error))?;
        Ok(Self { child, log })
    }

    /// Waits until it listens.
    pub(crate) fn wait_for_port(&mut self, port: u16, limit: Duration) -> io::Result<()> {
        let until = std::time::Instant::now() + limit;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if self.child.try_wait()?.is_some() || std::time::Instant::now() > until {
                return Err(io::Error::other(format!("the server does not listen:\n{}", self.log())));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn usage(&self) -> io::Result<Usage> {
        usage_of(self.child.id())
    }
}

/// What a process has used so far.
pub(crate) fn usage_of(pid: u32) -> io::Result<Usage> {
    let dir = Path::new("/proc").join(pid.to_string());
    let stat = std::fs::read_to_string(dir.join("stat"))?;
    let (user, system) = ticks(&stat).ok_or_else(|| io::Error::other("/proc/PID/stat can't be read"))?;
    let status = std::fs::read_to_string(dir.join("status"))?;
    let resident_kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(Usage { user_secs: user / TICKS_PER_SEC, system_secs: system / TICKS_PER_SEC, resident_bytes: resident_kib.unwrap_or(0) * 1024 })
}

/// `utime` and `stime`: fields 14 and 15, counted after the name, which may hold anything.
fn ticks(stat: &str) -> Option<(f64, f64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_whose_name_has_brackets_and_spaces() {
        assert_eq!(ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14"), Some((11.0, 12.0)));
    }
}

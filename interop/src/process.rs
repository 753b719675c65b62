//! Programs that end with their owner.

use std::{
    io::Read as _,
    net::{TcpListener, UdpSocket},
    os::linux::net::SocketAddrExt as _,
    os::unix::net::{SocketAddr, UnixListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Below these are the ports of services.
const PORTS_FROM: u16 = 10_240;
/// A prime: how far apart the ports of two processes with numbers beside each other begin.
const PORTS_STEP: u32 = 7_919;

/// The binary that was built with these tests.
///
/// # Panics
/// If it was not built: `cargo build -p sightline` first, as `cargo xtask test` does.
#[must_use]
pub fn sightline() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let binary = test.ancestors().nth(2).expect("target/debug/deps/test").join("sightline");
    assert!(binary.is_file(), "{} is missing: `cargo build -p sightline` first", binary.display());
    binary
}

/// A port of loopback that is this process's until it ends: no other test is given it, and as the system gives it to no connection that goes
/// out, it is still free when a program that takes a moment to start listens on it.
///
/// # Panics
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    // A name of the kernel's, not of a file: it goes with the process, however that ends.
    static HELD: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let ports = PORTS_FROM..first_port_of_connections().max(PORTS_FROM + 1);
    // Processes that start beside each other begin far from each other.
    let start = std::process::id().wrapping_mul(PORTS_STEP) as usize % ports.len() + held.len();
    for port in ports.clone().cycle().skip(start).take(ports.len()) {
        let name = SocketAddr::from_abstract_name(format!("sightline-test-port-{port}")).expect("a short name");
        let Ok(name) = UnixListener::bind_addr(&name) else { continue };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            held.push(name);
            return port;
        }
    }
    panic!("no port of {ports:?} is free");
}

/// Where the ports begin that the system takes for connections that go out (`ip(7)`).
fn first_port_of_connections() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768)
}

/// A running program. Killed, by its id, when it is dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program; what it writes goes to a file in `dir`.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start(name: &str, dir: &Path, command: &mut Command) -> Self {
        // Programs of one name may share a directory.
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let log = dir.join(format!("{name}-{}.log", STARTED.fetch_add(1, Ordering::Relaxed)));
        let file = std::fs::File::create(&log).expect("the test's directory can be written");
        let copy = file.try_clone().expect("a file can be opened twice");
        let child = command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name} can't be started: {error}"));
        Self { child, name: name.to_owned(), log }
    }

    /// What it wrote so far.
    #[must_use]
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        let _ = std::fs::File::open(&self.log).and_then(|mut file| file.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it is gone.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.id().to_string()]).status().expect("kill runs");
        assert!(status.success(), "{} is gone:\n{}", self.name, self.log());
    }

    /// Kills it as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it takes longer than `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let until = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            assert!(Instant::now() < until, "{} does not end within {limit:?}:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("---- {} ----\n{}", self.name, self.log());
        }
    }
}

/// Runs a program to its end and gives its standard output.
///
/// # Panics
/// If it fails, with what it wrote.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// If there is none within `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

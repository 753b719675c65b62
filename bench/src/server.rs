//! The servers that are measured, each from a directory of its own that goes with it.

use crate::process::{Process, Processors};
use crate::scenario::{Extra, Kind, Scenario, stream_name};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(10);
/// The directory of nginx's playlists.
const HLS_DIR: &str = "hls";
/// The directory of recordings, of either.
const RECORDINGS_DIR: &str = "recordings";

/// One that runs. The process ends before its directory goes.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    pub(crate) http_port: u16,
    dir: TempDir,
}

impl Server {
    pub(crate) fn start(kind: Kind, scenario: &Scenario, processors: &Processors) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (port, http_port) = (free_port()?, free_port()?);
        let connections = scenario.streams + scenario.viewers;
        let conf = dir.path().join("server.toml");
        let conf_arg = text(&conf)?;
        let mut process = match kind {
            Kind::Nginx => {
                for name in [HLS_DIR, RECORDINGS_DIR] {
                    std::fs::create_dir(dir.path().join(name))?;
                }
                std::fs::write(&conf, nginx_conf(dir.path(), port, scenario))?;
                let log = dir.path().join("error.log");
                let args = ["-p", text(dir.path())?, "-c", conf_arg, "-e", text(&log)?];
                Process::start(processors, connections, dir.path(), Path::new("/usr/sbin/nginx"), &args)?
            }
            Kind::Sightline { merge_ms } => {
                std::fs::write(&conf, origin_conf(dir.path(), port, http_port, merge_ms, scenario))?;
                Process::start(processors, connections, dir.path(), &sightline()?, &["origin", "--config", conf_arg])?
            }
        };
        process.wait_for_port(port, START_LIMIT)?;
        Ok(Self { process, kind, port, http_port, dir })
    }

    /// Ends it, and gives what it wrote.
    pub(crate) fn stop(self) -> Written {
        Written { dir: self.dir }
    }

    /// The file in which nginx keeps a stream's playlist.
    pub(crate) fn playlist_file(&self, stream: usize) -> PathBuf {
        self.dir.path().join(HLS_DIR).join(format!("{}.m3u8", stream_name(stream)))
    }
}

/// What a server that has ended wrote.
pub(crate) struct Written {
    dir: TempDir,
}

impl Written {
    /// Where its recordings are.
    pub(crate) fn recordings(&self) -> PathBuf {
        self.dir.path().join(RECORDINGS_DIR)
    }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("the temporary directory's name is not UTF-8"))
}

/// The binary that was built beside this one.
pub(crate) fn sightline() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("sightline");
    if path.is_file() { Ok(path) } else { Err(io::Error::other("`sightline` is not built: use `cargo xtask bench`")) }
}

/// One worker a processor, live and what the scenario asks for; chunks as large as ours.
fn nginx_conf(dir: &Path, port: u16, scenario: &Scenario) -> String {
    let connections = scenario.streams + scenario.viewers + 64;
    let extra = match scenario.extra {
        Extra::None => String::new(),
        Extra::Hls => format!("hls on; hls_path {}; hls_fragment 3s; hls_playlist_length 60s; ", dir.join(HLS_DIR).display()),
        Extra::Flv => format!("record all; record_path {}; record_unique on; ", dir.join(RECORDINGS_DIR).display()),
    };
    let dir = dir.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\ndaemon off;\nmaster_process off;\nworker_processes 1;\npid {dir}/pid;\n\
         error_log {dir}/error.log;\nevents {{ worker_connections {connections}; }}\n\
         rtmp {{\n  access_log off;\n  server {{\n    listen 127.0.0.1:{port};\n    chunk_size 4096;\n    application live {{ live on; {extra}}}\n  }}\n}}\n"
    )
}

/// The defaults, but for what a measurement on one machine needs.
/// The load is one address, many times over: the origin's limits an address are not what is measured.
const PER_ADDRESS: u32 = 30_000;

fn origin_conf(dir: &Path, port: u16, http_port: u16, merge_ms: u64, scenario: &Scenario) -> String {
    let merge = if merge_ms > 0 { format!("merge_ms = {merge_ms}\n") } else { String::new() };
    format!(
        "data_dir = \"{}\"\n[rtmp]\nlisten = \"127.0.0.1:{port}\"\n{merge}[http]\nlisten = \"127.0.0.1:{http_port}\"\n\
         [auth]\nallow_unsigned_publish = true\n[record]\nenabled = {}\ndir = \"{}\"\nfmp4 = false\n\
         [limits]\nconnections_per_address = {PER_ADDRESS}\npending_per_address = {PER_ADDRESS}\n",
        dir.join("data").display(),
        scenario.extra == Extra::Flv,
        dir.join(RECORDINGS_DIR).display(),
    )
}

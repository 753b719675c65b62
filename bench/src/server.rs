//! The servers that are measured, each from a directory of its own that goes with it.

use crate::process::{Process, Processors};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(10);
/// The stream's name, as it is published.
pub(crate) const STREAM: &str = "bench";
/// SRS's own default, the rival's best figure at high fan-out.
pub(crate) const MERGE_MS: u64 = 350;

/// One of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Sightline { merge_ms: u64 },
    Nginx,
}

impl Kind {
    /// In the table's order; nginx is what the others are compared with.
    pub(crate) const ALL: [Self; 3] = [Self::Nginx, Self::Sightline { merge_ms: 0 }, Self::Sightline { merge_ms: MERGE_MS }];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Nginx => "nginx-rtmp".into(),
            Self::Sightline { merge_ms: 0 } => "sightline".into(),
            Self::Sightline { merge_ms } => format!("sightline, merge_ms={merge_ms}"),
        }
    }

    /// The name that viewers ask for.
    pub(crate) fn play_name(self) -> String {
        match self {
            Self::Nginx => STREAM.into(),
            Self::Sightline { .. } => {
                let id: sightline_signal::Text<{ sightline_signal::PLAYBACK_ID_BYTES }> = sightline_signal::playback_id(STREAM);
                id.as_str().to_owned()
            }
        }
    }
}

/// One that runs. The process ends before its directory goes.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) port: u16,
    _dir: TempDir,
}

impl Server {
    pub(crate) fn start(kind: Kind, processors: &Processors, viewers: usize) -> io::Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let conf = dir.path().join("server.toml");
        let conf_arg = text(&conf)?;
        let mut process = match kind {
            Kind::Nginx => {
                std::fs::write(&conf, nginx_conf(dir.path(), port, viewers))?;
                let log = dir.path().join("error.log");
                let args = ["-p", text(dir.path())?, "-c", conf_arg, "-e", text(&log)?];
                Process::start(processors, viewers, dir.path(), Path::new("/usr/sbin/nginx"), &args)?
            }
            Kind::Sightline { merge_ms } => {
                std::fs::write(&conf, origin_conf(dir.path(), port, merge_ms))?;
                Process::start(processors, viewers, dir.path(), &sightline()?, &["origin", "--config", conf_arg])?
            }
        };
        process.wait_for_port(port, START_LIMIT)?;
        Ok(Self { process, port, _dir: dir })
    }
}

fn text(path: &Path) -> io::Result<&str> {
    path.to_str().ok_or_else(|| io::Error::other("the temporary directory's name is not UTF-8"))
}

/// The binary that was built beside this one.
fn sightline() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("sightline");
    if path.is_file() { Ok(path) } else { Err(io::Error::other("`sightline` is not built: use `cargo xtask bench`")) }
}

/// One process on one processor, live and nothing else; chunks as large as ours.
fn nginx_conf(dir: &Path, port: u16, viewers: usize) -> String {
    let connections = viewers + 64;
    let dir = dir.display();
    format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\ndaemon off;\nmaster_process off;\nworker_processes 1;\npid {dir}/pid;\n\
         error_log {dir}/error.log;\nevents {{ worker_connections {connections}; }}\n\
         rtmp {{\n  access_log off;\n  server {{\n    listen 127.0.0.1:{port};\n    chunk_size 4096;\n    application live {{ live on; }}\n  }}\n}}\n"
    )
}

/// The defaults, but for what a measurement on one machine needs.
fn origin_conf(dir: &Path, port: u16, merge_ms: u64) -> String {
    let merge = if merge_ms > 0 { format!("merge_ms = {merge_ms}\n") } else { String::new() };
    format!(
        "data_dir = \"{}\"\n[rtmp]\nlisten = \"127.0.0.1:{port}\"\n{merge}[http]\nlisten = \"127.0.0.1:0\"\n\
         [auth]\nallow_unsigned_publish = true\n[record]\nenabled = false\n",
        dir.join("data").display()
    )
}

//! nginx with its RTMP module, as others run it.

use crate::process::{Process, eventually, free_port};
use std::{path::Path, process::Command, time::Duration};

/// Starts a private nginx that records all and gives the URL of its application: own prefix, own port, nothing of the system's configuration. A stream's file has the
/// stream's name, and the last publication in it.
///
/// # Panics
/// If it does not listen within ten seconds.
#[must_use]
pub fn start(dir: &Path) -> (Process, String) {
    start_with(dir, "")
}

/// The same, but each publication has a file of its own: the stream's name, and when it began.
///
/// # Panics
/// If it does not listen within ten seconds.
#[must_use]
pub fn start_keeping_all(dir: &Path) -> (Process, String) {
    start_with(dir, "record_unique on;")
}

/// The same as [`start`], but a cloud is asked who may publish.
///
/// # Panics
/// If it does not listen within ten seconds.
#[must_use]
pub fn start_asking(dir: &Path, cloud: &str) -> (Process, String) {
    start_with(dir, &format!("on_publish http://{cloud}/hooks/nginx;"))
}

fn start_with(dir: &Path, more: &str) -> (Process, String) {
    let port = free_port();
    let path = dir.display();
    let conf = format!(
        "load_module /usr/lib/nginx/modules/ngx_rtmp_module.so;\ndaemon off;\nmaster_process off;\npid {path}/nginx.pid;\nerror_log {path}/error.log;\nevents {{}}\n\
         rtmp {{ server {{ listen 127.0.0.1:{port}; chunk_size 4096; max_message 8M;\n application live {{ live on; record all; record_path {path}; record_suffix .flv; {more} }} }} }}\n"
    );
    std::fs::write(dir.join("nginx.conf"), conf).expect("the test's directory can be written");
    let process = Process::start(
        "nginx",
        dir,
        Command::new("/usr/sbin/nginx").arg("-p").arg(dir).arg("-c").arg(dir.join("nginx.conf")).arg("-e").arg(dir.join("error.log")),
    );
    eventually("nginx listens", Duration::from_secs(10), || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    (process, format!("rtmp://127.0.0.1:{port}/live"))
}

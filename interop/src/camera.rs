//! Network cameras: GStreamer's RTSP server, ffmpeg as an MJPEG camera, and nginx as the password before it.

use crate::process::{Process, eventually, free_port};
use std::{net::TcpStream, path::Path, process::Command, time::Duration};

/// Debian's Python: it has GStreamer's bindings, whatever other Python comes first on the PATH.
const PYTHON: &str = "/usr/bin/python3";
/// The path at which [`rtsp`] serves.
pub const RTSP_PATH: &str = "/cam/main";

/// Starts an RTSP camera at [`RTSP_PATH`] that runs a GStreamer pipeline for each client; with a user and password, digest authentication.
///
/// # Panics
/// If it does not start within ten seconds.
#[must_use]
pub fn rtsp(dir: &Path, port: u16, launch: &str, credentials: Option<(&str, &str)>) -> Process {
    let credentials = credentials.map_or(Vec::new(), |(user, password)| vec![user, password]);
    start_rtsp(dir, port, launch, &credentials)
}

/// The same, by TLS, with a certificate and its key (PEM).
///
/// # Panics
/// If it does not start within ten seconds.
#[must_use]
pub fn rtsps(dir: &Path, port: u16, launch: &str, (user, password): (&str, &str), (certificate, key): (&Path, &Path)) -> Process {
    start_rtsp(dir, port, launch, &[user, password, &certificate.to_string_lossy(), &key.to_string_lossy()])
}

fn start_rtsp(dir: &Path, port: u16, launch: &str, rest: &[&str]) -> Process {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/rtsp_camera.py");
    let mut command = Command::new(PYTHON);
    command.arg(script).args([&port.to_string(), RTSP_PATH, launch]).args(rest);
    let process = Process::start("rtsp-camera", dir, &mut command);
    eventually("the RTSP camera listens", Duration::from_secs(10), || process.log().contains("ready").then_some(()));
    process
}

/// The pipeline of a camera that sends a file's own access units: H.264 and AAC.
#[must_use]
pub fn launch_of(clip: &Path) -> String {
    format!(
        "( filesrc location={} ! qtdemux name=d d.video_0 ! queue ! rtph264pay name=pay0 pt=96 d.audio_0 ! queue ! rtpmp4gpay name=pay1 pt=97 )",
        clip.display()
    )
}

/// Starts ffmpeg as an MJPEG camera: a real `multipart/x-mixed-replace` for one client, after which it ends.
///
/// # Panics
/// If it can't be started.
#[must_use]
pub fn mjpeg(dir: &Path, port: u16, size: &str, fps: u32) -> Process {
    Process::start(
        "mjpeg-camera",
        dir,
        Command::new("ffmpeg").args([
            "-v",
            "error",
            "-re",
            "-f",
            "lavfi",
            "-i",
            &format!("testsrc2=size={size}:rate={fps}"),
            "-q:v",
            "3",
            "-pix_fmt",
            "yuvj420p",
            "-f",
            "mpjpeg",
            "-content_type",
            "multipart/x-mixed-replace;boundary=ffmpeg",
            "-listen",
            "1",
            &format!("http://127.0.0.1:{port}/stream"),
        ]),
    )
}

/// Starts an nginx that asks for a user and password (basic) before `/stream` of a camera behind it, and has nothing else. Gives its port.
///
/// # Panics
/// If it does not listen within ten seconds.
#[must_use]
pub fn with_password(dir: &Path, behind: u16, user: &str, password: &str) -> (Process, u16) {
    start_proxy(dir, behind, (user, password), "")
}

/// The same, by TLS, with a certificate and its key (PEM).
///
/// # Panics
/// If it does not listen within ten seconds.
#[must_use]
pub fn with_password_and_tls(dir: &Path, behind: u16, credentials: (&str, &str), (certificate, key): (&Path, &Path)) -> (Process, u16) {
    let tls = format!("ssl_certificate {}; ssl_certificate_key {};", certificate.display(), key.display());
    start_proxy(dir, behind, credentials, &tls)
}

fn start_proxy(dir: &Path, behind: u16, (user, password): (&str, &str), tls: &str) -> (Process, u16) {
    let ssl = if tls.is_empty() { "" } else { " ssl" };
    let port = free_port();
    let path = dir.display();
    let temporary: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {path}/{kind};\n")).concat();
    let conf = format!(
        "daemon off;\nmaster_process off;\npid {path}/proxy.pid;\nerror_log {path}/proxy-error.log;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}\
         server {{ listen 127.0.0.1:{port}{ssl}; {tls} root {path}/nothing;\n location /stream {{ auth_basic camera; auth_basic_user_file {path}/users;\n\
         proxy_pass http://127.0.0.1:{behind}; proxy_buffering off; }} }} }}\n"
    );
    std::fs::write(dir.join("proxy.conf"), conf).expect("the test's directory can be written");
    std::fs::write(dir.join("users"), format!("{user}:{{PLAIN}}{password}\n")).expect("the test's directory can be written");
    let process = Process::start(
        "proxy",
        dir,
        Command::new("/usr/sbin/nginx").arg("-p").arg(dir).arg("-c").arg(dir.join("proxy.conf")).arg("-e").arg(dir.join("proxy-error.log")),
    );
    eventually("the proxy listens", Duration::from_secs(10), || TcpStream::connect(("127.0.0.1", port)).ok());
    (process, port)
}

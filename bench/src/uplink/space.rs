//! Two network namespaces of one run: the camera's and the server's. They go with their owner.

use super::emulator::DEVICE;
use std::io;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// The camera's side of the link.
const CAMERA_ADDRESS: &str = "10.77.0.1/24";
/// The server's.
const SERVER_ADDRESS: &str = "10.77.0.2/24";
/// The server as the camera names it. A namespace has all ports for itself.
pub(crate) const SERVER_URL: &str = "rtmp://10.77.0.2:1935/live";

/// What a process may choose.
const ALLOWED: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";

/// The congestion control that TCP takes on this machine where nobody chooses.
pub(crate) fn congestion_control() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")?.trim().to_owned())
}

/// The namespaces.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) camera: String,
    pub(crate) server: String,
}

impl Space {
    pub(crate) fn new(congestion: Option<&str>) -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = |side| format!("sightline-{}-{number}-{side}", std::process::id());
        let space = Self { camera: name("camera"), server: name("server") };
        for side in [&space.camera, &space.server] {
            ip(&["netns", "add", side])?;
            ip(&["-n", side, "link", "set", "lo", "up"])?;
            if let Some(congestion) = congestion {
                let set = inside(side, "sysctl").args(["-q", "-w", &format!("net.ipv4.tcp_congestion_control={congestion}")]).output()?;
                if !set.status.success() {
                    let said = String::from_utf8_lossy(&set.stderr);
                    return Err(io::Error::other(format!("--congestion {congestion}: {}; see {ALLOWED}", said.trim())));
                }
            }
        }
        Ok(space)
    }

    /// Gives the devices, which are open by now, their addresses.
    pub(crate) fn address(&self) -> io::Result<()> {
        for (side, address) in [(&self.camera, CAMERA_ADDRESS), (&self.server, SERVER_ADDRESS)] {
            ip(&["-n", side, "addr", "add", address, "dev", DEVICE])?;
            ip(&["-n", side, "link", "set", DEVICE, "mtu", "1500", "txqueuelen", "1000", "up"])?;
        }
        Ok(())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        for side in [&self.camera, &self.server] {
            let _ = ip(&["netns", "delete", side]);
        }
    }
}

/// A command that runs in a namespace; it replaces itself by the program, so that the child's id is the program's.
pub(crate) fn inside(namespace: &str, program: &str) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]);
    command
}

fn ip(args: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(args).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ip {}: {}; network namespaces need root", args.join(" "), said.trim())))
}

//! A camera of the machine itself: a real kernel with the driver `vivid`, in a virtual machine, streams to an origin out here.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{
    Stack,
    guest::{Guest, HOST},
    media,
    process::{eventually, output, sightline},
};
use std::{process::Command, time::Duration};

/// A webcam without injected errors as `/dev/video0`, and an output as `/dev/video1`.
const VIVID: &str = "vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=0 num_outputs=1 no_error_inj=1";

#[test]
fn x() {
    let stack = Stack::start();
    let _ = stack.add_device("cam-1");
    let url = stack.publish_url("cam-1").replace("127.0.0.1", HOST);
    let dir = tempfile::TempDir::new().unwrap();
    let t = std::time::Instant::now();
    let mut guest = Guest::boot(dir.path(), &[VIVID], &[&sightline()]);
    eprintln!("boot {:?}", t.elapsed());
    eprintln!("{}", guest.run("ls -l /dev/video* /sys/bus/platform/drivers/vivid; sightline --version; ip a"));
    for format in ["nv12", "yuyv"] {
    guest.run(&format!("sightline -v push /dev/video0 '{url}' --quality low --v4l2-format {format} >/tmp/push.log 2>&1 & echo $! >/tmp/pid"));
    std::thread::sleep(Duration::from_secs(15));
    eprintln!("{}", guest.run("cat /tmp/push.log; top -b -n1 | head -8"));
    eprintln!("{:?}", interop::stack::streams(&stack.http));
    guest.run("kill -INT $(cat /tmp/pid)");
    std::thread::sleep(Duration::from_secs(5));
    eprintln!("{}", guest.run("cat /tmp/push.log"));
    }
    eprintln!("{:?}", stack.recordings("cam-1", "mp4"));
    for r in  stack.recordings("cam-1", "mp4") { let _ = std::fs::copy(&r, format!("/tmp/h1-lv/{}", r.file_name().unwrap().to_string_lossy())); }
}

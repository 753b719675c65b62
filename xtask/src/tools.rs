//! What tests need besides Rust and a C/C++ compiler: from Debian's packages, once.

use crate::shell::{Problem, output_of, root, run, step};
use std::process::{Command, Stdio};

/// A package, and a program or file that shows that it is there.
type Package = (&'static str, &'static str);

/// The real peers.
pub(crate) const TESTS: &[Package] = &[
    ("nasm", "nasm"),
    ("ffmpeg", "ffmpeg"),
    ("nginx", "nginx"),
    ("libnginx-mod-rtmp", "/usr/lib/nginx/modules/ngx_rtmp_module.so"),
    ("mosquitto-clients", "mosquitto_sub"),
    ("mosquitto", "mosquitto"),
    ("chromium", "chromium"),
    ("chromium-driver", "chromedriver"),
    ("gstreamer1.0-tools", "gst-launch-1.0"),
    ("gstreamer1.0-plugins-base", "/usr/share/doc/gstreamer1.0-plugins-base"),
    ("gstreamer1.0-plugins-good", "/usr/share/doc/gstreamer1.0-plugins-good"),
    ("gstreamer1.0-plugins-bad", "/usr/share/doc/gstreamer1.0-plugins-bad"),
    ("gstreamer1.0-plugins-ugly", "/usr/share/doc/gstreamer1.0-plugins-ugly"),
    ("python3-gi", "/usr/lib/python3/dist-packages/gi"),
    ("glib-networking", "/usr/share/doc/glib-networking"),
    ("gir1.2-gst-rtsp-server-1.0", "/usr/share/doc/gir1.2-gst-rtsp-server-1.0"),
    ("opencv-doc", "/usr/share/doc/opencv-doc"),
    ("curl", "curl"),
    ("caddy", "caddy"),
    ("python3-pip", "/usr/lib/python3/dist-packages/pip"),
    ("qemu-system-x86", "qemu-system-x86_64"),
    ("qemu-system-misc", "qemu-system-riscv32"),
    ("binutils", "objcopy"),
    ("g++", "g++"),
];

/// The peers that benchmarks measure, and what puts each on its own processor.
pub(crate) const BENCH: &[Package] =
    &[("nasm", "nasm"), ("nginx", "nginx"), ("libnginx-mod-rtmp", "/usr/lib/nginx/modules/ngx_rtmp_module.so"), ("util-linux", "taskset")];

/// A Rust compiler with its own sources and clippy, to build `core` for a target that rustup has no library of; and a C compiler for that target, and
/// headers of C and C++ libraries to compile against (`interop/src/cross.rs`).
pub(crate) const BARE_METAL: &[Package] = &[
    ("rustc-web", "/usr/bin/rustc"),
    ("rust-web-src", "/usr/lib/rustlib/src/rust"),
    ("rust-web-clippy", "/usr/bin/clippy-driver"),
    ("gcc-riscv64-unknown-elf", "riscv64-unknown-elf-gcc"),
    ("libstdc++-12-dev-riscv64-cross", "/usr/riscv64-linux-gnu/include/c++/12/thread"),
    ("libc6-dev-riscv64-cross", "/usr/riscv64-linux-gnu/include/pthread.h"),
];

/// An ffmpeg that speaks Enhanced RTMP, 6.1 or later: Debian 12 has 5.1. This Python package holds a static build of ffmpeg 7.0.
const FFMPEG_PACKAGE: &str = "imageio-ffmpeg==0.6.0";

/// The version that this project was tested with.
const NEXTEST_VERSION: &str = "0.9.143";

/// Installs what is missing. Needs root, and a Debian machine; elsewhere it says what to install.
pub(crate) fn install(packages: &[Package]) -> Result<(), Problem> {
    let missing: Vec<&str> = packages.iter().filter(|(_, sign)| !is_there(sign)).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    step(&format!("install {}", missing.join(" ")));
    if output_of(Command::new("id").arg("-u")).as_deref() != Some("0") {
        return Err(Problem(format!("not root: install these first: apt-get install --no-install-recommends {}", missing.join(" "))));
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-qq").args(args);
        // Its chatter is not ours: shown only where it fails.
        let output = command.output().map_err(|error| Problem(format!("apt-get: {error}")))?;
        if output.status.success() {
            return Ok(());
        }
        Err(Problem(format!("apt-get {args:?}: {}", String::from_utf8_lossy(&output.stderr))))
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], missing.as_slice()].concat())
}

/// Puts a newer ffmpeg into `target/tools`, where the tests look for it. Asked for once: afterwards it is there.
pub(crate) fn ffmpeg() -> Result<(), Problem> {
    let dir = root().join("target/tools/ffmpeg");
    if dir.join("imageio_ffmpeg/binaries").exists() {
        return Ok(());
    }
    step("install an ffmpeg with Enhanced RTMP");
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--root-user-action=ignore", "--target"]).arg(&dir).arg(FFMPEG_PACKAGE);
    run(&mut pip)
}

/// Starts what tests start, once: behind a build all of it has to come from the disk again (5.7 s for ffmpeg's libraries, measured), and a
/// source has five seconds for its first picture.
pub(crate) fn read_from_the_disk() {
    for (program, argument) in [("ffmpeg", "-version"), ("ffprobe", "-version"), ("chromium", "--version"), ("chromedriver", "--version")] {
        // What is missing is said by the test that needs it.
        let _ = Command::new(program).arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// Puts Debian's own kernel and busybox, unpacked and never installed, into `target/tools`: a virtual machine with a camera runs on them. Asked for
/// once: afterwards they are there.
pub(crate) fn guest() -> Result<(), Problem> {
    let dir = root().join("target/tools/guest");
    if dir.join("ready").exists() {
        return Ok(());
    }
    step("unpack a kernel for a virtual machine");
    let wanted = |problem: &str| {
        Problem(format!(
            "{problem}: as root on a Debian machine, `apt-get update` must reach its mirror, which has linux-image-amd64 and busybox-static"
        ))
    };
    if output_of(Command::new("id").arg("-u")).as_deref() == Some("0") {
        output_of(Command::new("apt-get").args(["-qq", "update"])).ok_or_else(|| wanted("apt-get update failed"))?;
    }
    // The package of that name holds nothing but the name of the newest.
    let newest = output_of(Command::new("apt-cache").args(["depends", "--important", "linux-image-amd64"])).unwrap_or_default();
    let kernel = newest.lines().find_map(|line| line.trim().strip_prefix("Depends: ").filter(|name| name.starts_with("linux-image-")));
    let kernel = kernel.ok_or_else(|| wanted("no kernel package is known"))?;
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    output_of(Command::new("apt-get").args(["-qq", "download", kernel, "busybox-static"]).current_dir(&dir))
        .ok_or_else(|| wanted(&format!("apt-get download {kernel} busybox-static failed")))?;
    for entry in std::fs::read_dir(&dir)?.collect::<Result<Vec<_>, _>>()? {
        run(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&dir))?;
        std::fs::remove_file(entry.path())?;
    }
    let version = kernel.trim_start_matches("linux-image-");
    run(Command::new(dir.join("bin/busybox")).args(["depmod", "-b"]).arg(&dir).arg(version))?;
    Ok(std::fs::write(dir.join("ready"), version)?)
}

/// Of the kernel's source, what is built: the test encoder, and what it needs.
const CODEC_SOURCES: [&str; 2] = ["drivers/media/test-drivers/vicodec/*", "drivers/media/v4l2-core/v4l2-mem2mem.c"];
const CODEC_KBUILD: &str = "vicodec-objs := vicodec-core.o codec-fwht.o codec-v4l2-fwht.o\nobj-m += v4l2-mem2mem.o vicodec.o\n";

/// Builds `vicodec`, Linux's own test driver for encoders, for the virtual machine: Debian's kernel comes without. From Debian's packages of the
/// kernel's source and headers; asked for once.
pub(crate) fn guest_codec() -> Result<(), Problem> {
    let guest = root().join("target/tools/guest");
    if guest.join("ready-codec").exists() {
        return Ok(());
    }
    step("build the kernel's test encoder for the virtual machine");
    let version = std::fs::read_to_string(guest.join("ready"))?;
    // 6.1.0-56-amd64: headers for it, and for all of 6.1.0-56; build tools and source are those of 6.1.
    let (abi, _) = version.rsplit_once('-').ok_or_else(|| Problem(format!("{version:?} is no version of a Debian kernel")))?;
    let series: Vec<&str> = abi.split('.').take(2).collect();
    let series = series.join(".");
    let packages = [format!("linux-headers-{version}"), format!("linux-headers-{abi}-common"), format!("linux-kbuild-{series}")];
    let source = format!("linux-source-{series}");
    let dir = root().join("target/tools/codec");
    if dir.exists() {
        std::fs::remove_dir_all(&dir)?;
    }
    std::fs::create_dir_all(&dir)?;
    output_of(Command::new("apt-get").args(["-qq", "download", &source]).args(&packages).current_dir(&dir)).ok_or_else(|| {
        Problem(format!(
            "apt-get download {source} {} failed: as root on a Debian machine, `apt-get update` must reach its mirror",
            packages.join(" ")
        ))
    })?;
    for entry in std::fs::read_dir(&dir)?.collect::<Result<Vec<_>, _>>()? {
        if entry.file_name().to_string_lossy().starts_with("linux-source") {
            // A thousand megabytes of which five files are wanted.
            let unpack = "dpkg-deb --fsys-tarfile \"$0\" | tar -xO \"./usr/src/$1.tar.xz\" | tar -xJ --wildcards --strip-components=1 \"$1/$2\" \"$1/$3\"";
            run(Command::new("sh").args(["-c", unpack]).arg(entry.path()).arg(&source).args(CODEC_SOURCES).current_dir(&dir))?;
        } else {
            run(Command::new("dpkg-deb").arg("-x").arg(entry.path()).arg(&dir))?;
        }
    }
    let build = dir.join("build");
    std::fs::create_dir_all(&build)?;
    for file in std::fs::read_dir(dir.join("drivers/media/test-drivers/vicodec"))?.collect::<Result<Vec<_>, _>>()? {
        std::fs::copy(file.path(), build.join(file.file_name()))?;
    }
    std::fs::copy(dir.join("drivers/media/v4l2-core/v4l2-mem2mem.c"), build.join("v4l2-mem2mem.c"))?;
    std::fs::write(build.join("Kbuild"), CODEC_KBUILD)?;
    let headers = dir.join("usr/src").join(&packages[0]);
    // As installed it names its other half by where that would be.
    std::fs::write(headers.join("Makefile"), format!("include {}/Makefile\n", dir.join("usr/src").join(&packages[1]).display()))?;
    output_of(Command::new("make").arg("-C").arg(&headers).arg(format!("M={}", build.display())).args(["CC=gcc", "modules"]))
        .ok_or_else(|| Problem(format!("the kernel's test encoder does not build in {}: make, gcc and bc are needed", build.display())))?;
    let modules = guest.join("lib/modules").join(&version);
    std::fs::create_dir_all(modules.join("extra"))?;
    for module in ["v4l2-mem2mem.ko", "vicodec.ko"] {
        std::fs::copy(build.join(module), modules.join("extra").join(module))?;
    }
    run(Command::new(guest.join("bin/busybox")).args(["depmod", "-b"]).arg(&guest).arg(&version))?;
    std::fs::remove_dir_all(&dir)?;
    Ok(std::fs::write(guest.join("ready-codec"), version)?)
}

fn is_there(sign: &str) -> bool {
    if sign.starts_with('/') {
        return std::path::Path::new(sign).exists();
    }
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(sign).exists()))
        || ["/usr/sbin", "/sbin"].iter().any(|dir| std::path::Path::new(dir).join(sign).exists())
}

/// The test runner, from the Rust registry where the machine has none.
pub(crate) fn nextest() -> Result<(), Problem> {
    if output_of(Command::new(env!("CARGO")).args(["nextest", "--version"])).is_some() {
        return Ok(());
    }
    step("install cargo-nextest");
    run(Command::new(env!("CARGO")).args(["install", "--locked", "cargo-nextest", "--version", NEXTEST_VERSION]).current_dir(root()))
}

//! Builds the camera's side for a chip without an operating system and without an allocator: the C face, the images that run in QEMU, and the image for the
//! ESP32-P4. If any of it asked for an allocator, an operating system or `std`, it would not link.
//!
//! Clippy's compiler builds it, so that the firmware is under the same lints as the rest. rustup has no library for `riscv32imafc-unknown-none-elf`: Debian's rustc and its sources build `core` for it.

use crate::shell::{Problem, lint_with, output_of, root, run};
use std::{path::Path, process::Command};

const TARGET: &str = "riscv32imafc-unknown-none-elf";
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
const DEBIAN_CLIPPY: &str = "/usr/bin/clippy-driver";
/// Where nobody says whose image for the ESP32-P4 it is: an address that is nobody's (RFC 5737).
const SETTINGS: [(&str, &str); 2] = [("SIGHTLINE_DEVICE", "esp32p4"), ("SIGHTLINE_BROKER", "192.0.2.1:1883")];

pub(crate) fn link() -> Result<(), Problem> {
    let version = output_of(Command::new(DEBIAN_RUSTC).arg("--version"))
        .ok_or_else(|| Problem(format!("{DEBIAN_RUSTC} does not run: install rustc-web")))?;
    let sources = std::fs::read_link("/usr/lib/rustlib/src/rust").map_err(|error| Problem(format!("rust-web-src: {error}")))?;
    let sources_fit = version.split(' ').nth(1).is_some_and(|number| sources.to_string_lossy().contains(number));
    if !sources_fit {
        return Err(Problem(format!(
            "{version} and its sources at {} are of different versions: apt-get install rustc-web rust-web-src",
            sources.display()
        )));
    }
    let sysroot = output_of(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))
        .ok_or_else(|| Problem("rustc --print sysroot failed".into()))?;
    let linker = Path::new(&sysroot).join("lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
    // The C face comes first: one of qemu-virt's images is linked with it.
    for crate_of in ["firmware/capi", "firmware/qemu-virt", "firmware/esp32p4"] {
        let mut build = Command::new(env!("CARGO"));
        for (name, value) in SETTINGS.iter().filter(|(name, _)| std::env::var_os(name).is_none()) {
            build.env(name, value);
        }
        run(lint_with(Path::new(DEBIAN_CLIPPY), &mut build)
            .args(["build", "--quiet", "--release", "-Zbuild-std=core", "--target", TARGET])
            .current_dir(root().join(crate_of))
            // Its library is nightly's business, its compiler Debian's: this is for one target only, never for the product.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("RUSTC", DEBIAN_RUSTC)
            .env_remove("RUSTFLAGS")
            .env("CARGO_TARGET_RISCV32IMAFC_UNKNOWN_NONE_ELF_LINKER", &linker)
            .env("CARGO_TARGET_DIR", root().join("target-rv32")))?;
    }
    for name in ["qemu-virt", "c-face", "esp32p4"] {
        let image = root().join("target-rv32").join(TARGET).join("release").join(name);
        std::fs::metadata(&image)?;
        eprintln!("built {}, no allocator in it", image.display());
    }
    Ok(())
}

//! C and C++ compilers for the chip (RV32IMAFC, floats in registers of 32 bits): Debian's bare-metal GCC.
//!
//! Debian has neither a C nor a C++ library for it. What needs them (threads, strings, sockets) is compiled, not linked, with the headers of Debian's
//! libraries for 64-bit Linux: the C++ library is the one of the same GCC, its threads are POSIX threads as ESP-IDF's are, and the C library's headers
//! know 32 bits. Two of its rules know no single-precision machine: the size of a `jmp_buf`, and a list of functions that are stubs.

use crate::process::output;
use std::{path::Path, process::Command};

const CHIP: [&str; 2] = ["-march=rv32imafc", "-mabi=ilp32f"];
const LIBRARIES: &str = "/usr/riscv64-linux-gnu/include";

/// C without a library: `<stdint.h>` and the like only.
#[must_use]
pub fn freestanding_c() -> Command {
    let mut command = Command::new("riscv64-unknown-elf-gcc");
    command.args(CHIP).args(["-ffreestanding", "-Os"]);
    command
}

/// C++ without a library.
#[must_use]
pub fn freestanding_cpp() -> Command {
    let mut command = Command::new("riscv64-unknown-elf-g++");
    command.args(CHIP).args(["-ffreestanding", "-Os"]);
    command
}

/// C with the headers of a whole C library. `dir` is for files of this function's.
///
/// # Panics
/// If `dir` can't be written, or the compiler doesn't run.
#[must_use]
pub fn hosted_c(dir: &Path) -> Command {
    let mut command = Command::new("riscv64-unknown-elf-gcc");
    with_headers(&mut command, dir, &[]);
    command
}

/// C++ with the headers of whole C and C++ libraries; no exceptions, no RTTI, as firmware is built.
///
/// # Panics
/// As [`hosted_c`].
#[must_use]
pub fn hosted_cpp(dir: &Path) -> Command {
    let mut command = Command::new("riscv64-unknown-elf-g++");
    command.args(["-fno-exceptions", "-fno-rtti"]);
    with_headers(&mut command, dir, &["c++/12", "c++/12/riscv64-linux-gnu"]);
    command
}

fn with_headers(command: &mut Command, dir: &Path, libraries: &[&str]) {
    let stubs = dir.join("gnu");
    std::fs::create_dir_all(&stubs).expect("a test's directory can be written");
    std::fs::write(stubs.join("stubs-ilp32.h"), "").expect("a test's directory can be written");
    let own = output(Command::new("riscv64-unknown-elf-gcc").arg("-print-file-name=include"));
    let own = String::from_utf8(own).expect("a path");
    command.args(CHIP).args(["-Os", "-D_GNU_SOURCE", "-U__riscv_float_abi_single", "-D__riscv_float_abi_soft", "-nostdinc"]);
    for library in libraries {
        command.arg("-isystem").arg(Path::new(LIBRARIES).join(library));
    }
    command.args(["-isystem", own.trim(), "-isystem", LIBRARIES, "-isystem"]).arg(dir);
}

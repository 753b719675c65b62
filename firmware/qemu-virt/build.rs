//! Says where the linker's script is, and compiles and links what the image `c-face` has of C.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// As ESP-IDF compiles for the chip, but that nothing may be doubtful.
const C_FLAGS: [&str; 9] =
    ["-march=rv32imafc", "-mabi=ilp32f", "-ffreestanding", "-Os", "-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic"];

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rustc-link-arg-bins=-T{}", here.join("link.x").display());
    println!("cargo::rerun-if-changed=link.x");
    let camera = compile_camera(&here);
    println!("cargo::rustc-link-arg-bin=c-face={}", camera.display());
    // The file that a firmware is given, not its source as a crate: what runs is what is shipped. Nothing in it clashes with this image's Rust: its panic
    // handler is local to it, and of compiler_builtins the linker takes each function once, from whichever library it meets first.
    let library = library();
    println!("cargo::rustc-link-arg-bin=c-face={}", library.display());
    println!("cargo::rerun-if-changed={}", library.display());
}

fn compile_camera(here: &Path) -> PathBuf {
    let object = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it")).join("camera.o");
    let include = here.join("../capi/include");
    let compiled = Command::new("riscv64-unknown-elf-gcc")
        .args(C_FLAGS)
        .arg("-I")
        .arg(&include)
        .arg("-c")
        .arg(here.join("c/camera.c"))
        .arg("-o")
        .arg(&object)
        .status();
    assert!(
        compiled.is_ok_and(|status| status.success()),
        "c/camera.c: see above; apt-get install gcc-riscv64-unknown-elf if there is no compiler"
    );
    println!("cargo::rerun-if-changed=c");
    println!("cargo::rerun-if-changed={}", include.join("sightline.h").display());
    object
}

/// Where cargo leaves it when it builds both into one target directory: beside the images.
fn library() -> PathBuf {
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    // …/release/build/qemu-virt-1234/out
    let library = out.ancestors().nth(3).expect("cargo's directories").join("libsightline.a");
    assert!(library.is_file(), "{} is missing: firmware/capi is built before this, as `cargo xtask bare-metal` does", library.display());
    library
}

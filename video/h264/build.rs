//! Tells the crate which H.264 encoder its build has: openh264 silently falls back to half the speed where `nasm` is missing.

fn main() {
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rerun-if-changed=build.rs");
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let is_x86 = arch == "x86_64" || arch == "x86";
    let has_nasm = std::process::Command::new("nasm").arg("-v").output().is_ok_and(|output| output.status.success());
    let speed = match (is_x86, has_nasm) {
        (true, true) => "assembly (nasm)",
        (true, false) => {
            println!(
                "cargo::warning=nasm was not found: the software encoder is built without assembly, at about half its speed; install nasm, then `cargo clean -p openh264-sys2` and build again"
            );
            "portable C++, without nasm"
        }
        (false, _) => "assembly where openh264 has it for this processor",
    };
    println!("cargo::rustc-env=SIGHTLINE_ENCODER_BUILD=openh264, {speed}");
}

//! Says where the linker's script is.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    println!("cargo::rustc-link-arg-bins=-T{here}/link.x");
    println!("cargo::rerun-if-changed=link.x");
}

//! Which edges the kept corpus reaches: each edge's address and whether it was, a line each. `cargo xtask fuzz --coverage` puts files to them.
//!
//! LLVM's counters are there already, for libFuzzer; here takes its place what only counts.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

/// Where counters and addresses lie, as the modules' constructors say. They may say it more than once.
static COUNTERS: Mutex<BTreeSet<(usize, usize)>> = Mutex::new(BTreeSet::new());
static ADDRESSES: Mutex<BTreeSet<(usize, usize)>> = Mutex::new(BTreeSet::new());

#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *const u8, stop: *const u8) {
    COUNTERS.lock().unwrap().insert((start.addr(), stop.addr()));
}

#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_pcs_init(start: *const u8, stop: *const u8) {
    ADDRESSES.lock().unwrap().insert((start.addr(), stop.addr()));
}

/// What counts indirect calls is of no use here.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_trace_pc_indir(_: usize) {}

fn main() -> std::io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (name, body) in fuzz_bodies::TARGETS {
        for entry in std::fs::read_dir(corpus.join(name))? {
            body(&std::fs::read(entry?.path())?);
        }
    }
    let mut out = std::io::stdout().lock();
    let (counters, addresses) = (COUNTERS.lock().unwrap().clone(), ADDRESSES.lock().unwrap().clone());
    for ((first, end), (entries, _)) in counters.into_iter().zip(addresses) {
        for place in 0..end - first {
            // SAFETY: the constructors said that these are a counter of one byte, and two words, for each edge.
            let (count, address) = unsafe {
                (*std::ptr::with_exposed_provenance::<u8>(first + place), *std::ptr::with_exposed_provenance::<usize>(entries + place * 16))
            };
            writeln!(out, "{address:#x} {}", u8::from(count > 0))?;
        }
    }
    Ok(())
}

//! QEMU's `virt` machine: serial port, clock, counters, the end. And the stack, which is painted to see how deep it was.
#![expect(
    unsafe_code,
    reason = "registers of the machine, its control registers, the memory of the stack and of what the loader has put there"
)]

use core::arch::{asm, global_asm};
use core::fmt::{self, Write as _};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};
use serde::de::DeserializeOwned;
use sightline_board::Board;
use sightline_signal::json;

/// NS16550A's transmitter.
const UART: *mut u8 = 0x1000_0000 as *mut u8;
/// CLINT: machine time, 10 MHz.
const MTIME: *const u32 = 0x0200_bff8 as *const u32;
/// CLINT: when the timer of hart 0 goes off.
const MTIMECMP: *mut u32 = 0x0200_4000 as *mut u32;
/// PLIC: each source's priority, which of them reach hart 0 in machine mode, and what claims one and gives it back.
const PLIC_PRIORITY: *mut u32 = 0x0c00_0000 as *mut u32;
const PLIC_ENABLE: *mut u32 = 0x0c00_2000 as *mut u32;
const PLIC_CLAIM: *mut u32 = 0x0c20_0004 as *mut u32;
/// `mie`: the timer's interrupt, and the PLIC's.
const WAKES: u32 = 1 << 7 | 1 << 11;
/// Where the loader puts things, and how much of each there may be, in bytes.
const SETTINGS: (usize, usize) = (0x87f0_0000, 512);
const CLIP: (usize, usize) = (0x8800_0000, 32 << 20);
const BUFFERS: (usize, usize) = (CLIP.0 + CLIP.1, 8 << 20);
/// Ends QEMU.
const TEST_FINISHER: *mut u32 = 0x0010_0000 as *mut u32;
const TICKS_PER_MICRO: u64 = 10;
/// What the stack is painted with.
const PAINT: u32 = 0xcdcd_cdcd;

// The stack, floating point on, .data and .bss, paint, and Rust. Traps are not expected: one hangs, which the harness sees as a timeout.
global_asm!(
    r"
    .section .init
    .globl _start
_start:
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, _stack_top
    li t0, 0x2000
    csrs mstatus, t0
    la t0, trap
    csrw mtvec, t0
    la t0, _data_start
    la t1, _data_end
    la t2, _data_load
1:  bgeu t0, t1, 2f
    lw t3, 0(t2)
    sw t3, 0(t0)
    addi t0, t0, 4
    addi t2, t2, 4
    j 1b
2:  la t0, _bss_start
    la t1, _bss_end
3:  bgeu t0, t1, 4f
    sw zero, 0(t0)
    addi t0, t0, 4
    j 3b
4:  la t0, _stack_bottom
    li t2, 0xcdcdcdcd
5:  bgeu t0, sp, 6f
    sw t2, 0(t0)
    addi t0, t0, 4
    j 5b
6:  call main
    .align 4
trap:
    csrr a0, mcause
    csrr a1, mepc
    csrr a2, mtval
    call trapped
"
);

unsafe extern "C" {
    static _stack_bottom: u32;
    static _stack_top: u32;
    static _data_start: u32;
    static _bss_end: u32;
}

/// An exception: none is expected.
#[unsafe(no_mangle)]
extern "C" fn trapped(cause: u32, at: u32, value: u32) -> ! {
    println(format_args!("trap: cause {cause}, at {at:#x}, value {value:#x}"));
    exit(3)
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println(format_args!("panic: {info}"));
    exit(2)
}

struct Serial;

impl fmt::Write for Serial {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: the transmitter's register; QEMU's is always ready.
            unsafe { UART.write_volatile(byte) };
        }
        Ok(())
    }
}

/// A line on the serial port.
pub(crate) fn println(line: fmt::Arguments<'_>) {
    // The serial port takes everything.
    let _ = Serial.write_fmt(line);
    let _ = Serial.write_str("\n");
}

/// The machine, as the loop sees it.
pub(crate) struct Machine;

impl Board for Machine {
    fn micros(&self) -> u64 {
        micros()
    }

    fn sleep_until(&self, at_micros: u64) {
        sleep_until(at_micros);
    }

    fn say(&self, line: fmt::Arguments<'_>) {
        println(line);
    }

    fn instructions(&self) -> u64 {
        instructions()
    }
}

fn micros() -> u64 {
    loop {
        // SAFETY: the clock's registers, high, low, high: a carry between shows.
        let (high, low, again) = unsafe { (MTIME.add(1).read_volatile(), MTIME.read_volatile(), MTIME.add(1).read_volatile()) };
        if high == again {
            return (u64::from(high) << 32 | u64::from(low)) / TICKS_PER_MICRO;
        }
    }
}

/// From now on this source of the PLIC ends sleeps.
pub(crate) fn wake_on(source: usize) {
    // SAFETY: the registers of one of the PLIC's 95 sources; its threshold is 0 after a reset.
    unsafe {
        PLIC_PRIORITY.add(source).write_volatile(1);
        PLIC_ENABLE.add(source / 32).write_volatile(1 << (source % 32));
    }
}

/// Sleeps until then, or about, or until a device has something.
fn sleep_until(at_micros: u64) {
    let ticks = at_micros * TICKS_PER_MICRO;
    // SAFETY: the timer's registers, in the order in which it can't go off between; interrupts are enabled for `wfi` to see, but not taken (mstatus.MIE is
    // off). What the PLIC has is claimed and given back before the device is looked at, so that whatever comes after that look ends the next sleep.
    unsafe {
        MTIMECMP.add(1).write_volatile(u32::MAX);
        MTIMECMP.write_volatile(ticks as u32);
        MTIMECMP.add(1).write_volatile((ticks >> 32) as u32);
        asm!("csrs mie, {wakes}", "wfi", wakes = in(reg) WAKES);
        let source = PLIC_CLAIM.read_volatile();
        if source != 0 {
            PLIC_CLAIM.write_volatile(source);
        }
    }
}

/// Instructions retired, with `-icount`; host time otherwise.
fn instructions() -> u64 {
    loop {
        let (high, low, again): (u32, u32, u32);
        // SAFETY: reads a counter.
        unsafe { asm!("csrr {0}, minstreth", "csrr {1}, minstret", "csrr {2}, minstreth", out(reg) high, out(reg) low, out(reg) again) };
        if high == again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

/// The deepest that the stack has been, in bytes.
pub(crate) fn stack_high_water() -> usize {
    let (bottom, top) = (&raw const _stack_bottom, &raw const _stack_top);
    let mut at = bottom;
    // SAFETY: between the two lies the stack and nothing else; what is not in use is paint.
    while at < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    top as usize - at as usize
}

/// Static memory, in bytes.
pub(crate) fn static_bytes() -> usize {
    &raw const _bss_end as usize - &raw const _data_start as usize
}

/// What QEMU's loader has put into memory above the linker's regions: the settings (JSON, with zeros behind it) and a clip; and room for what an encoder
/// puts out. All of it as chips see their PSRAM.
///
/// # Panics
/// The second time: the memory is somebody's then.
pub(crate) fn loaded() -> [&'static mut [u8]; 3] {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    assert!(!IS_TAKEN.swap(true, Ordering::Relaxed), "what was loaded is taken once");
    // SAFETY: the machine has 256 MB from 0x80000000 on, all initialised in QEMU; the linker knows nothing of these; none touches another; and nobody
    // had them before, as the flag says.
    [SETTINGS, CLIP, BUFFERS].map(|(at, bytes)| unsafe { core::slice::from_raw_parts_mut(at as *mut u8, bytes) })
}

/// Settings as they were loaded.
#[inline(never)]
pub(crate) fn read<T: DeserializeOwned>(settings: &[u8]) -> Result<T, &'static str> {
    let length = settings.iter().position(|byte| *byte == 0).unwrap_or(settings.len());
    json::read(&settings[..length]).map_err(|_| "the settings can't be read")
}

/// What the start-up code calls.
#[unsafe(no_mangle)]
extern "C" fn main() -> ! {
    match crate::start() {
        Ok(status) => exit(status),
        Err(problem) => {
            println(format_args!("error: {problem}"));
            exit(1)
        }
    }
}

/// Ends QEMU with this exit status.
pub(crate) fn exit(status: u32) -> ! {
    // SAFETY: the finisher's register; QEMU is gone after it.
    unsafe { TEST_FINISHER.write_volatile(if status == 0 { 0x5555 } else { status << 16 | 0x3333 }) };
    loop {
        // SAFETY: waits.
        unsafe { asm!("wfi") };
    }
}

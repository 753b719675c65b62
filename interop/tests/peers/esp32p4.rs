//! The image for the ESP32-P4, as it was linked. What it does can't be seen here: nothing here runs it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{chip::image, media::avc_units};
use object::{
    Endianness, Object as _, ObjectSection as _, ObjectSymbol as _,
    elf::{EF_RISCV_FLOAT_ABI_SINGLE, EM_RISCV},
    read::elf::{ElfFile32, FileHeader as _},
};
use std::{ops::Range, path::Path};

/// The chip's RAM: 768 KB, of which the low end is the cache and the high end the ROM's.
const RAM: Range<u64> = 0x4ff0_0000..0x4ffc_0000;
/// Flash, where the bootloader maps it.
const FLASH: Range<u64> = 0x4000_0000..0x4040_0000;
/// All statics and what runs from RAM, without the clip: TCP's and the controller's buffers, the arena, the hardware's library. Two thirds of the
/// linker's region stay free for the stack, a clip, and what the image has not yet: TLS, an encoder's own memory.
const STATIC_BYTES_MAX: u64 = 144 << 10;
/// What stays for the stack; QEMU saw 7 KB of use.
const STACK_BYTES_MIN: u64 = 64 << 10;

fn with_elf(look: impl FnOnce(&ElfFile32<'_, Endianness>)) {
    let bytes = std::fs::read(image("esp32p4")).unwrap();
    look(&ElfFile32::parse(&*bytes).unwrap());
}

/// Address and bytes of what has this name, whatever the compiler has put around it.
fn find(elf: &ElfFile32<'_, Endianness>, name: &str) -> (u64, u64) {
    let found: Vec<_> =
        elf.symbols().filter(|symbol| symbol.size() > 0 && symbol.name().is_ok_and(|mangled| mangled.contains(name))).collect();
    assert_eq!(found.len(), 1, "one symbol for {name}: {:?}", found.iter().map(|symbol| symbol.name()).collect::<Vec<_>>());
    (found[0].address(), found[0].size())
}

fn bytes<'a>(elf: &ElfFile32<'a, Endianness>, (address, size): (u64, u64)) -> &'a [u8] {
    elf.sections().find_map(|section| section.data_range(address, size).unwrap()).expect("it is in the file")
}

#[test]
fn the_p4_s_image_is_for_its_processor_and_its_bootloader() {
    with_elf(|elf| {
        let header = elf.elf_header();
        assert_eq!(header.e_machine(elf.endian()), EM_RISCV);
        assert_eq!(header.e_flags(elf.endian()) & EF_RISCV_FLOAT_ABI_SINGLE, EF_RISCV_FLOAT_ABI_SINGLE, "single floats in registers");
        assert!(FLASH.contains(&elf.entry()), "it starts at {:#x}", elf.entry());
        // Its description is the first in flash, behind two headers of the image's file; ESP-IDF's bootloader knows it by its first word.
        let description = find(elf, "esp_app_desc");
        assert_eq!(description, (FLASH.start + 0x20, 256));
        let description = bytes(elf, description);
        assert_eq!(description[..4], 0xabcd_5432_u32.to_le_bytes());
        assert!(description.windows(10).any(|name| name == b"sightline\0"));
    });
}

#[test]
fn the_p4_s_image_keeps_its_memory_and_has_no_allocator() {
    with_elf(|elf| {
        let allocators = ["rust_alloc", "rust_realloc", "rdl_alloc", "malloc"];
        let found = elf.symbols().find(|symbol| symbol.name().is_ok_and(|name| allocators.iter().any(|of| name.contains(of))));
        assert!(found.is_none(), "{:?}", found.map(|symbol| symbol.name().map(str::to_owned)));
        let in_ram = |name: &str| {
            let sections = elf.sections().filter(|section| RAM.contains(&section.address()));
            sections.filter(|section| (section.name() == Ok(".stack")) == (name == ".stack")).map(|section| section.size()).sum::<u64>()
        };
        let ((_, arena), (_, clip)) = (find(elf, "5ARENA"), find(elf, "4CLIP"));
        let statics = in_ram("") - clip;
        println!("arena {arena}, statics {statics}, clip {clip}, stack {}", in_ram(".stack"));
        assert!((8 << 10..=24 << 10).contains(&arena), "the arena has {arena} bytes");
        assert!(statics <= STATIC_BYTES_MAX, "{statics} bytes of statics");
        assert!(in_ram(".stack") >= STACK_BYTES_MIN, "{} bytes of stack", in_ram(".stack"));
    });
}

#[test]
fn the_p4_s_clip_is_its_scene_unit_by_unit() {
    with_elf(|elf| {
        let clip = bytes(elf, find(elf, "4CLIP"));
        let at = clip.windows(8).position(|magic| magic == b"SLCLIP01").expect("a clip");
        let clip = &clip[at..];
        let number = |at: usize| u32::from_le_bytes(clip[at..at + 4].try_into().unwrap()) as usize;
        let (count, data) = (number(8), 16 + 8 * number(8));
        let units = (0..count).flat_map(|unit| {
            let (from, length) = (number(16 + 8 * unit), number(20 + 8 * unit));
            let unit = avc_units(&clip[data + from..data + from + length]);
            assert_eq!(unit.len(), 1, "an access unit each");
            unit
        });
        let scene = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware/esp32p4/scene.h264")).unwrap();
        assert_eq!(units.collect::<Vec<_>>(), avc_units(&scene));
    });
}

//! Encoders of the machine: a real kernel with its test driver `vicodec`, which has the interface of hardware encoders (queues, formats, controls, drain)
//! and makes a format of its own. H.264 of hardware was not at hand.
#![allow(clippy::unwrap_used, reason = "a test that can't go on fails")]

use interop::{guest::Guest, process::sightline};
use serde_json::Value;

/// A node that encodes is `/dev/video0`, one that decodes `/dev/video1`.
const VICODEC: &str = "vicodec multiplanar=0";
/// How its format begins: two marks of four bytes, then version, width and height.
const MARK: &str = "4f4f4f4fffffffff00000003";

/// The bit of a frame's header, in its flags, that says that it needs no other frame.
const INTRA: u32 = 1 << 10;

fn is_intra(head: &str) -> bool {
    u32::from_str_radix(&head[40..48], 16).unwrap() & INTRA != 0
}

fn json(printed: &str) -> Value {
    serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn numbers(value: &Value) -> Vec<i64> {
    value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

#[test]
fn every_picture_comes_out_of_an_encoder_of_the_machine_by_either_interface() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut guest = Guest::boot(dir.path(), &[VICODEC], &[&sightline()]);
    for is_multi_planar in [false, true] {
        if is_multi_planar {
            guest.run("rmmod vicodec && insmod $(find /modules -name vicodec.ko) multiplanar=1");
        }
        // One that fills whole blocks, and one whose lines and rows the driver makes longer.
        for (width, height) in [(640, 480), (650, 362)] {
            let what = format!("{width}x{height}, in several memories: {is_multi_planar}");
            let command =
                format!("sightline camera probe --encoder /dev/video0 --encoder-format FWHT --encoder-size {width}x{height} --json");
            let report = json(&guest.run(&format!("{command} 2>/tmp/log")));
            assert_eq!(numbers(&report["frames"]), (0..60).collect::<Vec<i64>>(), "{what}: frames out are pictures in");
            // The driver's longest interval is 16; before the 31st picture one is asked for, and since it has no control for that, a stream begins anew.
            let heads: Vec<&str> = report["heads"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let intra: Vec<usize> = (0..heads.len()).filter(|index| is_intra(heads[*index])).collect();
            assert_eq!(intra, [0, 16, 30, 46], "{what}");
            // A driver that does not keep its word: key frames are recognised by what is in them.
            assert_eq!(numbers(&report["keyframes"]), Vec::<i64>::new(), "{what}");
            let head = format!("{MARK}{width:08x}{height:08x}");
            assert!(heads.iter().all(|frame| frame.starts_with(&head)), "{what}: of another size: {heads:?}");
            assert!(numbers(&report["bytes"]).iter().all(|bytes| *bytes > 24), "{what}: {report}");
            let (stride, rows) = (report["stride"].as_u64().unwrap(), report["rows"].as_u64().unwrap());
            assert!(stride >= width && rows >= height, "{what}: {stride} x {rows}");
            assert_eq!((stride > width, rows > height), (width == 650, height == 362), "{what}: {stride} x {rows}");
            let missing: Vec<&str> = report["missing"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            assert!(missing.contains(&"bit rate") && missing.contains(&"forced key frame"), "{what}: {missing:?}");
            assert!(!missing.contains(&"key-frame interval"), "{what}: {missing:?}");
            assert_eq!(report["follows_bitrate"], false, "{what}");
        }
    }
}

#[test]
fn what_an_encoder_can_t_do_is_said_and_one_of_another_format_is_none_of_ours() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut guest = Guest::boot(dir.path(), &[VICODEC], &[&sightline()]);
    let mut refused = |device: &str, options: &str, expected: &str| {
        let (status, said) = guest.try_run(&format!("sightline camera probe --encoder {device} {options}"));
        assert!(status == 1 && said.contains(device) && said.contains(expected), "{device} {options}: {status}, {said}");
    };
    refused("/dev/video0", "", "it makes no H264");
    refused("/dev/video1", "--encoder-format FWHT", "it makes no FWHT");
    refused("/dev/video0", "--encoder-format FWHT --encoder-size 8192x4096", "does not fit");
    refused("/dev/video9", "", "can't be opened");
    refused("/dev/null", "", "it is no V4L2 device");
    let listed = json(&guest.run("sightline camera probe --json"));
    assert_eq!(
        (&listed["devices"], &listed["encoders"]),
        (&Value::Array(Vec::new()), &Value::Array(Vec::new())),
        "no camera, and no H.264"
    );
    assert!(guest.run("sightline camera probe").contains("openh264"));
    // By itself the agent takes what makes H.264.
    let checked = guest.run("sightline doctor --json | tr '{' '\\n' | grep '\"item\":\"encoder\"'");
    assert!(checked.contains("openh264") && checked.contains("passed"), "{checked}");
}

//! Conversations and media that random changes come upon late: pictures in pieces, sound that nobody describes, each answer of a server.

use crate::script::avc_record;

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Pairs of target and input.
pub(crate) fn all() -> Seeds {
    let mut seeds = vec![];
    media(&mut seeds);
    publishers(&mut seeds);
    servers(&mut seeds);
    sets(&mut seeds);
    units(&mut seeds);
    key_frames_of_vp9(&mut seeds);
    recovery_points(&mut seeds);
    seeds
}

/// Of each profile, with colours and without.
fn key_frames_of_vp9(seeds: &mut Seeds) {
    for profile in 0..4_u8 {
        for is_rgb in [false, true] {
            let mut bits = vec![1, 0, profile & 1, profile >> 1];
            bits.extend(vec![0; usize::from(profile == 3)]);
            bits.extend([0, 0, 1, 0]);
            bits.extend((0..24).rev().map(|at| u8::from(0x49_83_42_u32 >> at & 1 == 1)));
            bits.extend(vec![0; usize::from(profile >= 2)]);
            bits.extend([u8::from(is_rgb); 3]);
            bits.extend(vec![
                0;
                usize::from(!is_rgb)
                    + if profile & 1 == 0 {
                        0
                    } else if is_rgb {
                        1
                    } else {
                        3
                    }
            ]);
            bits.extend([319_u32, 179].iter().flat_map(|side| (0..16).rev().map(move |at| (side >> at & 1) as u8)));
            let bytes = bits.chunks(8).map(|bits| bits.iter().enumerate().fold(0, |byte, (at, bit)| byte | bit << (7 - at)));
            seeds.push(("media", std::iter::once(0x84).chain(bytes).collect()));
        }
    }
}

/// In messages of their own, framed each way; the picture has delimiters and sets, or none.
fn recovery_points(seeds: &mut Seeds) {
    let message = |kind: u8, bytes: &[u8]| [&[kind][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let lengths =
        |units: &[&[u8]]| -> Vec<u8> { units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect() };
    let (point, picture): (&[u8], &[u8]) = (&[6, 6, 1, 0xc4, 0x80], &[0x41, 0x9a, 0x24]);
    let within = [point, &[0, 0, 1], &[6, 5, 1, 7, 0x80][..]].concat();
    let long = [point, &[7; 5000]].concat();
    let mut seed = [&[0][..], &message(0, &avc_record(0))].concat();
    for announced in [lengths(&[point]), lengths(&[&[9, 0xf0], &within]), [&[0, 0, 1][..], point].concat(), lengths(&[&long])] {
        for units in [&[picture][..], &[&[9, 0xf0], picture, picture], &[point, picture]] {
            seed.extend(message(1, &announced));
            seed.extend(message(1, &lengths(units)));
        }
    }
    seeds.push(("intake", seed));
}

/// A message for `bodies`: 0 video, 1 audio, 2 data.
fn body(type_id: u8, time: u16, bytes: &[u8]) -> Vec<u8> {
    [&[type_id][..], &time.to_be_bytes(), &(bytes.len() as u16).to_be_bytes(), bytes].concat()
}

fn picture(first: u8, time: u16, units: &[&[u8]]) -> Vec<u8> {
    let lengths = units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat());
    body(0, time, &[first, 1, 0, 0, 0].into_iter().chain(lengths).collect::<Vec<u8>>())
}

fn media(seeds: &mut Seeds) {
    let record = body(0, 0, &[&[0x17, 0, 0, 0, 0][..], &avc_record(0)].concat());
    let (idr, idr_on): (&[u8], &[u8]) = (&[0x65, 0x88, 0x84], &[0x65, 0x42, 0x84]);
    let (inter, inter_on): (&[u8], &[u8]) = (&[0x41, 0x9a, 0x24], &[0x41, 0x42, 0x24]);
    // Slices in messages of their own, then whole pictures until that is believed again, then the end.
    let apart = [picture(0x17, 0, &[idr]), picture(0x17, 1, &[idr_on]), picture(0x27, 40, &[inter]), picture(0x27, 40, &[inter_on])];
    let whole = (2..60_u16).flat_map(|at| picture(0x27, at * 40, &[inter]));
    seeds.push(("bodies", record.iter().copied().chain(apart.concat()).chain(whole).chain(apart.concat()).collect()));
    let (sps, pps) = (avc_record(0)[8..32].to_vec(), avc_record(0)[35..].to_vec());
    let codes = [&[0, 0, 0, 1][..], &sps, &[0, 0, 1], &pps, &[0, 0, 1, 6, 6, 1, 0xc4, 0x80, 0, 0, 1], inter].concat();
    let within = [&(codes.len() as u32).to_be_bytes()[..], &codes].concat();
    for payload in [&codes, &within] {
        let frame = |time| body(0, time, &[&[0x27, 1, 0, 0, 0][..], payload].concat());
        seeds.push((
            "bodies",
            [frame(0), frame(40), picture(0x27, 80, &[inter, &[]]), body(0, 120, &[0x17, 1, 0, 0, 0, 0, 0, 0, 9, 0x65, 1])].concat(),
        ));
    }
    // AAC: behind ADTS headers with and without a check, by LATM, and by its times alone.
    let adts = |is_checked: bool, payload: &[u8]| {
        let header_bytes = if is_checked { 9 } else { 7 };
        let length = (payload.len() + header_bytes) as u16;
        let head = [
            0xff,
            if is_checked { 0xf0 } else { 0xf1 },
            0x50,
            0x80 | (length >> 11) as u8,
            (length >> 3) as u8,
            (length << 5) as u8 | 0x1f,
            0xfc,
        ];
        [&head[..], if is_checked { &[1, 2] } else { &[] }, payload].concat()
    };
    for is_checked in [false, true] {
        let two = [adts(is_checked, &[0x21, 1, 2]), adts(is_checked, &[0x01, 3])].concat();
        seeds.push((
            "bodies",
            [body(1, 0, &[&[0xaf, 1][..], &two].concat()), body(1, 46, &[&[0xaf, 1][..], &two, &[0xff]].concat())].concat(),
        ));
    }
    for latm in [
        &[0x40, 0, 0x28, 0x10, 0x3f, 0xc0][..],
        &[0x40, 0, 0x2f, 0, 0x5d, 0xc0, 0x20, 0x3f],
        &[0x40, 0, 0x58, 0x10, 0x3f, 0xc0],
        &[0x40, 0],
    ] {
        seeds.push(("bodies", [body(1, 0, &[&[0xaf, 0][..], latm].concat()), body(1, 20, &[0xaf, 1, 0x21, 7])].concat()));
    }
    for (first, step) in [(0x21_u8, 23_200_u32), (0x01, 64_000), (0x61, 21_333), (0x21, 9_000)] {
        let frames = (0..30_u32).flat_map(|at| body(1, (at * step / 1_000) as u16, &[0xaf, 1, first, 7, at as u8]));
        seeds.push(("bodies", frames.collect()));
    }
    // Every code of Enhanced RTMP under both media, in each kind of packet.
    for four_cc in [b"avc1", b"hvc1", b"av01", b"vp09", b"vp08", b"Opus", b"fLaC", b"ac-3", b"ec-3", b".mp3", b"mp4a"] {
        let packets = (0..8_u8).flat_map(|kind| {
            let video = body(0, u16::from(kind) * 9, &[&[0x90 | kind][..], four_cc, &[0, 0, 0, 0, 0, 4, 0x65, 0x88, 1, 2]].concat());
            let audio = body(1, u16::from(kind) * 9, &[&[0x90 | kind][..], four_cc, &[0x12, 0x10, 1, 2]].concat());
            [video, audio].concat()
        });
        seeds.push(("bodies", packets.collect()));
    }
    let key: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0, 0x27, 0xf0, 0x16, 0x70, 0];
    let vp9 = |kind: u8, time: u16, bytes: &[u8]| body(0, time, &[&[kind][..], b"vp09", bytes].concat());
    let larger: &[u8] = &[0x82, 0x49, 0x83, 0x42, 0, 0x4f, 0xf0, 0x2c, 0xf0, 0];
    seeds.push((
        "bodies",
        [
            vp9(0x90, 0, &[1, 0, 0, 0, 0, 21, 0x82, 2, 2, 2, 0, 0]),
            vp9(0xa1, 20, &[0x86]),
            vp9(0x91, 40, key),
            vp9(0xa1, 80, &[0x86]),
            vp9(0x91, 120, larger),
            vp9(0x91, 160, &[0x82, 1]),
        ]
        .concat(),
    ));
    // More tracks than are kept; other configurations; the codec of a track that changes.
    let tracks = (0..40_u8).flat_map(|track| body(0, 0, &[&[0x96, 0x00][..], b"avc1", &[track], &avc_record(0)].concat()));
    seeds.push(("bodies", tracks.collect()));
    let other = body(0, 40, &[&[0x17, 0, 0, 0, 0][..], &avc_record(9)].concat());
    seeds.push((
        "bodies",
        [&record[..], &picture(0x17, 0, &[idr]), &other, &picture(0x17, 40, &[idr]), &record, &record, &picture(0x17, 80, &[idr])].concat(),
    ));
    let legacy_hevc = body(0, 0, &[0x1c, 1, 0, 0, 80, 0, 0, 0, 4, 0x26, 1, 0xaf, 9]);
    seeds.push(("bodies", [record, legacy_hevc, picture(0x37, 80, &[&[0x01, 0x9a, 0x24]]), picture(0x17, 90, &[])].concat()));
    // Metadata of every kind of value.
    let mut values = b"\x02\x00\x0d@setDataFrame\x02\x00\x0aonMetaData\x03".to_vec();
    for (name, value) in [
        (&b"width"[..], &b"\0\x40\x94\0\0\0\0\0\0"[..]),
        (b"height", b"\0\x7f\xf8\0\0\0\0\0\0"),
        (b"stereo", b"\x01\x01"),
        (b"encoder", b"\x02\0\x03obs"),
        (b"nothing", b"\x05"),
        (b"undefined", b"\x06"),
        (b"when", b"\x0b\0\0\0\0\0\0\0\0\0\0"),
        (b"long", b"\x0c\0\0\0\x02ab"),
        (b"list", b"\x0a\0\0\0\x01\x01\0"),
        (b"inner", b"\x03\0\x01a\x01\x01\0\0\x09"),
    ] {
        values.extend_from_slice(&(name.len() as u16).to_be_bytes());
        values.extend_from_slice(name);
        values.extend_from_slice(value);
    }
    values.extend_from_slice(&[0, 0, 9]);
    seeds.push(("bodies", [body(2, 0, &values), body(2, 0, &values), body(4, 0, &[&[0][..], &values].concat())].concat()));
}

/// Publishers and players as the server's script has them: `op` and its choices, and a byte whether the wire waits.
fn publishers(seeds: &mut Seeds) {
    let (connect, create, publish, play): (&[u8], &[u8], &[u8], &[u8]) = (&[0, 0, 0, 0], &[1, 0, 0], &[2, 0, 0, 1, 0], &[3, 0, 0, 0, 0]);
    let (header, key): (&[u8], &[u8]) = (&[8, 12, 0, 0, 0], &[9, 12, 1, 0, 0, 3, 0x65, 0x88, 2, 20, 0]);
    let named = |which: u8, transaction: u8| [6, 0, which, transaction, 0];
    let act = |choice: u8| [22, choice];
    for opening in [0_u8, 0x20, 0x30] {
        let mut put = |parts: &[&[u8]]| seeds.push(("server_script", [&[opening, 30][..], &parts.concat()].concat()));
        // Each name, before and within a stream, asked for an answer or not.
        let names: Vec<u8> = (0..9).flat_map(|which| [named(which, 0), named(which, 3)].concat()).collect();
        put(&[connect, &names, create, publish, &names, header, key]);
        put(&[create]);
        put(&[connect, connect]);
        put(&[connect, create, &act(130), publish, publish, &act(130), publish, publish]);
        put(&[connect, create, &act(130), play, &act(130), play, play, &act(70), play]);
        put(&[connect, &[2, 0, 4, 1, 0], &act(1), create, publish, &act(1), publish]);
        put(&[&[0, 0, 2, 0], &[0, 0, 3, 0], connect]);
        put(&[&[0, 0, 4, 0], create]);
        // Media before the answer, and the wait for slices.
        put(&[connect, create, &[2, 0, 0, 1, 3], header, key, &[21, 1], key, &[21, 200], &[21, 255]]);
        put(&[connect, create, publish, header, key, &act(250), &act(230), &[4, 0, 1, 0], &[5, 0, 0], &[21, 255]]);
        put(&[&[0x80, 0, 0, 15, 7, 5, 0, 0], &act(230), create, publish, &act(230)]);
        put(&[connect, create, publish, &[13, 0, 3, 0], &[14, 0, 3, 0], &[15, 0, 1, 2, 0, 0], &[15, 0, 2, 5, 0, 0, 1], header, key]);
        put(&[&[21, 255], &[21, 255]]);
        put(&[connect, &[21, 255], create]);
    }
}

/// Servers as the client's and the player's script have them.
fn servers(seeds: &mut Seeds) {
    let (result, created, started): (&[u8], &[u8], &[u8]) = (&[18, 0, 0, 1, 0, 0], &[18, 0, 0, 4, 0, 1], &[0x92, 4, 2, 0, 0, 0]);
    // The answer to `connect` of a server that takes H.265: by a map, by a list.
    let named = |value: &[u8]| {
        let body = [&b"\x02\0\x07_result\0\x3f\xf0\0\0\0\0\0\0\x03"[..], value, b"\0\0\x09"].concat();
        [&[12, 0, 20, 0, 0, body.len() as u8][..], &body].concat()
    };
    let map = named(b"\0\x12videoFourCcInfoMap\x03\0\x04hvc1\0\x40\0\0\0\0\0\0\0\0\0\x09");
    let list = named(b"\0\x0afourCcList\x0a\0\0\0\x01\x02\0\x01*");
    let act = |choice: u8| [22, choice];
    let frames = [act(10), act(18), act(0xfb), act(0x0a)].concat();
    for mode in [0_u8, 2, 4, 0x20, 0x24, 0x26, 0x30] {
        let mut put = |parts: &[&[u8]]| seeds.push(("client", [&[mode, 20][..], &parts.concat()].concat()));
        for connected in [result, &map, &list] {
            put(&[&act(1), &act(0xfa), connected, &act(3), created, started, &frames, &frames, &act(0xf8), &act(0)]);
        }
        // Closed at each point, refused at each point, and given up at each point.
        for stop in [
            &act(0)[..],
            &[18, 0, 1, 1, 2, 2],
            &[18, 0, 1, 4, 2, 2],
            &[18, 0, 1, 6, 2, 2],
            &[18, 0, 2, 0, 1, 2],
            &[18, 0, 4, 0, 0, 0],
            &[21, 255, 21, 255],
        ] {
            put(&[stop, result]);
            put(&[result, stop, &act(3), created]);
            put(&[result, &act(3), stop, created, started]);
            put(&[result, &act(3), created, stop, started]);
            put(&[result, &act(3), created, started, &act(10), stop, &act(18)]);
        }
        for code in 0..7_u8 {
            put(&[result, &act(3), created, &[18, 0, 2, 0, code, 2], started, &[18, 0, 2, 0, code, 2], &[18, 0, 3, 0, code, 0]]);
        }
        put(&[result, &act(0xfa), &act(0xfa), &act(2), &act(0x82), &[15, 4, 0, 2, 0, 0], &act(3), created, started, &act(0xfb)]);
        put(&[result, &act(0xf9), result, &act(3), created, started, &act(1), &frames]);
        put(&[&[15, 0, 1, 2, 6, 0], &[15, 0, 3, 1, 0, 0], &[15, 0, 2, 3, 0, 0, 1], &[14, 0, 0], &[13, 0, 0], result, &[15, 0, 0, 3, 0]]);
        put(&[&[255, 255], &[255, 255], result]);
        put(&[result, &act(3), created, started, &act(10), &act(10), &act(10), &act(10), &act(10), &act(10)]);
    }
    let (header, key, sound): (&[u8], &[u8], &[u8]) =
        (&[8, 12, 0, 0], &[9, 12, 1, 0, 0, 3, 0x65, 0x88, 2, 20], &[10, 8, 0, 11, 8, 1, 0, 2, 0x21, 6, 1]);
    let aggregate: &[u8] = &[17, 12, 3, 1, 1, 2, 0x17, 0, 1, 0, 1, 2, 2, 0xaf, 1, 1, 2, 0, 0, 0, 1];
    for mode in [0_u8, 0x20, 0x30, 0x21] {
        let mut put = |parts: &[&[u8]]| seeds.push(("player", [&[mode, 20][..], &parts.concat()].concat()));
        for code in 0..7_u8 {
            put(&[
                result,
                created,
                &[18, 0, 2, 0, code, 0],
                header,
                key,
                sound,
                aggregate,
                &[18, 0, 2, 0, code, 3],
                &[18, 0, 1, 4, code, 3],
            ]);
        }
        put(&[&[7, 0, 1, 9], header, header, key, key, sound, sound, &[16, 12, 0x91, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0]]);
    }
}

/// Parameter sets and records that can't be read, or say what few do.
fn sets(seeds: &mut Seeds) {
    let record = avc_record(0);
    let (sps, pps) = (&record[8..32], &record[35..]);
    let from = |sps: &[u8], rest: &[u8]| [&[1, sps.len() as u8][..], sps, rest].concat();
    // Cropped, of 4:2:2 and 10 bits, with scaling lists, of fields, with an order of type 1.
    for other in [
        &[0x67, 0x7a, 0, 0x1f, 0xbc, 0xb4, 0x05, 0, 0x5b, 0xa1, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x32, 0x0f, 0x18, 0x31, 0x96][..],
        &[0x67, 0x6e, 0, 0x1f, 0xa6, 0xcd, 0x94, 0x05, 0, 0x5b, 0xa1],
        &[0x67, 0xf4, 0, 0x1f, 0x91, 0x9b, 0x28, 0x0a, 0, 0xb7, 0x42],
        &[0x67, 0x4d, 0x40, 0x1e, 0x9a, 0x66, 0x0a, 0x0f, 0xff],
        &[0x67, 0x42, 0xc0, 0x0a, 0xda, 0x7a, 0x11],
        &[0x67, 0x42],
        &[0x68, 0xce],
    ] {
        seeds.push(("media", from(other, pps)));
        seeds.push(("media", from(other, &[])));
        seeds
            .push(("media", [&[0, 1, 0x64, 0, 0x28, 0xff, 0xe1, 0, other.len() as u8][..], other, &[1, 0, pps.len() as u8], pps].concat()));
    }
    seeds.push(("media", from(sps, sps)));
    seeds.push(("media", from(sps, &[0x68; 600])));
    for short in 0..12 {
        seeds.push(("media", [&[0][..], record.get(..short).unwrap_or_default()].concat()));
    }
    seeds.push(("media", vec![0, 2, 0x64, 0, 0x28, 0xff, 0xe0]));
    for aac in [
        &[0x12][..],
        &[0x17, 0x80, 0, 0, 0, 0],
        &[0x2b, 0x09, 0x88, 0],
        &[0x12, 0],
        &[0x07, 0x10],
        &[0x40, 0, 0x28, 0x10, 0x3f, 0xc0],
        &[0xf8, 0xe0, 0x10],
    ] {
        seeds.push(("media", [&[4][..], aac].concat()));
    }
    for codec in 0x80..0x85_u8 {
        for bytes in [
            &[][..],
            &[1],
            &[0x81],
            &[0x81, 4, 0x0c, 0],
            &[0x81, 4, 0x0c, 0, 0x0a, 0xff],
            &[0x81, 4, 0x0c, 0, 0x32, 1, 2],
            b"fLaC\x80\0\0\x22",
        ] {
            seeds.push(("media", [&[codec][..], bytes].concat()));
        }
    }
    let annex_b =
        [&[0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1][..], sps, &[0, 0, 0, 1], pps, &[0, 0, 0, 1, 0x65, 0x88, 0x84, 0, 0, 0, 1, 0x65, 0x42, 7]]
            .concat();
    for stream in
        [&annex_b[..], &annex_b[..annex_b.len() - 20], &[0, 0, 1], &[9, 9, 0, 0, 1, 0x0c, 0xff, 0, 0, 0, 0, 1, 0x01, 0x9a], &[0x55; 64]]
    {
        seeds.push(("media", [&[2][..], stream].concat()));
        seeds.push(("media", [&[2][..], &[0x55; 40], stream].concat()));
    }
}

/// What the intake learns late: many sets, H.265 in all its kinds, units within units, a record that is none.
fn units(seeds: &mut Seeds) {
    let part = |kind: u8, bytes: &[u8]| [&[kind][..], &(bytes.len() as u16).to_be_bytes(), bytes].concat();
    let codes = |units: &[&[u8]]| units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect::<Vec<u8>>();
    let lengths =
        |units: &[&[u8]]| units.iter().flat_map(|unit| [&(unit.len() as u32).to_be_bytes()[..], unit].concat()).collect::<Vec<u8>>();
    let record = avc_record(0);
    let (sps, pps, other_pps): (&[u8], &[u8], &[u8]) = (&record[8..32], &record[35..], &[0x68, 0x5c, 0x38, 0x80]);
    let (idr, by_other, inter): (&[u8], &[u8], &[u8]) = (&[0x65, 0x88, 0x84, 0x21], &[0x65, 0x88, 0x44, 0x21], &[0x01, 0x9a, 0x24]);
    let recovery: &[u8] = &[6, 5, 2, 7, 7, 6, 1, 0xc4, 0x80];
    for frame in [
        codes(&[sps, pps, other_pps, by_other]),
        lengths(&[sps, other_pps, pps, idr]),
        codes(&[&[9, 0xf0], sps, pps, recovery, inter, &[0x0c, 0xff]]),
        lengths(&[&[6, 0xff, 0xff, 3], sps, pps, idr]),
        codes(&[sps, sps, pps, pps, idr]),
    ] {
        for kind in [1, 5, 9, 13] {
            seeds.push((
                "intake",
                [
                    &[0][..],
                    &part(kind, &frame),
                    &part(kind, &lengths(&[inter])),
                    &part(kind, &codes(&[recovery])),
                    &part(kind, &lengths(&[inter])),
                ]
                .concat(),
            ));
            seeds.push((
                "intake",
                [&[0][..], &part(0, &record), &part(kind, &frame), &part(0, &codes(&[sps, pps])), &part(kind, &frame)].concat(),
            ));
        }
    }
    let inner = [&codes(&[idr])[..], &codes(&[&[0x65, 0x42, 7]])].concat();
    seeds.push((
        "intake",
        [
            &[0][..],
            &part(0, &record),
            &part(5, &lengths(&[&inner])),
            &part(1, &lengths(&[&[0x41, 0x9a, 0, 0, 1, 0x41, 0x42, 7]])),
            &part(1, &[0, 0, 0, 40, 0x41, 1]),
        ]
        .concat(),
    ));
    let (vps, hevc_sps, hevc_pps): (&[u8], &[u8], &[u8]) = (
        &[0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0x95, 0x98, 9],
        &[
            0x42, 1, 1, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0xa0, 2, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93,
            0x2b, 0xc0, 0x5a, 0x70, 0x80, 0, 0, 0x1f, 0x48, 0, 3, 0x0d, 0x40, 0x40,
        ],
        &[0x44, 1, 0xc1, 0x72, 0xb4, 0x62, 0x40],
    );
    let (irap, trail, cra): (&[u8], &[u8], &[u8]) = (&[0x26, 1, 0xaf, 9], &[2, 1, 0xd0, 7], &[0x2a, 1, 0xaf, 9]);
    let point: &[u8] = &[0x4e, 1, 6, 1, 0xc4, 0x80];
    for frame in [
        codes(&[&[0x46, 1, 0x50], vps, hevc_sps, hevc_pps, point, irap, &[0x4c, 1, 0xff]]),
        lengths(&[vps, hevc_sps, hevc_pps, &[0x44, 1, 0x50, 0x80], trail]),
        lengths(&[hevc_sps, hevc_pps, irap]),
        codes(&[vps, &hevc_sps[..12], hevc_pps, cra]),
        codes(&[vps, hevc_sps, hevc_pps, point, trail]),
        lengths(&[&[2, 1, 0x40, 7]]),
    ] {
        for kind in [1, 5] {
            seeds.push(("intake", [&[1][..], &part(kind, &frame), &part(kind, &lengths(&[trail])), &part(kind, &codes(&[cra]))].concat()));
        }
    }
}

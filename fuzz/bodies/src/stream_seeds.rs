//! Where fuzzing of cameras, files and tokens begins.

use crate::rtsp;

type Seeds = Vec<(&'static str, Vec<u8>)>;

/// Pairs of target and input.
pub(crate) fn all() -> Seeds {
    let mut seeds = vec![];
    cameras(&mut seeds);
    pictures(&mut seeds);
    files(&mut seeds);
    tokens(&mut seeds);
    seeds
}

/// Cameras' packets of each kind of stream, whole conversations, and refusals.
fn cameras(seeds: &mut Seeds) {
    // A packet as `rtsp::packets` reads it: channel, mark and steps; step; length, and what it is counted in; bytes.
    let packet = |choice: u8, bytes: &[u8]| [&[choice, 9, bytes.len() as u8, 0][..], bytes].concat();
    let (mark, later, sound) = (4, 0x40, 2);
    let h264: Vec<Vec<u8>> = vec![
        packet(
            0,
            &[
                0x67, 0x64, 0, 0x28, 0xac, 0xd9, 0x40, 0x78, 2, 0x27, 0xe5, 0xc0, 0x44, 0, 0, 3, 0, 4, 0, 0, 3, 0, 0xc8, 0x3c, 0x60, 0xc6,
                0x58,
            ],
        ),
        packet(0, &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0]),
        packet(0, &[6, 6, 1, 0xc4, 0x80]),
        packet(0, &[0x7c, 0x85, 0x88, 1, 2]),
        packet(0, &[0x7c, 5, 3, 4]),
        packet(mark, &[0x7c, 0x45, 5, 0x80]),
        packet(mark | later, &[0x78, 0, 3, 0x41, 0x9a, 1, 0, 3, 0x41, 0x42, 7]),
        packet(mark | later, &[0x41, 0x9a, 2, 3]),
        packet(mark | later, &[0x65, 0x88, 2, 3]),
        packet(mark | later | 0x20, &[0x41, 0x9a, 2, 3]),
        packet(1, &[0, 6, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]),
        packet(mark | later, &[0x65, 0x88, 4, 3]),
        packet(mark | later, &[0x41, 0x9a, 4, 3]),
    ];
    let h265: Vec<Vec<u8>> = vec![
        packet(0, &[0x40, 1, 0x0c, 1, 0xff, 0xff, 1, 0x60, 0, 0, 3, 0, 0x90, 0, 0, 3, 0, 0, 3, 0, 0x5d, 0x95, 0x98, 9]),
        packet(0, &[0x62, 1, 0x93, 0xaf, 1]),
        packet(mark, &[0x62, 1, 0x53, 9, 2]),
        packet(mark | later, &[0x60, 1, 0, 4, 2, 1, 0xd0, 1, 0, 4, 2, 1, 0x40, 2]),
        packet(mark | later, &[2, 1, 0xd0, 7]),
        packet(mark | later, &[0x26, 1, 0xaf, 9]),
        packet(mark | later, &[2, 1, 0xd0, 8]),
    ];
    let sounds: [&[u8]; 7] = [
        &[],
        &[0xff, 0x7f, 0x55, 0xd5],
        &[0xff, 0x7f, 0x55, 0xd5],
        &[0, 1, 0, 2, 0xff, 0xff, 0, 0],
        &[0, 0x10, 0, 0x18, 0x21, 0x10, 4],
        &[0, 0x20, 0, 0x18, 0, 0x10, 0x21, 0x10, 4, 0x21, 7],
        &[3, 0x21, 0x10, 4],
    ];
    for (number, sound_bytes) in (0_u8..).zip(sounds) {
        let long = sound_bytes.iter().cycle().take(if sound_bytes.is_empty() { 0 } else { 240 }).copied().collect::<Vec<u8>>();
        let is_coded = number >= 4;
        let of_sound = packet(sound | mark | later, if is_coded { sound_bytes } else { &long });
        for (video, pictures) in [(0, &h264), (1, &h264), (2, &h265)] {
            let mixed: Vec<u8> = pictures.iter().flat_map(|picture| [&picture[..], &of_sound].concat()).collect();
            seeds.push(("rtsp", [&[2 | (number * 3 + video) << 2, 50][..], &mixed].concat()));
        }
    }
    let mut wire = rtsp::answers(0).into_bytes();
    let length = wire.len();
    for (seq, payload) in (7_u8..).zip([&[0x65, 0x88, 1][..], &[0x41, 0x9a, 2], &[0x41, 0x9a, 3]]) {
        wire.extend_from_slice(&[b'$', 0, 0, 12 + payload.len() as u8, 0x80, 0xe0, 0, seq, 0, 0, seq, 0x10, 0, 0, 0, 9]);
        wire.extend_from_slice(payload);
    }
    seeds.push(("rtsp", [&[1, 5][..], &wire[length..]].concat()));
    let whole = |first: &[u8], second: &[u8]| [&[0, 33][..], &(first.len() as u16).to_be_bytes(), first, second].concat();
    seeds.push(("rtsp", whole(&wire, &[])));
    seeds.push(("rtsp", whole(b"RTSP/1.0 200 OK\r\n", &wire)));
    let refused = "RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", stale=true\r\n\r\n";
    seeds.push(("rtsp", whole(&[refused.as_bytes(), &wire].concat(), &[])));
    for status in ["404 Not Found", "461 Unsupported Transport", "403 Forbidden", "454", "500 Oh"] {
        seeds.push(("rtsp", whole(format!("RTSP/1.0 {status}\nCSeq: 1\n\nrubbish").as_bytes(), &wire)));
    }
    // Pictures that are whole, each with one of the ways into packets.
    for way in [0, 0x10, 0x20] {
        let picture = |choice: u8| [&[choice | way, 3][..], &[4, 1, 2, 3, 4, 5, 6, 7, 8].repeat(usize::from(choice & 3) + 1)].concat();
        seeds.push(("rtsp", [&[3, 9, 0xff, 0xfe][..], &picture(0), &picture(2), &picture(1), &picture(7), &picture(3)].concat()));
    }
}

/// Pictures of HTTP cameras: behind each beginning of an answer, and in each form.
fn pictures(seeds: &mut Seeds) {
    let jpeg: &[u8] = &[0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xda, 0, 4, 0, 0, 0x55, 0xff, 0, 0x66, 0xff, 0xd0, 0x77, 0xff, 0xd9];
    let with_length = [&b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 23\r\n\r\n"[..], jpeg, b"\r\n"].concat();
    let without = [&b"--frame\r\nContent-Type: image/jpeg\r\n\r\n"[..], jpeg, b"\r\n"].concat();
    let alone = jpeg.repeat(3);
    let closed = [&without[..], b"--frame--\r\n"].concat();
    let chunk = |bytes: &[u8]| [format!("{:x};x=y\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
    for body in
        [with_length.repeat(3), without.repeat(3), alone.clone(), closed, [chunk(&with_length), chunk(&without), chunk(&[])].concat()]
    {
        for head in 1..4_u8 {
            seeds.push(("mjpeg", [&[head, 20][..], &body].concat()));
        }
    }
    for answer in [
        &b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=--x\r\n\r\n--x\r\n\r\n"[..],
        b"HTTP/1.1 401 No\r\nWWW-Authenticate: Digest realm=x\r\n\r\n",
        b"Content-Type: multipart/x-mixed-replace\r\n\r\n",
        b"ICY 200 OK\nContent-type: image/jpeg\n\n",
        b"\r\n--frame\r\n",
        b"RTSP/1.0 200 OK\r\n\r\n",
    ] {
        seeds.push(("mjpeg", [&[0, 3][..], answer, jpeg, b"\r\n", &with_length].concat()));
    }
    seeds.push(("mjpeg", [&[0, 3][..], &alone].concat()));
    for form in 0..20_u8 {
        let of = |length: u8| [&[length][..], &(0..length).collect::<Vec<u8>>()].concat();
        seeds.push(("mjpeg", [&[0x80 | form & 1, form * 7, form % 5, form / 5][..], &of(0), &of(9), &of(30)].concat()));
    }
}

/// Frames in each of our containers, whole and with changes.
fn files(seeds: &mut Seeds) {
    let frames: Vec<u8> = (0..12_u8).flat_map(|at| [at * 5, 39, if at % 3 == 1 { 80 } else { 0 }, 3, at, 7, 9]).collect();
    for kind in 1..4_u8 {
        for has_audio in [0, 1] {
            seeds.push(("clip", [&[kind, has_audio][..], &frames].concat()));
            seeds.push(("clip", [&[kind + 0x80 + has_audio * 4, 3, 0, 40, 1, 0, 80, 2, 0, 120, 0xff, has_audio][..], &frames].concat()));
        }
    }
    let element = |id: &[u8], body: &[u8]| [id, &[0x80 | body.len() as u8], body].concat();
    let video = element(&[0xe0], &[element(&[0xb0], &[2]), element(&[0xba], &[2])].concat());
    let tracks = [
        element(&[0xae], &[element(&[0xd7], &[1]), element(&[0x23, 0xe3, 0x83], &40_000_000_u32.to_be_bytes()), video].concat()),
        element(&[0xae], &[element(&[0xd7], &[2]), element(&[0x63, 0xa2], &[0x12, 0x08])].concat()),
    ];
    let group = element(&[0xa0], &element(&[0xa1], &[0x82, 0, 9, 0, 4, 5]));
    let cluster = [
        element(&[0xe7], &[100]),
        element(&[0xa3], &[0x82, 0, 5, 0x80, 7, 8, 9]),
        group,
        element(&[0xa3], &[0x81, 0xff, 0xff, 0x80, 1, 2, 3, 4, 5, 6]),
        element(&[0xa3], &[0x83, 0, 0, 0, 1]),
    ];
    let stream = [
        element(&[0x1a, 0x45, 0xdf, 0xa3], &[]),
        vec![0x18, 0x53, 0x80, 0x67, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        element(&[0x15, 0x49, 0xa9, 0x66], &element(&[0x2a, 0xd7, 0xb1], &1_000_000_u32.to_be_bytes())),
        element(&[0x16, 0x54, 0xae, 0x6b], &tracks.concat()),
        element(&[0x1f, 0x43, 0xb6, 0x75], &cluster.concat()),
    ]
    .concat();
    for cut in [0, 1, 5, 200] {
        seeds.push(("matroska", [&[cut][..], &stream].concat()));
    }
    seeds.push(("matroska", [&[3][..], &stream[..stream.len() - 9]].concat()));
}

/// Each choice of a claim, changes, and texts that are nearly tokens.
fn tokens(seeds: &mut Seeds) {
    for choices in [
        &[0, 0, 0, 0, 0, 0, 0, 1, 0x55][..],
        &[0, 0, 1, 0, 3],
        &[0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0x10, 0],
        &[0, 1, 0, 0, 0],
        &[0, 0, 2, 0, 0],
        &[0, 0, 4, 0, 0],
        &[0, 0, 0, 1, 0],
        &[0, 0, 0, 2, 0],
        &[0, 0, 0, 0, 1],
        &[2, 2, 5, 0, 0],
    ] {
        seeds.push(("token", [&[1][..], choices].concat()));
        seeds.push(("token", [&[2][..], choices, &[0; 8], &[0, 30, b'A']].concat()));
    }
    for text in [
        "eyJ0eXAiOiJKV1QiLCJhbGciOiJub25lIiwia2lkIjoiY3VycmVudCJ9.eyJkIjoiY2FtIiwicyI6ImNhbSIsImUiOjEsImV4cCI6OTk5OTk5OTk5OSwiYiI6MX0.",
        "eyJhbGciOiJIUzI1NiIsImtpZCI6ImN1cnJlbnQifQ.eyJkIjoiY2FtIn0.AAAA",
        "..",
        "a.b",
    ] {
        seeds.push(("token", [&[0][..], text.as_bytes()].concat()));
    }
}

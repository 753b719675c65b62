//! The corner cases of §5.3, named after who sends them. Rows 1–5 are those that published crates fail.

use super::super::{continuation, first, write};
use super::*;
use std::vec;
use std::vec::Vec;

type Message = (MessageHeader, Vec<u8>);

/// Reads `bytes` in pieces of `step` bytes.
fn read_in_steps(bytes: &[u8], step: usize, chunk_size: u32) -> Result<Vec<Message>, Cause> {
    let mut reader = Reader::<64>::new();
    reader.set_chunk_size(chunk_size)?;
    let mut bodies: Vec<Vec<u8>> = vec![Vec::new(); 64];
    let mut messages = Vec::new();
    for mut input in bytes.chunks(step) {
        while let Some(piece) = reader.read(&mut input)? {
            let body = &mut bodies[piece.slot];
            assert_eq!(piece.is_first, body.is_empty() && piece.is_first);
            body.extend_from_slice(piece.bytes);
            if piece.is_last {
                messages.push((piece.header, core::mem::take(body)));
            }
        }
    }
    Ok(messages)
}

/// Reads whole and split at every byte, and expects the same.
fn read(bytes: &[u8]) -> Result<Vec<Message>, Cause> {
    let whole = read_in_steps(bytes, bytes.len().max(1), 128);
    for step in [1, 2, 3, 7] {
        assert_eq!(read_in_steps(bytes, step, 128), whole, "in steps of {step}");
    }
    whole
}

fn header(csid: u32, timestamp: u32, length: usize, type_id: u8) -> MessageHeader {
    MessageHeader { csid, timestamp, length: u32::try_from(length).unwrap(), type_id, stream_id: 1 }
}

fn stamps(messages: &[Message]) -> Vec<u32> {
    messages.iter().map(|(header, _)| header.timestamp).collect()
}

#[test]
fn row_1_audio_between_the_chunks_of_a_video_message() {
    for audio_len in [10, 100, 128] {
        let (video, audio) = (vec![7; 300], vec![9; audio_len]);
        let video_header = header(6, 1000, video.len(), 9);
        let mut bytes = first(&video_header).to_vec();
        bytes.extend_from_slice(&video[..128]);
        write(&header(4, 1001, audio_len, 8), [&audio, &[]], 128, |part| bytes.extend_from_slice(part));
        for chunk in video[128..].chunks(128) {
            bytes.extend_from_slice(&continuation(&video_header));
            bytes.extend_from_slice(chunk);
        }
        assert_eq!(read(&bytes).unwrap(), [(header(4, 1001, audio_len, 8), audio), (video_header, video)]);
    }
}

#[test]
fn row_2_a_type_3_chunk_begins_a_message_and_repeats_the_difference() {
    // Constant-rate audio: type 0, type 1 with a difference of 23 ms, then type 3 only.
    let mut bytes = first(&header(4, 1000, 2, 8)).to_vec();
    bytes.extend_from_slice(&[1, 2]);
    bytes.extend_from_slice(&[0x44, 0, 0, 23, 0, 0, 2, 8, 3, 4]);
    bytes.extend_from_slice(&[0xc4, 5, 6, 0xc4, 7, 8]);
    assert_eq!(stamps(&read(&bytes).unwrap()), [1000, 1023, 1046, 1069]);
}

#[test]
fn fmle_begins_audio_with_type_3_after_type_0_and_the_difference_is_the_timestamp() {
    let mut bytes = first(&header(4, 20, 1, 8)).to_vec();
    bytes.extend_from_slice(&[1, 0xc4, 2, 0x84, 0, 0, 5, 3]);
    assert_eq!(stamps(&read(&bytes).unwrap()), [20, 40, 45]);
}

#[test]
fn row_3_the_timestamp_wraps_after_49_days() {
    let mut bytes = first(&header(4, 0xffff_fff0, 1, 8)).to_vec();
    bytes.push(1);
    bytes.extend_from_slice(&[0x44, 0, 0, 0x20, 0, 0, 1, 8, 2]);
    assert_eq!(stamps(&read(&bytes).unwrap()), [0xffff_fff0, 0x10]);
}

#[test]
fn row_4_a_header_inside_an_unfinished_message_is_an_error() {
    for format in [0x00, 0x40, 0x80_u8] {
        let mut bytes = first(&header(6, 0, 300, 9)).to_vec();
        bytes.extend_from_slice(&[0; 128]);
        bytes.push(format | 6);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 10, 9, 1, 0, 0, 0]);
        assert_eq!(read(&bytes), Err(Cause::HeaderMidMessage { csid: 6 }));
    }
}

#[test]
fn row_5_continuations_with_and_without_the_extended_timestamp() {
    for timestamp in [0x00ff_ffff, 0x0100_0000, 0xffff_fffe] {
        // Under Miri the one whose rest is an extended timestamp's length, and one of three chunks.
        for length in if cfg!(miri) { &[132, 300][..] } else { &[129, 130, 131, 132, 133, 300] } {
            let length = *length;
            let body: Vec<u8> = (0..length).map(|at: usize| (at % 251) as u8 | 0x40).collect();
            let message = header(6, timestamp, length, 9);
            let mut with = Vec::new();
            write(&message, [&body, &[]], 128, |part| with.extend_from_slice(part));
            let mut without = first(&message).to_vec();
            for (at, chunk) in body.chunks(128).enumerate() {
                if at > 0 {
                    without.push(0xc6);
                }
                without.extend_from_slice(chunk);
            }
            // What follows is read as well: nothing was swallowed.
            for bytes in [&mut with, &mut without] {
                write(&header(2, 0, 4, 3), [&[0, 0, 1, 0], &[]], 128, |part| bytes.extend_from_slice(part));
            }
            let expected = [(message, body), (header(2, 0, 4, 3), vec![0, 0, 1, 0])];
            assert_eq!(read(&with).unwrap(), expected);
            assert_eq!(read(&without).unwrap(), expected);
        }
    }
}

#[test]
fn a_payload_that_begins_like_the_missing_extended_timestamp_is_not_swallowed() {
    // The last chunk holds two bytes that equal the timestamp's first two; the next header then differs.
    let message = header(6, 0x01c6_0000, 130, 9);
    let mut bytes = first(&message).to_vec();
    bytes.extend_from_slice(&[7; 128]);
    bytes.extend_from_slice(&[0xc6, 0x01, 0xc6]);
    write(&header(4, 5, 1, 8), [&[9], &[]], 128, |part| bytes.extend_from_slice(part));
    let messages = read(&bytes).unwrap();
    assert_eq!(messages[0].1[126..], [7, 7, 0x01, 0xc6]);
    assert_eq!(messages[1], (header(4, 5, 1, 8), vec![9]));
}

#[test]
fn extended_differences_in_types_1_and_2() {
    let mut bytes = first(&header(4, 1, 1, 8)).to_vec();
    bytes.push(1);
    bytes.extend_from_slice(&[0x44, 0xff, 0xff, 0xff, 0, 0, 1, 8, 1, 0, 0, 0, 2]);
    bytes.extend_from_slice(&[0x84, 0xff, 0xff, 0xff, 0x00, 0xff, 0xff, 0xff, 3]);
    bytes.extend_from_slice(&[0xc4, 0x00, 0xff, 0xff, 0xff, 4]);
    assert_eq!(stamps(&read(&bytes).unwrap()), [1, 0x0100_0001, 0x0200_0000, 0x02ff_ffff]);
}

#[test]
fn timestamps_around_the_extended_field() {
    for timestamp in [0x00ff_fffe, 0x00ff_ffff, 0x0100_0000] {
        let message = header(6, timestamp, 200, 9);
        let mut bytes = Vec::new();
        write(&message, [&[1; 200], &[]], 128, |part| bytes.extend_from_slice(part));
        assert_eq!(read(&bytes).unwrap(), [(message, vec![1; 200])]);
    }
}

#[test]
fn chunk_stream_ids_of_one_two_and_three_bytes() {
    for csid in [2, 63, 64, 319, 320, 65_599] {
        let message = header(csid, 5, 200, 9);
        let mut bytes = Vec::new();
        write(&message, [&[1; 50], &[2; 150]], 128, |part| bytes.extend_from_slice(part));
        assert_eq!(read(&bytes).unwrap(), [(message, [vec![1; 50], vec![2; 150]].concat())]);
    }
}

#[test]
fn librtmp_begins_with_type_1_and_types_2_and_3_are_refused_there() {
    assert_eq!(read(&[0x42, 0, 0, 7, 0, 0, 1, 4, 9]).unwrap(), [(MessageHeader { stream_id: 0, ..header(2, 7, 1, 4) }, vec![9])]);
    assert_eq!(read(&[0x82, 0, 0, 7, 9]), Err(Cause::HeaderMissing { csid: 2 }));
    assert_eq!(read(&[0xc2, 9]), Err(Cause::HeaderMissing { csid: 2 }));
}

#[test]
fn a_message_of_no_bytes_is_a_message() {
    let mut bytes = first(&header(4, 1, 0, 8)).to_vec();
    bytes.extend_from_slice(&[0xc4]);
    assert_eq!(stamps(&read(&bytes).unwrap()), [1, 2]);
}

#[test]
fn chunk_size_changes_at_the_next_chunk() {
    let message = header(6, 0, 300, 9);
    let mut reader = Reader::<4>::new();
    let mut bytes = first(&message).to_vec();
    bytes.extend_from_slice(&[1; 100]);
    let mut input = &bytes[..];
    assert_eq!(reader.read(&mut input).unwrap().unwrap().bytes.len(), 100);
    assert!(reader.read(&mut input).unwrap().is_none());
    reader.set_chunk_size(50).unwrap();
    let mut rest = vec![1; 28];
    for chunk in [50, 50, 50, 22] {
        rest.push(0xc6);
        rest.extend(vec![1; chunk]);
    }
    let mut input = &rest[..];
    let mut total = 100;
    while let Some(piece) = reader.read(&mut input).unwrap() {
        total += piece.bytes.len();
        assert_eq!(piece.is_last, total == 300);
    }
    assert_eq!(total, 300);
}

#[test]
fn limits_are_kept() {
    let mut reader = Reader::<4>::new();
    for size in [0, 1 << 31] {
        assert_eq!(reader.set_chunk_size(size), Err(Cause::ChunkSize(size)));
    }
    // deepch/vdk#16, nareix/joy4#88: encoders that say "a chunk a message".
    for size in [1, 10_000_000, 128 << 20, 0x7fff_ffff] {
        assert_eq!(reader.set_chunk_size(size), Ok(()));
    }
    let long = first(&MessageHeader { length: MESSAGE_BYTES_MAX + 1, ..header(4, 0, 0, 8) });
    assert_eq!(reader.read(&mut &long[..]).map(|_| ()), Err(Cause::MessageLength(MESSAGE_BYTES_MAX + 1)));
    let mut reader = Reader::<2>::new();
    let mut bytes = Vec::new();
    for csid in 3..6 {
        write(&header(csid, 0, 1, 8), [&[1], &[]], 128, |part| bytes.extend_from_slice(part));
    }
    let mut input = &bytes[..];
    assert!(reader.read(&mut input).is_ok() && reader.read(&mut input).is_ok());
    assert_eq!(reader.read(&mut input).map(|_| ()), Err(Cause::ChunkStreams));
}

#[test]
fn an_aborted_message_is_forgotten() {
    let mut reader = Reader::<4>::new();
    let mut bytes = first(&header(6, 0, 300, 9)).to_vec();
    bytes.extend_from_slice(&[1; 128]);
    let mut input = &bytes[..];
    assert!(reader.read(&mut input).unwrap().is_some());
    assert_eq!((reader.abort(6), reader.abort(9)), (Some(0), None));
    let next = [&first(&header(6, 1, 1, 9))[..], &[5]].concat();
    assert!(reader.read(&mut &next[..]).unwrap().unwrap().is_last);
}

proptest::proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>, chunk_size in 1_u32..5000) {
        let whole = read_in_steps(&bytes, bytes.len().max(1), chunk_size);
        proptest::prop_assert_eq!(read_in_steps(&bytes, 1, chunk_size), whole);
    }

    #[test]
    fn what_is_written_is_read(
        messages in proptest::collection::vec((2_u32..400, proptest::prelude::any::<u32>(), proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)), 1..8),
        chunk_size in 1_u32..700,
        step in 1_usize..50,
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (csid, timestamp, body) in messages {
            let message = header(csid, timestamp, body.len(), 9);
            let half = body.len() / 2;
            write(&message, [&body[..half], &body[half..]], chunk_size, |part| bytes.extend_from_slice(part));
            expected.push((message, body));
        }
        proptest::prop_assert_eq!(read_in_steps(&bytes, step, chunk_size).unwrap(), expected);
    }
}

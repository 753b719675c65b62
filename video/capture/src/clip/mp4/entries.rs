//! Sample entries (`stsd`): how a track is coded.

use sightline_media::{Codec, aac::AudioConfig, avc, coded};

use super::boxes::{Boxes, find, u16_at, u32_at};

/// One entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Entry {
    /// H.264; its parameter sets where they are not in the pictures, and the bytes of a length.
    Video(Option<Box<avc::DecoderConfig>>, usize),
    /// H.265 with its record; the bytes of a length.
    Hevc(coded::Config, usize),
    /// AAC.
    Audio(AudioConfig),
    /// AAC without a configuration; the one that the entry's own fields make.
    BareAudio(Option<AudioConfig>),
    /// What is not read here, as people call it.
    Other(String),
}

/// Of a visual entry, before its boxes.
const VISUAL_BYTES: usize = 78;
/// Of an audio entry, before its boxes; QuickTime's versions 1 and 2 have more.
const AUDIO_BYTES: [usize; 3] = [28, 28 + 16, 28 + 36];
/// Entries of a track: each change of its size is one.
const ENTRIES_MAX: usize = 4_096;
/// How deep the descriptors of an `esds` are.
const DEPTH_MAX: u32 = 4;

pub(super) fn read(stsd: &[u8]) -> Vec<Entry> {
    let entries = Boxes::new(stsd.get(8..).unwrap_or_default()).take(ENTRIES_MAX);
    entries
        .map(|entry| match &entry.kind {
            b"avc1" | b"avc2" | b"avc3" | b"avc4" => video(entry.body),
            b"hvc1" | b"hev1" => hevc(entry.body).unwrap_or_else(|| Entry::Other(name(entry.kind))),
            b"mp4a" => audio(entry.body),
            other => Entry::Other(name(*other)),
        })
        .collect()
}

fn video(body: &[u8]) -> Entry {
    let record = body.get(VISUAL_BYTES..).and_then(|boxes| find(boxes, *b"avcC")).unwrap_or_default();
    let length_bytes = record.get(4).map_or(avc::LENGTH_BYTES, |lengths| usize::from(lengths & 3) + 1);
    Entry::Video(avc::DecoderConfig::parse(record).ok().map(Box::new), length_bytes)
}

/// One whose record has no parameter sets has them in its pictures, which are not looked through here.
fn hevc(body: &[u8]) -> Option<Entry> {
    let record = find(body.get(VISUAL_BYTES..)?, *b"hvcC")?;
    let config = coded::Config::parse(Codec::Hevc, record).ok()?;
    let length_bytes = config.length_bytes();
    Some(Entry::Hevc(config.with_long_lengths(), length_bytes))
}

fn audio(body: &[u8]) -> Entry {
    let version = usize::from(u16_at(body, 8).unwrap_or(0));
    let at = AUDIO_BYTES.get(version).copied().unwrap_or(AUDIO_BYTES[0]);
    let boxes = body.get(at..).unwrap_or_default();
    // QuickTime wraps it in `wave`.
    let esds = find(boxes, *b"esds").or_else(|| find(find(boxes, *b"wave")?, *b"esds"));
    let specific = esds.and_then(|esds| specific_info(esds.get(4..)?, DEPTH_MAX));
    match specific {
        Some((0x40 | 0x66..=0x68, [])) | None => Entry::BareAudio(by_fields(body)),
        // MPEG-4 audio, and the AAC of MPEG-2 (ISO/IEC 14496-1, table 5).
        Some((0x40 | 0x66..=0x68, info)) => match AudioConfig::of_any_form(info) {
            // Layers 1 to 3 of MPEG audio and others are MPEG-4 audio as well.
            Ok(config) if matches!(config.object_type(), 1..=5 | 29) => Entry::Audio(config),
            Ok(_) | Err(_) => Entry::Other("MPEG-4 audio that is no AAC".to_owned()),
        },
        Some((0x69 | 0x6b, _)) => Entry::Other("MP3".to_owned()),
        Some(_) => Entry::Other("mp4a of another codec".to_owned()),
    }
}

/// By the entry's `channelcount` and `samplerate`, in whole Hz before its point. Many write two channels whatever there are.
fn by_fields(body: &[u8]) -> Option<AudioConfig> {
    let (channels, rate) = (u16_at(body, 16)?, u16_at(body, 24)?);
    AudioConfig::low_complexity(u32::from(rate), u8::try_from(channels).ok()?)
}

/// Object type and decoder-specific info of an `esds` (ISO/IEC 14496-1 §7.2.6).
fn specific_info(mut bytes: &[u8], depth: u32) -> Option<(u8, &[u8])> {
    while let Some((tag, body, rest)) = descriptor(bytes) {
        match tag {
            3 if depth > 0 => {
                let flags = *body.get(2)?;
                let url_bytes = if flags & 0x40 == 0 { 0 } else { usize::from(*body.get(3)?) + 1 };
                let skipped = 3 + if flags & 0x80 == 0 { 0 } else { 2 } + url_bytes + if flags & 0x20 == 0 { 0 } else { 2 };
                return specific_info(body.get(skipped..)?, depth - 1);
            }
            4 => {
                let mut inner = body.get(13..).unwrap_or_default();
                while let Some((tag, info, rest)) = descriptor(inner) {
                    if tag == 5 {
                        return Some((*body.first()?, info));
                    }
                    inner = rest;
                }
                return Some((*body.first()?, &[]));
            }
            _ => bytes = rest,
        }
    }
    None
}

/// Tag, body, and what follows.
fn descriptor(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, mut rest) = bytes.split_first()?;
    let mut length = 0_usize;
    for _ in 0..4 {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        length = (length << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    // One that says to be longer than its box is as long as it.
    let (body, rest) = rest.split_at(length.min(rest.len()));
    Some((tag, body, rest))
}

fn name(kind: [u8; 4]) -> String {
    let known = match &kind {
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "HEVC",
        b"av01" => "AV1",
        b"vp09" => "VP9",
        b"vp08" => "VP8",
        b"mp4v" => "MPEG-4 Visual",
        b"jpeg" | b"mjpa" | b"mjpb" => "JPEG",
        b"encv" | b"enca" => "encrypted",
        b"Opus" => "Opus",
        b"fLaC" => "FLAC",
        b"ac-3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"alac" => "ALAC",
        b"sowt" | b"twos" | b"lpcm" | b"ipcm" | b"in24" | b"fl32" => "PCM",
        b"ulaw" | b"alaw" => "G.711",
        b".mp3" => "MP3",
        _ => return String::from_utf8_lossy(&u32_at(&kind, 0).unwrap_or(0).to_be_bytes()).escape_default().to_string(),
    };
    known.to_owned()
}

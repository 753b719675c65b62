//! MP4 and QuickTime (ISO/IEC 14496-12), plain and fragmented. Boxes that are not needed are never looked into, so that none of them is a reason to refuse a file.

mod adts;
mod boxes;
mod edits;
mod entries;
mod fragments;
mod tables;

use sightline_media::{MediaTime, TrackId, aac::AudioConfig};
use std::{fs::File, os::unix::fs::FileExt as _};

use super::index::{Coding, Index, Sample};
use crate::error::{BOX_BYTES_MAX, ClipError};
use boxes::{Boxes, TopBox};
use edits::Edit;
use entries::Entry;
use fragments::Fragments;

/// Boxes at the top of a file: a day of fragments of a tenth of a second.
const TOP_BOXES_MAX: usize = 2_000_000;

/// A sample as the tables have it, in the units of its track.
#[derive(Clone, Copy, Debug)]
struct Raw {
    offset: u64,
    bytes: u32,
    dts: i64,
    shift: i64,
    duration: u32,
    is_keyframe: bool,
    /// Which sample entry it goes by, from zero.
    entry: u32,
}

/// A track's boxes.
#[derive(Debug)]
struct Trak<'a> {
    id: u32,
    is_enabled: bool,
    kind: [u8; 4],
    timescale: u32,
    rotation: u16,
    edits: Vec<Edit>,
    entries: Vec<Entry>,
    table: &'a [u8],
}

/// What a file without pictures of ours is.
pub(crate) type Foreign = Option<String>;

/// Indexes a file. `Some`: what is in it that is not read here.
pub(crate) fn read(file: &File, index: &mut Index) -> Result<Foreign, ClipError> {
    let file_bytes = file.metadata()?.len();
    let (mut moov, mut moofs, mut is_cut) = (None, Vec::new(), false);
    let mut at = 0;
    for _ in 0..TOP_BOXES_MAX {
        let Some(found) = TopBox::read(file, at, file_bytes)? else { break };
        match &found.kind {
            b"moov" if moov.is_none() => {
                is_cut = found.is_cut;
                moov = Some(read_box(file, &found)?);
            }
            b"moof" => moofs.push(found),
            _ => {}
        }
        at = found.end;
    }
    let Some(moov) = moov else { return Err(ClipError::NoMoov) };
    match read_movie(file, &moov, &moofs, index) {
        // Of an index that is cut short the tracks that are whole are played; what is not read here has its turn with ffmpeg.
        Ok(None) if is_cut && !index.has_video() => Err(ClipError::NoMoov),
        Err(ClipError::NoVideo) if is_cut => Err(ClipError::NoMoov),
        read => read,
    }
}

fn read_movie(file: &File, moov: &[u8], moofs: &[TopBox], index: &mut Index) -> Result<Foreign, ClipError> {
    let file_bytes = file.metadata()?.len();
    let movie_timescale = boxes::find(moov, *b"mvhd").and_then(boxes::timescale_of_header).unwrap_or(1_000);
    let traks: Vec<Trak<'_>> = Boxes::new(moov).filter(|found| found.kind == *b"trak").filter_map(|found| trak(found.body)).collect();
    let Some(video) = chosen(&traks, *b"vide", |_| true) else { return Err(ClipError::NoVideo) };
    if let Some(Entry::Other(codec)) = video.entries.iter().find(|entry| !matches!(entry, Entry::Video(..) | Entry::Hevc(..))) {
        return Ok(Some(codec.clone()));
    }
    let hevc = video.entries.iter().filter(|entry| matches!(entry, Entry::Hevc(..))).count();
    if hevc > 0 && hevc < video.entries.len() {
        return Ok(Some("H.264 and H.265 in one track".to_owned()));
    }
    let is_aac = |trak: &Trak<'_>| matches!(trak.entries.first(), Some(Entry::Audio(_) | Entry::BareAudio(_)));
    let audio = chosen(&traks, *b"soun", is_aac);
    remark_the_rest(&traks, video, audio, index);
    index.rotation = video.rotation;
    for (trak, track) in [Some((video, TrackId::VIDEO)), audio.map(|audio| (audio, TrackId::AUDIO))].into_iter().flatten() {
        let mut raws = tables::read(trak.table, file_bytes)?;
        if !moofs.is_empty() {
            let start = raws.last().map_or(0, |last| last.dts.saturating_add(i64::from(last.duration)));
            Fragments::new(moov, trak.id, start, file_bytes).read(moofs, |found| read_box(file, found), &mut raws)?;
        }
        // A recording that was cut short: what is there is played.
        raws.retain(|raw| raw.offset.checked_add(u64::from(raw.bytes)).is_some_and(|end| end <= file_bytes));
        let said = if track == TrackId::AUDIO { settle_sound(file, trak, &mut raws, index) } else { None };
        if !place(trak, track, (&raws, said), movie_timescale, index)? {
            return Ok(Some("an edit list with other speeds than one".to_owned()));
        }
    }
    Ok(None)
}

/// Leaves out headers that MP4 has no place for. Gives what the frames say of their coding.
fn settle_sound(file: &File, trak: &Trak<'_>, raws: &mut Vec<Raw>, index: &mut Index) -> Option<AudioConfig> {
    if let Some((stripped, config)) = adts::strip(file, raws, trak.timescale) {
        index.remark("its AAC frames have ADTS headers, which are left out");
        *raws = stripped;
        return Some(config);
    }
    match trak.entries.first() {
        Some(Entry::BareAudio(Some(told))) => adts::with_channels_of_frames(file, raws, told),
        _ => None,
    }
}

fn read_box(file: &File, found: &TopBox) -> Result<Vec<u8>, ClipError> {
    let bytes = found.end - found.body;
    if bytes > BOX_BYTES_MAX {
        return Err(ClipError::BoxTooLong { offset: found.body, bytes });
    }
    let mut body = vec![0; usize::try_from(bytes).unwrap_or(0)];
    file.read_exact_at(&mut body, found.body).map_err(|source| ClipError::Read { offset: found.body, source })?;
    Ok(body)
}

fn trak(body: &[u8]) -> Option<Trak<'_>> {
    let header = boxes::find(body, *b"tkhd")?;
    let media = boxes::find(body, *b"mdia")?;
    let table = boxes::find_path(media, &[*b"minf", *b"stbl"])?;
    let kind = boxes::find(media, *b"hdlr")?.get(8..12)?.try_into().ok()?;
    let (id, is_enabled, rotation) = boxes::track_header(header)?;
    let timescale = boxes::find(media, *b"mdhd").and_then(boxes::timescale_of_header)?;
    let edits = boxes::find_path(body, &[*b"edts", *b"elst"]).map(edits::read).unwrap_or_default();
    let entries = boxes::find(table, *b"stsd").map(entries::read).unwrap_or_default();
    Some(Trak { id, is_enabled, kind, timescale, rotation, edits, entries, table })
}

/// Of a kind the first that players take by themselves, by track id; before it, those that can be sent.
fn chosen<'a, 'b>(traks: &'a [Trak<'b>], kind: [u8; 4], is_ours: impl Fn(&Trak<'b>) -> bool) -> Option<&'a Trak<'b>> {
    let of_kind = traks.iter().filter(|trak| trak.kind == kind);
    of_kind.filter(|trak| is_ours(trak)).min_by_key(|trak| (!trak.is_enabled, trak.id))
}

fn remark_the_rest(traks: &[Trak<'_>], video: &Trak<'_>, audio: Option<&Trak<'_>>, index: &mut Index) {
    let count = |kind: [u8; 4]| traks.iter().filter(|trak| trak.kind == kind).count();
    if count(*b"vide") > 1 {
        index.remark(format!("it has {} tracks of pictures: track {} is sent", count(*b"vide"), video.id));
    }
    match audio {
        Some(audio) if count(*b"soun") > 1 => {
            index.remark(format!("it has {} tracks of sound: track {} is sent", count(*b"soun"), audio.id));
        }
        Some(_) => {}
        None => {
            index.foreign_sound = traks.iter().filter(|trak| trak.kind == *b"soun").find_map(|trak| match trak.entries.first() {
                Some(Entry::Other(codec)) => Some(codec.clone()),
                _ => None,
            });
        }
    }
}

/// Puts a track's samples into the index, at the times that its edit list gives them, with what they say of their coding where the container says nothing.
/// False: it asks for another speed.
fn place(
    trak: &Trak<'_>,
    track: TrackId,
    (raws, said): (&[Raw], Option<AudioConfig>),
    movie_timescale: u32,
    index: &mut Index,
) -> Result<bool, ClipError> {
    let scales = edits::Scales { movie: movie_timescale, track: trak.timescale };
    let Some(placed) = edits::apply(raws, &trak.edits, scales, track == TrackId::AUDIO) else { return Ok(false) };
    let mut codings = Vec::new();
    for entry in &trak.entries {
        codings.push(match entry {
            Entry::Video(config, length_bytes) => Some(index.coding(Coding::Video(config.clone(), *length_bytes))?),
            Entry::Hevc(config, length_bytes) => Some(index.coding(Coding::Hevc(config.clone(), *length_bytes))?),
            Entry::Audio(config) => Some(index.coding(Coding::Audio(config.clone()))?),
            Entry::BareAudio(by_fields) => match said.as_ref().or(by_fields.as_ref()) {
                Some(config) => Some(index.coding(Coding::Audio(config.clone()))?),
                None => {
                    index.remark("its sound is left out: its AAC has no configuration");
                    None
                }
            },
            Entry::Other(_) => None,
        });
    }
    for sample in placed {
        let raw = sample.raw;
        let Some(Some(coding)) = codings.get(raw.entry as usize).or_else(|| codings.first()).copied() else { continue };
        let time = |count: i64| MediaTime::from_timescale(count, trak.timescale) + sample.shift;
        index.push(Sample {
            offset: raw.offset,
            bytes: raw.bytes,
            track,
            coding,
            dts: time(raw.dts),
            pts: time(raw.dts.saturating_add(raw.shift)),
            is_keyframe: raw.is_keyframe || track == TrackId::AUDIO,
            is_hidden: sample.is_hidden,
            keeps_sets: true,
        })?;
    }
    Ok(true)
}

//! Reading what was recorded: complete fragments, and no byte behind them.

use bytes::Bytes;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use shiguredo_mp4::{
    Decode as _, Encode as _,
    boxes::{MoofBox, MoovBox, SampleEntry},
};
use sightline_media::{Frame, MediaTime, Track, TrackConfig, TrackId, WallTime, aac, avc};
use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

/// What our files are called, after the time.
pub(super) const EXTENSION: &str = "mp4";
/// The time of the first frame, in UTC: names sort by time.
const NAME_FORMAT: &str = "%Y%m%dT%H%M%S%.3fZ";
/// The longest `moov` or `moof` that is read: ours are a few KiB.
const HEADER_BYTES_MAX: u64 = 4 << 20;

/// A file's name without its ending.
pub(super) fn name(wall: WallTime) -> String {
    let timestamp = Timestamp::from_millisecond(wall.unix_millis()).unwrap_or_default();
    timestamp.strftime(NAME_FORMAT).to_string()
}

/// When its first frame was captured, from its name; `None` for a file that is not ours.
pub(super) fn began(path: &Path) -> Option<Timestamp> {
    let stem = path.file_stem()?.to_str()?;
    let time = stem.split_once('Z')?.0;
    let time = DateTime::strptime("%Y%m%dT%H%M%S%.3f", time).ok()?;
    (path.extension()? == EXTENSION).then(|| time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())).flatten()
}

/// Our files in a directory, oldest first.
pub(super) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(began) = began(&path) {
            found.push((began, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// How much of a file is complete fragments; 0 where there is not even one.
pub(super) fn complete_bytes(path: &Path) -> Result<u64, String> {
    let mut complete = 0;
    let mut boxes = Boxes::open(path).map_err(|error| error.to_string())?;
    while let Some(found) = boxes.next().map_err(|error| error.to_string())? {
        if found.kind == *b"mdat" {
            complete = found.offset + found.bytes;
        }
    }
    Ok(complete)
}

/// One recorded file.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) began: Timestamp,
    pub(super) tracks: Vec<Track>,
    pub(super) samples: Vec<Sample>,
    pub(super) fragments: u32,
    /// Of its complete fragments.
    pub(super) bytes: u64,
    file: File,
}

/// One frame in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) track: TrackId,
    pub(super) dts: MediaTime,
    pub(super) duration: MediaTime,
    pub(super) is_keyframe: bool,
    shift: MediaTime,
    offset: u64,
    bytes: u32,
}

impl Segment {
    /// Reads the index of a file: nothing behind its last complete fragment counts.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let began = began(path).ok_or("its name is not that of a recording")?;
        let mut boxes = Boxes::open(path).map_err(|error| error.to_string())?;
        let file = boxes.file.try_clone().map_err(|error| error.to_string())?;
        let mut segment = Self { path: path.to_owned(), began, tracks: Vec::new(), samples: Vec::new(), fragments: 0, bytes: 0, file };
        let mut index = None;
        while let Some(found) = boxes.next().map_err(|error| error.to_string())? {
            match &found.kind {
                b"moov" => segment.tracks = tracks(&segment.body(found)?)?,
                b"moof" => index = Some((found.offset, segment.body(found)?)),
                b"mdat" => {
                    if let Some((offset, moof)) = index.take() {
                        segment.index(offset, &moof)?;
                        segment.fragments += 1;
                        segment.bytes = found.offset + found.bytes;
                    }
                }
                _ => {}
            }
        }
        Ok(segment)
    }

    /// A box, whole.
    fn body(&self, found: FoundBox) -> Result<Vec<u8>, String> {
        if found.bytes > HEADER_BYTES_MAX {
            return Err(format!("the box at byte {} has {} bytes; at most {HEADER_BYTES_MAX} are read", found.offset, found.bytes));
        }
        let mut body = vec![0; found.bytes as usize];
        self.file.read_exact_at(&mut body, found.offset).map_err(|error| format!("byte {}: {error}", found.offset))?;
        Ok(body)
    }

    fn index(&mut self, moof_offset: u64, moof: &[u8]) -> Result<(), String> {
        let broken = |what: &str| format!("the fragment at byte {moof_offset} {what}");
        let (moof, _) = MoofBox::decode(moof).map_err(|error| broken(&format!("can't be read: {error}")))?;
        for traf in &moof.traf_boxes {
            let track = TrackId(u8::try_from(traf.tfhd_box.track_id.saturating_sub(1)).map_err(|_| broken("has a strange track"))?);
            let time = traf.tfdt_box.as_ref().map_or(0, |tfdt| tfdt.base_media_decode_time);
            let mut dts = MediaTime::from_ticks(i64::try_from(time).unwrap_or(i64::MAX));
            for trun in &traf.trun_boxes {
                let mut offset = moof_offset.saturating_add_signed(i64::from(trun.data_offset.unwrap_or(0)));
                for sample in &trun.samples {
                    let bytes = sample.size.ok_or_else(|| broken("does not say the size of its frames"))?;
                    let duration = MediaTime::from_ticks(i64::from(sample.duration.unwrap_or(0)));
                    let shift = MediaTime::from_ticks(sample.composition_time_offset.unwrap_or(0));
                    let is_keyframe = sample.flags.is_some_and(|flags| !flags.sample_is_non_sync_sample());
                    self.samples.push(Sample { track, dts, duration, is_keyframe, shift, offset, bytes });
                    dts = dts + duration;
                    offset += u64::from(bytes);
                }
            }
        }
        Ok(())
    }

    /// A frame with its bytes.
    pub(super) fn read(&self, sample: &Sample) -> io::Result<Frame<Bytes>> {
        let mut payload = vec![0; sample.bytes as usize];
        self.file.read_exact_at(&mut payload, sample.offset)?;
        Ok(Frame {
            track: sample.track,
            dts: sample.dts,
            pts: sample.dts + sample.shift,
            is_keyframe: sample.is_keyframe,
            is_disposable: false,
            payload: payload.into(),
        })
    }

    /// When a frame was captured.
    pub(super) fn wall(&self, at: MediaTime) -> Timestamp {
        self.began.saturating_add(jiff::SignedDuration::from_micros(at.as_micros())).unwrap_or(Timestamp::MAX)
    }

    /// Where its video ends.
    pub(super) fn length(&self) -> MediaTime {
        let video = self.samples.iter().filter(|sample| sample.track == TrackId::VIDEO);
        video.map(|sample| sample.dts + sample.duration).max().unwrap_or(MediaTime::ZERO)
    }
}

/// Where a box lies.
#[derive(Clone, Copy, Debug)]
struct FoundBox {
    kind: [u8; 4],
    offset: u64,
    bytes: u64,
}

/// The boxes of a file, as far as they are complete.
struct Boxes {
    file: File,
    offset: u64,
    end: u64,
}

impl Boxes {
    fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        Ok(Self { file, offset: 0, end })
    }

    fn next(&mut self) -> io::Result<Option<FoundBox>> {
        const HEADER_BYTES: u64 = 8;
        if self.end - self.offset < HEADER_BYTES {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES as usize];
        self.file.read_exact_at(&mut header, self.offset)?;
        let [size @ .., k0, k1, k2, k3] = header;
        let bytes = u64::from(u32::from_be_bytes(size));
        // Ours have no 64-bit sizes; zeros are what some file systems leave of a write that was cut.
        if bytes < HEADER_BYTES || bytes > self.end - self.offset {
            return Ok(None);
        }
        let found = FoundBox { kind: [k0, k1, k2, k3], offset: self.offset, bytes };
        self.offset += bytes;
        Ok(Some(found))
    }
}

fn tracks(moov: &[u8]) -> Result<Vec<Track>, String> {
    /// Size and kind stand before the record.
    const BOX_HEADER_BYTES: usize = 8;
    let (moov, _) = MoovBox::decode(moov).map_err(|error| format!("its moov can't be read: {error}"))?;
    let track = |trak: &shiguredo_mp4::boxes::TrakBox| {
        let id = TrackId(u8::try_from(trak.tkhd_box.track_id.saturating_sub(1)).map_err(|error| error.to_string())?);
        let config = match trak.mdia_box.minf_box.stbl_box.stsd_box.entries.first() {
            Some(SampleEntry::Avc1(entry)) => {
                let record = entry.avcc_box.encode_to_vec().map_err(|error| error.to_string())?;
                let record = record.get(BOX_HEADER_BYTES..).unwrap_or_default();
                TrackConfig::H264(avc::DecoderConfig::parse(record).map_err(|error| error.to_string())?)
            }
            Some(SampleEntry::Mp4a(entry)) => {
                let record = entry.esds_box.es.dec_config_descr.dec_specific_info.as_ref().map_or(&[][..], |info| &info.payload);
                TrackConfig::Aac(aac::AudioConfig::parse(record).map_err(|error| error.to_string())?)
            }
            Some(_) | None => return Err("it has a track that this version does not record".to_owned()),
        };
        Ok(Track { id, config })
    };
    moov.trak_boxes.iter().map(track).collect()
}

//! Files in Annex B form: a byte stream without times, whose pictures are shown at the rate that it names.

use sightline_media::{MediaTime, TrackId, avc};
use std::{fs::File, io::BufReader};

use super::index::{Coding, Index, Sample};
use crate::{error::ClipError, pictures::Pictures};

/// The frame rate of a file that does not say its own.
const FPS_DEFAULT: u32 = 25;

/// Reads it through.
pub(crate) fn read(file: &File, index: &mut Index) -> Result<(), ClipError> {
    let mut pictures = Pictures::new(BufReader::new(file.try_clone()?));
    let (mut coding, mut time) = (None, MediaTime::ZERO);
    let mut order = Order::default();
    while let Some(picture) = pictures.next_picture()? {
        if let Some(config) = picture.config.clone() {
            coding = Some(index.coding(Coding::Video(Some(Box::new(config)), avc::LENGTH_BYTES))?);
        }
        let Some(coding) = coding else { continue };
        let rate = picture.frames_per_kilosecond.unwrap_or(FPS_DEFAULT * 1_000);
        order.see(index.samples.len(), &picture);
        let bytes = u32::try_from(picture.stream.len()).unwrap_or(u32::MAX);
        let (is_keyframe, keeps_sets) = (picture.is_keyframe, picture.keeps_sets);
        let (offset, track, is_hidden) = (picture.offset, TrackId::VIDEO, false);
        index.push(Sample { offset, bytes, track, coding, dts: time, pts: time, is_keyframe, is_hidden, keeps_sets })?;
        time = time + MediaTime::from_timescale(1_000, rate);
    }
    order.apply(&mut index.samples);
    index.is_annex_b = true;
    Ok(())
}

/// In which order the pictures are shown: from key frame to key frame by the order count that slices tell (H.264 §8.2.1.1).
#[derive(Debug, Default)]
struct Order {
    /// Samples with their counts, whole.
    counts: Vec<(usize, i64)>,
    /// Where groups begin in it.
    groups: Vec<usize>,
    last: i64,
    is_unknown: bool,
}

impl Order {
    fn see(&mut self, sample: usize, picture: &crate::pictures::CodedPicture) {
        let Some((low, bits)) = picture.order else {
            self.is_unknown = true;
            return;
        };
        if picture.is_idr {
            self.groups.push(self.counts.len());
            self.last = 0;
        }
        let cycle = 1_i64 << bits;
        let base = self.last.div_euclid(cycle) * cycle + i64::from(low);
        // The nearest to the last reference's.
        let count = [base - cycle, base, base + cycle].into_iter().min_by_key(|count| (count - self.last).abs()).unwrap_or(base);
        if !picture.is_disposable {
            self.last = count;
        }
        self.counts.push((sample, count));
    }

    fn apply(mut self, samples: &mut [Sample]) {
        if self.is_unknown {
            return;
        }
        self.groups.push(self.counts.len());
        for group in self.groups.windows(2) {
            let Some(counts) = self.counts.get(group[0]..group[1]) else { continue };
            let mut shown = counts.to_vec();
            shown.sort_by_key(|(_, count)| *count);
            let times: Vec<_> = counts.iter().filter_map(|(sample, _)| samples.get(*sample)).map(|sample| sample.dts).collect();
            for ((sample, _), time) in shown.iter().zip(times) {
                if let Some(sample) = samples.get_mut(*sample) {
                    sample.pts = time;
                }
            }
        }
    }
}

//! A source's times, however they run: what is given out rises.

use crate::cursor::Cursor;
use sightline_media::{Instant, MediaTime, SourceClock, TrackId};

/// A frame is eight bytes: what it is, how far its time steps (in milliseconds, or thousands of them), how much later it is shown, how long it was waited for.
pub fn run(data: &[u8]) {
    let mut cursor = Cursor::new(data);
    let mut clock = if cursor.u8() & 1 == 0 { SourceClock::default() } else { SourceClock::since(Instant::ZERO) };
    let (mut sources, mut now_micros, mut given) = ([0_i64; 2], 0_u64, [None::<i64>; 2]);
    while !cursor.is_empty() {
        let kind = cursor.u8();
        if kind & 0xf0 == 0xf0 {
            clock.change_source();
        }
        let lane = usize::from(kind & 1);
        let step = i64::from(cursor.u16().cast_signed()) * if kind & 2 == 0 { 1 } else { 1000 };
        let shown = i64::from(cursor.u16().cast_signed());
        now_micros += u64::from(cursor.u16()) * if kind & 4 == 0 { 10 } else { 1000 };
        sources[lane] += step;
        let (dts, pts) = (MediaTime::from_millis(sources[lane]), MediaTime::from_millis(sources[lane] + shown));
        let placed = clock.place([TrackId::VIDEO, TrackId::AUDIO][lane], dts, pts, Instant::from_micros(now_micros));
        let dts = placed.dts.ticks_90k;
        assert!(given[lane].is_none_or(|before| dts >= before + 90), "a millisecond at least: {given:?} {dts}");
        assert!((0..=2 * MediaTime::TICKS_PER_SECOND).contains(&(placed.pts.ticks_90k - dts)));
        given[lane] = Some(dts);
    }
}

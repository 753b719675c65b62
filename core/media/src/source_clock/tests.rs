use super::*;
use std::vec::Vec;

const MILLI: i64 = 90;
const SECOND: i64 = 90_000;

/// A frame as it was given.
#[derive(Clone, Copy, Debug)]
struct Given {
    track: TrackId,
    now: i64,
    dts: i64,
    pts: i64,
    fault: Option<Fault>,
}

struct World {
    clock: SourceClock,
    given: Vec<Given>,
    seed: u64,
}

impl World {
    fn new() -> Self {
        Self { clock: SourceClock::default(), given: Vec::new(), seed: 7 }
    }

    fn random(&mut self, below: i64) -> i64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        i64::try_from(self.seed >> 33).unwrap() % below
    }

    fn place(&mut self, track: TrackId, source_ms: i64, shown_ms: i64, now_ms: i64) {
        let (dts, pts) = (MediaTime::from_millis(source_ms), MediaTime::from_millis(source_ms + shown_ms));
        let placed = self.clock.place(track, dts, pts, Instant::from_micros(u64::try_from(now_ms * 1000).unwrap()));
        self.given.push(Given { track, now: now_ms * MILLI, dts: placed.dts.ticks_90k, pts: placed.pts.ticks_90k, fault: placed.fault });
    }

    /// Pictures 40 ms apart and sound 20 ms apart for `seconds`, with the times that `source` makes of the right ones, and a network's jitter.
    fn run(&mut self, from_ms: i64, seconds: i64, source: impl Fn(TrackId, i64) -> i64) {
        for index in 0..seconds * 50 {
            let at = index * 20;
            let now = from_ms + at + self.random(15);
            if index % 2 == 0 {
                self.place(TrackId::VIDEO, source(TrackId::VIDEO, at), 0, now);
            }
            self.place(TrackId::AUDIO, source(TrackId::AUDIO, at), 0, now);
        }
    }

    fn of(&self, track: TrackId) -> Vec<Given> {
        self.given.iter().filter(|given| given.track == track).copied().collect()
    }

    /// What holds whatever comes in.
    fn assert_sane(&self, what: &str) {
        for track in [TrackId::VIDEO, TrackId::AUDIO] {
            let given = self.of(track);
            for pair in given.windows(2) {
                assert!(pair[1].dts >= pair[0].dts + MILLI, "{what}: {pair:?}");
            }
            assert!(given.iter().all(|given| given.pts >= given.dts && given.pts - given.dts <= 2 * SECOND), "{what}");
        }
    }

    /// Over any span, media time is within `limit` of the wall's.
    fn assert_real_time(&self, limit: i64, what: &str) {
        for track in [TrackId::VIDEO, TrackId::AUDIO] {
            let ahead = || self.of(track).into_iter().map(|given| given.dts - given.now);
            let (least, most) = (ahead().min().unwrap(), ahead().max().unwrap());
            assert!(most - least <= limit, "{what}, {track:?}: {} ms", (most - least) / MILLI);
        }
    }

    /// No two frames of a track further apart than this.
    fn assert_no_gap(&self, limit: i64, what: &str) {
        for track in [TrackId::VIDEO, TrackId::AUDIO] {
            for pair in self.of(track).windows(2) {
                assert!(pair[1].dts - pair[0].dts <= limit, "{what}: {pair:?}");
            }
        }
    }

    fn faults(&self) -> Vec<Fault> {
        self.given.iter().filter_map(|given| given.fault).collect()
    }
}

#[test]
fn right_times_stay_as_they_are() {
    let mut world = World::new();
    world.run(5000, 120, |_, at| at + 777);
    assert!(world.faults().is_empty());
    assert!(world.given.iter().all(|given| given.dts % (20 * MILLI) == 777 % 20 * MILLI));
    let mut slow = World::new();
    for picture in 0..60 {
        slow.place(TrackId::VIDEO, picture * 1000, 0, picture * 1000 + picture % 7);
    }
    assert_eq!(slow.given.iter().map(|given| given.dts / SECOND).collect::<Vec<_>>(), (0..60).collect::<Vec<_>>());
}

#[test]
fn a_link_that_stalls_and_catches_up_changes_nothing() {
    let mut world = World::new();
    for picture in 0..2000 {
        let at = picture * 40;
        // From 20 s on nothing comes for 9 s, then what was kept, faster than it was made.
        let now = if at < 20_000 { at } else { at.max(29_000 + (at - 20_000) / 3) };
        world.place(TrackId::VIDEO, at, 80, now);
    }
    assert!(world.faults().is_empty(), "{:?}", world.faults());
    assert!(
        world.given.iter().zip(0..).all(|(given, picture)| (given.dts, given.pts) == (picture * 40 * MILLI, (picture * 40 + 80) * MILLI))
    );
}

/// A relay that keeps a group of pictures sends it at once; ffmpeg without `-re` sends the whole file so.
#[test]
fn what_was_kept_for_us_comes_at_once_and_stays_as_it_is() {
    let mut world = World::new();
    for picture in 0..2000 {
        world.place(TrackId::VIDEO, picture * 40, 0, picture.min(250) + (picture - 250).max(0) * 40);
    }
    assert!(world.faults().is_empty(), "{:?}", world.faults());
    assert!(world.given.iter().zip(0..).all(|(given, picture)| given.dts == picture * 40 * MILLI));
}

/// ZLMediaKit#3632, RootEncoder#2048, gtxaspec/raptor#43: a step back under ten seconds, a start at 0, a loop of a file, a step ahead.
#[test]
fn a_step_leaves_a_frame_s_gap_and_moves_sound_and_picture_together() {
    type Source<'a> = &'a dyn Fn(TrackId, i64) -> i64;
    let steps: [(&str, Source<'_>); 6] = [
        ("a step back of 1 s", &|_, at| if at < 30_000 { at } else { at - 1000 }),
        ("a step back of 8 s", &|_, at| if at < 30_000 { at } else { at - 8000 }),
        ("a start at 0", &|_, at| if at < 30_000 { 5_000_000 + at } else { at - 30_000 }),
        ("a step ahead of 2 s", &|_, at| if at < 30_000 { at } else { at + 2000 }),
        ("a step ahead of a day", &|_, at| if at < 30_000 { at } else { at + 86_400_000 }),
        ("a loop of 8 s", &|_, at| at % 8000),
    ];
    for (what, source) in steps {
        let mut world = World::new();
        world.run(0, 90, source);
        world.assert_sane(what);
        world.assert_real_time(SECOND / 2, what);
        world.assert_no_gap(90 * MILLI, what);
        assert!(!world.faults().is_empty() && world.faults().iter().all(|fault| *fault == Fault::Step), "{what}: {:?}", world.faults());
        let (picture, sound) = (world.of(TrackId::VIDEO), world.of(TrackId::AUDIO));
        let (picture, sound) = (picture.last().unwrap(), sound[sound.len() - 2]);
        assert!((picture.dts - sound.dts).abs() <= 60 * MILLI, "{what}: {picture:?} {sound:?}");
    }
}

#[test]
fn tracks_that_count_from_other_zeros_are_brought_together_once() {
    for apart in [90_000, -90_000, 86_400_000] {
        let mut world = World::new();
        world.run(0, 30, |track, at| if track == TrackId::AUDIO { at + apart } else { at });
        world.assert_sane("origins");
        world.assert_real_time(SECOND / 4, "origins");
        assert_eq!(world.faults(), [Fault::Origins]);
    }
    let mut near = World::new();
    near.run(0, 10, |track, at| if track == TrackId::AUDIO { at + 300 } else { at });
    assert!(near.faults().is_empty(), "sound that is a little ahead stays so");
}

/// scottlamb/retina#64, AlexxIT/go2rtc#2398, open-nvr/open-nvr#229, RootEncoder#1039: 10.5 times, double, half, a third, one in a thousand, none at all.
#[test]
fn a_wrong_rate_follows_the_time_that_passes() {
    for (what, limit, source) in [
        ("10.5 times", SECOND, (&|at: i64| at * 21 / 2) as &dyn Fn(i64) -> i64),
        ("double", SECOND, &|at| at * 2),
        ("1.3 times", SECOND, &|at| at * 13 / 10),
        ("1.04 times", SECOND, &|at| at * 104 / 100),
        ("0.96 times", 2 * SECOND, &|at| at * 96 / 100),
        ("half", 5 * SECOND / 2, &|at| at / 2),
        ("a third", 3 * SECOND, &|at| at / 3),
        ("one in a thousand", SECOND, &|at| at / 1000),
        ("zero", SECOND, &|_| 0),
        ("standing still after a while", SECOND, &|at| at.min(20_000)),
    ] {
        let mut world = World::new();
        world.run(0, 180, |_, at| source(at));
        world.assert_sane(what);
        world.assert_real_time(limit, what);
        assert!(world.faults().contains(&Fault::Rate), "{what}");
        // Once it is seen, it is right to a tenth of a second.
        world.given.retain(|given| given.now > 90 * SECOND);
        world.assert_real_time(SECOND / 5, what);
    }
}

#[test]
fn a_source_whose_times_get_right_again_is_believed_again() {
    let mut world = World::new();
    world.run(0, 120, |_, at| if at < 20_000 { 0 } else { at });
    world.assert_sane("again");
    world.given.retain(|given| given.now > 60 * SECOND && given.track == TrackId::VIDEO);
    assert!(world.given.windows(2).all(|pair| pair[1].dts - pair[0].dts == 40 * MILLI), "its own steps, without the network's jitter");
}

#[test]
fn two_frames_of_one_time_are_a_millisecond_apart_and_the_next_is_on_time() {
    let mut world = World::new();
    for (source, now) in [(0, 0), (40, 40), (40, 41), (80, 80), (80, 81), (75, 82), (120, 120)] {
        world.place(TrackId::VIDEO, source, 0, now);
    }
    assert_eq!(world.given.iter().map(|given| given.dts / MILLI).collect::<Vec<_>>(), [0, 40, 41, 80, 81, 82, 120]);
    assert!(world.faults().is_empty());
}

#[test]
fn another_connection_goes_on_after_the_time_that_passed() {
    let mut world = World::new();
    for (source, now) in [(5000, 0), (5040, 40)] {
        world.place(TrackId::VIDEO, source, 80, now);
    }
    world.clock.change_source();
    world.place(TrackId::VIDEO, 0, 80, 2040);
    world.place(TrackId::AUDIO, 10, 0, 2041);
    world.clock.change_source();
    world.place(TrackId::VIDEO, 1_000_000, 80, 2042);
    assert_eq!(world.given.iter().map(|given| given.dts / MILLI).collect::<Vec<_>>(), [5000, 5040, 7040, 7050, 7083]);
    let mut since = SourceClock::since(Instant::from_micros(1_000_000));
    let first = since.place(TrackId::VIDEO, MediaTime::from_millis(77), MediaTime::from_millis(77), Instant::from_micros(3_000_000));
    assert_eq!(first.dts.as_millis(), 2000);
}

#[test]
fn a_picture_is_never_shown_before_it_is_decoded_nor_seconds_after() {
    let mut world = World::new();
    for (picture, shown) in [0, 80, -500, 9_000_000, 80, i64::from(i32::MIN)].into_iter().enumerate() {
        let at = i64::try_from(picture).unwrap() * 40;
        world.place(TrackId::VIDEO, at, shown, at);
    }
    world.assert_sane("composition");
    assert_eq!(world.given[1].pts - world.given[1].dts, 80 * MILLI);
}

#[test]
fn pictures_that_are_shown_before_their_decoding_time_keep_their_order_and_their_times() {
    let mut world = World::new();
    // I P B B, with composition offsets of 0, 80, -40 and -40 ms.
    for picture in 0..100_i64 {
        let at = picture * 40;
        world.place(TrackId::VIDEO, at, [0, 80, -40, -40][usize::try_from(picture % 4).unwrap()], at);
    }
    world.assert_sane("early");
    let right = |picture: i64| (picture * 40 + [0, 80, -40, -40][usize::try_from(picture % 4).unwrap()]) * MILLI;
    for (given, picture) in world.given.iter().zip(0..).skip(8) {
        assert_eq!((given.pts, given.dts), (right(picture), (picture * 40 - 40) * MILLI));
    }
}

proptest::proptest! {
    /// Any steps of a source, with any waits: what is given is sane, and no more ahead of the time that passes than a second and what was kept for us.
    #[test]
    fn whatever_comes_times_rise(frames in proptest::collection::vec((proptest::bool::ANY, -20_000_i64..20_000, -2_000_i64..2_000, 0_i64..3000), 1..200)) {
        let mut world = World::new();
        let (mut source, mut now) = (0, 0);
        for (is_sound, step, shown, wait) in frames {
            (source, now) = (source + step, now + wait);
            world.place(if is_sound { TrackId::AUDIO } else { TrackId::VIDEO }, source, shown, now);
        }
        world.assert_sane("anything");
    }

    #[test]
    fn extremes_of_time_do_not_overflow(times: Vec<(i64, i64, u64, bool)>) {
        let mut clock = SourceClock::default();
        for (dts, pts, now, is_sound) in times {
            clock.place(if is_sound { TrackId::AUDIO } else { TrackId::VIDEO }, MediaTime::from_ticks(dts), MediaTime::from_ticks(pts), Instant::from_micros(now));
        }
    }

    /// A right stream with any one fault in it is a right stream again.
    #[test]
    fn one_step_anywhere_costs_a_frame(at_ms in 2_000_i64..40_000, step in -40_000_i64..40_000) {
        proptest::prop_assume!(step.abs() > 250);
        let mut world = World::new();
        world.run(0, 60, |_, at| 100_000 + if at < at_ms { at } else { at + step });
        world.assert_sane("one step");
        world.assert_no_gap(300 * MILLI, "one step");
        world.assert_real_time(SECOND / 2, "one step");
    }
}

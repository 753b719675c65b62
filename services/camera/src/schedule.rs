//! Windows of the week in local time: pure functions of the windows and of civil time, so that a clock that steps, a change to or from
//! daylight-saving time and a start inside a window need no care elsewhere.

use jiff::{
    Timestamp, ToSpan as _, civil,
    tz::{AmbiguousOffset, AmbiguousTimestamp, TimeZone},
};
use serde::{Deserialize, Serialize};

/// One window, as the settings have it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The days on which it begins: mon, tue, wed, thu, fri, sat, sun.
    pub days: Vec<Day>,
    /// When it begins, `hh:mm` or `hh:mm:ss`.
    pub start: String,
    /// When it ends. Not after `start`: on the next day.
    pub end: String,
    /// The time zone, as the IANA names it: `Europe/Berlin`, `UTC`.
    pub tz: String,
}

/// A day of the week.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday
    Mon,
    /// Tuesday
    Tue,
    /// Wednesday
    Wed,
    /// Thursday
    Thu,
    /// Friday
    Fri,
    /// Saturday
    Sat,
    /// Sunday
    Sun,
}

impl Day {
    fn of(date: civil::Date) -> Self {
        match date.weekday() {
            civil::Weekday::Monday => Self::Mon,
            civil::Weekday::Tuesday => Self::Tue,
            civil::Weekday::Wednesday => Self::Wed,
            civil::Weekday::Thursday => Self::Thu,
            civil::Weekday::Friday => Self::Fri,
            civil::Weekday::Saturday => Self::Sat,
            civil::Weekday::Sunday => Self::Sun,
        }
    }
}

/// Why a window can't be used. They are counted from 1, as people do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum ScheduleError {
    #[error("window {number}: {key} = {text:?} is no time of day; take hh:mm, as in \"08:30\"")]
    Time { number: usize, key: &'static str, text: String },
    #[error("window {number} has no day; take some of mon, tue, wed, thu, fri, sat, sun")]
    NoDay { number: usize },
    #[error("window {number}: tz = {name:?} is no time zone; take an IANA name, as in \"Europe/Berlin\" or \"UTC\"")]
    Zone { number: usize, name: String },
}

/// Checked windows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Schedule {
    windows: Vec<Checked>,
}

#[derive(Clone, Debug)]
struct Checked {
    days: Vec<Day>,
    start: civil::Time,
    end: civil::Time,
    zone: TimeZone,
}

/// From and to: `to` is outside.
type Occurrence = (Timestamp, Timestamp);

impl Schedule {
    /// Checks what the settings have.
    pub(crate) fn new(windows: &[Window]) -> Result<Self, ScheduleError> {
        let checked = windows.iter().zip(1..).map(|(window, number)| Checked::of(window, number));
        Ok(Self { windows: checked.collect::<Result<_, _>>()? })
    }

    /// Whether a window is open at this time.
    pub(crate) fn is_open(&self, wall: Timestamp) -> bool {
        self.windows.iter().any(|window| window.around(wall, 0).any(|(from, to)| from <= wall && wall < to))
    }

    /// When [`Self::is_open`] changes next; `None`: not within the next eight days, so never.
    pub(crate) fn next_change(&self, wall: Timestamp) -> Option<Timestamp> {
        let is_open = self.is_open(wall);
        let mut edges: Vec<Timestamp> =
            self.windows.iter().flat_map(|window| window.around(wall, 8)).flat_map(|(from, to)| [from, to]).collect();
        edges.sort_unstable();
        edges.into_iter().find(|&edge| edge > wall && self.is_open(edge) != is_open)
    }
}

impl Checked {
    fn of(window: &Window, number: usize) -> Result<Self, ScheduleError> {
        let time = |key, text: &str| text.parse::<civil::Time>().map_err(|_| ScheduleError::Time { number, key, text: text.to_owned() });
        if window.days.is_empty() {
            return Err(ScheduleError::NoDay { number });
        }
        let zone = TimeZone::get(&window.tz).map_err(|_| ScheduleError::Zone { number, name: window.tz.clone() })?;
        Ok(Self { days: window.days.clone(), start: time("start", &window.start)?, end: time("end", &window.end)?, zone })
    }

    /// Those that begin from two days before to some days after the day of `wall`.
    fn around(&self, wall: Timestamp, days_after: i32) -> impl Iterator<Item = Occurrence> {
        let today = wall.to_zoned(self.zone.clone()).date();
        let dates = (-2..=days_after).filter_map(move |offset| today.checked_add(offset.days()).ok());
        dates.filter(|&date| self.days.contains(&Day::of(date))).filter_map(|date| self.on(date))
    }

    /// The one that begins on this day. Where the clock shows an hour twice, the window has both; where it leaves one out, what begins or
    /// ends within it does so at the jump.
    fn on(&self, date: civil::Date) -> Option<Occurrence> {
        let ends_on = if self.end > self.start { date } else { date.tomorrow().ok()? };
        let first = self.zone.to_ambiguous_timestamp(date.to_datetime(self.start));
        let last = self.zone.to_ambiguous_timestamp(ends_on.to_datetime(self.end));
        let from = if is_gap(&first) { self.jump_after(first.earlier().ok()?)? } else { first.earlier().ok()? };
        let to = if is_gap(&last) { self.jump_after(last.earlier().ok()?)? } else { last.later().ok()? };
        Some((from, to))
    }

    /// The next change of the zone's offset. Inside a gap the earlier reading lies before it, the later one after it.
    fn jump_after(&self, before: Timestamp) -> Option<Timestamp> {
        self.zone.following(before).next().map(|transition| transition.timestamp())
    }
}

/// A time that the clock leaves out.
fn is_gap(time: &AmbiguousTimestamp) -> bool {
    matches!(time.offset(), AmbiguousOffset::Gap { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Day; 7] = [Day::Mon, Day::Tue, Day::Wed, Day::Thu, Day::Fri, Day::Sat, Day::Sun];

    fn schedule(windows: &[(&[Day], &str, &str, &str)]) -> Schedule {
        let windows: Vec<Window> = windows
            .iter()
            .map(|(days, start, end, tz)| Window { days: days.to_vec(), start: (*start).into(), end: (*end).into(), tz: (*tz).into() })
            .collect();
        Schedule::new(&windows).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// All changes between two times, found minute by minute and by asking for the next one: both must agree.
    fn changes(schedule: &Schedule, from: &str, to: &str) -> Vec<String> {
        let (from, to) = (at(from), at(to));
        let mut by_minute = Vec::new();
        let (mut now, mut was_open) = (from, schedule.is_open(from));
        while now < to {
            now += 1.minute();
            if schedule.is_open(now) != was_open {
                was_open = !was_open;
                by_minute.push(now.to_string());
            }
        }
        let mut by_asking = Vec::new();
        let mut next = schedule.next_change(from);
        while let Some(change) = next.filter(|&change| change <= to) {
            by_asking.push(change.to_string());
            next = schedule.next_change(change);
        }
        assert_eq!(by_minute, by_asking);
        by_asking
    }

    #[test]
    fn a_window_of_the_office_is_open_on_its_days_only() {
        let office = schedule(&[(&[Day::Mon, Day::Fri], "08:00", "17:30", "Asia/Shanghai")]);
        // Monday, 2026-11-23.
        assert_eq!(
            changes(&office, "2026-11-22T12:00:00Z", "2026-11-30T12:00:00Z"),
            [
                "2026-11-23T00:00:00Z",
                "2026-11-23T09:30:00Z",
                "2026-11-27T00:00:00Z",
                "2026-11-27T09:30:00Z",
                "2026-11-30T00:00:00Z",
                "2026-11-30T09:30:00Z"
            ]
        );
    }

    #[test]
    fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = schedule(&[(&[Day::Sun], "22:00", "06:00", "UTC")]);
        assert_eq!(changes(&night, "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"), ["2026-11-22T22:00:00Z", "2026-11-23T06:00:00Z"]);
        let all_day = schedule(&[(&[Day::Sun], "00:00", "00:00", "UTC")]);
        assert_eq!(changes(&all_day, "2026-11-20T00:00:00Z", "2026-11-27T00:00:00Z"), ["2026-11-22T00:00:00Z", "2026-11-23T00:00:00Z"]);
        let always = schedule(&[(&ALL, "00:00", "00:00", "Europe/Berlin")]);
        assert_eq!((always.is_open(at("2026-03-29T01:00:00Z")), always.next_change(at("2026-03-28T12:00:00Z"))), (true, None));
    }

    /// Berlin, 2026-03-29: from 02:00 (01:00Z) to 03:00.
    #[test]
    fn where_the_clock_leaves_an_hour_out_a_window_in_it_begins_and_ends_at_the_jump() {
        let on =
            |start, end| changes(&schedule(&[(&[Day::Sun], start, end, "Europe/Berlin")]), "2026-03-28T22:00:00Z", "2026-03-29T20:00:00Z");
        assert_eq!(on("01:30", "03:30"), ["2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z"], "an hour shorter");
        assert_eq!(on("02:30", "04:00"), ["2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"]);
        assert_eq!(on("01:00", "02:30"), ["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"]);
        assert_eq!(on("02:15", "02:45"), Vec::<String>::new(), "this time does not come on this day");
    }

    /// Berlin, 2026-10-25: at 03:00 (01:00Z) back to 02:00.
    #[test]
    fn where_the_clock_shows_an_hour_twice_a_window_has_both_without_a_gap() {
        let on =
            |start, end| changes(&schedule(&[(&[Day::Sun], start, end, "Europe/Berlin")]), "2026-10-24T20:00:00Z", "2026-10-25T20:00:00Z");
        assert_eq!(on("01:00", "02:30"), ["2026-10-24T23:00:00Z", "2026-10-25T01:30:00Z"]);
        assert_eq!(on("02:30", "04:00"), ["2026-10-25T00:30:00Z", "2026-10-25T03:00:00Z"]);
        assert_eq!(on("02:15", "02:45"), ["2026-10-25T00:15:00Z", "2026-10-25T01:45:00Z"]);
    }

    #[test]
    fn a_night_window_survives_both_changes() {
        let night = schedule(&[(&ALL, "22:00", "06:00", "America/New_York")]);
        // 2026-03-08 and 2026-11-01: seven and nine hours instead of eight.
        assert_eq!(changes(&night, "2026-03-08T00:00:00Z", "2026-03-08T12:00:00Z"), ["2026-03-08T03:00:00Z", "2026-03-08T10:00:00Z"]);
        assert_eq!(changes(&night, "2026-11-01T00:00:00Z", "2026-11-01T14:00:00Z"), ["2026-11-01T02:00:00Z", "2026-11-01T11:00:00Z"]);
    }

    #[test]
    fn windows_that_touch_or_overlap_are_one() {
        let touching = schedule(&[(&ALL, "08:00", "12:00", "UTC"), (&ALL, "12:00", "13:00", "UTC"), (&ALL, "11:00", "12:30", "UTC")]);
        assert_eq!(changes(&touching, "2026-11-22T00:00:00Z", "2026-11-22T23:00:00Z"), ["2026-11-22T08:00:00Z", "2026-11-22T13:00:00Z"]);
    }

    #[test]
    fn the_answer_depends_on_nothing_but_the_clock() {
        // A clock that NTP sets forward into a window, back before it, and a start in the middle of it.
        let noon = schedule(&[(&ALL, "12:00", "13:00", "UTC")]);
        let open_at = |text: &str| noon.is_open(at(text));
        assert!(!open_at("1970-01-01T00:00:12Z") && open_at("2026-11-22T12:30:00Z") && !open_at("2026-11-22T11:59:59Z"));
        assert!(open_at("2026-11-22T12:00:00Z") && !open_at("2026-11-22T13:00:00Z"));
        assert_eq!(noon.next_change(at("1970-01-01T00:00:12Z")), Some(at("1970-01-01T12:00:00Z")));
        assert_eq!(Schedule::default().next_change(at("2026-11-22T12:00:00Z")), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let window = |start: &str, tz: &str| Window { days: vec![Day::Mon], start: start.into(), end: "10:00".into(), tz: tz.into() };
        let problem = |window: Window| Schedule::new(&[window]).unwrap_err().to_string();
        assert!(problem(window("8 pm", "UTC")).contains("start = \"8 pm\""));
        assert!(problem(window("08:00", "Mars/Olympus")).contains("Europe/Berlin"));
        assert!(problem(Window { days: Vec::new(), ..window("08:00", "UTC") }).contains("no day"));
    }
}

//! A media playlist as its readers see it.

/// A partial segment.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    pub(crate) uri: String,
    pub(crate) secs: f64,
    pub(crate) is_independent: bool,
}

/// A media segment, or the one that is not whole yet: without a URI of its own.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Segment {
    pub(crate) sequence: u64,
    pub(crate) discontinuity: u64,
    pub(crate) is_discontinuous: bool,
    pub(crate) uri: String,
    pub(crate) secs: f64,
    /// When it began, in milliseconds since 1970.
    pub(crate) began_ms: Option<i64>,
    pub(crate) init: Option<String>,
    pub(crate) parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct List {
    pub(crate) version: u64,
    pub(crate) target: u64,
    pub(crate) control: String,
    pub(crate) part_target: f64,
    pub(crate) sequence: u64,
    pub(crate) discontinuity: u64,
    pub(crate) is_independent: bool,
    pub(crate) is_ended: bool,
    pub(crate) skipped: u64,
    pub(crate) segments: Vec<Segment>,
    pub(crate) open: Option<Segment>,
    pub(crate) hints: Vec<String>,
    pub(crate) unknown: Vec<String>,
}

/// An attribute's value, without its quotes.
pub(crate) fn attribute<'a>(list: &'a str, name: &str) -> Option<&'a str> {
    list.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"'))
}

/// A whole number; one that can't be read is none that a server may write.
pub(crate) fn whole(text: &str) -> u64 {
    text.parse().unwrap_or(u64::MAX)
}

pub(crate) fn number(text: &str) -> f64 {
    text.parse().unwrap_or(-1.0)
}

impl List {
    /// Reads what a server wrote; what it does not know is in `unknown`.
    pub(crate) fn read(text: &str) -> Self {
        let mut list = Self::default();
        let (mut parts, mut init, mut began_ms, mut is_discontinuous, mut secs) = (Vec::new(), None, None, false, -1.0);
        let (mut sequence, mut discontinuity) = (0, 0);
        for line in text.lines() {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            match tag {
                "#EXTM3U" => {}
                "#EXT-X-VERSION" => list.version = whole(value),
                "#EXT-X-TARGETDURATION" => list.target = whole(value),
                "#EXT-X-SERVER-CONTROL" => list.control = value.into(),
                "#EXT-X-PART-INF" => list.part_target = number(attribute(value, "PART-TARGET").unwrap_or_default()),
                "#EXT-X-MEDIA-SEQUENCE" => (list.sequence, sequence) = (whole(value), whole(value)),
                "#EXT-X-DISCONTINUITY-SEQUENCE" => (list.discontinuity, discontinuity) = (whole(value), whole(value)),
                "#EXT-X-INDEPENDENT-SEGMENTS" => list.is_independent = true,
                "#EXT-X-ENDLIST" => list.is_ended = true,
                "#EXT-X-SKIP" => {
                    list.skipped = whole(attribute(value, "SKIPPED-SEGMENTS").unwrap_or_default());
                    sequence += list.skipped;
                }
                "#EXT-X-DISCONTINUITY" => (is_discontinuous, discontinuity) = (true, discontinuity + 1),
                "#EXT-X-MAP" => init = attribute(value, "URI").map(String::from),
                "#EXT-X-PROGRAM-DATE-TIME" => began_ms = value.parse::<jiff::Timestamp>().ok().map(|time| time.as_millisecond()),
                "#EXT-X-PART" => parts.push(Part {
                    uri: attribute(value, "URI").unwrap_or_default().into(),
                    secs: number(attribute(value, "DURATION").unwrap_or_default()),
                    is_independent: attribute(value, "INDEPENDENT") == Some("YES"),
                }),
                "#EXT-X-PRELOAD-HINT" => list.hints.push(attribute(value, "URI").unwrap_or_default().into()),
                "#EXTINF" => secs = number(value.trim_end_matches(',')),
                _ if line.starts_with('#') || line.is_empty() => list.unknown.push(line.into()),
                _ => {
                    list.segments.push(Segment {
                        sequence,
                        discontinuity,
                        is_discontinuous: std::mem::take(&mut is_discontinuous),
                        uri: line.into(),
                        secs: std::mem::replace(&mut secs, -1.0),
                        began_ms: began_ms.take(),
                        init: init.clone(),
                        parts: std::mem::take(&mut parts),
                    });
                    sequence += 1;
                }
            }
        }
        if !parts.is_empty() || began_ms.is_some() {
            list.open = Some(Segment { sequence, discontinuity, is_discontinuous, uri: String::new(), secs, began_ms, init, parts });
        }
        list
    }

    /// How long it is, what is open included.
    pub(crate) fn secs(&self) -> f64 {
        self.segments.iter().map(|segment| segment.secs).sum::<f64>() + self.open_secs()
    }

    fn open_secs(&self) -> f64 {
        self.open.iter().flat_map(|open| &open.parts).map(|part| part.secs).sum()
    }

    /// All segments, the open one included.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Segment> {
        self.segments.iter().chain(&self.open)
    }
}

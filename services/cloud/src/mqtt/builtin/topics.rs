//! Names and filters of topics: what is one, and which fits which.

use super::packet::Unreadable;

/// The longest name or filter. Ours have fewer than a hundred bytes.
pub(super) const TOPIC_BYTES_MAX: usize = 512;
/// The most levels of a filter: the tree of subscriptions is as deep. Ours have four.
const LEVELS_MAX: usize = 16;
/// What a shared subscription begins with.
const SHARE_PREFIX: &str = "$share/";

/// Whether a text of a packet has no character that MQTT forbids.
pub(super) fn check_text(text: &str) -> Result<(), Unreadable> {
    if text.contains('\0') { Err(Unreadable::Malformed) } else { Ok(()) }
}

/// Whether this is the name of a topic: something to publish on.
pub(super) fn check_name(name: &str) -> Result<(), Unreadable> {
    if name.is_empty() || name.len() > usize::from(u16::MAX) || name.contains(['\0', '+', '#']) {
        Err(Unreadable::Malformed)
    } else {
        Ok(())
    }
}

/// A filter, taken apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Filter<'a> {
    /// The group whose members get one copy between them.
    pub(super) group: Option<&'a str>,
    /// The filter itself.
    pub(super) path: &'a str,
}

impl<'a> Filter<'a> {
    /// `None` if it is no filter, or a longer or deeper one than is taken.
    pub(super) fn parse(filter: &'a str) -> Option<Self> {
        let (group, path) = match filter.strip_prefix(SHARE_PREFIX) {
            Some(rest) => {
                let (group, path) = rest.split_once('/')?;
                (Some(group), path)
            }
            None => (None, filter),
        };
        let is_good = !path.is_empty()
            && filter.len() <= TOPIC_BYTES_MAX
            && !filter.contains('\0')
            && group.is_none_or(|group| !group.is_empty() && !group.contains(['+', '#']))
            && path.split('/').count() <= LEVELS_MAX
            && has_whole_wildcards(path);
        is_good.then_some(Self { group, path })
    }
}

/// `+` and `#` stand alone in their level, and `#` in the last one.
fn has_whole_wildcards(path: &str) -> bool {
    let mut levels = path.split('/').peekable();
    while let Some(level) = levels.next() {
        if level.contains(['+', '#']) && (level.len() > 1 || level == "#" && levels.peek().is_some()) {
            return false;
        }
    }
    true
}

/// Whether a name fits a filter's path. Wildcards in the first place do not reach names that begin with `$`.
pub(super) fn fits(path: &str, name: &str) -> bool {
    if name.starts_with('$') && path.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (path.split('/'), name.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            // `a/#` fits `a` too.
            (Some("#"), _) | (None, None) => return true,
            (Some(wanted), Some(level)) if wanted == "+" || wanted == level => {}
            _ => return false,
        }
    }
}

/// The beginning of a filter's path that has no wildcard: all names that fit begin with it.
pub(super) fn literal_prefix(path: &str) -> &str {
    let end = path.find(['+', '#']).unwrap_or(path.len());
    // `a/#` fits `a` too, which lacks the slash.
    path[..end].trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_fits_as_the_specification_says() {
        for (path, name, is_fit) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("+/+", "/finance", true),
            ("+", "finance", true),
            ("+", "/finance", false),
            ("a/#", "a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/+/c/#", "a/b/c", true),
            ("a/+/c/#", "a/b/d", false),
        ] {
            assert_eq!(fits(path, name), is_fit, "{path} {name}");
            assert!(!is_fit || name.starts_with(literal_prefix(path)), "{path} {name}");
        }
    }

    #[test]
    fn what_is_no_filter_is_none() {
        for filter in ["", "a/#/b", "a#", "a/b+", "++", "$share/g", "$share//a", "$share/g/", "$share/+/a", "a\0"] {
            assert_eq!(Filter::parse(filter), None, "{filter}");
        }
        assert_eq!(Filter::parse(&"x/".repeat(40)), None);
        assert_eq!(Filter::parse("$share/g/a/+"), Some(Filter { group: Some("g"), path: "a/+" }));
        assert_eq!(Filter::parse("/"), Some(Filter { group: None, path: "/" }));
        assert!(check_name("a/+").is_err() && check_name("").is_err() && check_name("a/b").is_ok());
    }
}

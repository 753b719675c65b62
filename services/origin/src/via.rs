//! The origins that a request came by, or that frames came by: in the header Via (RFC 9110 §7.6.3), so that edges that lead to one another
//! end by a word and not by going round.

use axum::http::HeaderMap;
use axum::http::header::VIA;
use std::hash::{BuildHasher as _, RandomState};

/// What an origin's name begins with there: proxies on the way have names of their own.
const MARK: &str = "sightline-";
/// Digits behind it.
const DIGITS: usize = 16;
/// Names that are read: more have no meaning, since fewer are let through.
const NAMES_MAX: usize = 16;

/// The origins of a way, the first one first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Via(Vec<String>);

/// The name of this process: another one after each start. Server ids may be the same where there is no cloud.
pub(crate) fn own_name() -> String {
    // No secret hangs on it.
    format!("{MARK}{:016x}", RandomState::new().hash_one(0_u8))
}

impl Via {
    /// As a request or an answer says.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let values = headers.get_all(VIA).into_iter().filter_map(|value| value.to_str().ok());
        let names =
            values.flat_map(|value| value.split(',')).filter_map(|entry| entry.split_whitespace().nth(1)).filter(|name| is_name(name));
        Self(names.take(NAMES_MAX).map(str::to_owned).collect())
    }

    /// Nobody but the viewer's own program was on the way.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|other| other == name)
    }

    /// Whether both ways go by one origin.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.0.iter().any(|name| other.has(name))
    }

    /// The header's value, with `own` at its end.
    pub(crate) fn and(&self, own: &str) -> String {
        let names = self.0.iter().map(String::as_str).chain([own]);
        names.map(|name| format!("1.1 {name}")).collect::<Vec<_>>().join(", ")
    }
}

fn is_name(name: &str) -> bool {
    name.strip_prefix(MARK).is_some_and(|digits| digits.len() == DIGITS && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(values: &[&str]) -> Via {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(VIA, HeaderValue::from_str(value).unwrap());
        }
        Via::of(&headers)
    }

    #[test]
    fn origins_on_the_way_are_told_from_proxies_and_each_adds_itself() {
        let (one, two) = (own_name(), own_name());
        assert_ne!(one, two);
        assert!(of(&[]).is_empty() && of(&["1.1 varnish (Varnish/7.1), 2 sightline-x, 1.0 fred"]).is_empty());
        let way = of(&[&format!("1.1 varnish, {}", Via::default().and(&one)), "1.1 proxy"]);
        assert_eq!((way.len(), way.has(&one), way.has(&two)), (1, true, false));
        let longer = of(&[&way.and(&two)]);
        assert_eq!((longer.len(), longer.has(&one), longer.has(&two)), (2, true, true));
        assert!(longer.meets(&way) && !of(&[&format!("1.1 {}", own_name())]).meets(&longer));
    }
}

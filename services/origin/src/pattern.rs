//! Names by a pattern, as settings and the API have it.

/// `*` stands for any characters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut left) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_takes_what_it_stands_for() {
        for (pattern, name, is) in [
            ("*", "", true),
            ("*", "cam-1", true),
            ("cam-1", "cam-1", true),
            ("cam-1", "cam-11", false),
            ("cam-*", "cam-11", true),
            ("cam-*", "dome-1", false),
            ("*-door", "front-door", true),
            ("*-door", "front-door-2", false),
            ("a*b*c", "a-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}

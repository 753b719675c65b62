//! Names of people and groups, and the roles that there are. Parsed once, then trusted.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The longest name of a user: an e-mail address of most people fits.
const USER_CHARS_MAX: usize = 64;
/// The longest name of a group, without those above it.
const GROUP_CHARS_MAX: usize = 64;
/// How deep groups lie in each other: country, site, building, floor, hall, line, machine, and one more.
const GROUPS_DEEP_MAX: usize = 8;

/// A name that can't be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// Of a user.
    #[error("a user's name has 1 to {USER_CHARS_MAX} of a-z 0-9 . _ + - @, and capitals count as small letters")]
    User,
    /// Of a group.
    #[error(
        "a group is a path such as site-a/hall-2: up to {GROUPS_DEEP_MAX} names of 1 to {GROUP_CHARS_MAX} letters, digits, blanks and . _ - between slashes"
    )]
    Group,
    /// Of a role.
    #[error("{0:?} is no role; there are viewer, operator and admin")]
    Role(String),
}

/// A user's name. Capitals are small letters: a telephone's keyboard begins with one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct UserName(String);

impl UserName {
    /// Checks it.
    ///
    /// # Errors
    /// [`NameError::User`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        let name = text.trim().to_ascii_lowercase();
        let is_good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._+-@".contains(&byte);
        let is_name = (1..=USER_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_good);
        // A path of dots means another place to whoever resolves it.
        (is_name && name != "." && name != "..").then_some(Self(name)).ok_or(NameError::User)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl FromStr for UserName {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A group of devices by its path; empty: the root, which holds all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct GroupPath(String);

impl GroupPath {
    /// Checks it. A slash at the beginning or at the end means nothing; a slash alone is the root.
    ///
    /// # Errors
    /// [`NameError::Group`].
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text == "/" {
            return Ok(Self::default());
        }
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        let is_good = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '.' | '_' | '-');
        let is_name = |name: &str| {
            (1..=GROUP_CHARS_MAX).contains(&name.chars().count())
                && name.chars().all(is_good)
                && name.trim() == name
                && name != "."
                && name != ".."
        };
        let is_path = text.split('/').count() <= GROUPS_DEEP_MAX && text.split('/').all(is_name);
        is_path.then(|| Self(text.to_owned())).ok_or(NameError::Group)
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The group of all groups.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The group right above it; the root has none.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        (!self.is_root()).then(|| Self(self.0.rsplit_once('/').map_or("", |(above, _)| above).to_owned()))
    }

    /// Whether `other` is this group, or lies below it.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        self.is_root() || other.0.strip_prefix(&self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl TryFrom<String> for GroupPath {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl FromStr for GroupPath {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

/// For people: the root as a slash.
impl fmt::Display for GroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "/" } else { &self.0 })
    }
}

/// What someone may do. Each may do all that those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Looks: live, recordings, events, marks.
    Viewer,
    /// Commands cameras, makes marks and links.
    Operator,
    /// Settings, relays, revocation, groups; on the root also users, servers, hooks and the audit log.
    Admin,
}

impl Role {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        [Self::Viewer, Self::Operator, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| NameError::Role(text.chars().take(USER_CHARS_MAX).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_holds_itself_and_what_lies_below_it_and_no_neighbour_whose_name_begins_alike() {
        let path = |text: &str| GroupPath::new(text).unwrap();
        let site = path("site-a");
        for inside in ["site-a", "site-a/hall-2", "/site-a/hall-2/door/"] {
            assert!(site.holds(&path(inside)) && path("").holds(&path(inside)), "{inside}");
        }
        for outside in ["", "site", "site-ab", "site-b/site-a", "Site-a"] {
            assert!(!site.holds(&path(outside)), "{outside}");
        }
        assert_eq!((path("a/b").parent(), path("a").parent(), path("/").parent()), (Some(path("a")), Some(path("")), None));
    }

    #[test]
    fn names_that_mean_another_place_or_nothing_are_refused() {
        for wrong in ["a//b", "..", "a/..", "a/./b", "//", " a", "a\n", "a\u{0}", "a%2fb", "a?b", "1/2/3/4/5/6/7/8/9"] {
            assert_eq!(GroupPath::new(wrong), Err(NameError::Group), "{wrong:?}");
        }
        assert!(GroupPath::new(&"x".repeat(65)).is_err() && GroupPath::new("厂区 1/大厅.2").is_ok());
        for wrong in ["", " ", "a b", "a/b", "é", "..", "a\u{0}"] {
            assert_eq!(UserName::new(wrong), Err(NameError::User), "{wrong:?}");
        }
        assert_eq!(UserName::new("Ann@Example.org").unwrap().as_str(), "ann@example.org");
    }
}

//! Who may publish and play by where they come from: the rules of each application, in nginx's order.

use serde::Deserialize;
use sightline_listen::{Network, NetworkError};
use std::collections::HashMap;
use std::net::IpAddr;

/// An application of the settings: `[[apps]]`.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    /// What stands first in the path of an RTMP address; HTTP plays `live`.
    pub name: String,
    /// `allow` or `deny`, then `publish` or `play` (both without it), then an address, a network or `all`. The first that fits decides; where none
    /// does it is allowed.
    #[serde(default)]
    pub rules: Vec<String>,
}

/// What someone wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Act {
    Publish,
    Play,
}

/// A text that is no rule.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RuleError {
    #[error("{0:?} is no rule: allow or deny, then publish or play or neither, then an address, a network or all")]
    Form(String),
    #[error("{0}")]
    Network(#[from] NetworkError),
}

#[derive(Clone, Debug)]
struct Rule {
    is_allowed: bool,
    /// `None`: both.
    act: Option<Act>,
    /// `None`: all.
    network: Option<Network>,
}

/// The rules of all applications.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(HashMap<String, Vec<Rule>>);

impl Rules {
    pub(crate) fn parse(apps: &[App]) -> Result<Self, RuleError> {
        let mut rules: HashMap<String, Vec<Rule>> = HashMap::new();
        for app in apps {
            let parsed = app.rules.iter().map(|rule| Rule::parse(rule)).collect::<Result<Vec<_>, _>>()?;
            rules.entry(app.name.clone()).or_default().extend(parsed);
        }
        Ok(Self(rules))
    }

    pub(crate) fn allows(&self, app: &str, act: Act, address: IpAddr) -> bool {
        let rules = self.0.get(app).map(Vec::as_slice).unwrap_or_default();
        let fits =
            |rule: &&Rule| rule.act.is_none_or(|of| of == act) && rule.network.as_ref().is_none_or(|network| network.contains(address));
        rules.iter().find(fits).is_none_or(|rule| rule.is_allowed)
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, RuleError> {
        let wrong = || RuleError::Form(text.chars().take(64).collect());
        let words: Vec<&str> = text.trim_end_matches(';').split_whitespace().collect();
        let (verdict, act, network) = match words[..] {
            [verdict, network] => (verdict, None, network),
            [verdict, "publish", network] => (verdict, Some(Act::Publish), network),
            [verdict, "play", network] => (verdict, Some(Act::Play), network),
            _ => return Err(wrong()),
        };
        let is_allowed = match verdict {
            "allow" => true,
            "deny" => false,
            _ => return Err(wrong()),
        };
        let network = if network == "all" { None } else { Some(network.parse()?) };
        Ok(Self { is_allowed, act, network })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_decides_and_without_one_it_is_allowed() {
        let app = |name: &str, rules: &[&str]| App { name: name.into(), rules: rules.iter().map(|&rule| rule.into()).collect() };
        let rules = ["allow publish 10.0.0.0/8", "deny publish all", "deny play 10.0.0.7", "allow play all;", "deny all"];
        let rules = Rules::parse(&[app("live", &rules), app("closed", &["deny all"])]).unwrap();
        let allows = |app: &str, act: Act, address: &str| rules.allows(app, act, address.parse().unwrap());
        assert!(allows("live", Act::Publish, "10.1.2.3") && !allows("live", Act::Publish, "192.0.2.1"));
        assert!(allows("live", Act::Publish, "::ffff:10.1.2.3"), "IPv4 by way of an IPv6 socket");
        assert!(!allows("live", Act::Play, "10.0.0.7") && allows("live", Act::Play, "10.0.0.8"));
        assert!(!allows("closed", Act::Play, "127.0.0.1") && !allows("closed", Act::Publish, "::1"));
        assert!(allows("other", Act::Publish, "192.0.2.1"));
    }

    #[test]
    fn what_is_no_rule_is_named() {
        for text in ["", "allow", "permit all", "allow publish", "allow watch all", "deny play 10.0.0.0/33", "deny play all twice"] {
            let app = App { name: "live".into(), rules: vec![text.into()] };
            assert!(Rules::parse(&[app]).is_err(), "{text}");
        }
    }
}

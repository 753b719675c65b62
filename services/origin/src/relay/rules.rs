//! Which streams go on, and where to: by the settings, and by the cloud's API.

use super::config::Relay;
use sightline_signal::report::RelayRules as OfApi;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The relays that hold now.
pub(crate) struct RelayRules {
    of_settings: Mutex<Vec<Relay>>,
    /// The cloud's list, and its version; 0: none yet.
    of_api: Mutex<(u64, Arc<Vec<Relay>>)>,
}

impl RelayRules {
    pub(super) fn new(of_settings: &[Relay]) -> Self {
        Self { of_settings: Mutex::new(of_settings.to_vec()), of_api: Mutex::default() }
    }

    fn of_settings(&self) -> MutexGuard<'_, Vec<Relay>> {
        self.of_settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings are others now.
    pub(crate) fn set(&self, of_settings: &[Relay]) {
        *self.of_settings() = of_settings.to_vec();
    }

    fn of_api(&self) -> MutexGuard<'_, (u64, Arc<Vec<Relay>>)> {
        self.of_api.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the cloud is told that we have.
    pub(crate) fn version(&self) -> u64 {
        self.of_api().0
    }

    /// The cloud's list is another one now.
    pub(crate) fn replace(&self, OfApi { version, rules }: &OfApi) {
        *self.of_api() = (*version, Arc::new(rules.iter().filter_map(Relay::of_api).collect()));
    }

    /// Those that take a stream. Of two with one name the settings' counts: names tell states apart.
    pub(super) fn of(&self, stream: &str, device: &str) -> Vec<Relay> {
        let of_api = self.of_api().1.clone();
        let mut found: Vec<Relay> = Vec::new();
        for rule in self.of_settings().iter().chain(of_api.iter()).filter(|rule| rule.takes(stream, device)) {
            if found.iter().all(|other| other.name != rule.name) {
                found.push(rule.clone());
            }
        }
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.of_settings().is_empty() && self.of_api().1.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sightline_signal::report::{RelayRule, RelayTarget};

    #[test]
    fn the_cloud_s_list_replaces_the_one_before_and_the_settings_stay() {
        let file = Relay { name: "a".into(), streams: "*".into(), url: "rtmp://file/app".into(), ca: None, device: None };
        let rules = RelayRules::new(&[file]);
        let api = |name: &str, device: &str| RelayRule {
            name: name.into(),
            device: device.into(),
            url: RelayTarget::new("rtmp://api/app/key".into()),
            ..RelayRule::default()
        };
        let names = || rules.of("s", "cam").into_iter().map(|rule| format!("{} {}", rule.name, rule.url)).collect::<Vec<_>>();
        assert_eq!((rules.version(), names()), (0, vec!["a rtmp://file:1935/app/***".to_owned()]));
        rules.replace(&OfApi { version: 7, rules: vec![api("a", "cam"), api("b", "cam"), api("c", "dome")] });
        assert_eq!((rules.version(), names().len()), (7, 2));
        assert_eq!(names(), ["a rtmp://file:1935/app/***", "b rtmp://api:1935/app/***"]);
        rules.replace(&OfApi { version: 9, rules: Vec::new() });
        assert_eq!(names().len(), 1);
        assert!(!rules.is_empty());
    }
}

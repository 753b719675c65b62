//! What one camera shall do: its file, settings from afar on top, and what a command has set on top of those. Pure: no clock, no I/O.

use sightline_media::WallTime;
use sightline_signal::{
    Settings, Text,
    config::{DESIRED_BYTES_MAX, Desired as Message, Freshness, Reported, SettingError, VERSION_MAX},
};

use super::state::{Applied, SetQuality};
use crate::config::{
    afar::{self, Change, Tables},
    checked::Checked,
};

/// What this program is, in `config/reported`.
const SOFTWARE: &str = concat!("sightline ", env!("CARGO_PKG_VERSION"));

/// The three layers, and the answer to the last message.
#[derive(Clone, Debug)]
pub(super) struct Desired {
    file: Checked,
    applied: Option<Applied>,
    commanded: Option<Settings>,
    runs: Checked,
    answer: Answer,
    /// The last one with which the camera could not start, and why: the broker brings it again at each connection.
    failed: Option<(Applied, Vec<SettingError>)>,
    /// Before the change that the agent was not started with yet.
    before: Option<Box<Layers>>,
}

/// What a change that fails goes back to.
#[derive(Clone, Debug)]
struct Layers {
    applied: Option<Applied>,
    commanded: Option<Settings>,
    runs: Checked,
}

/// To the last message: which version, and what is wrong with it.
#[derive(Clone, PartialEq, Debug, Default)]
struct Answer {
    version: Option<u64>,
    errors: Vec<SettingError>,
}

impl Desired {
    /// With the saved state. Settings that no longer go together with the file are dropped, and the answer says so.
    pub(super) fn new(file: Checked, kept: Option<Applied>, commanded: Option<Settings>) -> Self {
        let mut desired =
            Self { runs: file.clone(), file, applied: None, commanded, answer: Answer::default(), failed: None, before: None };
        if let Some(kept) = kept {
            desired.answer.version = Some(kept.version);
            match afar::merged(&desired.file, &kept.settings) {
                Ok(_) => desired.applied = Some(kept),
                Err(errors) => desired.answer.errors = errors,
            }
        }
        desired.runs = desired.merged();
        desired
    }

    /// What the camera shall do now.
    pub(super) fn runs(&self) -> &Checked {
        &self.runs
    }

    /// What is to be kept over a restart.
    pub(super) fn applied(&self) -> Option<&Applied> {
        self.applied.as_ref()
    }

    /// The numbers that a command has set, to be kept over a restart.
    pub(super) fn set_quality(&self) -> Option<SetQuality> {
        let file = self.file.pusher.wanted();
        self.commanded.map(|settings| SetQuality { settings, file })
    }

    /// A message on `config/desired`. What is not good changes nothing.
    pub(super) fn handle(&mut self, payload: &[u8]) -> Change {
        if payload.is_empty() {
            self.failed = None;
            self.answer = Answer::default();
            return self.apply(None);
        }
        let wanted = match parsed(payload) {
            Ok(wanted) => wanted,
            Err(answer) => {
                self.answer = answer;
                return Change::Nothing;
            }
        };
        let version = Some(wanted.version);
        if let Some((failed, errors)) = &self.failed
            && *failed == wanted
        {
            self.answer = Answer { version, errors: errors.clone() };
            return Change::Nothing;
        }
        let applied = self.applied.as_ref().map(|applied| applied.version);
        match Freshness::of(applied, wanted.version) {
            Freshness::Same => {
                self.answer = Answer { version, errors: Vec::new() };
                Change::Nothing
            }
            Freshness::Old => {
                let problem = format!("{} is older than {}, which is applied: take a higher one", wanted.version, applied.unwrap_or(0));
                self.answer = Answer { version, errors: vec![SettingError::new("version", &problem)] };
                Change::Nothing
            }
            Freshness::New => {
                let errors = afar::merged(&self.file, &wanted.settings).map(|_| ()).err().unwrap_or_default();
                let is_good = errors.is_empty();
                self.answer = Answer { version, errors };
                if is_good { self.apply(Some(wanted)) } else { Change::Nothing }
            }
        }
    }

    /// A command has set other numbers: the last word counts.
    pub(super) fn handle_quality(&mut self, settings: Settings) {
        self.commanded = Some(settings);
        self.runs = self.merged();
    }

    /// The agent has been started with what is wanted.
    pub(super) fn handle_started(&mut self) {
        self.before = None;
    }

    /// The agent could not be started with what is wanted: back to what it was started with before, if that was something else.
    pub(super) fn handle_failed(&mut self, key: &str, problem: &str) -> bool {
        let Some(before) = self.before.take() else { return false };
        let errors = vec![SettingError::new(key, problem)];
        self.failed = self.applied.take().map(|applied| (applied, errors.clone()));
        self.answer.errors = errors;
        Layers { applied: self.applied, commanded: self.commanded, runs: self.runs } = *before;
        true
    }

    /// `config/reported`.
    pub(super) fn report(&self, wall: WallTime) -> Vec<u8> {
        let report = Reported {
            version: self.answer.version,
            applied: self.answer.errors.is_empty(),
            errors: self.answer.errors.iter().take(sightline_signal::config::SETTING_ERRORS_MAX).cloned().collect(),
            settings: afar::tables_of(&self.runs),
            timestamp: wall.unix_secs(),
            software: Text::try_from(SOFTWARE).unwrap_or_default(),
        };
        serde_json::to_vec(&report).unwrap_or_default()
    }

    fn apply(&mut self, wanted: Option<Applied>) -> Change {
        let before = Layers { applied: self.applied.clone(), commanded: self.commanded, runs: self.runs.clone() };
        if wanted.as_ref().is_none_or(|wanted| afar::names_quality(&wanted.settings)) {
            self.commanded = None;
        }
        self.applied = wanted;
        self.runs = self.merged();
        let change = afar::change(&before.runs, &self.runs);
        if change == Change::Restart {
            // Of several before the agent is started, the first is what it ran with.
            self.before.get_or_insert_with(|| Box::new(before));
        }
        change
    }

    fn merged(&self) -> Checked {
        let settings = self.applied.as_ref().map(|applied| &applied.settings);
        // Only what was found good comes here.
        let config = settings.and_then(|settings| afar::merged(&self.file, settings).ok()).unwrap_or_else(|| self.file.clone());
        match self.commanded {
            Some(settings) => afar::with_quality(&config, settings),
            None => config,
        }
    }
}

fn parsed(payload: &[u8]) -> Result<Applied, Answer> {
    let refuse = |version, key, problem: &str| Err(Answer { version, errors: vec![SettingError::new(key, problem)] });
    if payload.len() > DESIRED_BYTES_MAX {
        return refuse(None, "settings", &format!("{} bytes: at most {DESIRED_BYTES_MAX}", payload.len()));
    }
    match serde_json::from_slice::<Message<Tables>>(payload) {
        Ok(Message { version, settings }) if version <= VERSION_MAX => Ok(Applied { version, settings }),
        Ok(_) => refuse(None, "version", &format!("at most {VERSION_MAX}")),
        Err(error) => {
            let version = serde_json::from_slice::<serde_json::Value>(payload).ok().and_then(|value| value.get("version")?.as_u64());
            refuse(
                version.filter(|version| *version <= VERSION_MAX),
                "settings",
                &format!("{error}; take {{\"version\":1,\"settings\":{{}}}}"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use serde_json::{Value, json};
    use sightline_signal::Quality;

    fn desired() -> Desired {
        let mut file = Config::new("cam-1", "test");
        file.mqtt.url = "mqtts://localhost".into();
        file.stream.quality = "low".into();
        Desired::new(file.checked().unwrap(), None, None)
    }

    fn says(version: u64, settings: Value) -> Vec<u8> {
        json!({"version": version, "settings": settings}).to_string().into_bytes()
    }

    fn report(desired: &Desired) -> Value {
        serde_json::from_slice(&desired.report(WallTime::from_unix_micros(0))).unwrap()
    }

    #[test]
    fn versions_only_rise_and_the_same_one_is_not_applied_again() {
        let mut desired = desired();
        assert_eq!(report(&desired)["version"], Value::Null);
        let medium = Change::Running { quality: Quality::Medium.settings(), adaptive: None };
        assert_eq!(desired.handle(&says(4, json!({"stream": {"quality": "medium"}}))), medium);
        let told = report(&desired);
        assert_eq!(
            (&told["version"], &told["applied"], &told["settings"]["stream"]["quality"]),
            (&4.into(), &true.into(), &"medium".into())
        );
        assert!(told["software"].as_str().unwrap().starts_with("sightline ") && told["settings"]["stream"].get("stream_key").is_none());
        assert_eq!(desired.handle(&says(4, json!({"stream": {"quality": "high"}}))), Change::Nothing);
        assert_eq!((desired.runs().settable.stream.quality.to_string().as_str(), &report(&desired)["applied"]), ("medium", &true.into()));
        assert_eq!(desired.handle(&says(3, json!({"stream": {"quality": "high"}}))), Change::Nothing);
        let told = report(&desired);
        assert_eq!((&told["version"], &told["applied"], &told["errors"][0]["key"]), (&3.into(), &false.into(), &"version".into()));
        assert_eq!(desired.applied().unwrap().version, 4);
        // Back to the file; after that any version is new.
        assert_eq!(desired.handle(b""), Change::Running { quality: Quality::Low.settings(), adaptive: None });
        assert_eq!((report(&desired)["version"].clone(), desired.applied()), (Value::Null, None));
        assert_eq!(desired.handle(&says(1, json!({"stream": {"trigger": "manual"}}))), Change::Restart);
    }

    #[test]
    fn a_bad_one_is_refused_by_key_and_changes_nothing() {
        let mut desired = desired();
        desired.handle(&says(1, json!({"stream": {"quality": "medium"}})));
        let before = report(&desired)["settings"].clone();
        assert_eq!(desired.handle(&says(2, json!({"stream": {"quality": "best", "trigger": "always_on"}}))), Change::Nothing);
        let told = report(&desired);
        assert_eq!((&told["version"], &told["applied"], &told["errors"][0]["key"]), (&2.into(), &false.into(), &"stream.quality".into()));
        assert_eq!((&told["settings"], desired.applied().unwrap().version), (&before, 1));
        for (broken, key) in [
            (&b"{"[..], "settings"),
            (b"[]", "settings"),
            (b"{\"version\":-1,\"settings\":{}}", "settings"),
            (b"{\"version\":18446744073709551615,\"settings\":{}}", "version"),
            (&[b' '; DESIRED_BYTES_MAX + 1], "settings"),
        ] {
            assert_eq!(desired.handle(broken), Change::Nothing);
            assert_eq!((&report(&desired)["errors"][0]["key"], &report(&desired)["settings"]), (&key.into(), &before));
        }
    }

    #[test]
    fn of_a_command_and_settings_from_afar_the_last_word_counts() {
        let mut desired = desired();
        let high = Quality::High.settings().unwrap();
        desired.handle_quality(high);
        let low = Quality::Low.settings().unwrap();
        assert_eq!(
            (desired.runs().settable.stream.quality.to_string().as_str(), desired.set_quality()),
            ("high", Some(SetQuality { settings: high, file: low }))
        );
        // What says nothing of it leaves it.
        assert_eq!(desired.handle(&says(1, json!({"motion": {"sensitivity": 0.6}}))), Change::Restart);
        assert_eq!(desired.runs().settable.stream.quality.to_string(), "high");
        assert!(matches!(desired.handle(&says(2, json!({"stream": {"quality": "low"}}))), Change::Restart));
        assert_eq!((desired.runs().settable.stream.quality.to_string().as_str(), desired.set_quality()), ("low", None));
    }

    #[test]
    fn settings_that_the_camera_can_t_start_with_are_left_and_not_tried_again() {
        let mut desired = desired();
        desired.handle(&says(1, json!({"stream": {"quality": "medium"}})));
        let message = says(2, json!({"recording": {"enabled": true}}));
        assert_eq!(desired.handle(&message), Change::Restart);
        assert!(desired.handle_failed("recording", "no such directory"));
        let told = report(&desired);
        assert_eq!((&told["version"], &told["applied"], &told["errors"][0]["key"]), (&2.into(), &false.into(), &"recording".into()));
        assert_eq!((&told["settings"]["recording"]["enabled"], desired.applied().unwrap().version), (&false.into(), 1));
        // The broker brings it again at the next connection.
        assert_eq!(desired.handle(&message), Change::Nothing);
        assert_eq!(report(&desired)["errors"][0]["problem"], "no such directory");
        assert!(!desired.handle_failed("recording", "x"), "there is nothing to go back to");
        assert_eq!(desired.handle(&says(3, json!({"recording": {"enabled": true}}))), Change::Restart);
    }

    #[test]
    fn what_was_kept_runs_at_once_and_what_the_file_does_not_bear_any_more_is_said() {
        let file = desired().file;
        let kept = |settings: Value| Some(Applied { version: 9, settings: settings.as_object().unwrap().clone() });
        let good = Desired::new(file.clone(), kept(json!({"stream": {"trigger": "always_on"}})), Quality::Ultra.settings());
        assert_eq!(
            (good.runs().settable.stream.trigger.to_string().as_str(), good.runs().settable.stream.quality.to_string().as_str()),
            ("always_on", "ultra")
        );
        assert_eq!((&report(&good)["version"], &report(&good)["applied"]), (&9.into(), &true.into()));
        let bad = Desired::new(file, kept(json!({"stream": {"gone": 1}})), None);
        assert_eq!((&report(&bad)["version"], &report(&bad)["applied"], bad.applied()), (&9.into(), &false.into(), None));
    }
}

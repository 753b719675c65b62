//! Several cameras in one program. Each has its own identity, connection and pusher; a failure of one stays there.

mod desired;
mod keeper;
mod state;

pub use keeper::Keeper;

use std::{collections::HashMap, path::PathBuf, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::{
    agent::{Outcome, StartError},
    blocking,
    config::{Config, Problem, checked::Checked},
};
use sightline_capture::Source;

/// Cameras of one agent: what passes through, at 4 Mbit/s each, fills a quarter of a gigabit's uplink; what is encoded fills any machine sooner.
const CAMERAS_MAX: usize = 64;
/// The first delay before a camera that failed is tried again, and the longest: a file that appears is found within a minute.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Cameras that can't be one fleet.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// More than an agent has.
    #[error("{0} cameras: one agent has at most {CAMERAS_MAX}; start another one with the rest")]
    TooMany(usize),
    /// A camera's setting can't be used.
    #[error("camera {device_id:?}: {problem}")]
    Config {
        /// Which camera.
        device_id: String,
        /// What is wrong, and the fix.
        problem: Problem,
    },
    /// Two cameras want the same.
    #[error("cameras {first:?} and {second:?} have the same {what} {value:?}: {mend}")]
    Shared {
        /// The one that is before the other.
        first: String,
        /// The other.
        second: String,
        /// Which setting.
        what: &'static str,
        /// What they share.
        value: String,
        /// What to do.
        mend: &'static str,
    },
}

/// Several cameras.
#[derive(Debug)]
pub struct Fleet {
    cameras: Vec<Checked>,
}

impl Fleet {
    /// Checks every camera's settings, and that no two want the same. No file or device is opened.
    ///
    /// # Errors
    /// [`FleetError`] names the camera or both.
    pub fn new(cameras: Vec<Config>) -> Result<Self, FleetError> {
        if cameras.len() > CAMERAS_MAX {
            return Err(FleetError::TooMany(cameras.len()));
        }
        let mut owners: HashMap<(&'static str, PathBuf), String> = HashMap::new();
        let mut checked = Vec::with_capacity(cameras.len());
        for config in &cameras {
            let device_id = config.device_id.clone();
            let camera = config.checked().map_err(|problem| FleetError::Config { device_id: device_id.clone(), problem })?;
            for (what, value, mend) in owned(&camera) {
                if let Some(first) = owners.insert((what, value.clone()), device_id.clone()) {
                    let value = value.display().to_string();
                    return Err(FleetError::Shared { first, second: device_id, what, value, mend });
                }
            }
            checked.push(camera);
        }
        Ok(Self { cameras: checked })
    }

    /// Runs all until `stop` is cancelled; then all end at once, each cleanly. One that can't start, fails or gives up is tried again.
    pub async fn run(self, stop: CancellationToken) {
        let mut running = JoinSet::new();
        let spawn = |running: &mut JoinSet<()>, config: Checked| {
            let span = tracing::info_span!("camera", device = config.local.device.as_str());
            running.spawn(keep(config, stop.clone()).instrument(span)).id()
        };
        let mut by_task: HashMap<_, _> = self.cameras.into_iter().map(|config| (spawn(&mut running, config.clone()), config)).collect();
        while let Some(ended) = running.join_next_with_id().await {
            // A panic is our bug; it is one camera's.
            let Err(error) = ended else { continue };
            if let Some(config) = by_task.remove(&error.id()).filter(|_| !stop.is_cancelled()) {
                tracing::error!(device = config.local.device.as_str(), %error, "a camera ended by a bug of this program: it starts again");
                by_task.insert(spawn(&mut running, config.clone()), config);
            }
        }
    }
}

/// What no other camera may have.
fn owned(config: &Checked) -> Vec<(&'static str, PathBuf, &'static str)> {
    let local = &config.local;
    let mut owned = vec![("device_id", local.device.as_str().into(), "give each its own")];
    if let Some(recorder) = &config.recorder {
        owned.push(("recording.dir", recorder.dir.clone(), "give each its own, with {device_id} in it"));
    }
    if let Some(state_dir) = &local.state_dir {
        owned.push(("state_dir", state_dir.clone(), "give each its own, with {device_id} in it"));
    }
    match &local.source {
        Source::V4l2(device) => {
            // Two links may lead to one device.
            let path = device.path.canonicalize().unwrap_or_else(|_| device.path.clone());
            owned.push(("source", path, "a device of this machine gives its pictures to one program only"));
        }
        Source::Stdin => owned.push(("source", "-".into(), "standard input is there once")),
        Source::Test { .. } | Source::File(_) | Source::Rtsp(_) | Source::Mjpeg(_) => {}
    }
    owned
}

/// One camera, again and again.
async fn keep(config: Checked, stop: CancellationToken) {
    let mut delay = RETRY_FIRST;
    loop {
        let began = Instant::now();
        let settings = config.clone();
        let problem = match started(move || Keeper::begin(settings)).await {
            Ok(keeper) => match keeper.run(stop.clone()).await {
                Outcome::Stopped => "the source is over".to_owned(),
                Outcome::GaveUp(code) => format!("gave up: {code}"),
                Outcome::Failed(problem) => problem,
            },
            Err(error) => error.to_string(),
        };
        if stop.is_cancelled() {
            return;
        }
        if began.elapsed() > RETRY_MAX {
            delay = RETRY_FIRST;
        }
        tracing::error!(problem, retry_secs = delay.as_secs(), "the camera does not run: it is tried again");
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = stop.cancelled() => return,
        }
        delay = (delay * 2).min(RETRY_MAX);
    }
}

/// Starts something that opens a source, which may take seconds: not on a thread that other cameras share.
async fn started<T: Send + 'static>(start: impl FnOnce() -> Result<T, StartError> + Send + 'static) -> Result<T, StartError> {
    blocking::run(start).await.unwrap_or_else(|error| Err(StartError::Panicked(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn camera(id: &str, source: &str) -> Config {
        let mut config = Config::new(id, source);
        config.mqtt.url = "mqtts://localhost".into();
        config
    }

    fn error(cameras: Vec<Config>) -> String {
        Fleet::new(cameras).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn two_cameras_never_share_an_id_a_directory_or_a_device() {
        assert!(Fleet::new(vec![camera("a", "test"), camera("b", "test")]).is_ok());
        let said = error(vec![camera("a", "test"), camera("a", "x.mp4")]);
        assert!(said.contains("\"a\" and \"a\"") && said.contains("device_id"), "{said}");
        let said = error(vec![camera("a", "/dev/video0"), camera("b", "/dev/video0")]);
        assert!(said.contains("\"a\" and \"b\"") && said.contains("/dev/video0"), "{said}");
        let recording = |id: &str| {
            let mut config = camera(id, "test");
            config.recording.enabled = true;
            config
        };
        let said = error(vec![recording("a"), recording("b")]);
        assert!(said.contains("recording.dir") && said.contains("{device_id}"), "{said}");
        let mut other = recording("b");
        other.recording.dir = "recordings/{device_id}".into();
        assert!(Fleet::new(vec![recording("a"), other.for_device()]).is_ok());
        let keeping = |id: &str| Config { state_dir: "state".into(), ..camera(id, "test") };
        assert!(error(vec![keeping("a"), keeping("b")]).contains("state_dir"));
        assert!(error(vec![camera("a", "-"), camera("b", "-")]).contains("standard input"));
    }

    #[test]
    fn a_bad_setting_names_its_camera_and_there_are_not_too_many() {
        let mut bad = camera("b", "test");
        bad.stream.quality = "best".into();
        let said = error(vec![camera("a", "test"), bad]);
        assert!(said.contains("camera \"b\"") && said.contains("stream.quality"), "{said}");
        let many = (0..=CAMERAS_MAX).map(|number| camera(&format!("c{number}"), "test")).collect();
        assert!(error(many).contains("at most 64"));
    }
}

//! The keeper of one camera over its life: its agent, settings from afar, and the state that survives a restart.

use bytes::Bytes;
use sightline_pusher::{Commanded, Input};
use sightline_signal::ErrorCode;
use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    desired::Desired,
    state::{Lease, Resumption, SavedState, Start, StateFile},
};
use crate::{
    agent::{
        Agent, Outcome, Rounds, StartError,
        supervision::{Notice, Order, Supervision},
    },
    config::{Config, afar::Change, checked::Checked},
    optional::when_some,
};
use sightline_capture::clock;
use sightline_claim::{Claim, ClaimError};

/// Notices of the agent that may wait: its keeper takes them at once.
const NOTICES_WAITING_MAX: usize = 32;
/// Orders that may wait for the agent's loop, which takes them at once.
const ORDERS_WAITING_MAX: usize = 16;
/// Between two starts of an agent for other settings: a dashboard that flaps can't keep a camera down, which is back within a second or two.
const RESTART_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Between two writings of the state: flash of a device bears some ten thousand, and who sets a slider sends many a second.
const SAVE_INTERVAL_MIN: Duration = Duration::from_secs(2);

/// Keeps a camera running: its agent starts again where settings from afar need it.
#[derive(Debug)]
pub struct Keeper {
    claim: Option<Claim>,
    desired: Desired,
    agent: Agent,
    file: Option<StateFile>,
    kept: SavedState,
    certificates: Certificates,
}

/// When the files of the device's certificate were changed last.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Certificates([Option<SystemTime>; 3]);

impl Certificates {
    fn of(config: &Checked) -> Self {
        let cloud = &config.local.cloud;
        let changed = |path: &PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        Self([&cloud.ca, &cloud.cert, &cloud.key].map(changed))
    }
}

impl Keeper {
    /// Checks everything and opens the source, with what was kept over a restart (`state_dir`).
    ///
    /// # Errors
    /// [`StartError`]; nothing has been sent anywhere.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        Self::begin(config.checked()?)
    }

    /// The same with settings that were checked.
    pub(super) fn begin(config: Checked) -> Result<Self, StartError> {
        let state_dir = config.local.state_dir.as_deref();
        let claim = state_dir.map(claim).transpose()?.flatten();
        let file = state_dir.map(|dir| StateFile::new(dir, config.local.device.as_str()));
        let mut kept = file.as_ref().map(StateFile::load).unwrap_or_default();
        kept.quality = kept.quality.filter(|quality| quality.file == config.pusher.wanted());
        let mut desired = Desired::new(config.clone(), kept.desired.clone(), kept.quality.map(|quality| quality.settings));
        let certificates = Certificates::of(&config);
        let agent = match Agent::begin(desired.runs().clone(), Rounds::Looped) {
            Ok(agent) => agent,
            // What is kept must not keep a camera down that starts without it.
            Err(error) if kept.desired.is_some() => {
                tracing::warn!(%error, "the camera can't start with the settings from afar that were kept: it starts with its file");
                desired = Desired::new(config.clone(), None, None);
                Agent::begin(config, Rounds::Looped)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { claim, desired, agent, file, kept, certificates })
    }

    /// Runs until `stop` is cancelled, the source is over, or it gives up. A stream that runs is ended cleanly.
    pub async fn run(self, stop: CancellationToken) -> Outcome {
        let Self { claim: _claim, desired, mut agent, file, kept, certificates } = self;
        let mut custody = Custody {
            desired,
            saver: file.map(|file| Saver { file, saved: kept.clone(), writing: JoinSet::new(), may_write_at: Instant::now() }),
            kept,
            certificates,
            restart_at: None,
            may_restart_at: Instant::now() + RESTART_INTERVAL_MIN,
        };
        loop {
            let outcome = custody.attend(agent, &stop).await;
            if custody.restart_at.is_none() || stop.is_cancelled() {
                custody.finish().await;
                return outcome;
            }
            agent = match custody.start_again().await {
                Ok(agent) => agent,
                Err(error) => {
                    custody.finish().await;
                    return Outcome::Failed(error.to_string());
                }
            };
        }
    }
}

/// What outlives an agent.
struct Custody {
    desired: Desired,
    kept: SavedState,
    saver: Option<Saver>,
    certificates: Certificates,
    /// When the agent starts again.
    restart_at: Option<Instant>,
    /// Not before this.
    may_restart_at: Instant,
}

impl Custody {
    /// Runs an agent to its end, and ends it when it has to start again.
    async fn attend(&mut self, mut agent: Agent, stop: &CancellationToken) -> Outcome {
        let (orders, orders_receiver) = mpsc::channel(ORDERS_WAITING_MAX);
        let (notice_sender, mut notices) = mpsc::channel(NOTICES_WAITING_MAX);
        agent.supervise(Supervision { orders: orders_receiver, notices: notice_sender });
        self.resume(&orders);
        let agent_stop = stop.child_token();
        let mut running = std::pin::pin!(agent.run(agent_stop.clone(), None));
        loop {
            tokio::select! {
                outcome = &mut running => return outcome,
                Some(notice) = notices.recv() => self.hear(notice, &orders),
                () = when_some(self.restart_at.map(tokio::time::sleep_until)), if !agent_stop.is_cancelled() => agent_stop.cancel(),
                () = saving(&mut self.saver, &self.kept) => {}
            }
        }
    }

    /// Resumes what a command had started.
    fn resume(&self, orders: &mpsc::Sender<Order>) {
        let Some(start) = self.kept.start.filter(|_| self.desired.runs().starts_by_command()) else { return };
        match start.again(clock::wall()) {
            Resumption::UntilStopped => send(orders, Input::Start),
            Resumption::For(lease) => send(orders, Input::StartFor(lease)),
            Resumption::Over => {}
        }
    }

    fn hear(&mut self, notice: Notice, orders: &mpsc::Sender<Order>) {
        match notice {
            // One that is about to start again reports then.
            Notice::Up if self.restart_at.is_some() => {}
            Notice::Up => self.report(orders),
            Notice::Down(code) => self.look_at_certificates(code),
            Notice::Desired(payload) => {
                let change = self.desired.handle(&payload);
                tracing::info!(?change, "settings from afar");
                self.carry_out(change, orders);
                self.keep();
            }
            Notice::Commanded { before, after } => self.note(before, after, orders),
        }
    }

    fn carry_out(&mut self, change: Change, orders: &mpsc::Sender<Order>) {
        match change {
            Change::Nothing => {}
            // The agent that starts again gets everything.
            Change::Running { .. } if self.restart_at.is_some() => return,
            Change::Running { quality, adaptive } => {
                if let Some(quality) = quality {
                    send(orders, Input::Quality(quality));
                }
                if let Some(adaptive) = adaptive {
                    send(orders, Input::AdaptiveBitrate(adaptive));
                }
            }
            // Reported once it runs.
            Change::Restart => return self.restart(),
        }
        if self.restart_at.is_none() {
            self.report(orders);
        }
    }

    fn restart(&mut self) {
        self.restart_at = Some(self.may_restart_at.max(Instant::now()));
    }

    /// Saves what a command changed.
    fn note(&mut self, before: Commanded, after: Commanded, orders: &mpsc::Sender<Order>) {
        let left = after.lease_until.map(|until| until.since(clock::now()));
        self.kept.start = after.is_started.then(|| Start { lease: left.map(|left| Lease::of(left, clock::wall())) });
        if before.settings != after.settings {
            self.desired.handle_quality(after.settings);
            self.keep();
            self.report(orders);
        }
    }

    fn keep(&mut self) {
        self.kept.desired = self.desired.applied().cloned();
        self.kept.quality = self.desired.set_quality();
    }

    /// A certificate that the broker does not take may have been replaced on the disk.
    fn look_at_certificates(&mut self, code: ErrorCode) {
        let now = Certificates::of(self.desired.runs());
        if now != self.certificates {
            tracing::info!(code = code.as_str(), "the device's certificate was replaced: the camera starts again with it");
            self.certificates = now;
            self.restart();
        }
    }

    fn report(&self, orders: &mpsc::Sender<Order>) {
        // A full queue means that the agent hangs; it reports at the next connection anyway.
        let _ = orders.try_send(Order::Report(self.desired.report(clock::wall())));
    }

    /// With what is wanted now; or else with what ran before.
    async fn start_again(&mut self) -> Result<Agent, StartError> {
        self.restart_at = None;
        self.may_restart_at = Instant::now() + RESTART_INTERVAL_MIN;
        self.certificates = Certificates::of(self.desired.runs());
        let agent = match start(self.desired.runs()).await {
            Ok(agent) => agent,
            Err(error) => {
                let (key, problem) = match &error {
                    StartError::Config(problem) => (problem.key, problem.problem.clone()),
                    StartError::Claim(error) => ("state_dir", error.to_string()),
                    StartError::Source(error) => ("source", error.to_string()),
                    StartError::Recorder(error) => ("recording", error.to_string()),
                    StartError::Panicked(error) => ("source", error.to_string()),
                };
                if !self.desired.handle_failed(key, &problem) {
                    return Err(error);
                }
                tracing::warn!(%error, "the camera can't start with the settings from afar: it goes back to those before");
                self.keep();
                start(self.desired.runs()).await?
            }
        };
        self.desired.handle_started();
        Ok(agent)
    }

    /// What is not written yet.
    async fn finish(&mut self) {
        let Some(saver) = &mut self.saver else { return };
        if saver.saved != self.kept {
            let (file, kept) = (saver.file.clone(), self.kept.clone());
            // After the write that is under way: `JoinSet` does not order them.
            while saver.writing.join_next().await.is_some() {}
            saver.writing.spawn_blocking(move || save(&file, &kept));
        }
        while saver.writing.join_next().await.is_some() {}
    }
}

/// The state's way to the disk.
struct Saver {
    file: StateFile,
    /// What was written last.
    saved: SavedState,
    writing: JoinSet<()>,
    may_write_at: Instant,
}

/// Writes what has changed, beside the agent's loop. Ends when there is something new to look at.
async fn saving(saver: &mut Option<Saver>, kept: &SavedState) {
    let Some(saver) = saver else { return std::future::pending().await };
    if saver.writing.join_next().await.is_some() {
        return;
    }
    if saver.saved == *kept {
        return std::future::pending().await;
    }
    tokio::time::sleep_until(saver.may_write_at).await;
    saver.may_write_at = Instant::now() + SAVE_INTERVAL_MIN;
    saver.saved = kept.clone();
    let (file, kept) = (saver.file.clone(), kept.clone());
    saver.writing.spawn_blocking(move || save(&file, &kept));
}

/// Write failures are logged. The next change tries again.
fn save(file: &StateFile, kept: &SavedState) {
    if let Err(problem) = file.save(kept) {
        tracing::warn!(%problem, "what is to survive a restart was not written");
    }
}

/// One process runs a camera. A directory that can't be made or locked is no reason to stand still: what is kept there is told when it is not.
fn claim(state_dir: &Path) -> Result<Option<Claim>, ClaimError> {
    let taken = std::fs::create_dir_all(state_dir).map_or(Ok(None), |()| Claim::take(state_dir, "camera").map(Some));
    match taken {
        Err(error @ ClaimError::Used { .. }) if !error.is_own() => Err(error),
        Err(_) => Ok(None),
        taken => taken,
    }
}

async fn start(config: &Checked) -> Result<Agent, StartError> {
    let config = config.clone();
    super::started(move || Agent::begin(config, Rounds::Looped)).await
}

fn send(orders: &mpsc::Sender<Order>, input: Input<'static, Bytes>) {
    if orders.try_send(Order::Input(Box::new(input))).is_err() {
        tracing::warn!("no room for an order to the camera's agent");
    }
}

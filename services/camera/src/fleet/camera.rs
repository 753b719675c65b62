//! One camera over its life: the agent, settings from afar, and what is kept over a restart.

use bytes::Bytes;
use sightline_pusher::{Commanded, Input};
use sightline_signal::ErrorCode;
use std::{
    path::PathBuf,
    time::{Duration, SystemTime},
};
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use super::desired::Desired;
use crate::{
    agent::{
        Agent, Outcome, StartError,
        supervision::{Order, Supervision, Told},
    },
    clock,
    config::{
        Config,
        afar::{self, Change},
    },
    state::{Kept, Lease, Start, StateFile},
};

/// What the agent tells may wait for its keeper, which takes it at once.
const TOLD_WAITING_MAX: usize = 32;
/// Orders that may wait for the agent's loop, which takes them at once.
const ORDERS_WAITING_MAX: usize = 16;
/// Between two starts of an agent for other settings: a dashboard that flaps can't keep a camera down, which is back within a second or two.
const RESTART_INTERVAL_MIN: Duration = Duration::from_secs(10);
/// Between two writings of the state: flash of a device bears some ten thousand, and who sets a slider sends many a second.
const SAVE_INTERVAL_MIN: Duration = Duration::from_secs(2);

/// A camera: its agent, started anew where settings from afar need it.
#[derive(Debug)]
pub struct Camera {
    desired: Desired,
    agent: Agent,
    file: Option<StateFile>,
    kept: Kept,
    certificates: Certificates,
}

/// When the files of the device's certificate were changed last.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Certificates([Option<SystemTime>; 3]);

impl Certificates {
    fn of(config: &Config) -> Self {
        let changed = |path: &PathBuf| std::fs::metadata(path).and_then(|file| file.modified()).ok();
        Self([&config.mqtt.ca, &config.mqtt.cert, &config.mqtt.key].map(changed))
    }
}

impl Camera {
    /// Checks everything and opens the source, with what was kept over a restart (`state_dir`).
    ///
    /// # Errors
    /// [`StartError`]; nothing has been sent anywhere.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        config.check()?;
        let file = StateFile::new(&config.state_dir, &config.device_id);
        let mut kept = file.as_ref().map(StateFile::load).unwrap_or_default();
        kept.quality = kept.quality.filter(|quality| Some(quality.file) == afar::wanted(config));
        let mut desired = Desired::new(config.clone(), kept.desired.clone(), kept.quality.map(|quality| quality.settings));
        let agent = match Agent::start(desired.runs(), false) {
            Ok(agent) => agent,
            // What is kept must not keep a camera down that starts without it.
            Err(error) if kept.desired.is_some() => {
                tracing::warn!(%error, "the camera can't start with the settings from afar that were kept: it starts with its file");
                desired = Desired::new(config.clone(), None, None);
                Agent::start(config, false)?
            }
            Err(error) => return Err(error),
        };
        Ok(Self { desired, agent, file, kept, certificates: Certificates::of(config) })
    }

    /// Runs until `stop` is cancelled, the source is over, or it gives up. A stream that runs is ended cleanly.
    pub async fn run(self, stop: CancellationToken) -> Outcome {
        let Self { desired, mut agent, file, kept, certificates } = self;
        let mut keeper = Keeper {
            desired,
            saver: file.map(|file| Saver { file, saved: kept.clone(), writing: None, may_write_at: Instant::now() }),
            kept,
            certificates,
            restart_at: None,
            may_restart_at: Instant::now() + RESTART_INTERVAL_MIN,
        };
        loop {
            let outcome = keeper.attend(agent, &stop).await;
            if keeper.restart_at.is_none() || stop.is_cancelled() {
                keeper.finish().await;
                return outcome;
            }
            agent = match keeper.start_again().await {
                Ok(agent) => agent,
                Err(error) => {
                    keeper.finish().await;
                    return Outcome::Failed(error.to_string());
                }
            };
        }
    }
}

/// What outlives an agent.
struct Keeper {
    desired: Desired,
    kept: Kept,
    saver: Option<Saver>,
    certificates: Certificates,
    /// The agent is to begin anew then.
    restart_at: Option<Instant>,
    /// Not before this.
    may_restart_at: Instant,
}

impl Keeper {
    /// Runs an agent to its end; it is ended where it has to begin anew.
    async fn attend(&mut self, mut agent: Agent, stop: &CancellationToken) -> Outcome {
        let (orders, orders_receiver) = mpsc::channel(ORDERS_WAITING_MAX);
        let (told_sender, mut told) = mpsc::channel(TOLD_WAITING_MAX);
        agent.supervise(Supervision { orders: orders_receiver, told: told_sender });
        self.resume(&orders);
        let agent_stop = stop.child_token();
        let mut running = std::pin::pin!(agent.run(agent_stop.clone(), None));
        loop {
            tokio::select! {
                outcome = &mut running => return outcome,
                Some(told) = told.recv() => self.hear(told, &orders),
                () = sleep_until(self.restart_at), if !agent_stop.is_cancelled() => agent_stop.cancel(),
                () = saving(&mut self.saver, &self.kept) => {}
            }
        }
    }

    /// What a command had started goes on.
    fn resume(&self, orders: &mpsc::Sender<Order>) {
        let Some(start) = self.kept.start.filter(|_| afar::starts_by_command(self.desired.runs())) else { return };
        match start.again(clock::wall()) {
            Some(None) => send(orders, Input::Start),
            Some(Some(lease)) => send(orders, Input::StartFor(lease)),
            None => {}
        }
    }

    fn hear(&mut self, told: Told, orders: &mpsc::Sender<Order>) {
        match told {
            // One that is about to begin anew reports then.
            Told::Up if self.restart_at.is_some() => {}
            Told::Up => self.report(orders),
            Told::Down(code) => self.look_at_certificates(code),
            Told::Desired(payload) => {
                let change = self.desired.handle(&payload);
                tracing::info!(?change, "settings from afar");
                self.carry_out(change, orders);
                self.keep();
            }
            Told::Commanded { before, after } => self.note(before, after, orders),
        }
    }

    fn carry_out(&mut self, change: Change, orders: &mpsc::Sender<Order>) {
        match change {
            Change::Nothing => {}
            // The agent that begins anew has it all.
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

    /// What a command changed is kept.
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
        // Without room the agent hangs; the next connection is told anyway.
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
        if let Some(writing) = saver.writing.take() {
            let _ = writing.await;
        }
        if saver.saved != self.kept {
            let (file, kept) = (saver.file.clone(), self.kept.clone());
            let _ = tokio::task::spawn_blocking(move || save(&file, &kept)).await;
        }
    }
}

/// The state's way to the disk.
struct Saver {
    file: StateFile,
    /// What was written last.
    saved: Kept,
    writing: Option<JoinHandle<()>>,
    may_write_at: Instant,
}

/// Writes what has changed, beside the agent's loop. Ends when there is something new to look at.
async fn saving(saver: &mut Option<Saver>, kept: &Kept) {
    let Some(saver) = saver else { return std::future::pending().await };
    if let Some(writing) = &mut saver.writing {
        let _ = writing.await;
        saver.writing = None;
        return;
    }
    if saver.saved == *kept {
        return std::future::pending().await;
    }
    tokio::time::sleep_until(saver.may_write_at).await;
    saver.may_write_at = Instant::now() + SAVE_INTERVAL_MIN;
    saver.saved = kept.clone();
    let (file, kept) = (saver.file.clone(), kept.clone());
    saver.writing = Some(tokio::task::spawn_blocking(move || save(&file, &kept)));
}

/// What can't be written is said; it is tried again with the next change.
fn save(file: &StateFile, kept: &Kept) {
    if let Err(problem) = file.save(kept) {
        tracing::warn!(problem, "what is to survive a restart was not written");
    }
}

/// Opening a source may take seconds, and other cameras' tasks are on the same threads.
async fn start(config: &Config) -> Result<Agent, StartError> {
    let (config, span) = (config.clone(), tracing::Span::current());
    let started = tokio::task::spawn_blocking(move || span.in_scope(|| Agent::start(&config, false))).await;
    started.unwrap_or_else(|error| Err(StartError::Panicked(error)))
}

fn send(orders: &mpsc::Sender<Order>, input: Input<'static, Bytes>) {
    if orders.try_send(Order::Input(Box::new(input))).is_err() {
        tracing::warn!("no room for an order to the camera's agent");
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

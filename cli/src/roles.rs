//! The roles, each from its configuration file, until Ctrl-C or SIGTERM.

use crate::{
    Failure,
    args::{Camera, CameraAction, Role},
    cameras::{self, Cameras},
    probe, settings, terminal,
};
use sightline_camera::{Fleet, Outcome};
use sightline_cloud::Cloud;
use sightline_origin::Origin;
use std::io::IsTerminal as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub(crate) async fn camera(camera: &Camera) -> Result<(), Failure> {
    if let Some(CameraAction::Probe { encoder: Some(path), encoder_size, encoder_format, json, .. }) = &camera.action {
        return probe::try_encoder(path, encoder_size, encoder_format, *json).await;
    }
    if let Some(CameraAction::Probe { source, source_sub, rtsp_transport, source_ca, json, .. }) = &camera.action {
        return probe::run(source.as_ref(), source_sub.as_ref(), rtsp_transport, source_ca.as_deref(), *json).await;
    }
    let file = camera.config.as_deref().ok_or_else(|| terminal::WrongUse("--config FILE is missing".to_owned()))?;
    let mut signals = Signals::new()?;
    let mut cameras = cameras::load(file)?;
    loop {
        let round = signals.stop.child_token();
        let mut running = std::pin::pin!(run_cameras(cameras, round.clone()));
        let next = tokio::select! {
            ended = &mut running => return ended,
            next = signals.next(|| cameras::load_checked(file)) => next,
        };
        round.cancel();
        running.await?;
        cameras = next;
    }
}

async fn run_cameras(cameras: Cameras, stop: CancellationToken) -> Result<(), Failure> {
    let config = match cameras {
        Cameras::One(config) => config,
        Cameras::Several(configs) => {
            Fleet::new(configs)?.run(stop).await;
            return Ok(());
        }
    };
    match sightline_camera::Keeper::start(&config)?.run(stop).await {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(code) => Err(format!("gave up: {code}").into()),
        Outcome::Failed(problem) => Err(problem.into()),
    }
}

pub(crate) async fn cloud(role: &Role) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut config: sightline_cloud::Config = settings::file::load(&role.config)?;
    loop {
        let cloud = Cloud::start_checking(config, axum::Router::new(), check_settings).await?;
        let stop = signals.stop.clone();
        let next = tokio::select! {
            () = stop.cancelled() => None,
            next = signals.next(|| checked_cloud(role)) => Some(next),
        };
        cloud.shutdown().await;
        let Some(next) = next else { return Ok(()) };
        config = next;
    }
}

/// The camera's own words on settings from afar. The cloud knows no camera; here both meet.
pub(crate) fn check_settings(settings: &sightline_cloud::admin::Tables) -> Result<(), String> {
    sightline_camera::check_settings_from_afar(settings).map_err(|errors| errors.join("; "))
}

fn checked_cloud(role: &Role) -> Result<sightline_cloud::Config, Failure> {
    let config = settings::file::load(&role.config)?;
    settings::check_cloud(&config)?;
    Ok(config)
}

pub(crate) async fn origin(role: &Role) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut config: sightline_origin::Config = settings::file::load(&role.config)?;
    loop {
        let mut origin = Origin::start(config).await?;
        let stop = signals.stop.clone();
        let next = loop {
            let next = tokio::select! {
                () = stop.cancelled() => break None,
                next = signals.next(|| checked_origin(role)) => next,
            };
            if !origin.change(&next) {
                break Some(next);
            }
            tracing::info!("the settings hold from now on; streams, viewers and recordings go on");
        };
        if next.is_some() {
            tracing::info!("it starts again with them: they change more than rights and relays");
        }
        origin.shutdown().await;
        let Some(next) = next else { return Ok(()) };
        config = next;
    }
}

fn checked_origin(role: &Role) -> Result<sightline_origin::Config, Failure> {
    let config = settings::file::load(&role.config)?;
    Origin::check(&config)?;
    Ok(config)
}

/// What a role listens to besides its ports.
struct Signals {
    stop: CancellationToken,
    /// `None` on a terminal: there, the signal says that the terminal is gone.
    hang_ups: Option<Signal>,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let hang_ups = if std::io::stdin().is_terminal() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(Self { stop: terminal::stop_signal()?, hang_ups })
    }

    /// The settings at the next SIGHUP that finds good ones. With others, those before go on: a typing error stops no camera.
    async fn next<C>(&mut self, load: impl Fn() -> Result<C, Failure>) -> C {
        loop {
            match &mut self.hang_ups {
                Some(hang_ups) => drop(hang_ups.recv().await),
                None => std::future::pending().await,
            }
            match load() {
                Ok(config) => {
                    tracing::info!("SIGHUP: the settings were read again");
                    return config;
                }
                Err(error) => tracing::error!(%error, "SIGHUP: the settings can't be used; those before go on"),
            }
        }
    }
}

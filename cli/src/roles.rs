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

pub(crate) async fn camera(camera: &Camera) -> Result<(), Failure> {
    if let Some(CameraAction::Probe { encoder: Some(path), encoder_size, encoder_format, json, .. }) = &camera.action {
        return probe::try_encoder(path, encoder_size, encoder_format, *json).await;
    }
    if let Some(CameraAction::Probe { source, rtsp_transport, source_ca, json, .. }) = &camera.action {
        return probe::run(source.as_ref(), rtsp_transport, source_ca.as_deref(), *json).await;
    }
    let file = camera.config.as_deref().ok_or_else(|| terminal::WrongUse("--config FILE is missing".to_owned()))?;
    let config = match cameras::load(file)? {
        Cameras::One(config) => config,
        Cameras::Several(configs) => {
            Fleet::new(configs)?.run(terminal::stop_signal()?).await;
            return Ok(());
        }
    };
    let camera = sightline_camera::Keeper::start(&config)?;
    match camera.run(terminal::stop_signal()?).await {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(code) => Err(format!("gave up: {code}").into()),
        Outcome::Failed(problem) => Err(problem.into()),
    }
}

pub(crate) async fn cloud(role: &Role) -> Result<(), Failure> {
    let config: sightline_cloud::Config = settings::file::load(&role.config)?;
    let stop = terminal::stop_signal()?;
    let cloud = Cloud::start(config, axum::Router::new()).await?;
    stop.cancelled().await;
    cloud.shutdown().await;
    Ok(())
}

pub(crate) async fn origin(role: &Role) -> Result<(), Failure> {
    let config: sightline_origin::Config = settings::file::load(&role.config)?;
    let stop = terminal::stop_signal()?;
    let origin = Origin::start(config).await?;
    stop.cancelled().await;
    origin.shutdown().await;
    Ok(())
}

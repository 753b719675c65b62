//! The roles, each from its configuration file, until Ctrl-C or SIGTERM.

use crate::{Failure, args::Role, settings, terminal};
use sightline_camera::{Agent, Outcome};
use sightline_cloud::Cloud;
use sightline_origin::Origin;

pub(crate) async fn camera(role: &Role) -> Result<(), Failure> {
    let config: sightline_camera::Config = settings::load(&role.config)?;
    let agent = Agent::start(&config, false)?;
    match agent.run(terminal::stop_signal()?, None).await {
        Outcome::Stopped => Ok(()),
        Outcome::GaveUp(code) => Err(format!("gave up: {code}").into()),
        Outcome::Failed(problem) => Err(problem.into()),
    }
}

pub(crate) async fn cloud(role: &Role) -> Result<(), Failure> {
    let config: sightline_cloud::Config = settings::load(&role.config)?;
    let stop = terminal::stop_signal()?;
    let cloud = Cloud::start(config, axum::Router::new()).await?;
    stop.cancelled().await;
    cloud.shutdown().await;
    Ok(())
}

pub(crate) async fn origin(role: &Role) -> Result<(), Failure> {
    let config: sightline_origin::Config = settings::load(&role.config)?;
    let stop = terminal::stop_signal()?;
    let origin = Origin::start(config).await?;
    stop.cancelled().await;
    origin.shutdown().await;
    Ok(())
}

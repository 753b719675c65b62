//! Servers of others that operators enter, and servers that are to be emptied.

use super::{id::ServerId, inventory::Inventory};
use crate::{
    clock::Clock,
    config::{ServerUrl, StaticServer},
    devices::commands::Commands,
    store::{
        Store,
        actor::{Action, Actor},
        error::StoreError,
    },
};
use serde::Deserialize;
use serde_json::json;
use sightline_signal::DeviceId;
use std::sync::Arc;

/// Servers of others that an installation has: more than anyone rents.
const SERVERS_MAX: i64 = 200;
/// The longest name and region, in bytes: as of an origin's report.
const NAME_BYTES_MAX: usize = 64;
const REGION_BYTES_MAX: usize = 32;

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// What is wrong with it.
    #[error("{0}")]
    Bad(String),
    /// There is one already.
    #[error("there is a server {0} already: remove it, or take another id")]
    Exists(String),
    /// There is none.
    #[error("there is no server {0} that was entered here; those of the settings are removed there, and an origin goes when it ends")]
    Unknown(String),
    /// There are too many.
    #[error("there are {SERVERS_MAX} servers already: remove some")]
    TooMany,
    /// The database's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A server of others, to be entered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewServer {
    /// Its id, `[A-Za-z0-9_-]{1,64}`.
    pub id: String,
    /// Its name, for people: 64 bytes at most.
    #[serde(default)]
    pub name: String,
    /// Where it is: 32 bytes at most.
    #[serde(default)]
    pub region: String,
    /// `rtmp(s)://host[:port]/app`, at most 190 bytes.
    #[schema(value_type = String)]
    pub rtmp_url: ServerUrl,
    /// What it takes in at most, in kbit/s; 0: no limit.
    #[serde(default)]
    pub capacity_kbps: u64,
}

/// Enters servers in the database. It needs no running cloud.
pub(crate) async fn add(store: &Store, clock: &Clock, actor: &Actor, new: NewServer) -> Result<StaticServer, ServerError> {
    let NewServer { id, name, region, rtmp_url, capacity_kbps } = new;
    ServerId::new(&id).map_err(|error| ServerError::Bad(format!("id: {error}")))?;
    if name.len() > NAME_BYTES_MAX || region.len() > REGION_BYTES_MAX {
        return Err(ServerError::Bad(format!("name has at most {NAME_BYTES_MAX} bytes, region {REGION_BYTES_MAX}")));
    }
    rtmp_url.check().map_err(|problem| ServerError::Bad(format!("rtmp_url: {problem}")))?;
    if i64::try_from(capacity_kbps).is_err() {
        return Err(ServerError::Bad("capacity_kbps is more than any server takes".to_owned()));
    }
    let server = StaticServer { id, name, region, rtmp_url, capacity_kbps };
    let mut write = store.write(actor).await?;
    if write.servers().await? >= SERVERS_MAX {
        return Err(ServerError::TooMany);
    }
    if !write.add_server(&server, clock.unix_secs()).await? {
        return Err(ServerError::Exists(server.id));
    }
    let detail = json!({ "url": format!("{:?}", server.rtmp_url), "region": server.region, "from": actor.from() });
    write.commit(Action::ServerAdd, &server.id, detail).await?;
    Ok(server)
}

/// Removes one that was entered.
pub(crate) async fn remove(store: &Store, actor: &Actor, id: &str) -> Result<(), ServerError> {
    let unknown = || ServerError::Unknown(id.chars().take(NAME_BYTES_MAX).collect());
    let server = ServerId::new(id).map_err(|_| unknown())?;
    let mut write = store.write(actor).await?;
    if !write.remove_server(&server).await? {
        return Err(unknown());
    }
    write.drain_server(&server, false, 0).await?;
    write.commit(Action::ServerRemove, id, json!({ "from": actor.from() })).await?;
    Ok(())
}

/// Gives a server no cameras any more, or cameras again.
pub(crate) async fn drain(store: &Store, clock: &Clock, actor: &Actor, id: &ServerId, is_draining: bool) -> Result<(), ServerError> {
    let mut write = store.write(actor).await?;
    write.drain_server(id, is_draining, clock.unix_secs()).await?;
    write.commit(Action::ServerDrain, id.as_str(), json!({ "draining": is_draining, "from": actor.from() })).await?;
    Ok(())
}

/// What was entered, in a cloud that runs.
#[derive(Debug)]
pub(crate) struct Entered {
    pub(crate) store: Store,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) commands: Arc<Commands>,
}

impl Entered {
    /// Takes what is in the database: another process may have changed it. The cameras of a server that is to be emptied are called: they ask anew, and go elsewhere.
    pub(crate) async fn refresh(&self) -> Result<(), StoreError> {
        let (servers, draining) = (self.store.servers().await?, self.store.draining().await?);
        let begun = self.inventory.set_entered(&servers, draining);
        let devices: Vec<DeviceId> = begun.iter().flat_map(|server| self.inventory.devices_on(server)).collect();
        if !devices.is_empty() {
            tracing::info!(servers = ?begun, devices = devices.len(), "servers are emptied: their cameras are called");
            self.commands.call_back(&devices).await;
        }
        Ok(())
    }
}

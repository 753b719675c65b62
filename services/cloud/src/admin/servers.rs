//! Servers of others, and servers that are to be emptied, on a data directory: a cloud that runs on it follows within two seconds.

use super::Home;
use crate::{
    error::AdminError,
    servers::{
        entered::{self, ServerError},
        id::ServerId,
    },
    store::actor::Actor,
};
use std::path::Path;

pub use crate::{config::ServerUrl, servers::entered::NewServer};

/// A server, as the database has it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct KnownServer {
    /// Its id.
    pub id: String,
    /// `origin`: it has reported. `external`: it was entered.
    pub kind: &'static str,
    /// For people; empty for an origin, which says it itself.
    pub name: String,
    /// Where it is.
    pub region: String,
    /// Where cameras publish, without user, password and query.
    pub rtmp_url: String,
    /// It is given no cameras.
    pub draining: bool,
}

/// Enters an RTMP server of others.
///
/// # Errors
/// What is wrong with it, or the database's.
pub async fn add_server(data_dir: &Path, new: NewServer) -> Result<(), AdminError> {
    let home = Home::open(data_dir).await?;
    entered::add(&home.store, &home.clock, &Actor::Cli, new).await?;
    Ok(())
}

/// Removes one that was entered.
///
/// # Errors
/// There is none, or the database's.
pub async fn remove_server(data_dir: &Path, id: &str) -> Result<(), AdminError> {
    Ok(entered::remove(&Home::open(data_dir).await?.store, &Actor::Cli, id).await?)
}

/// Gives a server no cameras any more and calls away those that it has, or gives it cameras again.
///
/// # Errors
/// It is no id, or the database's.
pub async fn drain_server(data_dir: &Path, id: &str, is_draining: bool) -> Result<(), AdminError> {
    let home = Home::open(data_dir).await?;
    let server = ServerId::new(id).map_err(|error| ServerError::Bad(format!("id: {error}")))?;
    Ok(entered::drain(&home.store, &home.clock, &Actor::Cli, &server, is_draining).await?)
}

/// Origins that have ever reported, and servers that were entered here, by id; those of the settings are not in the database.
///
/// # Errors
/// The database's.
pub async fn list_servers(data_dir: &Path) -> Result<Vec<KnownServer>, AdminError> {
    let store = Home::open(data_dir).await?.store;
    let draining = store.draining().await?;
    let origin = |id: String| KnownServer {
        draining: draining.contains(&id),
        id,
        kind: "origin",
        name: String::new(),
        region: String::new(),
        rtmp_url: String::new(),
    };
    let mut found: Vec<KnownServer> = store.origins().await?.into_iter().map(origin).collect();
    found.extend(store.servers().await?.into_iter().map(|server| KnownServer {
        draining: draining.contains(&server.id),
        kind: "external",
        rtmp_url: format!("{:?}", server.rtmp_url),
        id: server.id,
        name: server.name,
        region: server.region,
    }));
    found.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(found)
}

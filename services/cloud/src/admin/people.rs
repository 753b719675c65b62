//! What `sightline user …` and `sightline group …` do.

use super::Home;
pub use crate::people::{
    grants::Grant,
    groups::Group,
    names::{GroupPath, NameError, Role, UserName},
    passwords::Password,
    tokens::{AddedToken, ApiToken, NewToken},
    users::{PeopleError, User},
};
use crate::{
    error::AdminError,
    people::{groups, tokens, users},
    store::actor::Actor,
};
use sightline_signal::DeviceId;
use std::path::Path;

/// Adds a user; without a password nobody signs in by this name, and API tokens work all the same.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn add_user(data_dir: &Path, name: &UserName, password: Option<&Password>, grants: &[Grant]) -> Result<User, AdminError> {
    let store = Home::open(data_dir).await?.store;
    let hash = password.map(users::hash_new).transpose()?;
    users::add(&store, &Actor::Cli, name, hash.as_deref(), grants).await?;
    user(data_dir, name).await
}

async fn user(data_dir: &Path, name: &UserName) -> Result<User, AdminError> {
    let found = Home::open(data_dir).await?.store.user(name).await?;
    Ok(found.ok_or_else(|| PeopleError::UserUnknown(name.clone()))?.into())
}

/// All users, by name.
///
/// # Errors
/// What the database reports.
pub async fn list_users(data_dir: &Path) -> Result<Vec<User>, AdminError> {
    Ok(Home::open(data_dir).await?.store.users().await?.into_iter().map(User::from).collect())
}

/// Removes a user: sessions and API tokens end at once.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn remove_user(data_dir: &Path, name: &UserName) -> Result<(), AdminError> {
    Ok(users::remove(&Home::open(data_dir).await?.store, &Actor::Cli, name).await?)
}

/// Grants a role on a group, in place of the one there before; `None` takes it.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn grant(data_dir: &Path, name: &UserName, group: &GroupPath, role: Option<Role>) -> Result<User, AdminError> {
    let store = Home::open(data_dir).await?.store;
    let mut grants = store.grants(name).await?;
    grants.retain(|grant| grant.group != *group);
    grants.extend(role.map(|role| Grant { role, group: group.clone() }));
    users::set_grants(&store, &Actor::Cli, name, &grants).await?;
    user(data_dir, name).await
}

/// Gives a user another password: their sessions end.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn set_password(data_dir: &Path, name: &UserName, password: &Password) -> Result<(), AdminError> {
    let store = Home::open(data_dir).await?.store;
    Ok(users::set_password(&store, &Actor::Cli, name, &users::hash_new(password)?, &[]).await?)
}

/// Makes an API token. It is in the answer alone.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn add_token(data_dir: &Path, new: NewToken) -> Result<AddedToken, AdminError> {
    let home = Home::open(data_dir).await?;
    Ok(tokens::add(&home.store, &home.clock, &Actor::Cli, new).await?)
}

/// All API tokens, by id.
///
/// # Errors
/// What the database reports.
pub async fn list_tokens(data_dir: &Path) -> Result<Vec<ApiToken>, AdminError> {
    Ok(Home::open(data_dir).await?.store.api_tokens(None).await?.into_iter().map(ApiToken::from).collect())
}

/// Takes an API token back.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn remove_token(data_dir: &Path, id: &str) -> Result<(), AdminError> {
    Ok(tokens::remove(&Home::open(data_dir).await?.store, &Actor::Cli, id, None).await?)
}

/// Makes a group, and those above it that are not there yet.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn add_group(data_dir: &Path, path: &GroupPath) -> Result<(), AdminError> {
    Ok(groups::add(&Home::open(data_dir).await?.store, &Actor::Cli, path).await?)
}

/// All groups, by path.
///
/// # Errors
/// What the database reports.
pub async fn list_groups(data_dir: &Path) -> Result<Vec<Group>, AdminError> {
    Ok(Home::open(data_dir).await?.store.groups().await?.into_iter().map(Group::from).collect())
}

/// Removes a group that holds nothing, with what was granted on it.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn remove_group(data_dir: &Path, path: &GroupPath) -> Result<(), AdminError> {
    Ok(groups::remove(&Home::open(data_dir).await?.store, &Actor::Cli, path).await?)
}

/// Puts a device into a group, and out of the one before.
///
/// # Errors
/// [`PeopleError`], or what the database reports.
pub async fn put_device(data_dir: &Path, device: &DeviceId, path: &GroupPath) -> Result<(), AdminError> {
    Ok(groups::put(&Home::open(data_dir).await?.store, &Actor::Cli, device, path).await?)
}

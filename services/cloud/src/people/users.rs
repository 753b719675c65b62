//! Users: added, removed, what is granted to them.

use super::{
    grants::Grant,
    names::{GroupPath, NameError, UserName},
    passwords::{self, Password, PasswordError},
};
use crate::{
    secrets::CryptoError,
    store::{
        Store, Write,
        actor::{Action, Actor},
        error::StoreError,
        users::UserRow,
    },
};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeSet;

/// Users of an installation: a page of a console shows them, and each sign-in looks one up.
const USERS_MAX: i64 = 10_000;
/// Grants of one user: as many are looked through at each request.
const GRANTS_MAX: usize = 256;

/// Why users, groups and tokens are not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PeopleError {
    /// What was asked for can't be.
    #[error("{0}")]
    Bad(String),
    /// A name that can't be.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A password that can't be.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// There is such a user.
    #[error("there is a user {0} already")]
    UserExists(UserName),
    /// There is no such user.
    #[error("there is no user {0}; `sightline user list` shows all of them")]
    UserUnknown(UserName),
    /// There is such a group.
    #[error("there is a group {0} already")]
    GroupExists(GroupPath),
    /// There is no such group.
    #[error("there is no group {0}; `sightline group list` shows all of them")]
    GroupUnknown(GroupPath),
    /// A group that holds something.
    #[error("group {path} holds {devices} devices and {groups} groups: move or remove them first")]
    GroupNotEmpty {
        /// Which.
        path: GroupPath,
        /// How many devices are in it.
        devices: i64,
        /// How many groups lie below it.
        groups: usize,
    },
    /// Nobody would be left who may change this.
    #[error("{0} is the last admin of all: name another one first, or do it with the operator's token or `sightline user`")]
    LastAdmin(UserName),
    /// There is no such device.
    #[error("there is no device {0}; `sightline device list` shows all of them")]
    DeviceUnknown(String),
    /// There is no such token.
    #[error("there is no API token {0}; `sightline user token list` shows all of them")]
    TokenUnknown(String),
    /// There are too many.
    #[error("there are {most} {what} already: remove some")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: i64,
    },
    /// The cryptographic library failed.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A user as it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct User {
    /// Their name.
    #[schema(value_type = String)]
    pub name: UserName,
    /// Whether they can sign in; their API tokens work without a password.
    pub has_password: bool,
    /// When they were added, seconds since 1970.
    pub created_at: i64,
    /// What they may do.
    pub grants: Vec<Grant>,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self { has_password: row.password.is_some(), name: row.name, created_at: row.created_at, grants: row.grants }
    }
}

/// What a new password is kept as. Blocks for some 20 ms.
pub(crate) fn hash_new(password: &Password) -> Result<String, PeopleError> {
    password.check()?;
    Ok(passwords::hash(password)?)
}

/// Adds one. `password` is a hash.
pub(crate) async fn add(
    store: &Store,
    actor: &Actor,
    name: &UserName,
    password: Option<&str>,
    grants: &[Grant],
) -> Result<(), PeopleError> {
    let mut write = store.write(actor).await?;
    if write.users().await? >= USERS_MAX {
        return Err(PeopleError::TooMany { what: "users", most: USERS_MAX });
    }
    if !write.add_user(name, password).await? {
        return Err(PeopleError::UserExists(name.clone()));
    }
    check_grants(&mut write, grants).await?;
    write.set_grants(name, grants).await?;
    let detail = json!({ "grants": grants, "has_password": password.is_some(), "from": actor.from() });
    Ok(write.commit(Action::UserAdd, name.as_str(), detail).await?)
}

/// Grants exactly this, in place of all before.
pub(crate) async fn set_grants(store: &Store, actor: &Actor, name: &UserName, grants: &[Grant]) -> Result<(), PeopleError> {
    let mut write = store.write(actor).await?;
    if !write.has_user(name).await? {
        return Err(PeopleError::UserUnknown(name.clone()));
    }
    check_grants(&mut write, grants).await?;
    let is_admin = write.is_admin_of_all(name).await?;
    write.set_grants(name, grants).await?;
    if is_admin && !write.is_admin_of_all(name).await? {
        check_admin_stays(&mut write, actor, name).await?;
    }
    Ok(write.commit(Action::UserGrant, name.as_str(), json!({ "grants": grants, "from": actor.from() })).await?)
}

/// Gives one another password, by its hash. All sessions end but `but`, by the hash of its cookie.
pub(crate) async fn set_password(store: &Store, actor: &Actor, name: &UserName, password: &str, but: &[u8]) -> Result<(), PeopleError> {
    let mut write = store.write(actor).await?;
    if !write.has_user(name).await? {
        return Err(PeopleError::UserUnknown(name.clone()));
    }
    write.set_password(name, password).await?;
    write.end_sessions(name, but).await?;
    Ok(write.commit(Action::UserPassword, name.as_str(), json!({ "from": actor.from() })).await?)
}

/// Removes one: sessions and tokens end at once.
pub(crate) async fn remove(store: &Store, actor: &Actor, name: &UserName) -> Result<(), PeopleError> {
    let mut write = store.write(actor).await?;
    let is_admin = write.is_admin_of_all(name).await?;
    if !write.remove_user(name).await? {
        return Err(PeopleError::UserUnknown(name.clone()));
    }
    if is_admin {
        check_admin_stays(&mut write, actor, name).await?;
    }
    Ok(write.commit(Action::UserRemove, name.as_str(), json!({ "from": actor.from() })).await?)
}

/// Someone who has signed in does not lock everyone out, themselves included. The operator's token and the command line have a way back.
async fn check_admin_stays(write: &mut Write<'_>, actor: &Actor, name: &UserName) -> Result<(), PeopleError> {
    if matches!(actor, Actor::User(..)) && write.other_admins_of_all(name).await? == 0 {
        return Err(PeopleError::LastAdmin(name.clone()));
    }
    Ok(())
}

async fn check_grants(write: &mut Write<'_>, grants: &[Grant]) -> Result<(), PeopleError> {
    if grants.len() > GRANTS_MAX {
        return Err(PeopleError::Bad(format!("grants: at most {GRANTS_MAX} for one user; grant a group that holds them")));
    }
    if grants.iter().map(|grant| &grant.group).collect::<BTreeSet<_>>().len() != grants.len() {
        return Err(PeopleError::Bad("grants: one role for each group".to_owned()));
    }
    for Grant { group, .. } in grants {
        if !write.has_group(group).await? {
            return Err(PeopleError::GroupUnknown(group.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, data_dir::DataDir, people::names::Role};

    #[tokio::test]
    async fn the_last_admin_is_removed_and_demoted_by_the_operator_alone() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let name = |name: &str| UserName::new(name).unwrap();
        let all = |role| [Grant { role, group: GroupPath::default() }];
        let by_ann = Actor::User(name("ann"), "192.0.2.1".parse().unwrap());
        add(&store, &Actor::Cli, &name("ann"), None, &all(Role::Admin)).await.unwrap();
        assert!(matches!(remove(&store, &by_ann, &name("ann")).await, Err(PeopleError::LastAdmin(_))));
        assert!(matches!(set_grants(&store, &by_ann, &name("ann"), &all(Role::Viewer)).await, Err(PeopleError::LastAdmin(_))));
        set_grants(&store, &by_ann, &name("ann"), &all(Role::Admin)).await.unwrap();
        add(&store, &by_ann, &name("bob"), None, &all(Role::Admin)).await.unwrap();
        remove(&store, &by_ann, &name("ann")).await.unwrap();
        remove(&store, &Actor::Cli, &name("bob")).await.unwrap();
        assert!(!store.has_users().await.unwrap());
        let elsewhere = [Grant { role: Role::Admin, group: GroupPath::new("nowhere").unwrap() }];
        assert!(matches!(add(&store, &Actor::Cli, &name("cy"), None, &elsewhere).await, Err(PeopleError::GroupUnknown(_))));
        assert!(store.user(&name("cy")).await.unwrap().is_none(), "all of it, or nothing");
    }
}

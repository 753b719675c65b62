//! Groups of devices.

use super::{names::GroupPath, users::PeopleError};
use crate::store::{
    Store,
    actor::{Action, Actor},
    groups::GroupRow,
};
use serde::Serialize;
use serde_json::json;
use sightline_signal::DeviceId;

/// Groups of an installation: a list is read whole.
const GROUPS_MAX: i64 = 10_000;

/// A group as it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct Group {
    /// Its path.
    #[schema(value_type = String)]
    pub path: GroupPath,
    /// Devices in it; those of groups below it are not among them.
    pub devices: i64,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
}

impl From<GroupRow> for Group {
    fn from(GroupRow { path, created_at, devices }: GroupRow) -> Self {
        Self { path, devices, created_at }
    }
}

/// Makes a group, and those above it that are not there yet.
pub(crate) async fn add(store: &Store, actor: &Actor, path: &GroupPath) -> Result<(), PeopleError> {
    let mut write = store.write(actor).await?;
    if write.groups().await? >= GROUPS_MAX {
        return Err(PeopleError::TooMany { what: "groups", most: GROUPS_MAX });
    }
    if path.is_root() || !write.add_group(path).await? {
        return Err(PeopleError::GroupExists(path.clone()));
    }
    let mut above = path.parent();
    while let Some(group) = above.filter(|group| !group.is_root()) {
        write.add_group(&group).await?;
        above = group.parent();
    }
    Ok(write.commit(Action::GroupAdd, path.as_str(), json!({ "from": actor.from() })).await?)
}

/// Removes a group that holds nothing, with what was granted on it.
pub(crate) async fn remove(store: &Store, actor: &Actor, path: &GroupPath) -> Result<(), PeopleError> {
    if path.is_root() {
        return Err(PeopleError::Bad("the root is no group that can be removed".to_owned()));
    }
    let mut write = store.write(actor).await?;
    let (devices, groups) = write.group_holds(path).await?;
    if devices > 0 || groups > 0 {
        return Err(PeopleError::GroupNotEmpty { path: path.clone(), devices, groups });
    }
    if !write.remove_group(path).await? {
        return Err(PeopleError::GroupUnknown(path.clone()));
    }
    Ok(write.commit(Action::GroupRemove, path.as_str(), json!({ "from": actor.from() })).await?)
}

/// Puts a device into a group, and out of the one before.
pub(crate) async fn put(store: &Store, actor: &Actor, device: &DeviceId, path: &GroupPath) -> Result<(), PeopleError> {
    let mut write = store.write(actor).await?;
    if !write.has_group(path).await? {
        return Err(PeopleError::GroupUnknown(path.clone()));
    }
    let before = write.set_device_group(device, path).await?.ok_or_else(|| PeopleError::DeviceUnknown(device.to_string()))?;
    let detail = json!({ "group": path, "before": before, "from": actor.from() });
    Ok(write.commit(Action::DeviceGroup, device.as_str(), detail).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        data_dir::DataDir,
        people::{
            grants::Grant,
            names::{Role, UserName},
            users,
        },
    };

    #[tokio::test]
    async fn a_group_is_removed_once_it_is_empty_and_its_grants_go_with_it() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let path = |path: &str| GroupPath::new(path).unwrap();
        add(&store, &Actor::Cli, &path("site-a/hall-2")).await.unwrap();
        assert!(matches!(add(&store, &Actor::Cli, &path("site-a")).await, Err(PeopleError::GroupExists(_))), "those above are made, too");
        assert!(matches!(remove(&store, &Actor::Cli, &path("site-a")).await, Err(PeopleError::GroupNotEmpty { groups: 1, .. })));
        let (ann, hall) = (UserName::new("ann").unwrap(), path("site-a/hall-2"));
        users::add(&store, &Actor::Cli, &ann, None, &[Grant { role: Role::Viewer, group: hall.clone() }]).await.unwrap();
        remove(&store, &Actor::Cli, &hall).await.unwrap();
        assert!(store.grants(&ann).await.unwrap().is_empty(), "made anew, it is another group");
        assert!(matches!(remove(&store, &Actor::Cli, &hall).await, Err(PeopleError::GroupUnknown(_))));
    }
}

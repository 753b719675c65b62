//! The table `groups`, and which device is in which.

use super::{
    Store, Write, device_id,
    error::{At as _, StoreError},
    group_path,
    sqlite::Row,
};
use crate::people::names::GroupPath;
use sightline_signal::DeviceId;
use sqlx::Row as _;

/// A group as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct GroupRow {
    pub(crate) path: GroupPath,
    /// Seconds since 1970.
    pub(crate) created_at: i64,
    /// Devices that are in it; those of groups below it are not among them.
    pub(crate) devices: i64,
}

impl Store {
    /// All of them, by path.
    pub(crate) async fn groups(&self) -> Result<Vec<GroupRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT g.path, g.created_at, (SELECT count(*) FROM devices d WHERE d.group_path = g.path) FROM groups g ORDER BY g.path",
        );
        let group = |row: &Row| Ok(GroupRow { path: group_path(row, 0)?, created_at: row.try_get(1)?, devices: row.try_get(2)? });
        rows.fetch_all(&self.pool).await.and_then(|rows| rows.iter().map(group).collect()).at(&self.path)
    }

    /// All devices with their groups, by id.
    pub(crate) async fn device_groups(&self) -> Result<Vec<(DeviceId, GroupPath)>, StoreError> {
        let rows = sqlx::query("SELECT id, group_path FROM devices ORDER BY id").fetch_all(&self.pool).await;
        let pair = |row: &Row| Ok((device_id(row, 0)?, group_path(row, 1)?));
        rows.and_then(|rows| rows.iter().map(pair).collect()).at(&self.path)
    }

    /// The group that a device is in; `None`: there is no such device.
    pub(crate) async fn group_of(&self, device: &str) -> Result<Option<GroupPath>, StoreError> {
        let row = sqlx::query("SELECT group_path FROM devices WHERE id = $1").bind(device).fetch_optional(&self.pool).await;
        row.and_then(|row| row.map(|row| group_path(&row, 0)).transpose()).at(&self.path)
    }
}

impl Write<'_> {
    /// How many groups there are.
    pub(crate) async fn groups(&mut self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM groups").fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Whether there is such a group; the root always is.
    pub(crate) async fn has_group(&mut self, path: &GroupPath) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM groups WHERE path = $1").bind(path.as_str());
        let count: i64 = count.fetch_one(&mut *self.tx).await.at(&self.store.path)?;
        Ok(path.is_root() || count != 0)
    }

    /// Adds one. False: it is there.
    pub(crate) async fn add_group(&mut self, path: &GroupPath) -> Result<bool, StoreError> {
        let insert = sqlx::query("INSERT INTO groups (path, created_at) VALUES ($1, $2) ON CONFLICT (path) DO NOTHING");
        let insert = insert.bind(path.as_str()).bind(self.store.clock.unix_secs());
        insert.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// How many devices are in a group, and how many groups lie below it.
    pub(crate) async fn group_holds(&mut self, path: &GroupPath) -> Result<(i64, usize), StoreError> {
        let devices = sqlx::query_scalar("SELECT count(*) FROM devices WHERE group_path = $1").bind(path.as_str());
        let devices = devices.fetch_one(&mut *self.tx).await.at(&self.store.path)?;
        let rows = sqlx::query("SELECT path FROM groups").fetch_all(&mut *self.tx).await;
        let paths: Vec<GroupPath> = rows.and_then(|rows| rows.iter().map(|row| group_path(row, 0)).collect()).at(&self.store.path)?;
        Ok((devices, paths.iter().filter(|other| *other != path && path.holds(other)).count()))
    }

    /// Removes one with what was granted on it. False: there was none.
    pub(crate) async fn remove_group(&mut self, path: &GroupPath) -> Result<bool, StoreError> {
        // A group of the same name, made anew, is another group.
        for statement in ["DELETE FROM grants WHERE group_path = $1", "DELETE FROM api_tokens WHERE group_path = $1"] {
            sqlx::query(statement).bind(path.as_str()).execute(&mut *self.tx).await.at(&self.store.path)?;
        }
        let delete = sqlx::query("DELETE FROM groups WHERE path = $1").bind(path.as_str());
        delete.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// Puts a device into a group. Gives the one that it was in; `None`: there is no such device.
    pub(crate) async fn set_device_group(&mut self, device: &DeviceId, path: &GroupPath) -> Result<Option<GroupPath>, StoreError> {
        let before = sqlx::query("SELECT group_path FROM devices WHERE id = $1").bind(device.as_str()).fetch_optional(&mut *self.tx).await;
        let before = before.and_then(|row| row.map(|row| group_path(&row, 0)).transpose()).at(&self.store.path)?;
        let update = sqlx::query("UPDATE devices SET group_path = $2 WHERE id = $1").bind(device.as_str()).bind(path.as_str());
        update.execute(&mut *self.tx).await.at(&self.store.path)?;
        Ok(before)
    }
}

//! The table `relays`: streams that go on to other servers.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    sqlite::Row,
};
use sightline_signal::report::{RelayRule, RelayTarget};
use sqlx::Row as _;

/// A relay as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RelayRow {
    /// As origins have it.
    pub(crate) rule: RelayRule,
    /// Seconds since 1970.
    pub(crate) created_at: i64,
}

impl Store {
    /// All of them, by device and name.
    pub(crate) async fn relays(&self) -> Result<Vec<RelayRow>, StoreError> {
        let rows =
            sqlx::query("SELECT device, name, streams, url, created_at FROM relays ORDER BY device, name").fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(relay_of).collect()).at(&self.path)
    }
}

impl Write<'_> {
    /// How many there are.
    pub(crate) async fn relays(&mut self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM relays").fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Adds one. False: there is one of this name.
    pub(crate) async fn add_relay(&mut self, RelayRow { rule, created_at }: &RelayRow) -> Result<bool, StoreError> {
        let insert = sqlx::query(
            "INSERT INTO relays (device, name, streams, url, created_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (device, name) DO NOTHING",
        );
        let insert = insert.bind(&rule.device).bind(&rule.name).bind(&rule.streams).bind(rule.url.reveal()).bind(created_at);
        insert.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// Removes one. False: there was none.
    pub(crate) async fn remove_relay(&mut self, device: &str, name: &str) -> Result<bool, StoreError> {
        let delete = sqlx::query("DELETE FROM relays WHERE device = $1 AND name = $2").bind(device).bind(name);
        delete.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }
}

fn relay_of(row: &Row) -> Result<RelayRow, sqlx::Error> {
    let rule =
        RelayRule { device: row.try_get(0)?, name: row.try_get(1)?, streams: row.try_get(2)?, url: RelayTarget::new(row.try_get(3)?) };
    Ok(RelayRow { rule, created_at: row.try_get(4)? })
}

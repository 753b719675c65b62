//! The table `hooks`: endpoints that are told of events, and how far each is.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    signed,
    sqlite::Row,
    unsigned,
};
use crate::secrets::Secret;
use sightline_endpoint::EndpointUrl;
use sqlx::Row as _;

/// A hook as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct HookRow {
    pub(crate) id: String,
    pub(crate) url: EndpointUrl,
    pub(crate) secret: Secret<String>,
    /// By comma; empty: all.
    pub(crate) events: String,
    /// Empty: all.
    pub(crate) device: String,
    /// The number of the last event that it has, or does not want.
    pub(crate) after: u64,
    /// Rises when it is to be told anew.
    pub(crate) turn: u64,
    pub(crate) lost: u64,
    /// Seconds since 1970.
    pub(crate) created_at: i64,
}

impl Store {
    /// All of them, by id.
    pub(crate) async fn hooks(&self) -> Result<Vec<HookRow>, StoreError> {
        let rows = sqlx::query("SELECT id, url, secret, events, device, after, turn, lost, created_at FROM hooks ORDER BY id");
        rows.fetch_all(&self.pool).await.and_then(|rows| rows.iter().map(hook_of).collect()).at(&self.path)
    }

    /// A hook has all events up to `after`, `lost` of which were gone. Nothing of a hook that is told anew meanwhile.
    pub(crate) async fn hook_has(&self, id: &str, turn: u64, after: u64, lost: u64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let update = sqlx::query("UPDATE hooks SET after = $3, lost = lost + $4 WHERE id = $1 AND turn = $2");
        let update = update.bind(id).bind(signed(turn)).bind(signed(after)).bind(signed(lost));
        update.execute(&mut *tx).await.at(&self.path)?;
        tx.commit().await.map(drop).at(&self.path)
    }
}

impl Write<'_> {
    /// How many there are.
    pub(crate) async fn hooks(&mut self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM hooks").fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Adds one, to be told of what comes from now on.
    pub(crate) async fn add_hook(&mut self, hook: &HookRow) -> Result<(), StoreError> {
        let insert = sqlx::query(
            "INSERT INTO hooks (id, url, secret, events, device, after, turn, lost, created_at) \
             VALUES ($1, $2, $3, $4, $5, (SELECT coalesce(max(seq), 0) FROM events), 0, 0, $6)",
        );
        let insert = insert.bind(&hook.id).bind(hook.url.reveal()).bind(hook.secret.reveal()).bind(&hook.events).bind(&hook.device);
        insert.bind(hook.created_at).execute(&mut *self.tx).await.map(drop).at(&self.store.path)
    }

    /// Tells one anew of all events above `after` that are kept. False: there is none.
    pub(crate) async fn replay_hook(&mut self, id: &str, after: u64) -> Result<bool, StoreError> {
        let update = sqlx::query("UPDATE hooks SET after = $2, turn = turn + 1 WHERE id = $1").bind(id).bind(signed(after));
        update.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// Removes one. False: there was none.
    pub(crate) async fn remove_hook(&mut self, id: &str) -> Result<bool, StoreError> {
        let delete = sqlx::query("DELETE FROM hooks WHERE id = $1").bind(id);
        delete.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }
}

fn hook_of(row: &Row) -> Result<HookRow, sqlx::Error> {
    Ok(HookRow {
        id: row.try_get(0)?,
        url: EndpointUrl::from(row.try_get::<String, _>(1)?.as_str()),
        secret: Secret::new(row.try_get(2)?),
        events: row.try_get(3)?,
        device: row.try_get(4)?,
        after: unsigned(row.try_get(5)?),
        turn: unsigned(row.try_get(6)?),
        lost: unsigned(row.try_get(7)?),
        created_at: row.try_get(8)?,
    })
}

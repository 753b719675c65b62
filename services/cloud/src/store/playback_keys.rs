//! The table `playback_keys`: named keys that play one stream.

use super::{
    Store, Write, device_id,
    error::{At as _, StoreError},
    sqlite::Row,
};
use sightline_signal::{DeviceId, report::PlaybackKeyUse};
use sqlx::Row as _;

/// A playback key as it is stored. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PlaybackKeyRow {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) device: DeviceId,
    /// Of the device as it is now; `None`: it was revoked, or removed.
    pub(crate) stream: Option<String>,
    pub(crate) sha256: String,
    pub(crate) created_at: i64,
    pub(crate) ends_at: Option<i64>,
    pub(crate) address: String,
    pub(crate) ways: String,
    pub(crate) viewers_max: u32,
    pub(crate) used_at: Option<i64>,
    pub(crate) used_from: Option<String>,
}

impl Store {
    /// All of them, by id.
    pub(crate) async fn playback_keys(&self) -> Result<Vec<PlaybackKeyRow>, StoreError> {
        let rows = sqlx::query(
            "SELECT k.id, k.name, k.device, d.stream, k.sha256, k.created_at, k.ends_at, k.address, k.ways, k.viewers_max, k.used_at, \
             k.used_from FROM playback_keys k LEFT JOIN devices d ON d.id = k.device AND d.revoked_at IS NULL ORDER BY k.id",
        )
        .fetch_all(&self.pool)
        .await;
        rows.and_then(|rows| rows.iter().map(key_of).collect()).at(&self.path)
    }

    /// One of them, by the hash of its secret.
    pub(crate) async fn playback_key_by_hash(&self, sha256: &str) -> Result<Option<PlaybackKeyRow>, StoreError> {
        let row = sqlx::query(
            "SELECT k.id, k.name, k.device, d.stream, k.sha256, k.created_at, k.ends_at, k.address, k.ways, k.viewers_max, k.used_at, \
             k.used_from FROM playback_keys k LEFT JOIN devices d ON d.id = k.device AND d.revoked_at IS NULL WHERE k.sha256 = $1",
        )
        .bind(sha256)
        .fetch_optional(&self.pool)
        .await;
        row.and_then(|row| row.as_ref().map(key_of).transpose()).at(&self.path)
    }

    /// Saves when keys were last used. What an older report says does not count.
    pub(crate) async fn store_playback_key_uses(&self, uses: &[PlaybackKeyUse]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for PlaybackKeyUse { id, time, address } in uses {
            let update =
                sqlx::query("UPDATE playback_keys SET used_at = $2, used_from = $3 WHERE id = $1 AND (used_at IS NULL OR used_at < $2)");
            update.bind(id).bind(time).bind(address).execute(&mut *tx).await.at(&self.path)?;
        }
        tx.commit().await.map(drop).at(&self.path)
    }
}

impl Write<'_> {
    /// How many there are.
    pub(crate) async fn playback_keys(&mut self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM playback_keys").fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Adds one.
    pub(crate) async fn add_playback_key(&mut self, key: &PlaybackKeyRow) -> Result<(), StoreError> {
        let insert = sqlx::query(
            "INSERT INTO playback_keys (id, name, device, sha256, created_at, ends_at, address, ways, viewers_max) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        );
        let insert = insert.bind(&key.id).bind(&key.name).bind(key.device.as_str()).bind(&key.sha256).bind(key.created_at);
        let insert = insert.bind(key.ends_at).bind(&key.address).bind(&key.ways).bind(i64::from(key.viewers_max));
        insert.execute(&mut *self.tx).await.map(drop).at(&self.store.path)
    }

    /// Takes one back. Gives whose stream it played; `None`: there was none.
    pub(crate) async fn remove_playback_key(&mut self, id: &str) -> Result<Option<String>, StoreError> {
        let delete = sqlx::query_scalar("DELETE FROM playback_keys WHERE id = $1 RETURNING device").bind(id);
        delete.fetch_optional(&mut *self.tx).await.at(&self.store.path)
    }
}

fn key_of(row: &Row) -> Result<PlaybackKeyRow, sqlx::Error> {
    Ok(PlaybackKeyRow {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        device: device_id(row, 2)?,
        stream: row.try_get(3)?,
        sha256: row.try_get(4)?,
        created_at: row.try_get(5)?,
        ends_at: row.try_get(6)?,
        address: row.try_get(7)?,
        ways: row.try_get(8)?,
        viewers_max: u32::try_from(row.try_get::<i64, _>(9)?).unwrap_or(0),
        used_at: row.try_get(10)?,
        used_from: row.try_get(11)?,
    })
}

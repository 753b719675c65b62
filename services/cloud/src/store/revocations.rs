//! Revoked devices and their streams, and the changes since a cursor. The cursor is the highest epoch that was read.

use super::{
    Store, Write, device_id,
    error::{At as _, StoreError},
    signed, unsigned,
};
use sightline_signal::{DeviceId, report::RevokedStream};
use sqlx::Row as _;

/// Revoked streams in one answer to an origin: about a megabyte.
const REVOKED_STREAMS_MAX: i64 = 10_000;
/// The names of removed devices are kept for an hour: clouds look every second.
const REMOVED_KEPT_MS: i64 = 3_600_000;

/// What was revoked since a cursor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Revoked<T> {
    pub(crate) items: Vec<T>,
    /// The next cursor.
    pub(crate) up_to: u64,
}

impl Store {
    /// Devices that were revoked or removed after the cursor.
    pub(crate) async fn devices_revoked_after(&self, cursor: u64) -> Result<Revoked<DeviceId>, StoreError> {
        let rows = sqlx::query(
            "SELECT devices.id, revoked_streams.epoch_min FROM revoked_streams \
             JOIN devices ON devices.stream = revoked_streams.stream \
             WHERE revoked_streams.epoch_min > $1 AND devices.revoked_at IS NOT NULL \
             UNION ALL SELECT device, epoch FROM removed_devices \
             WHERE epoch > $1 AND device NOT IN (SELECT id FROM devices) ORDER BY 2",
        )
        .bind(signed(cursor))
        .fetch_all(&self.pool)
        .await
        .at(&self.path)?;
        let mut revoked = Revoked { items: Vec::new(), up_to: cursor };
        for row in &rows {
            revoked.items.push(device_id(row, 0).at(&self.path)?);
            revoked.up_to = unsigned(row.try_get(1).at(&self.path)?);
        }
        Ok(revoked)
    }

    /// Streams that were revoked after the cursor, the oldest first: an origin that is far behind asks again for the rest.
    /// A cursor above every epoch comes from a newer copy of this database: then all of them.
    pub(crate) async fn streams_revoked_after(&self, cursor: u64) -> Result<Revoked<RevokedStream>, StoreError> {
        let cursor = if cursor > self.newest_epoch().await? { 0 } else { cursor };
        let rows = sqlx::query("SELECT stream, epoch_min FROM revoked_streams WHERE epoch_min > $1 ORDER BY epoch_min LIMIT $2")
            .bind(signed(cursor))
            .bind(REVOKED_STREAMS_MAX)
            .fetch_all(&self.pool)
            .await;
        let items = rows.and_then(|rows| rows.iter().map(stream_of).collect::<Result<Vec<_>, _>>()).at(&self.path)?;
        Ok(Revoked { up_to: items.last().map_or(cursor, |last| last.epoch_min), items })
    }

    /// The lowest epoch of a stream whose tokens are good; 0: all are.
    pub(crate) async fn epoch_min(&self, stream: &str) -> Result<u64, StoreError> {
        let select = sqlx::query_scalar("SELECT epoch_min FROM revoked_streams WHERE stream = $1").bind(stream);
        let found: Option<i64> = select.fetch_optional(&self.pool).await.at(&self.path)?;
        Ok(found.map_or(0, unsigned))
    }

    /// Forgets the names of removed devices, once every cloud that runs has seen them.
    pub(crate) async fn drop_removed_devices(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let drop_seen = sqlx::query("DELETE FROM removed_devices WHERE epoch < $1").bind(self.clock.unix_millis() - REMOVED_KEPT_MS);
        drop_seen.execute(&mut *tx).await.at(&self.path)?;
        tx.commit().await.map(drop).at(&self.path)
    }

    /// The newest revoked streams, for an origin that keeps no cursor.
    pub(crate) async fn streams_revoked_last(&self) -> Result<Vec<RevokedStream>, StoreError> {
        let rows = sqlx::query("SELECT stream, epoch_min FROM revoked_streams ORDER BY epoch_min DESC LIMIT $1")
            .bind(REVOKED_STREAMS_MAX)
            .fetch_all(&self.pool)
            .await;
        rows.and_then(|rows| rows.iter().map(stream_of).collect()).at(&self.path)
    }
}

impl Write<'_> {
    /// Revokes a device and its stream. Returns the lowest epoch that may publish under that name: above every one given out.
    pub(crate) async fn revoke(&mut self, id: &DeviceId, stream: &str) -> Result<u64, StoreError> {
        let now = self.store.clock.unix_secs();
        sqlx::query("UPDATE devices SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
            .bind(id.as_str())
            .bind(now)
            .execute(&mut *self.tx)
            .await
            .at(&self.store.path)?;
        self.void_tokens(stream).await
    }

    /// Removes a device: nothing of it stays but the audit log, and that its tokens are void. Returns the lowest epoch that may publish.
    pub(crate) async fn remove(&mut self, id: &DeviceId, stream: &str) -> Result<u64, StoreError> {
        let epoch_min = self.void_tokens(stream).await?;
        for delete in [
            "DELETE FROM answers WHERE device = $1",
            "DELETE FROM allocations WHERE device = $1",
            "DELETE FROM device_settings WHERE device = $1",
            "DELETE FROM playback_keys WHERE device = $1",
            "DELETE FROM relays WHERE device = $1",
            "DELETE FROM marks WHERE device = $1",
            "DELETE FROM devices WHERE id = $1",
        ] {
            sqlx::query(delete).bind(id.as_str()).execute(&mut *self.tx).await.at(&self.store.path)?;
        }
        let removed = sqlx::query(
            "INSERT INTO removed_devices (device, epoch) VALUES ($1, $2) ON CONFLICT (device) DO UPDATE SET epoch = excluded.epoch",
        );
        removed.bind(id.as_str()).bind(signed(epoch_min)).execute(&mut *self.tx).await.at(&self.store.path)?;
        Ok(epoch_min)
    }

    /// Voids every token that was given out for a stream. Returns the lowest epoch that may publish from now on.
    pub(crate) async fn void_tokens(&mut self, stream: &str) -> Result<u64, StoreError> {
        let epoch_min = self.next_epoch().await?;
        sqlx::query(
            "INSERT INTO revoked_streams (stream, epoch_min, revoked_at) VALUES ($1, $2, $3) \
             ON CONFLICT (stream) DO UPDATE SET epoch_min = excluded.epoch_min, revoked_at = excluded.revoked_at",
        )
        .bind(stream)
        .bind(signed(epoch_min))
        .bind(self.store.clock.unix_secs())
        .execute(&mut *self.tx)
        .await
        .at(&self.store.path)?;
        Ok(epoch_min)
    }
}

fn stream_of(row: &super::sqlite::Row) -> Result<RevokedStream, sqlx::Error> {
    Ok(RevokedStream { stream: row.try_get(0)?, epoch_min: unsigned(row.try_get(1)?) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        data_dir::DataDir,
        store::{
            actor::{Action, Actor},
            devices::Credentials,
        },
    };
    use serde_json::json;

    async fn enrol(store: &Store, name: &str) -> DeviceId {
        let id = DeviceId::new(name).unwrap();
        let mut write = store.write(&Actor::Cli).await.unwrap();
        let credentials = Credentials { token_sha256: name.as_bytes(), cert_issued_min_ms: 0, cert_issued_min_from_ms: 0 };
        write.enrol(&id, &format!("stream-{name}"), &credentials).await.unwrap();
        write.commit(Action::DeviceAdd, name, json!({})).await.unwrap();
        id
    }

    async fn revoke(store: &Store, id: &DeviceId) -> u64 {
        let mut write = store.write(&Actor::Cli).await.unwrap();
        let epoch = write.revoke(id, &format!("stream-{id}")).await.unwrap();
        write.commit(Action::DeviceRevoke, id.as_str(), json!({})).await.unwrap();
        epoch
    }

    #[tokio::test]
    async fn each_revocation_is_read_once_from_any_cursor_and_none_is_missed() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let (a, b) = (enrol(&store, "a").await, enrol(&store, "b").await);
        let start = store.newest_epoch().await.unwrap();
        assert_eq!(store.devices_revoked_after(start).await.unwrap(), Revoked { items: vec![], up_to: start });
        let first = revoke(&store, &a).await;
        let seen = store.devices_revoked_after(start).await.unwrap();
        assert_eq!(seen, Revoked { items: vec![a.clone()], up_to: first });
        let second = revoke(&store, &b).await;
        assert_eq!(store.devices_revoked_after(seen.up_to).await.unwrap().items, [b]);
        let streams = store.streams_revoked_after(0).await.unwrap();
        assert_eq!(streams.items.iter().map(|item| item.epoch_min).collect::<Vec<_>>(), [first, second]);
        assert_eq!(store.streams_revoked_after(first).await.unwrap().items.len(), 1);
        assert_eq!(store.streams_revoked_after(second).await.unwrap(), Revoked { items: vec![], up_to: second });
        // A cursor of a newer copy of this database: everything again.
        assert_eq!(store.streams_revoked_after(second + 1_000_000).await.unwrap().items.len(), 2);
        assert_eq!(store.streams_revoked_last().await.unwrap()[0].epoch_min, second);
    }
}

//! The table `events`: what happened lately.

use super::{
    Store,
    error::{At as _, StoreError},
    signed,
    sqlite::Row,
    unsigned,
};
use crate::events::kind::Event;
use sightline_signal::DeviceId;
use sqlx::Row as _;

/// Events that are kept for `/api/v1/events`: pages of a console, not an archive.
const EVENTS_KEPT_MAX: u64 = 1000;
/// Those that a hook has not taken yet are kept for longer, up to this: some 20 MB at 200 bytes each. Then it misses some.
const EVENTS_KEPT_FOR_HOOKS_MAX: u64 = 100_000;
/// How many events come between two deletions of old ones.
const EVENTS_PER_SWEEP: u64 = 50;

impl Store {
    /// Appends events, all of them or none; gives each one's number, which is above all before, also after a restart.
    pub(crate) async fn append_events(&self, events: &[Event]) -> Result<Vec<u64>, StoreError> {
        let mut tx = self.begin().await?;
        let mut seqs = Vec::with_capacity(events.len());
        for event in events {
            let insert = sqlx::query_scalar("INSERT INTO events (time, subject, kind, detail) VALUES ($1, $2, $3, $4) RETURNING seq")
                .bind(event.time)
                .bind(&event.device)
                .bind(event.event.as_str())
                .bind(event.detail.to_string());
            let seq: i64 = insert.fetch_one(&mut *tx).await.at(&self.path)?;
            let seq = unsigned(seq);
            if seq.is_multiple_of(EVENTS_PER_SWEEP) {
                let old = sqlx::query(
                    "DELETE FROM events WHERE seq <= $2 OR (seq <= $1 AND seq <= (SELECT coalesce(min(after), $1) FROM hooks))",
                );
                let old = old.bind(signed(seq.saturating_sub(EVENTS_KEPT_MAX)));
                let old = old.bind(signed(seq.saturating_sub(EVENTS_KEPT_FOR_HOOKS_MAX)));
                old.execute(&mut *tx).await.at(&self.path)?;
            }
            seqs.push(seq);
        }
        tx.commit().await.at(&self.path)?;
        Ok(seqs)
    }

    /// Kept events above `after`, oldest first.
    pub(crate) async fn events_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, StoreError> {
        let select = sqlx::query("SELECT seq, time, subject, kind, detail FROM events WHERE seq > $1 ORDER BY seq LIMIT $2");
        let rows = select.bind(signed(after)).bind(i64::from(limit)).fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(event_of).collect()).at(&self.path)
    }

    /// A device's kept events of a time, in seconds since 1970, oldest first.
    pub(crate) async fn events_of(&self, device: &DeviceId, (from, to): (i64, i64), limit: u32) -> Result<Vec<Event>, StoreError> {
        let select = sqlx::query(
            "SELECT seq, time, subject, kind, detail FROM events WHERE subject = $1 AND time >= $2 AND time <= $3 ORDER BY seq LIMIT $4",
        );
        let select = select.bind(device.as_str()).bind(from).bind(to).bind(i64::from(limit));
        let rows = select.fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(event_of).collect()).at(&self.path)
    }

    /// Kept events below `before` (exclusive; `None`: from the newest), newest first.
    pub(crate) async fn events(&self, before: Option<u64>, device: Option<&str>, limit: u32) -> Result<Vec<Event>, StoreError> {
        let before = before.map_or(i64::MAX, signed);
        let select = match device {
            Some(device) => sqlx::query(
                "SELECT seq, time, subject, kind, detail FROM events WHERE seq < $1 AND subject = $3 ORDER BY seq DESC LIMIT $2",
            )
            .bind(before)
            .bind(i64::from(limit))
            .bind(device.to_owned()),
            None => sqlx::query("SELECT seq, time, subject, kind, detail FROM events WHERE seq < $1 ORDER BY seq DESC LIMIT $2")
                .bind(before)
                .bind(i64::from(limit)),
        };
        let rows = select.fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(event_of).collect()).at(&self.path)
    }
}

fn event_of(row: &Row) -> Result<Event, sqlx::Error> {
    let (kind, detail): (String, String) = (row.try_get(3)?, row.try_get(4)?);
    let decode = |error| sqlx::Error::Decode(Box::new(error));
    Ok(Event {
        seq: unsigned(row.try_get(0)?),
        time: row.try_get(1)?,
        device: row.try_get(2)?,
        event: kind.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
        detail: serde_json::from_str(&detail).map_err(decode)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, data_dir::DataDir, events::kind::EventKind};
    use serde_json::json;

    fn motion(device: &str) -> Event {
        Event { seq: 0, time: 1, device: device.into(), event: EventKind::Motion, detail: json!({ "motion": true }) }
    }

    #[tokio::test]
    async fn numbers_go_on_after_a_restart_and_pages_do_not_break() {
        let home = tempfile::tempdir().unwrap();
        let dir = DataDir::open(home.path()).unwrap();
        let store = Store::open(&dir, Clock::default()).await.unwrap();
        for device in ["a", "b", "a"] {
            store.append_events(&[motion(device)]).await.unwrap();
        }
        store.close().await;
        let store = Store::open(&dir, Clock::default()).await.unwrap();
        assert_eq!(store.append_events(&[motion("b")]).await.unwrap(), [4]);
        let seqs = |events: Vec<Event>| events.iter().map(|event| event.seq).collect::<Vec<_>>();
        assert_eq!(seqs(store.events(None, None, 2).await.unwrap()), [4, 3]);
        assert_eq!(seqs(store.events(Some(3), None, 10).await.unwrap()), [2, 1]);
        assert_eq!(seqs(store.events(None, Some("a"), 10).await.unwrap()), [3, 1]);
        assert_eq!(store.events(Some(2), None, 1).await.unwrap()[0], Event { seq: 1, ..motion("a") });
    }

    #[tokio::test]
    async fn old_events_go_and_their_numbers_are_not_given_again() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        let many = vec![motion("a"); usize::try_from(EVENTS_KEPT_MAX + EVENTS_PER_SWEEP).unwrap()];
        store.append_events(&many).await.unwrap();
        let kept = store.events(None, None, u32::MAX).await.unwrap();
        assert_eq!((kept.len(), kept[0].seq), (1000, EVENTS_KEPT_MAX + EVENTS_PER_SWEEP));
        sqlx::query("DELETE FROM events").execute(&store.writer).await.unwrap();
        assert_eq!(store.append_events(&[motion("a")]).await.unwrap(), [EVENTS_KEPT_MAX + EVENTS_PER_SWEEP + 1]);
    }
}

//! The table `marks`: what was noted about a device's pictures.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    sqlite::Row,
};
use crate::marks::{Area, Mark, NewMark};
use sightline_signal::DeviceId;
use sqlx::Row as _;

/// Marks of a device that are kept: a week of one a minute. Then the oldest of its marks go.
const MARKS_PER_DEVICE_MAX: i64 = 10_000;
/// How many come between two deletions of old ones.
const MARKS_PER_SWEEP: i64 = 50;

impl Store {
    /// A device's marks that touch `from` to `to` (milliseconds since 1970, `to` exclusive), newest first, from behind `before` on.
    pub(crate) async fn marks(
        &self,
        device: &DeviceId,
        (from, to): (i64, i64),
        before: Option<(i64, i64)>,
        limit: u32,
    ) -> Result<Vec<Mark>, StoreError> {
        let (before_ms, before_id) = before.unwrap_or((i64::MAX, i64::MAX));
        let select = sqlx::query(
            "SELECT id, at_ms, duration_ms, kind, label, score, box, note, created_at FROM marks \
             WHERE device = $1 AND at_ms + duration_ms >= $2 AND at_ms < $3 AND (at_ms < $4 OR (at_ms = $4 AND id < $5)) \
             ORDER BY at_ms DESC, id DESC LIMIT $6",
        );
        let select = select.bind(device.as_str()).bind(from).bind(to).bind(before_ms).bind(before_id).bind(i64::from(limit));
        let rows = select.fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(mark_of).collect()).at(&self.path)
    }
}

impl Write<'_> {
    /// Adds one; gives its number.
    pub(crate) async fn add_mark(&mut self, device: &DeviceId, mark: &NewMark, created_at: i64) -> Result<i64, StoreError> {
        let insert = sqlx::query_scalar(
            "INSERT INTO marks (device, at_ms, duration_ms, kind, label, score, box, note, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING id",
        );
        let area = mark.area.map(|area| serde_json::to_string(&area).unwrap_or_default());
        let insert = insert.bind(device.as_str()).bind(mark.at).bind(mark.duration_ms).bind(&mark.kind).bind(&mark.label);
        let insert = insert.bind(mark.score).bind(area).bind(&mark.text).bind(created_at);
        let id: i64 = insert.fetch_one(&mut *self.tx).await.at(&self.store.path)?;
        if id % MARKS_PER_SWEEP == 0 {
            let old = sqlx::query(
                "DELETE FROM marks WHERE device = $1 AND at_ms < \
                 (SELECT at_ms FROM marks WHERE device = $1 ORDER BY at_ms DESC LIMIT 1 OFFSET $2)",
            );
            old.bind(device.as_str()).bind(MARKS_PER_DEVICE_MAX - 1).execute(&mut *self.tx).await.at(&self.store.path)?;
        }
        Ok(id)
    }
}

fn mark_of(row: &Row) -> Result<Mark, sqlx::Error> {
    let area: Option<String> = row.try_get(6)?;
    let decode = |error| sqlx::Error::Decode(Box::new(error));
    Ok(Mark {
        id: row.try_get(0)?,
        at: row.try_get(1)?,
        duration_ms: row.try_get(2)?,
        kind: row.try_get(3)?,
        label: row.try_get(4)?,
        score: row.try_get(5)?,
        area: area.map(|text| serde_json::from_str::<Area>(&text).map_err(decode)).transpose()?,
        text: row.try_get(7)?,
        created_at: row.try_get(8)?,
    })
}

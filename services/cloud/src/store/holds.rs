//! The table `holds`: recordings that are to stay.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    sqlite::Row,
};
use sqlx::Row as _;

/// A hold as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct HoldRow {
    /// Its number; 0 before it has one.
    pub(crate) id: i64,
    pub(crate) device: String,
    /// Milliseconds since 1970.
    pub(crate) from: i64,
    /// Milliseconds since 1970.
    pub(crate) to: i64,
    pub(crate) reason: String,
    /// Seconds since 1970; `None`: when it is taken back.
    pub(crate) ends_at: Option<i64>,
    /// Who has set it, as in the audit log.
    pub(crate) actor: String,
    /// Seconds since 1970.
    pub(crate) created_at: i64,
}

impl Store {
    /// Those that hold at a time (seconds since 1970), by number, of one device or of all.
    pub(crate) async fn holds(&self, device: Option<&str>, now: i64) -> Result<Vec<HoldRow>, StoreError> {
        let select = sqlx::query(
            "SELECT id, device, from_ms, to_ms, reason, ends_at, actor, created_at FROM holds \
             WHERE (ends_at IS NULL OR ends_at > $1) AND ($2 = '' OR device = $2) ORDER BY id",
        );
        let select = select.bind(now).bind(device.unwrap_or_default());
        let rows = select.fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(hold_of).collect()).at(&self.path)
    }
}

impl Write<'_> {
    /// How many hold at a time.
    pub(crate) async fn holds(&mut self, now: i64) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM holds WHERE ends_at IS NULL OR ends_at > $1").bind(now);
        count.fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Adds one; gives its number. Those that have ended go: the audit log has them.
    pub(crate) async fn add_hold(&mut self, hold: &HoldRow) -> Result<i64, StoreError> {
        let ended = sqlx::query("DELETE FROM holds WHERE ends_at <= $1").bind(hold.created_at);
        ended.execute(&mut *self.tx).await.at(&self.store.path)?;
        let insert = sqlx::query_scalar(
            "INSERT INTO holds (device, from_ms, to_ms, reason, ends_at, actor, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING id",
        );
        let insert = insert.bind(&hold.device).bind(hold.from).bind(hold.to).bind(&hold.reason).bind(hold.ends_at);
        insert.bind(&hold.actor).bind(hold.created_at).fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Takes one back; gives it.
    pub(crate) async fn remove_hold(&mut self, id: i64) -> Result<Option<HoldRow>, StoreError> {
        let delete =
            sqlx::query("DELETE FROM holds WHERE id = $1 RETURNING id, device, from_ms, to_ms, reason, ends_at, actor, created_at");
        let row = delete.bind(id).fetch_optional(&mut *self.tx).await.at(&self.store.path)?;
        row.as_ref().map(hold_of).transpose().at(&self.store.path)
    }
}

fn hold_of(row: &Row) -> Result<HoldRow, sqlx::Error> {
    Ok(HoldRow {
        id: row.try_get(0)?,
        device: row.try_get(1)?,
        from: row.try_get(2)?,
        to: row.try_get(3)?,
        reason: row.try_get(4)?,
        ends_at: row.try_get(5)?,
        actor: row.try_get(6)?,
        created_at: row.try_get(7)?,
    })
}

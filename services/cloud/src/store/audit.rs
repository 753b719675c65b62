//! The tables `audit` and `audit_head`. Rows are appended in the transaction of the operation that they log.
//!
//! No secrets go in: callers pass names, addresses, counts and codes.

use super::{
    Store, Write,
    actor::{Action, Actor},
    error::{At as _, StoreError},
    sqlite::Row,
};
use crate::audit::{
    chain::{AuditEntry, Columns, Flaw, Head, StoredRow, Verdict},
    head_file,
};
use serde_json::Value;
use sqlx::Row as _;

/// Rows that are verified at a time: a log of years does not fit into memory.
const ROWS_PER_PAGE: i64 = 1000;

impl Write<'_> {
    /// Ends the operation: logs it and commits. The transaction has the write lock, so the chain has one writer.
    pub(crate) async fn commit(mut self, action: Action, subject: &str, detail: Value) -> Result<(), StoreError> {
        let path = &self.store.path;
        let row = sqlx::query("SELECT count, hash FROM audit_head WHERE id = 1").fetch_one(&mut *self.tx).await.at(path)?;
        let before = Head { count: row.try_get(0).at(path)?, hash: row.try_get(1).at(path)? };
        let (seq, time) = (before.count + 1, self.store.clock.unix_secs());
        let (actor, action, detail) = (self.actor.to_string(), action.as_str(), detail.to_string());
        let head = before.followed_by(&Columns {
            seq: seq.to_string().as_bytes(),
            time: time.to_string().as_bytes(),
            actor: actor.as_bytes(),
            action: action.as_bytes(),
            subject: subject.as_bytes(),
            detail: detail.as_bytes(),
        });
        sqlx::query(
            "INSERT INTO audit (seq, time, actor, action, subject, detail, prev_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(seq)
        .bind(time)
        .bind(&actor)
        .bind(action)
        .bind(subject)
        .bind(&detail)
        .bind(&before.hash)
        .bind(&head.hash)
        .execute(&mut *self.tx)
        .await
        .at(path)?;
        let update = sqlx::query("UPDATE audit_head SET count = $1, hash = $2 WHERE id = 1").bind(head.count).bind(&head.hash);
        update.execute(&mut *self.tx).await.at(path)?;
        self.tx.commit().await.at(path)?;
        head_file::save(&self.store.audit_head, &head);
        metrics::counter!("sightline_audit_rows_total").increment(1);
        Ok(())
    }
}

impl Store {
    /// Logs what changed nothing: a refusal, a command. A row that can't be written is reported and lost.
    pub(crate) async fn log(&self, actor: &Actor, action: Action, subject: &str, detail: Value) {
        let logged = match self.write(actor).await {
            Ok(write) => write.commit(action, subject, detail).await,
            Err(error) => Err(error),
        };
        if let Err(error) = logged {
            tracing::error!(%error, action = action.as_str(), subject, "not written to the audit log");
        }
    }

    /// Entries below `before` (exclusive; `None`: from the end), newest first.
    pub(crate) async fn audit_entries(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditEntry>, StoreError> {
        let rows =
            sqlx::query("SELECT seq, time, actor, action, subject, detail, hash FROM audit WHERE seq < $1 ORDER BY seq DESC LIMIT $2")
                .bind(before.unwrap_or(i64::MAX))
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await;
        rows.and_then(|rows| rows.iter().map(entry_of).collect()).at(&self.path)
    }

    /// Checks every row and both copies of the head.
    pub(crate) async fn verify_audit(&self) -> Result<Verdict, StoreError> {
        let file = head_file::load(&self.audit_head);
        let mut file_fits = file.as_ref().is_none_or(|file| file.count == 0);
        let mut head = Head::empty();
        loop {
            let rows = sqlx::query(
                "SELECT seq, time, actor, action, subject, detail, prev_hash, hash FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2",
            )
            .bind(head.count)
            .bind(ROWS_PER_PAGE)
            .fetch_all(&self.pool)
            .await;
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => return Ok(Verdict::Broken { seq: head.count + 1, reason: format!("the database can't read it: {error}") }),
            };
            if rows.is_empty() {
                break;
            }
            for row in &rows {
                match check(&head, row) {
                    Ok(next) => head = next,
                    Err(flaw) => return Ok(Verdict::Broken { seq: head.count + 1, reason: flaw.to_string() }),
                }
                file_fits |= file.as_ref() == Some(&head);
            }
        }
        let row = sqlx::query("SELECT count, hash FROM audit_head WHERE id = 1").fetch_optional(&self.pool).await.at(&self.path)?;
        let kept = row.map(|row| Head { count: row.try_get(0).unwrap_or(-1), hash: row.try_get(1).unwrap_or_default() });
        let expected = kept.iter().chain(&file).map(|head| head.count).max().unwrap_or(0);
        if expected > head.count {
            return Ok(Verdict::Truncated { rows: head.count, rows_expected: expected });
        }
        if kept.as_ref() != Some(&head) || !file_fits {
            let which = if file_fits { "the row audit_head" } else { "the file audit.head" };
            return Ok(Verdict::Broken { seq: head.count, reason: format!("{which} names another chain") });
        }
        Ok(Verdict::Intact { rows: head.count, head: head.hash })
    }
}

fn check(head: &Head, row: &Row) -> Result<Head, Flaw> {
    let unreadable = |column: usize| move |error: sqlx::Error| Flaw::Unreadable { column, problem: error.to_string() };
    // Unchecked: a text's bytes are wanted, whether they are still a text or not.
    let bytes = |column: usize| row.try_get_unchecked::<&[u8], _>(column).map_err(unreadable(column));
    let number = |column: usize| row.try_get::<i64, _>(column).map(|number| number.to_string()).map_err(unreadable(column));
    let (seq, time) = (number(0)?, number(1)?);
    let columns =
        Columns { seq: seq.as_bytes(), time: time.as_bytes(), actor: bytes(2)?, action: bytes(3)?, subject: bytes(4)?, detail: bytes(5)? };
    head.check(&StoredRow { columns, prev_hash: bytes(6)?, hash: bytes(7)? })
}

fn entry_of(row: &Row) -> Result<AuditEntry, sqlx::Error> {
    Ok(AuditEntry {
        seq: row.try_get(0)?,
        time: row.try_get(1)?,
        actor: row.try_get(2)?,
        action: row.try_get(3)?,
        subject: row.try_get(4)?,
        detail: row.try_get(5)?,
        hash: row.try_get(6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, data_dir::DataDir};
    use serde_json::json;

    async fn log_of(rows: i64) -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        for row in 0..rows {
            store.log(&Actor::Cli, Action::DeviceAdd, "cam", json!({ "row": row })).await;
        }
        (home, store)
    }

    /// Flips a bit of one byte of row 3, checks, and flips it back; false where the column has no such byte.
    async fn flip(store: &Store, column: &str, byte: usize) -> bool {
        let select = format!("SELECT CAST({column} AS BLOB) FROM audit WHERE seq = 3");
        let update = format!("UPDATE audit SET {column} = CAST($1 AS TEXT) WHERE seq = 3");
        let was: Vec<u8> = sqlx::query_scalar(sqlx::AssertSqlSafe(select)).fetch_one(&store.pool).await.unwrap();
        let mut is = was.clone();
        let Some(flipped) = is.get_mut(byte) else { return false };
        *flipped ^= 1 << (byte % 8);
        sqlx::query(sqlx::AssertSqlSafe(update.clone())).bind(&is).execute(&store.pool).await.unwrap();
        let verdict = store.verify_audit().await.unwrap();
        assert!(matches!(verdict, Verdict::Broken { seq: 3, .. }), "{column} byte {byte}: {verdict:?}");
        sqlx::query(sqlx::AssertSqlSafe(update)).bind(&was).execute(&store.pool).await.unwrap();
        true
    }

    #[tokio::test]
    async fn any_flipped_bit_is_found_and_its_row_named() {
        let (_home, store) = log_of(5).await;
        assert!(matches!(store.verify_audit().await.unwrap(), Verdict::Intact { rows: 5, .. }));
        for column in ["time", "actor", "action", "subject", "detail", "prev_hash", "hash"] {
            let mut byte = 0;
            while flip(&store, column, byte).await {
                byte += 1;
            }
            assert!(byte > 2);
        }
        assert!(matches!(store.verify_audit().await.unwrap(), Verdict::Intact { .. }));
    }

    #[tokio::test]
    async fn rows_cut_off_at_the_end_are_noticed_even_with_the_head_row_mended() {
        let (_home, store) = log_of(4).await;
        sqlx::query("DELETE FROM audit WHERE seq > 2").execute(&store.pool).await.unwrap();
        assert_eq!(store.verify_audit().await.unwrap(), Verdict::Truncated { rows: 2, rows_expected: 4 });
        sqlx::query("UPDATE audit_head SET count = 2, hash = (SELECT hash FROM audit WHERE seq = 2)").execute(&store.pool).await.unwrap();
        assert_eq!(store.verify_audit().await.unwrap(), Verdict::Truncated { rows: 2, rows_expected: 4 });
        sqlx::query("DELETE FROM audit WHERE seq = 1").execute(&store.pool).await.unwrap();
        assert!(matches!(store.verify_audit().await.unwrap(), Verdict::Broken { seq: 1, .. }));
    }
}

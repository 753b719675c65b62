//! The tables `audit` and `audit_head`. Rows are appended in the transaction of the operation that they log.
//!
//! No secrets go in: callers pass names, addresses, counts and codes.

use super::{
    Store, Write,
    actor::{Action, Actor},
    error::{At as _, StoreError},
    sqlite::{Connection, Row, Transaction},
};
use crate::audit::{
    chain::{AuditEntry, Columns, Flaw, Head, StoredRow, Verdict},
    head_file,
};
use serde_json::{Value, json};
use sqlx::Row as _;
use std::sync::PoisonError;

/// Rows that are verified at a time: a log of years does not fit into memory.
const ROWS_PER_PAGE: i64 = 1000;

impl Write<'_> {
    /// Ends the operation: logs it and commits. The transaction has the write lock, so the chain has one writer.
    pub(crate) async fn commit(mut self, action: Action, subject: &str, detail: Value) -> Result<(), StoreError> {
        let (store, path) = (self.store, &self.store.path);
        let before = self.head_checked().await?;
        let head = append(&mut self.tx, &before, store.clock.unix_secs(), self.actor, action, subject, &detail).await.at(path)?;
        // The connection is kept until the copies are written, so that no older head comes after a newer one.
        let _committed = self.tx.commit().await.at(path)?;
        store.know_audit_head(&head);
        metrics::counter!("sightline_audit_rows_total").increment(1);
        Ok(())
    }

    /// Ends the operation with several rows. All are there, or none.
    pub(crate) async fn commit_all(mut self, rows: &[(Action, String, Value)]) -> Result<(), StoreError> {
        let (store, path) = (self.store, &self.store.path);
        let mut head = self.head_checked().await?;
        let now = store.clock.unix_secs();
        for (action, subject, detail) in rows {
            head = append(&mut self.tx, &head, now, self.actor, *action, subject, detail).await.at(path)?;
        }
        let _committed = self.tx.commit().await.at(path)?;
        store.know_audit_head(&head);
        metrics::counter!("sightline_audit_rows_total").increment(rows.len() as u64);
        Ok(())
    }

    /// The head that the next row follows. Where the log no longer holds what was known of it, a row says so first.
    async fn head_checked(&mut self) -> Result<Head, StoreError> {
        let path = &self.store.path;
        let head = head_of(&mut self.tx).await.at(path)?;
        let Some(known) = self.store.known_audit_head() else { return Ok(head) };
        if contains(&mut self.tx, &head, &known).await.at(path)? {
            return Ok(head);
        }
        let found = json!({ "rows_known": known.count, "hash_known": known.hash, "rows_found": head.count });
        tracing::error!(rows_known = known.count, rows_found = head.count, "rows of the audit log are gone, or it was rewritten");
        metrics::counter!("sightline_audit_gaps_total").increment(1);
        append(&mut self.tx, &head, self.store.clock.unix_secs(), &Actor::System, Action::AuditGap, "audit", &found).await.at(path)
    }
}

/// Appends a row behind `before`; gives the head after it.
async fn append(
    tx: &mut Transaction,
    before: &Head,
    time: i64,
    actor: &Actor,
    action: Action,
    subject: &str,
    detail: &Value,
) -> Result<Head, sqlx::Error> {
    let (seq, actor, action, detail) = (before.count + 1, actor.to_string(), action.as_str(), detail.to_string());
    let head = before.followed_by(&Columns {
        seq: seq.to_string().as_bytes(),
        time: time.to_string().as_bytes(),
        actor: actor.as_bytes(),
        action: action.as_bytes(),
        subject: subject.as_bytes(),
        detail: detail.as_bytes(),
    });
    sqlx::query("INSERT INTO audit (seq, time, actor, action, subject, detail, prev_hash, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
        .bind(seq)
        .bind(time)
        .bind(&actor)
        .bind(action)
        .bind(subject)
        .bind(&detail)
        .bind(&before.hash)
        .bind(&head.hash)
        .execute(&mut **tx)
        .await?;
    let update = sqlx::query("UPDATE audit_head SET count = $1, hash = $2 WHERE id = 1").bind(head.count).bind(&head.hash);
    update.execute(&mut **tx).await?;
    Ok(head)
}

/// The head as the table has it.
async fn head_of(connection: &mut Connection) -> Result<Head, sqlx::Error> {
    let row = sqlx::query("SELECT count, hash FROM audit_head WHERE id = 1").fetch_one(connection).await?;
    Ok(Head { count: row.try_get(0)?, hash: row.try_get(1)? })
}

/// Whether the log that ends with `head` holds the head that was known before.
async fn contains(connection: &mut Connection, head: &Head, known: &Head) -> Result<bool, sqlx::Error> {
    if known.count == head.count || known.count == 0 {
        return Ok(known.count == 0 || known.hash == head.hash);
    }
    // Of a longer log than this one there is no row.
    let row = sqlx::query_scalar("SELECT hash FROM audit WHERE seq = $1").bind(known.count);
    let hash: Option<String> = row.fetch_optional(connection).await?;
    Ok(known.count < head.count && hash.as_ref() == Some(&known.hash))
}

impl Store {
    /// The longest head that this process or the file beside the database knows.
    fn known_audit_head(&self) -> Option<Head> {
        let own = self.audit_known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        own.into_iter().chain(head_file::load(&self.audit_head)).max_by_key(|head| head.count)
    }

    /// Keeps the head in both copies.
    fn know_audit_head(&self, head: &Head) {
        *self.audit_known.lock().unwrap_or_else(PoisonError::into_inner) = Some(head.clone());
        head_file::save(&self.audit_head, head);
    }

    /// Compares the log with the copy of its head. A difference becomes a row at once, not only with the next operation.
    pub(super) async fn check_audit_at_start(&self) -> Result<(), StoreError> {
        let Some(known) = self.known_audit_head() else { return Ok(()) };
        let mut connection = self.pool.acquire().await.at(&self.path)?;
        let head = head_of(&mut connection).await.at(&self.path)?;
        if head.count == 0 && known.count > 0 {
            return Err(StoreError::Lost { path: self.path.to_path_buf(), rows: known.count });
        }
        if contains(&mut connection, &head, &known).await.at(&self.path)? {
            return Ok(());
        }
        drop(connection);
        let mut write = self.write(&Actor::System).await?;
        let head = write.head_checked().await?;
        let _committed = write.tx.commit().await.at(&self.path)?;
        self.know_audit_head(&head);
        Ok(())
    }

    /// The head as the database has it.
    pub(crate) async fn audit_head(&self) -> Result<Head, StoreError> {
        let mut connection = self.pool.acquire().await.at(&self.path)?;
        head_of(&mut connection).await.at(&self.path)
    }

    /// `None` if the log holds a head of before; otherwise the number of its rows.
    pub(crate) async fn holds_audit_head(&self, known: &Head) -> Result<Option<i64>, StoreError> {
        let mut connection = self.pool.acquire().await.at(&self.path)?;
        let head = head_of(&mut connection).await.at(&self.path)?;
        let is_held = contains(&mut connection, &head, known).await.at(&self.path)?;
        Ok((!is_held).then_some(head.count))
    }

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
                if row.try_get(3).is_ok_and(|action: &str| action == Action::AuditGap.as_str()) {
                    let detail: String = row.try_get(5).unwrap_or_default();
                    return Ok(Verdict::Broken { seq: head.count, reason: Flaw::Gap(detail).to_string() });
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
        sqlx::query(sqlx::AssertSqlSafe(update.clone())).bind(&is).execute(&store.writer).await.unwrap();
        let verdict = store.verify_audit().await.unwrap();
        assert!(matches!(verdict, Verdict::Broken { seq: 3, .. }), "{column} byte {byte}: {verdict:?}");
        sqlx::query(sqlx::AssertSqlSafe(update)).bind(&was).execute(&store.writer).await.unwrap();
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
        sqlx::query("DELETE FROM audit WHERE seq > 2").execute(&store.writer).await.unwrap();
        assert_eq!(store.verify_audit().await.unwrap(), Verdict::Truncated { rows: 2, rows_expected: 4 });
        sqlx::query("UPDATE audit_head SET count = 2, hash = (SELECT hash FROM audit WHERE seq = 2)").execute(&store.writer).await.unwrap();
        assert_eq!(store.verify_audit().await.unwrap(), Verdict::Truncated { rows: 2, rows_expected: 4 });
        sqlx::query("DELETE FROM audit WHERE seq = 1").execute(&store.writer).await.unwrap();
        assert!(matches!(store.verify_audit().await.unwrap(), Verdict::Broken { seq: 1, .. }));
    }

    /// attacks.md 8: the next operation used to make a cut log whole again.
    #[tokio::test]
    async fn a_cut_log_stays_cut_whatever_is_logged_after_it() {
        for is_restarted in [false, true] {
            let (home, mut store) = log_of(4).await;
            sqlx::query("DELETE FROM audit WHERE seq > 2").execute(&store.writer).await.unwrap();
            let mend = "UPDATE audit_head SET count = 2, hash = (SELECT hash FROM audit WHERE seq = 2)";
            sqlx::query(mend).execute(&store.writer).await.unwrap();
            if is_restarted {
                store.close().await;
                store = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
            }
            for _ in 0..3 {
                store.log(&Actor::Cli, Action::DeviceAdd, "cam", json!({})).await;
            }
            let verdict = store.verify_audit().await.unwrap();
            assert!(matches!(&verdict, Verdict::Broken { seq: 3, reason } if reason.contains("\"rows_known\":4")), "{verdict:?}");
            let entries = store.audit_entries(None, 10).await.unwrap();
            assert_eq!(entries.iter().filter(|entry| entry.action == "audit.gap").count(), 1);
        }
    }

    #[tokio::test]
    async fn a_log_that_another_process_has_gone_on_with_has_no_gap() {
        let (home, store) = log_of(2).await;
        let other = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        for store in [&other, &other, &store, &other, &store] {
            store.log(&Actor::Cli, Action::DeviceAdd, "cam", json!({})).await;
        }
        assert!(matches!(store.verify_audit().await.unwrap(), Verdict::Intact { rows: 7, .. }));
        // A crash between a commit and the file's renewal: the file is behind, and that is no fault.
        head_file::save(&store.audit_head, &Head { count: 1, hash: store.audit_entries(Some(2), 1).await.unwrap().remove(0).hash });
        let again = Store::open(&DataDir::open(home.path()).unwrap(), Clock::default()).await.unwrap();
        assert!(matches!(again.verify_audit().await.unwrap(), Verdict::Intact { rows: 7, .. }));
    }

    #[tokio::test]
    async fn a_database_that_was_lost_is_not_taken_for_a_first_start() {
        let (home, store) = log_of(2).await;
        store.close().await;
        for file in ["sightline.sqlite", "sightline.sqlite-wal", "sightline.sqlite-shm"] {
            let _ = std::fs::remove_file(home.path().join(file));
        }
        let dir = DataDir::open(home.path()).unwrap();
        let error = Store::open(&dir, Clock::default()).await.unwrap_err();
        assert!(matches!(error, StoreError::Lost { rows: 2, .. }), "{error}");
        std::fs::remove_file(dir.audit_head()).unwrap();
        assert!(Store::open(&dir, Clock::default()).await.is_ok());
    }

    #[tokio::test]
    async fn heads_that_are_written_at_once_end_with_the_newest() {
        let (_home, store) = log_of(1).await;
        let writes = (0..40).map(|_| store.log(&Actor::Cli, Action::DeviceAdd, "cam", Value::Null));
        futures_util::future::join_all(writes).await;
        assert_eq!(head_file::load(&store.audit_head).unwrap().count, 41);
        assert!(matches!(store.verify_audit().await.unwrap(), Verdict::Intact { rows: 41, .. }));
    }
}

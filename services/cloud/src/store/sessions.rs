//! The tables `sessions` and `api_tokens`: by what people and their programs are known.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    group_path,
    sqlite::Row,
    users::{role, user_name},
};
use crate::people::{grants::Grant, names::UserName};
use sqlx::Row as _;

/// Sessions of one person: browsers, telephones, walls of pictures. Above it the oldest end.
const SESSIONS_PER_USER_MAX: i64 = 100;
/// How long a session that has ended is remembered: who comes from there again is no stranger.
const SESSIONS_REMEMBERED_SEC: i64 = 30 * 86_400;

/// A session that has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SessionRow {
    pub(crate) user: UserName,
    /// Seconds since 1970.
    pub(crate) ends_at: i64,
}

/// An API token as it is stored. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ApiTokenRow {
    pub(crate) id: String,
    pub(crate) user: UserName,
    pub(crate) name: String,
    /// At most this, of what its user may do.
    pub(crate) limit: Grant,
    pub(crate) created_at: i64,
    pub(crate) ends_at: i64,
}

impl Store {
    /// The session of a cookie, while it lasts.
    pub(crate) async fn session(&self, sha256: &[u8]) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query("SELECT user_name, ends_at FROM sessions WHERE sha256 = $1 AND ends_at > $2");
        let row = row.bind(sha256).bind(self.clock.unix_secs()).fetch_optional(&self.pool).await;
        let session = |row: Row| Ok(SessionRow { user: user_name(&row, 0)?, ends_at: row.try_get(1)? });
        row.and_then(|row| row.map(session).transpose()).at(&self.path)
    }

    /// Whether someone has signed in from an address lately.
    pub(crate) async fn has_signed_in_from(&self, user: &UserName, address: &str) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM sessions WHERE user_name = $1 AND address = $2");
        let count: i64 = count.bind(user.as_str()).bind(address).fetch_one(&self.pool).await.at(&self.path)?;
        Ok(count != 0)
    }

    /// Forgets sessions that ended long ago, and tokens that have ended as long.
    pub(crate) async fn drop_old_sessions(&self) -> Result<(), StoreError> {
        let before = self.clock.unix_secs() - SESSIONS_REMEMBERED_SEC;
        for statement in ["DELETE FROM sessions WHERE ends_at < $1", "DELETE FROM api_tokens WHERE ends_at < $1"] {
            sqlx::query(statement).bind(before).execute(&self.writer).await.at(&self.path)?;
        }
        Ok(())
    }

    /// A token by its hash, while it lasts.
    pub(crate) async fn api_token(&self, sha256: &[u8]) -> Result<Option<ApiTokenRow>, StoreError> {
        let row = sqlx::query(
            "SELECT id, user_name, name, role, group_path, created_at, ends_at FROM api_tokens WHERE sha256 = $1 AND ends_at > $2",
        );
        let row = row.bind(sha256).bind(self.clock.unix_secs()).fetch_optional(&self.pool).await;
        row.and_then(|row| row.as_ref().map(token_of).transpose()).at(&self.path)
    }

    /// All tokens, by id; of one user, or of all.
    pub(crate) async fn api_tokens(&self, user: Option<&UserName>) -> Result<Vec<ApiTokenRow>, StoreError> {
        let rows = sqlx::query("SELECT id, user_name, name, role, group_path, created_at, ends_at FROM api_tokens ORDER BY id");
        let rows = rows.fetch_all(&self.pool).await;
        let mut tokens: Vec<ApiTokenRow> = rows.and_then(|rows| rows.iter().map(token_of).collect()).at(&self.path)?;
        tokens.retain(|token| user.is_none_or(|user| token.user == *user));
        Ok(tokens)
    }
}

impl Write<'_> {
    /// Begins a session; where someone has too many, the oldest end.
    pub(crate) async fn add_session(&mut self, sha256: &[u8], user: &UserName, address: &str, ends_at: i64) -> Result<(), StoreError> {
        let (path, now) = (&self.store.path, self.store.clock.unix_secs());
        let insert = sqlx::query("INSERT INTO sessions (sha256, user_name, address, created_at, ends_at) VALUES ($1, $2, $3, $4, $5)");
        let insert = insert.bind(sha256).bind(user.as_str()).bind(address).bind(now).bind(ends_at);
        insert.execute(&mut *self.tx).await.at(path)?;
        let surplus = sqlx::query(
            "DELETE FROM sessions WHERE user_name = $1 AND sha256 NOT IN \
             (SELECT sha256 FROM sessions WHERE user_name = $1 ORDER BY created_at DESC, ends_at DESC LIMIT $2)",
        );
        surplus.bind(user.as_str()).bind(SESSIONS_PER_USER_MAX).execute(&mut *self.tx).await.map(drop).at(path)
    }

    /// Ends one session. False: there was none.
    pub(crate) async fn end_session(&mut self, sha256: &[u8]) -> Result<bool, StoreError> {
        let now = self.store.clock.unix_secs();
        let update = sqlx::query("UPDATE sessions SET ends_at = $2 WHERE sha256 = $1 AND ends_at > $2").bind(sha256).bind(now);
        update.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// Ends all sessions of someone but for one.
    pub(crate) async fn end_sessions(&mut self, user: &UserName, but: &[u8]) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE sessions SET ends_at = $2 WHERE user_name = $1 AND ends_at > $2 AND sha256 <> $3");
        let update = update.bind(user.as_str()).bind(self.store.clock.unix_secs()).bind(but);
        update.execute(&mut *self.tx).await.map(drop).at(&self.store.path)
    }

    /// How many tokens someone has.
    pub(crate) async fn api_tokens(&mut self, user: &UserName) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM api_tokens WHERE user_name = $1").bind(user.as_str());
        count.fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Adds one.
    pub(crate) async fn add_api_token(&mut self, token: &ApiTokenRow, sha256: &[u8]) -> Result<(), StoreError> {
        let insert = sqlx::query(
            "INSERT INTO api_tokens (id, sha256, user_name, name, role, group_path, created_at, ends_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        );
        let insert = insert.bind(&token.id).bind(sha256).bind(token.user.as_str()).bind(&token.name).bind(token.limit.role.as_str());
        let insert = insert.bind(token.limit.group.as_str()).bind(token.created_at).bind(token.ends_at);
        insert.execute(&mut *self.tx).await.map(drop).at(&self.store.path)
    }

    /// Takes one back. Gives whose it was; `None`: there was none.
    pub(crate) async fn remove_api_token(&mut self, id: &str) -> Result<Option<UserName>, StoreError> {
        let delete = sqlx::query("DELETE FROM api_tokens WHERE id = $1 RETURNING user_name").bind(id);
        let row = delete.fetch_optional(&mut *self.tx).await;
        row.and_then(|row| row.map(|row| user_name(&row, 0)).transpose()).at(&self.store.path)
    }
}

fn token_of(row: &Row) -> Result<ApiTokenRow, sqlx::Error> {
    Ok(ApiTokenRow {
        id: row.try_get(0)?,
        user: user_name(row, 1)?,
        name: row.try_get(2)?,
        limit: Grant { role: role(row, 3)?, group: group_path(row, 4)? },
        created_at: row.try_get(5)?,
        ends_at: row.try_get(6)?,
    })
}

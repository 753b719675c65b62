//! The tables `users` and `grants`.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    group_path,
    sqlite::Row,
};
use crate::{
    people::{grants::Grant, names::UserName},
    secrets::Secret,
};
use sqlx::Row as _;

/// A user as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct UserRow {
    pub(crate) name: UserName,
    /// What is kept of the password; `None`: no sign-in.
    pub(crate) password: Option<Secret<String>>,
    /// Seconds since 1970.
    pub(crate) created_at: i64,
    /// By group.
    pub(crate) grants: Vec<Grant>,
}

impl Store {
    /// Whether there is any: until then, all is as for a single operator.
    pub(crate) async fn has_users(&self) -> Result<bool, StoreError> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM (SELECT 1 FROM users LIMIT 1) AS some").fetch_one(&self.pool).await.at(&self.path)?;
        Ok(count != 0)
    }

    /// One of them.
    pub(crate) async fn user(&self, name: &UserName) -> Result<Option<UserRow>, StoreError> {
        let row = sqlx::query("SELECT name, password, created_at FROM users WHERE name = $1").bind(name.as_str());
        let row = row.fetch_optional(&self.pool).await.at(&self.path)?;
        let Some(mut user) = row.map(|row| user_of(&row)).transpose().at(&self.path)? else { return Ok(None) };
        user.grants = self.grants(name).await?;
        Ok(Some(user))
    }

    /// What one of them may do.
    pub(crate) async fn grants(&self, name: &UserName) -> Result<Vec<Grant>, StoreError> {
        let rows = sqlx::query("SELECT user_name, role, group_path FROM grants WHERE user_name = $1 ORDER BY group_path");
        let rows = rows.bind(name.as_str()).fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(|row| grant_of(row).map(|(_, grant)| grant)).collect()).at(&self.path)
    }

    /// All of them, by name.
    pub(crate) async fn users(&self) -> Result<Vec<UserRow>, StoreError> {
        let rows = sqlx::query("SELECT name, password, created_at FROM users ORDER BY name").fetch_all(&self.pool).await;
        let mut users: Vec<UserRow> = rows.and_then(|rows| rows.iter().map(user_of).collect()).at(&self.path)?;
        let rows = sqlx::query("SELECT user_name, role, group_path FROM grants ORDER BY group_path").fetch_all(&self.pool).await;
        let granted: Vec<(UserName, Grant)> = rows.and_then(|rows| rows.iter().map(grant_of).collect()).at(&self.path)?;
        for (name, grant) in granted {
            if let Ok(at) = users.binary_search_by(|user| user.name.cmp(&name)) {
                users[at].grants.push(grant);
            }
        }
        Ok(users)
    }
}

impl Write<'_> {
    /// How many there are.
    pub(crate) async fn users(&mut self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// How many of them are admins of all, but for this one.
    pub(crate) async fn other_admins_of_all(&mut self, name: &UserName) -> Result<i64, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM grants WHERE role = 'admin' AND group_path = '' AND user_name <> $1");
        count.bind(name.as_str()).fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Whether one of them is an admin of all.
    pub(crate) async fn is_admin_of_all(&mut self, name: &UserName) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM grants WHERE role = 'admin' AND group_path = '' AND user_name = $1");
        let count: i64 = count.bind(name.as_str()).fetch_one(&mut *self.tx).await.at(&self.store.path)?;
        Ok(count != 0)
    }

    /// Adds one, without grants. False: there is one of this name.
    pub(crate) async fn add_user(&mut self, name: &UserName, password: Option<&str>) -> Result<bool, StoreError> {
        let insert = sqlx::query("INSERT INTO users (name, password, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING");
        let insert = insert.bind(name.as_str()).bind(password).bind(self.store.clock.unix_secs());
        insert.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// Whether there is such a user.
    pub(crate) async fn has_user(&mut self, name: &UserName) -> Result<bool, StoreError> {
        let count = sqlx::query_scalar("SELECT count(*) FROM users WHERE name = $1").bind(name.as_str());
        let count: i64 = count.fetch_one(&mut *self.tx).await.at(&self.store.path)?;
        Ok(count != 0)
    }

    /// Gives one another password, by its hash.
    pub(crate) async fn set_password(&mut self, name: &UserName, password: &str) -> Result<(), StoreError> {
        let update = sqlx::query("UPDATE users SET password = $2 WHERE name = $1").bind(name.as_str()).bind(password);
        update.execute(&mut *self.tx).await.map(drop).at(&self.store.path)
    }

    /// Grants exactly this.
    pub(crate) async fn set_grants(&mut self, name: &UserName, grants: &[Grant]) -> Result<(), StoreError> {
        let delete = sqlx::query("DELETE FROM grants WHERE user_name = $1").bind(name.as_str());
        delete.execute(&mut *self.tx).await.at(&self.store.path)?;
        for Grant { role, group } in grants {
            let insert = sqlx::query("INSERT INTO grants (user_name, group_path, role) VALUES ($1, $2, $3)");
            let insert = insert.bind(name.as_str()).bind(group.as_str()).bind(role.as_str());
            insert.execute(&mut *self.tx).await.at(&self.store.path)?;
        }
        Ok(())
    }

    /// Removes one with all that is theirs. False: there was none.
    pub(crate) async fn remove_user(&mut self, name: &UserName) -> Result<bool, StoreError> {
        for statement in [
            "DELETE FROM grants WHERE user_name = $1",
            "DELETE FROM sessions WHERE user_name = $1",
            "DELETE FROM api_tokens WHERE user_name = $1",
        ] {
            sqlx::query(statement).bind(name.as_str()).execute(&mut *self.tx).await.at(&self.store.path)?;
        }
        let delete = sqlx::query("DELETE FROM users WHERE name = $1").bind(name.as_str());
        delete.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }
}

pub(super) fn user_name(row: &Row, at: usize) -> Result<UserName, sqlx::Error> {
    UserName::new(row.try_get(at)?).map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

pub(super) fn role(row: &Row, at: usize) -> Result<crate::people::names::Role, sqlx::Error> {
    row.try_get::<&str, _>(at)?.parse().map_err(|error: crate::people::names::NameError| sqlx::Error::Decode(Box::new(error)))
}

fn user_of(row: &Row) -> Result<UserRow, sqlx::Error> {
    Ok(UserRow {
        name: user_name(row, 0)?,
        password: row.try_get::<Option<String>, _>(1)?.map(Secret::new),
        created_at: row.try_get(2)?,
        grants: Vec::new(),
    })
}

fn grant_of(row: &Row) -> Result<(UserName, Grant), sqlx::Error> {
    Ok((user_name(row, 0)?, Grant { role: role(row, 1)?, group: group_path(row, 2)? }))
}

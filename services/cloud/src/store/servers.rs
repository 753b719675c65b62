//! The tables `servers` and `draining`: servers of others, and those that are given no cameras.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    signed,
    sqlite::Row,
    unsigned,
};
use crate::{
    config::{ServerUrl, StaticServer},
    servers::id::ServerId,
};
use sqlx::Row as _;
use std::collections::BTreeSet;

impl Store {
    /// The servers that were entered, by id.
    pub(crate) async fn servers(&self) -> Result<Vec<StaticServer>, StoreError> {
        let rows = sqlx::query("SELECT id, name, region, rtmp_url, capacity_kbps FROM servers ORDER BY id").fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(server_of).collect()).at(&self.path)
    }

    /// The servers that are given no cameras.
    pub(crate) async fn draining(&self) -> Result<BTreeSet<String>, StoreError> {
        let rows: Vec<String> = sqlx::query_scalar("SELECT server FROM draining").fetch_all(&self.pool).await.at(&self.path)?;
        Ok(rows.into_iter().collect())
    }

    /// The origins that have ever reported, by id.
    pub(crate) async fn origins(&self) -> Result<Vec<String>, StoreError> {
        sqlx::query_scalar("SELECT id FROM origins ORDER BY id").fetch_all(&self.pool).await.at(&self.path)
    }
}

impl Write<'_> {
    /// How many were entered.
    pub(crate) async fn servers(&mut self) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT count(*) FROM servers").fetch_one(&mut *self.tx).await.at(&self.store.path)
    }

    /// Adds one. False: there is one of this id.
    pub(crate) async fn add_server(&mut self, server: &StaticServer, created_at: i64) -> Result<bool, StoreError> {
        let insert = sqlx::query(
            "INSERT INTO servers (id, name, region, rtmp_url, capacity_kbps, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (id) DO NOTHING",
        );
        let insert = insert.bind(&server.id).bind(&server.name).bind(&server.region).bind(server.rtmp_url.reveal());
        let insert = insert.bind(signed(server.capacity_kbps)).bind(created_at);
        insert.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// Removes one that was entered. False: there was none.
    pub(crate) async fn remove_server(&mut self, id: &ServerId) -> Result<bool, StoreError> {
        let delete = sqlx::query("DELETE FROM servers WHERE id = $1").bind(id.as_str());
        delete.execute(&mut *self.tx).await.map(|done| done.rows_affected() == 1).at(&self.store.path)
    }

    /// Gives a server no cameras any more, or cameras again.
    pub(crate) async fn drain_server(&mut self, id: &ServerId, is_draining: bool, since: i64) -> Result<(), StoreError> {
        let change = if is_draining {
            sqlx::query("INSERT INTO draining (server, since) VALUES ($1, $2) ON CONFLICT (server) DO NOTHING")
                .bind(id.as_str())
                .bind(since)
        } else {
            sqlx::query("DELETE FROM draining WHERE server = $1").bind(id.as_str())
        };
        change.execute(&mut *self.tx).await.map(drop).at(&self.store.path)
    }
}

fn server_of(row: &Row) -> Result<StaticServer, sqlx::Error> {
    Ok(StaticServer {
        id: row.try_get(0)?,
        name: row.try_get(1)?,
        region: row.try_get(2)?,
        rtmp_url: ServerUrl::new(row.try_get(3)?),
        capacity_kbps: unsigned(row.try_get(4)?),
    })
}

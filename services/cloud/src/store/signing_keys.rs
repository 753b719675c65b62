//! The table `signing_keys`: the set of previous, current and next.

use super::{
    Store, Write,
    error::{At as _, StoreError},
    sqlite::{Row, Transaction},
};
use crate::secrets::Secret;
use sqlx::Row as _;

/// Where a key is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    Previous,
    Current,
    Next,
}

impl Slot {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Previous => "previous",
            Self::Current => "current",
            Self::Next => "next",
        }
    }
}

/// A private key, as PKCS#8.
pub(crate) type Pkcs8 = Secret<Vec<u8>>;

/// A key as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct SigningKeyRow {
    pub(crate) kid: String,
    /// `None`: a slot that this version does not know.
    pub(crate) slot: Option<Slot>,
    pub(crate) pkcs8: Pkcs8,
    /// Since when it is in its slot, seconds since 1970.
    pub(crate) since: i64,
}

impl Store {
    /// All keys.
    pub(crate) async fn signing_keys(&self) -> Result<Vec<SigningKeyRow>, StoreError> {
        let rows = sqlx::query("SELECT kid, slot, pkcs8, slot_since FROM signing_keys ORDER BY slot").fetch_all(&self.pool).await;
        rows.and_then(|rows| rows.iter().map(key_of).collect()).at(&self.path)
    }

    /// Fills the slots of current and next where they are empty, at the first start.
    pub(crate) async fn fill_signing_keys(&self, current: &Pkcs8, next: &Pkcs8) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for (slot, pkcs8) in [(Slot::Current, current), (Slot::Next, next)] {
            let count = sqlx::query_scalar("SELECT count(*) FROM signing_keys WHERE slot = $1").bind(slot.as_str());
            let count: i64 = count.fetch_one(&mut *tx).await.at(&self.path)?;
            if count == 0 {
                insert(&mut tx, slot, pkcs8, self.clock.unix_secs()).await.at(&self.path)?;
            }
        }
        tx.commit().await.map(drop).at(&self.path)
    }
}

impl Write<'_> {
    /// Since when there is a previous key; `None` where there is none.
    pub(crate) async fn previous_key_since(&mut self) -> Result<Option<i64>, StoreError> {
        let select = sqlx::query_scalar("SELECT slot_since FROM signing_keys WHERE slot = 'previous'");
        select.fetch_optional(&mut *self.tx).await.at(&self.store.path)
    }

    /// Moves the set on by one: next becomes current, current becomes previous.
    pub(crate) async fn rotate_signing_keys(&mut self, next: &Pkcs8) -> Result<(), StoreError> {
        let (path, now) = (&self.store.path, self.store.clock.unix_secs());
        sqlx::query("DELETE FROM signing_keys WHERE slot = 'previous'").execute(&mut *self.tx).await.at(path)?;
        for (from, to) in [(Slot::Current, Slot::Previous), (Slot::Next, Slot::Current)] {
            sqlx::query("UPDATE signing_keys SET slot = $2, slot_since = $3 WHERE slot = $1")
                .bind(from.as_str())
                .bind(to.as_str())
                .bind(now)
                .execute(&mut *self.tx)
                .await
                .at(path)?;
        }
        insert(&mut self.tx, Slot::Next, next, now).await.at(path)
    }
}

async fn insert(tx: &mut Transaction, slot: Slot, pkcs8: &Pkcs8, since: i64) -> Result<(), sqlx::Error> {
    let kids: Vec<String> = sqlx::query_scalar("SELECT kid FROM signing_keys").fetch_all(&mut **tx).await?;
    sqlx::query("INSERT INTO signing_keys (kid, slot, pkcs8, slot_since) VALUES ($1, $2, $3, $4)")
        .bind(kid_after(&kids))
        .bind(slot.as_str())
        .bind(pkcs8.reveal().as_slice())
        .bind(since)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Key ids count up: `k1`, `k2`, …
fn kid_after(kids: &[String]) -> String {
    let newest: u64 = kids.iter().filter_map(|kid| kid.strip_prefix('k')?.parse().ok()).max().unwrap_or(0);
    format!("k{}", newest.saturating_add(1))
}

fn key_of(row: &Row) -> Result<SigningKeyRow, sqlx::Error> {
    let slot: String = row.try_get(1)?;
    Ok(SigningKeyRow {
        kid: row.try_get(0)?,
        slot: [Slot::Previous, Slot::Current, Slot::Next].into_iter().find(|known| known.as_str() == slot),
        pkcs8: Secret::new(row.try_get(2)?),
        since: row.try_get(3)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_count_up_also_past_nine() {
        assert_eq!(kid_after(&[]), "k1");
        assert_eq!(kid_after(&["k9".into(), "k10".into(), "k8".into()]), "k11");
    }
}

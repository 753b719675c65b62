//! The table `allocations`: the newest allocation of each device.

use super::{
    Store, Write, device_id,
    error::{At as _, StoreError},
    signed, unsigned,
};
use sightline_signal::DeviceId;
use sqlx::Row as _;

/// A device's newest allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct AllocationRow {
    pub(crate) device: DeviceId,
    pub(crate) server: String,
    pub(crate) bitrate_kbps: u64,
    /// Seconds since 1970.
    pub(crate) issued_at: i64,
}

impl Store {
    /// The newest allocation of every device.
    pub(crate) async fn allocations(&self) -> Result<Vec<AllocationRow>, StoreError> {
        let rows = sqlx::query("SELECT device, server, bitrate_kbps, issued_at FROM allocations").fetch_all(&self.pool).await;
        let allocation = |row: &super::sqlite::Row| -> Result<AllocationRow, sqlx::Error> {
            Ok(AllocationRow {
                device: device_id(row, 0)?,
                server: row.try_get(1)?,
                bitrate_kbps: unsigned(row.try_get(2)?),
                issued_at: row.try_get(3)?,
            })
        };
        rows.and_then(|rows| rows.iter().map(allocation).collect()).at(&self.path)
    }
}

impl Write<'_> {
    /// Stores a device's allocation in place of the one before.
    pub(crate) async fn allocate(&mut self, allocation: &AllocationRow, epoch: u64) -> Result<(), StoreError> {
        let stored = sqlx::query(
            "INSERT INTO allocations (device, server, epoch, bitrate_kbps, issued_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (device) DO UPDATE SET server = excluded.server, epoch = excluded.epoch, \
             bitrate_kbps = excluded.bitrate_kbps, issued_at = excluded.issued_at",
        )
        .bind(allocation.device.as_str())
        .bind(&allocation.server)
        .bind(signed(epoch))
        .bind(signed(allocation.bitrate_kbps))
        .bind(allocation.issued_at)
        .execute(&mut *self.tx)
        .await;
        stored.map(|_| ()).at(&self.store.path)
    }
}

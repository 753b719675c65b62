//! The origin towards its operators: reports to the cloud, metrics, and the sweep.

pub(crate) mod checkpoint;
pub(crate) mod metrics;
pub(crate) mod report;
pub(crate) mod sweep;
pub(crate) mod wanted;

use crate::auth::keys::Keys;
use crate::auth::viewing::Viewing;
use crate::live::hub::Hub;
use crate::pull::PullStates;
use crate::record::health::RecordingCounts;
use crate::record::holds::Holds;
use crate::relay::{RelayRules, RelayStates};
use checkpoint::KeptCheckpoint;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What reports and the sweep may touch.
pub(crate) struct Control {
    pub(crate) server: Server,
    pub(crate) keys: Arc<Keys>,
    pub(crate) viewing: Arc<Viewing>,
    pub(crate) relays: Arc<RelayStates>,
    pub(crate) relay_rules: Arc<RelayRules>,
    pub(crate) pulls: Arc<PullStates>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) checkpoint: KeptCheckpoint,
    pub(crate) holds: Arc<Holds>,
    pub(crate) recordings: Arc<RecordingCounts>,
    pub(crate) shutdown: CancellationToken,
}

/// What the origin says about itself.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) capacity_kbps: u64,
    pub(crate) is_edge: bool,
    pub(crate) records: bool,
    /// What the settings promise; 0: nothing.
    pub(crate) keep_hours: u32,
}

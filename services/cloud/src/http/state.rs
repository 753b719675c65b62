//! What handlers may touch. Each names in its signature the parts that it needs.

use crate::{
    allocate::allocator::Allocator,
    audit::refusals::Refusals,
    clock::Clock,
    devices::{commands::Commands, on_demand::OnDemand, presence::Presence, registry::Registry, renewals::Renewals},
    events::log::EventLog,
    holds::Holds,
    hooks::Hooks,
    identity::{operators::Operators, signing_keys::SigningKeys},
    marks::Marks,
    monitoring::Monitoring,
    mqtt::bus::Bus,
    people::sessions::Sessions,
    playback::Playback,
    readiness::Readiness,
    relays::Relays,
    servers::{entered::Entered, inventory::Inventory, publishing::Publishing, reports::Reports},
    store::{Store, settings::Tables},
};
use axum::extract::FromRef;
use sightline_endpoint::Client;
use std::sync::Arc;

/// Checks settings from afar before they are written down; the error is for people.
pub type SettingsCheck = fn(&Tables) -> Result<(), String>;

/// The hash of the key that origins show.
#[derive(Clone, Debug)]
pub(crate) struct ClusterKey {
    pub(crate) sha256: [u8; 32],
}

/// All parts.
#[derive(Clone, Debug)]
pub(crate) struct Http {
    pub(crate) allocator: Arc<Allocator>,
    pub(crate) bus: Option<Bus>,
    pub(crate) client: Client,
    pub(crate) clock: Clock,
    pub(crate) cluster_key: ClusterKey,
    pub(crate) commands: Arc<Commands>,
    pub(crate) entered: Arc<Entered>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) holds: Arc<Holds>,
    pub(crate) hooks: Arc<Hooks>,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) keys: SigningKeys,
    pub(crate) marks: Arc<Marks>,
    pub(crate) monitoring: Monitoring,
    pub(crate) on_demand: Arc<OnDemand>,
    pub(crate) operators: Operators,
    pub(crate) presence: Arc<Presence>,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) settings_check: SettingsCheck,
    pub(crate) renewals: Arc<Renewals>,
    pub(crate) playback: Arc<Playback>,
    pub(crate) publishing: Arc<Publishing>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) relays: Arc<Relays>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) store: Store,
}

macro_rules! parts {
    ($($field:ident: $part:ty,)*) => {
        $(impl FromRef<Http> for $part {
            fn from_ref(http: &Http) -> Self {
                http.$field.clone()
            }
        })*
    };
}

parts! {
    allocator: Arc<Allocator>,
    bus: Option<Bus>,
    client: Client,
    clock: Clock,
    cluster_key: ClusterKey,
    commands: Arc<Commands>,
    entered: Arc<Entered>,
    events: Arc<EventLog>,
    holds: Arc<Holds>,
    hooks: Arc<Hooks>,
    inventory: Arc<Inventory>,
    keys: SigningKeys,
    monitoring: Monitoring,
    operators: Operators,
    marks: Arc<Marks>,
    on_demand: Arc<OnDemand>,
    presence: Arc<Presence>,
    readiness: Arc<Readiness>,
    renewals: Arc<Renewals>,
    playback: Arc<Playback>,
    publishing: Arc<Publishing>,
    refusals: Arc<Refusals>,
    registry: Arc<Registry>,
    relays: Arc<Relays>,
    reports: Arc<Reports>,
    sessions: Arc<Sessions>,
    settings_check: SettingsCheck,
    store: Store,
}

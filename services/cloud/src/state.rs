//! What all parts of the running cloud share.

use crate::{
    CloudError, Config,
    admin::{Registry, sha256},
    allocator::Allocator,
    authority::Authority,
    broker::{Broker, Commands},
    data_dir::{self, DataDir},
    database::Database,
    device_settings::DeviceSettings,
    inventory::Inventory,
    presence::Presence,
    signing_keys::SigningKeys,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use sightline_signal::{Command, CommandName, CommandResult, DeviceId, Text, topic::Topic};
use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, RwLock},
    time::Duration,
};

/// How long the API waits for a device's answer to a command before it says that there is none yet.
const COMMAND_RESULT_WAIT: Duration = Duration::from_secs(3);

/// The shared state.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) dir: DataDir,
    pub(crate) database: Database,
    pub(crate) registry: Registry,
    pub(crate) inventory: Arc<Inventory>,
    pub(crate) presence: Arc<Presence>,
    pub(crate) keys: Arc<RwLock<SigningKeys>>,
    pub(crate) allocator: Arc<Allocator>,
    pub(crate) commands: Arc<Commands>,
    pub(crate) settings: Arc<DeviceSettings>,
    pub(crate) broker: Option<Arc<Broker>>,
    pub(crate) cluster_key_sha256: [u8; 32],
    /// `None`: the API is open to this machine.
    pub(crate) operator_token_sha256: Option<[u8; 32]>,
    pub(crate) operator_token_path: Option<PathBuf>,
    pub(crate) metrics: PrometheusHandle,
}

/// A device that is not there can't be told anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotSent {
    /// It has no MQTT connection, or there is no broker.
    Offline,
    /// Too many commands wait for their results.
    Busy,
}

impl State {
    pub(crate) async fn open(config: &Config) -> Result<Arc<Self>, CloudError> {
        let dir = DataDir::open(&config.data_dir)?;
        let authority = Authority::open(&dir)?;
        authority.ensure_server(&config.host_names)?;
        authority.ensure_operator()?;
        let cluster_key = data_dir::read_or_make_secret(&dir.file("cluster.key"))?;
        let operator_token_path = match &config.api.operator_token_file {
            Some(path) => Some(path.clone()),
            None => (!config.http.listen.ip().is_loopback()).then(|| dir.file("operator.token")),
        };
        let operator_token = operator_token_path.as_deref().map(data_dir::read_or_make_secret).transpose()?;
        let database = Database::open(&dir).await?;
        let keys = Arc::new(RwLock::new(SigningKeys::open(&database).await?));
        let allocations = database.allocations().await.map_err(|source| database.error(source))?;
        let inventory = Arc::new(Inventory::new(&config.servers, allocations));
        let presence = Arc::new(Presence::new());
        let allocator =
            Allocator::new(database.clone(), Arc::clone(&inventory), Arc::clone(&presence), Arc::clone(&keys), config.token.ttl_sec);
        let (allocator, commands) = (Arc::new(allocator), Arc::<Commands>::default());
        let settings = Arc::new(DeviceSettings::new(database.clone()));
        let broker = config.mqtt.enabled.then(|| {
            Broker::new(database.clone(), Arc::clone(&presence), Arc::clone(&allocator), Arc::clone(&commands), Arc::clone(&settings))
        });
        Ok(Arc::new(Self {
            registry: Registry::new(dir.clone(), authority, database.clone()),
            dir,
            database,
            inventory,
            presence,
            keys,
            allocator,
            commands,
            settings,
            broker,
            cluster_key_sha256: sha256(&cluster_key),
            operator_token_sha256: operator_token.as_deref().map(sha256),
            operator_token_path,
            metrics: recorder(),
        }))
    }

    /// Publishes a command and waits a while for its result; `None` if there is none yet. An empty `command_id` is filled in.
    pub(crate) async fn command(&self, device: &DeviceId, command: &mut Command) -> Result<Option<CommandResult>, NotSent> {
        let broker = self.broker.as_ref().filter(|_| self.presence.device(device).is_online()).ok_or(NotSent::Offline)?;
        if command.command_id.is_empty() {
            command.command_id = command_id();
        }
        let result = self.commands.expect(device, &command.command_id).ok_or(NotSent::Busy)?;
        let body = serde_json::to_vec(command).unwrap_or_default();
        broker.publish(device, Topic::Command, body, false).await;
        Ok(tokio::time::timeout(COMMAND_RESULT_WAIT, result).await.ok().and_then(Result::ok))
    }

    /// Tells devices to ask for a fresh token and to move to it.
    pub(crate) async fn call_back(&self, devices: &[DeviceId]) {
        let Some(broker) = &self.broker else { return };
        for device in devices {
            let command = Command { command_id: command_id(), ..Command::bare(CommandName::Rotate) };
            broker.publish(device, Topic::Command, serde_json::to_vec(&command).unwrap_or_default(), false).await;
        }
    }

    /// Cuts a revoked device's connection, and says so to those who look.
    pub(crate) async fn cut_off(&self, device: &DeviceId) {
        let Some(broker) = &self.broker else { return };
        if broker.hang_up(device) {
            tracing::info!(%device, "the connection of a revoked device was cut");
            self.presence.push(device.as_str(), "device_revoked", serde_json::json!({}));
        }
        broker.publish(device, Topic::Online, br#"{"online":false}"#.to_vec(), true).await;
    }

    /// Writes down when devices were last seen.
    pub(crate) async fn store_last_seen(&self) {
        let unsaved = self.presence.take_unsaved();
        if unsaved.is_empty() {
            return;
        }
        if let Err(error) = self.database.store_last_seen(&unsaved).await {
            tracing::warn!(%error, "when devices were last seen was not written down");
        }
    }
}

/// 96 random bits.
fn command_id() -> Text<64> {
    let mut bytes = [0; 12];
    // Without chance two commands would share an id; a result would then answer both. Nothing worse.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    Text::try_from(crate::audit::hex(&bytes).as_str()).unwrap_or_default()
}

/// The process's recorder of metrics. A program that has installed its own keeps it; /metrics then shows nothing of ours.
fn recorder() -> PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
        }
        handle
    };
    HANDLE.get_or_init(install).clone()
}

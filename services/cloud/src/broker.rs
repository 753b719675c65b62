//! The built-in MQTT broker: `mqtt5` behind our own accept loop.
//!
//! The library's own certificate authentication is never used: it lets one device take another's client id. Here TLS ends
//! first, the identity is read from the certificate that it verified, and each connection gets an [`Access`] of its own that
//! holds this identity before the first byte of CONNECT is read. What a packet says can only be checked against it.

mod access;
mod uplink;

pub(crate) use uplink::Commands;

use crate::{authority::Subject, database::Database, device_settings::DeviceSettings, presence::Presence, tls::peer_subject};
use access::Access;
use mqtt5::{
    QoS,
    broker::{
        BrokerConfig, DynamicStorage, MemoryBackend, ResourceLimits, ResourceMonitor, client_handler::ClientHandler, router::MessageRouter,
        sys_topics::BrokerStats, tls_acceptor::TlsStreamWrapper, transport::BrokerTransport,
    },
    packet::publish::PublishPacket,
};
use sightline_signal::{DeviceId, topic::Topic};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, broadcast},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uplink::Uplink;

/// Connections at once: about 40 kB each was measured with TLS, so this is 400 MB at the most.
const CONNECTIONS_MAX: usize = 10_000;
/// Handshakes at once: a flood of half-open ones costs no more than this many.
const HANDSHAKES_MAX: usize = 256;
/// Time for TLS. The library gives CONNECT ten seconds more.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest packet: a JPEG snapshot of a 4K camera and some.
const PACKET_BYTES_MAX: usize = 1 << 20;
/// The longest retained message. State and presence are retained, pictures are not.
const RETAINED_BYTES_MAX: usize = 16 << 10;
/// Retained messages: four for each device of the largest fleet that one process is for.
const RETAINED_MAX: usize = 100_000;
/// Subscriptions of one connection; a device needs three, a dashboard a few.
const SUBSCRIPTIONS_MAX: usize = 64;
/// Messages that wait for one slow client; a device that is behind by more has other troubles.
const CLIENT_QUEUE_MAX: usize = 256;
/// How long the messages of a client that is away are kept.
const SESSION_EXPIRY: Duration = Duration::from_secs(3600);
/// Messages of one client within [`RATE_WINDOW`]; a camera sends one or two a second.
const MESSAGES_PER_WINDOW_MAX: u32 = 1000;
/// Bytes of one client within [`RATE_WINDOW`].
const BYTES_PER_WINDOW_MAX: u64 = 20 << 20;
/// The window of both.
const RATE_WINDOW: Duration = Duration::from_secs(10);
/// How often abandoned sessions and rate windows are swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The running broker.
pub(crate) struct Broker {
    router: Arc<MessageRouter>,
    storage: Arc<DynamicStorage>,
    config: Arc<BrokerConfig>,
    stats: Arc<BrokerStats>,
    resources: Arc<ResourceMonitor>,
    connections: Arc<Connections>,
    database: Database,
    presence: Arc<Presence>,
    settings: Arc<DeviceSettings>,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

/// Who is connected, and how to hang up on them.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    next: AtomicU64,
    devices: Mutex<HashMap<DeviceId, (u64, broadcast::Sender<()>)>>,
}

impl Connections {
    fn insert(&self, device: &DeviceId, number: u64, hang_up: broadcast::Sender<()>) {
        // An older connection of the same device is ended by the library's takeover.
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).insert(device.clone(), (number, hang_up));
    }

    fn remove(&self, device: &DeviceId, number: u64) {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        if devices.get(device).is_some_and(|(newest, _)| *newest == number) {
            devices.remove(device);
        }
    }

    fn hang_up(&self, device: &DeviceId) -> bool {
        let devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        devices.get(device).is_some_and(|(_, hang_up)| hang_up.send(()).is_ok())
    }

    fn ids(&self) -> Vec<DeviceId> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }
}

impl Broker {
    pub(crate) fn new(
        database: Database,
        presence: Arc<Presence>,
        allocator: Arc<crate::allocator::Allocator>,
        commands: Arc<Commands>,
        settings: Arc<DeviceSettings>,
    ) -> Arc<Self> {
        let storage = Arc::new(DynamicStorage::Memory(MemoryBackend::new()));
        let router = Arc::new(MessageRouter::with_storage(Arc::clone(&storage)).with_retained_limits(RETAINED_MAX, RETAINED_BYTES_MAX));
        let uplink = Uplink {
            allocator,
            presence: Arc::clone(&presence),
            commands,
            settings: Arc::clone(&settings),
            router: Arc::downgrade(&router),
        };
        let config = BrokerConfig {
            max_clients: CONNECTIONS_MAX,
            session_expiry_interval: SESSION_EXPIRY,
            max_packet_size: PACKET_BYTES_MAX,
            topic_alias_maximum: 16,
            max_subscriptions_per_client: SUBSCRIPTIONS_MAX,
            max_retained_messages: RETAINED_MAX,
            max_retained_message_size: RETAINED_BYTES_MAX,
            client_channel_capacity: CLIENT_QUEUE_MAX,
            event_handler: Some(Arc::new(uplink)),
            ..BrokerConfig::default()
        };
        let limits = ResourceLimits {
            max_connections: CONNECTIONS_MAX,
            max_connections_per_ip: CONNECTIONS_MAX,
            max_message_rate_per_client: MESSAGES_PER_WINDOW_MAX,
            max_bandwidth_per_client: BYTES_PER_WINDOW_MAX,
            rate_limit_window: RATE_WINDOW,
            ..ResourceLimits::default()
        };
        Arc::new(Self {
            router,
            storage,
            config: Arc::new(config),
            stats: Arc::new(BrokerStats::new()),
            resources: Arc::new(ResourceMonitor::new(limits)),
            connections: Arc::default(),
            database,
            presence,
            settings,
        })
    }

    /// Accepts connections until `stop`.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        tls: Arc<rustls::ServerConfig>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) {
        let acceptor = TlsAcceptor::from(tls);
        let (connections, handshakes) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), Arc::new(Semaphore::new(HANDSHAKES_MAX)));
        let mut sweep = tokio::time::interval(SWEEP_INTERVAL);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                _ = sweep.tick() => {
                    self.router.sweep_sessions().await;
                    self.resources.cleanup_expired_windows().await;
                    continue;
                }
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, mostly: accepting again at once would only burn a core.
                    tracing::warn!(%error, "a connection to the MQTT port was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (Ok(place), Ok(handshake)) = (Arc::clone(&connections).try_acquire_owned(), Arc::clone(&handshakes).try_acquire_owned())
            else {
                metrics::counter!("sightline_mqtt_connections_refused_total").increment(1);
                continue;
            };
            let (broker, acceptor, stop) = (Arc::clone(&self), acceptor.clone(), stop.clone());
            tasks.spawn(async move {
                broker.connection(acceptor, stream, address, handshake, stop).await;
                drop(place);
            });
        }
    }

    async fn connection(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        address: SocketAddr,
        handshake: tokio::sync::OwnedSemaphorePermit,
        stop: CancellationToken,
    ) {
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::info!(%address, %error, "TLS with an MQTT client failed"),
            Err(_) => return tracing::info!(%address, "TLS with an MQTT client took too long"),
        };
        drop(handshake);
        let Some(subject) = peer_subject(stream.get_ref().1) else {
            return tracing::warn!(%address, "an MQTT client's certificate names neither a device nor the operator");
        };
        let number = self.connections.next.fetch_add(1, Ordering::Relaxed) + 1;
        let (hang_up, hung_up) = broadcast::channel(1);
        let access = Arc::new(Access {
            subject: subject.clone(),
            number,
            database: self.database.clone(),
            presence: Arc::clone(&self.presence),
            connections: Arc::clone(&self.connections),
            hang_up: hang_up.clone(),
            violations: Arc::default(),
        });
        let handler = ClientHandler::new(
            BrokerTransport::tls(TlsStreamWrapper::new(stream)),
            address,
            Arc::clone(&self.config),
            Arc::clone(&self.router),
            access,
            Some(Arc::clone(&self.storage)),
            Arc::clone(&self.stats),
            Arc::clone(&self.resources),
            hung_up,
        );
        let gauge = metrics::gauge!("sightline_mqtt_connections");
        gauge.increment(1.0);
        let run = handler.run();
        tokio::pin!(run);
        let ended = tokio::select! {
            ended = &mut run => ended,
            () = stop.cancelled() => {
                let _ = hang_up.send(());
                run.await
            }
        };
        gauge.decrement(1.0);
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "an MQTT connection ended");
        }
        if let Subject::Device { id, .. } = subject {
            self.connections.remove(&id, number);
            self.presence.disconnected(&id, number);
        }
    }

    /// Fills the memory of retained messages with what devices shall be set to.
    pub(crate) async fn restore(&self) {
        match self.settings.all().await {
            Ok(messages) => {
                for (device, message) in messages {
                    self.publish(&device, Topic::ConfigDesired, message, true).await;
                }
            }
            Err(error) => tracing::error!(%error, "what devices shall be set to could not be read"),
        }
    }

    /// Publishes as the cloud.
    pub(crate) async fn publish(&self, device: &DeviceId, topic: Topic, payload: Vec<u8>, retain: bool) {
        let packet = PublishPacket::new(topic.of(device).as_str(), payload, QoS::AtLeastOnce).with_retain(retain);
        self.router.route_message(&packet, None).await;
    }

    /// Ends a device's connection, if it has one.
    pub(crate) fn hang_up(&self, device: &DeviceId) -> bool {
        self.connections.hang_up(device)
    }

    /// The devices that are connected.
    pub(crate) fn connected(&self) -> Vec<DeviceId> {
        self.connections.ids()
    }
}

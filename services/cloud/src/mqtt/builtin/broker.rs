//! The running broker.

use super::{access::Access, connections::Connections, handler::Handler, packet::packet_of};
use crate::{
    clock::Clock,
    devices::presence::Presence,
    identity::authority::Subject,
    mqtt::{downlink::Message, uplink::Uplink},
    store::Store,
};
use mqtt5::broker::{
    BrokerConfig, DynamicStorage, MemoryBackend, ResourceLimits, ResourceMonitor, client_handler::ClientHandler, router::MessageRouter,
    sys_topics::BrokerStats, tls_acceptor::TlsStreamWrapper, transport::BrokerTransport,
};
use sightline_signal::DeviceId;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, sync::broadcast};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

/// Connections at once: about 40 kB each was measured with TLS, so this is 400 MB at the most.
pub(super) const CONNECTIONS_MAX: usize = 10_000;
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
/// Topic aliases of one connection (MQTT 5): a device publishes on fewer topics.
const TOPIC_ALIASES_MAX: u16 = 16;

/// The broker: routes messages between devices, operators and the cloud.
pub(crate) struct Broker {
    router: Arc<MessageRouter>,
    storage: Arc<DynamicStorage>,
    config: Arc<BrokerConfig>,
    stats: Arc<BrokerStats>,
    resources: Arc<ResourceMonitor>,
    connections: Arc<Connections>,
    store: Store,
    presence: Arc<Presence>,
    clock: Clock,
}

impl std::fmt::Debug for Broker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Broker").finish_non_exhaustive()
    }
}

impl Broker {
    pub(crate) fn new(store: Store, presence: Arc<Presence>, clock: Clock, uplink: Arc<Uplink>) -> Arc<Self> {
        let storage = Arc::new(DynamicStorage::Memory(MemoryBackend::new()));
        let router = Arc::new(MessageRouter::with_storage(Arc::clone(&storage)).with_retained_limits(RETAINED_MAX, RETAINED_BYTES_MAX));
        let config = BrokerConfig {
            max_clients: CONNECTIONS_MAX,
            session_expiry_interval: SESSION_EXPIRY,
            max_packet_size: PACKET_BYTES_MAX,
            topic_alias_maximum: TOPIC_ALIASES_MAX,
            max_subscriptions_per_client: SUBSCRIPTIONS_MAX,
            max_retained_messages: RETAINED_MAX,
            max_retained_message_size: RETAINED_BYTES_MAX,
            client_channel_capacity: CLIENT_QUEUE_MAX,
            event_handler: Some(Arc::new(Handler { uplink, router: Arc::downgrade(&router) })),
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
            store,
            presence,
            clock,
        })
    }

    /// Serves one connection, whose certificate names `subject`, until it ends.
    pub(super) async fn serve_client(&self, stream: TlsStream<TcpStream>, subject: Subject, address: SocketAddr, stop: &CancellationToken) {
        let number = self.connections.number();
        let (hang_up, hung_up) = broadcast::channel(1);
        let access = Arc::new(Access {
            subject: subject.clone(),
            number,
            store: self.store.clone(),
            presence: Arc::clone(&self.presence),
            clock: self.clock.clone(),
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
            self.presence.disconnected(&id, number).await;
        }
    }

    /// Removes abandoned sessions and old rate windows.
    pub(super) async fn sweep(&self) {
        self.router.sweep_sessions().await;
        self.resources.cleanup_expired_windows().await;
    }

    /// Fills the memory of retained messages with what devices shall be set to.
    pub(crate) async fn restore(&self) {
        match self.store.settings_of_all().await {
            Ok(changes) => {
                for change in changes {
                    self.publish(&change.device, Message::desired(change.message)).await;
                }
            }
            Err(error) => tracing::error!(%error, "what devices shall be set to could not be read"),
        }
    }

    /// Publishes as the cloud.
    pub(crate) async fn publish(&self, device: &DeviceId, message: Message) {
        self.router.route_message(&packet_of(device, message), None).await;
    }

    /// Whether a device is connected.
    pub(crate) fn has(&self, device: &DeviceId) -> bool {
        self.connections.has(device)
    }

    /// Ends a device's connection, if it has one.
    pub(crate) fn hang_up(&self, device: &DeviceId) -> bool {
        self.connections.hang_up(device)
    }
}

//! The broker with clients that write bytes: in memory, behind TLS's place.

use super::super::{connection, decode::Decoder};
use super::*;
use crate::{
    allocate::allocator::{Allocator, Parts},
    data_dir::DataDir,
    devices::{registry::Registry, renewals::Renewals, results::Results, revocation::cut_off, settings::SettingsIntake},
    identity::{authority::Authority, operator_certificates::OperatorCertificates, signing_keys::SigningKeys},
    mqtt::bus::Bus,
    servers::inventory::Inventory,
};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

struct Bench {
    home: tempfile::TempDir,
    broker: Arc<Broker>,
    registry: Registry,
    authority: Authority,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Bench {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let store = Store::open(&dir, clock.clone()).await.unwrap();
        let registry = Registry::new(dir.clone(), Authority::open(&dir, clock.clone()).unwrap(), store.clone(), clock.clone());
        let events = Arc::new(EventLog::new(store.clone(), clock.clone()));
        let presence = Arc::new(Presence::new(Arc::clone(&events), clock.clone()));
        let refusals = Arc::new(Refusals::new(store.clone(), clock.clone()));
        let allocator = Arc::new(Allocator::new(Parts {
            store: store.clone(),
            inventory: Arc::new(Inventory::new(&[], store.allocations().await.unwrap(), clock.clone())),
            presence: Arc::clone(&presence),
            events: Arc::clone(&events),
            keys: SigningKeys::open(store.clone(), clock.clone()).await.unwrap(),
            clock: clock.clone(),
            refusals: Arc::clone(&refusals),
            token_ttl_sec: 3600,
        }));
        let intake = SettingsIntake::new(store.clone(), clock.clone());
        let own = Authority::open(&dir, clock.clone()).unwrap();
        let renewals = Renewals::new(own, store.clone(), Arc::clone(&events), Arc::clone(&refusals), clock.clone());
        let uplink = Uplink::new(allocator, Arc::clone(&presence), Arc::<Results>::default(), intake, Arc::new(renewals), store.clone());
        let authority = Authority::open(&dir, clock.clone()).unwrap();
        authority.ensure_operator().unwrap();
        let operators = OperatorCertificates::open(&dir, clock.clone()).unwrap();
        let broker = Broker::new(super::Parts { store, presence, events, clock, uplink: Arc::new(uplink), operators, refusals });
        Self { home, broker, registry, authority, tasks: TaskTracker::new(), stop: CancellationToken::new() }
    }

    async fn add(&self, id: &str) -> Subject {
        let id = DeviceId::new(id).unwrap();
        self.registry.add(&Actor::Cli, &id).await.unwrap();
        self.newest(id).await
    }

    /// A device with its newest certificate.
    async fn newest(&self, id: DeviceId) -> Subject {
        let issued_at_ms = self.registry.known(&id).await.unwrap().certificate_issued_at_ms();
        Subject::Device { id, issued_at_ms }
    }

    /// A connection behind TLS, before CONNECT.
    fn open(&self, subject: Subject, address: &str, valid_until: i64) -> Option<Peer> {
        let address: SocketAddr = format!("{address}:1").parse().unwrap();
        let entry = self.broker.connections.enter(subject, valid_until, address)?;
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        self.tasks.spawn(connection::serve(Arc::clone(&self.broker), theirs, entry, self.stop.clone()));
        Some(Peer { stream: ours })
    }

    /// A client that was let in.
    async fn join(&self, subject: &Subject, hello: &[u8]) -> Peer {
        self.join_from(subject, hello, "192.0.2.1").await
    }

    async fn join_from(&self, subject: &Subject, hello: &[u8], address: &str) -> Peer {
        let mut peer = self.open(subject.clone(), address, i64::MAX).unwrap();
        peer.send(hello).await;
        let (first, body) = peer.packet().await.unwrap();
        assert_eq!((first, body[1]), (0x20, 0), "CONNACK");
        peer
    }

    /// Whom `operator.pem` names.
    fn operator(&self) -> Subject {
        subject_of(&self.home.path().join("operator.pem"))
    }

    async fn audit(&self, action: &str) -> Vec<String> {
        let entries = self.broker.store.audit_entries(None, 1000).await.unwrap();
        entries.into_iter().rev().filter(|entry| entry.action == action).map(|entry| entry.detail).collect()
    }

    async fn events(&self, kind: EventKind) -> Vec<serde_json::Value> {
        let events = self.broker.events.events(None, None, 1000).await.unwrap();
        events.into_iter().filter(|event| event.event == kind).map(|event| event.detail).collect()
    }
}

/// A client.
struct Peer {
    stream: DuplexStream,
}

impl Peer {
    async fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next packet: its first byte and its body; `None` at the end of the stream.
    async fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        let (mut length, mut shift) = (0, 0);
        loop {
            let byte = self.stream.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await.ok()?;
        Some((first, body))
    }

    /// All up to the end of the stream.
    async fn rest(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut packets = Vec::new();
        while let Some(packet) = self.packet().await {
            packets.push(packet);
        }
        packets
    }

    /// Subscribes and waits for SUBACK; gives its code. Messages that come before are passed over.
    async fn subscribe(&mut self, level: u8, filter: &str) -> u8 {
        self.send(&subscribe(level, filter)).await;
        loop {
            let (first, body) = self.packet().await.unwrap();
            if first == 0x90 {
                return *body.last().unwrap();
            }
        }
    }

    /// A round trip: all that was sent before has been obeyed.
    async fn ping(&mut self) -> Option<()> {
        self.send(&[0xc0, 0]).await;
        loop {
            if self.packet().await?.0 == 0xd0 {
                return Some(());
            }
        }
    }
}

fn subject_of(pem: &std::path::Path) -> Subject {
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};
    crate::identity::authority::shown(&CertificateDer::from_pem_file(pem).unwrap()).unwrap().subject
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (mut bytes, mut left) = (vec![first], body.len());
    loop {
        let byte = u8::try_from(left % 128).unwrap();
        left /= 128;
        bytes.push(if left > 0 { byte | 0x80 } else { byte });
        if left == 0 {
            return [bytes, body.to_vec()].concat();
        }
    }
}

/// CONNECT of a version, with a clean start.
fn connect(level: u8, id: &str) -> Vec<u8> {
    connect_with(level, id, 0x02, &[], &[])
}

fn connect_with(level: u8, id: &str, flags: u8, properties: &[u8], will: &[u8]) -> Vec<u8> {
    let mut body = [&[0, 4, b'M', b'Q', b'T', b'T', level, flags, 0, 60][..]].concat();
    if level == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend(properties);
    }
    packet(0x10, &[body, text(id), will.to_vec()].concat())
}

/// A will of MQTT 5 or 3.1.1, for CONNECT's end.
fn will(level: u8, topic: &str, payload: &str) -> Vec<u8> {
    [if level == 5 { vec![0] } else { vec![] }, text(topic), text(payload)].concat()
}

/// PUBLISH; `first` has its flags.
fn publish(level: u8, first: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let id: &[u8] = if first & 6 == 0 { &[] } else { &[0, 7] };
    packet(first, &[&text(topic)[..], id, if level == 5 { &[0] } else { &[] }, payload].concat())
}

fn subscribe(level: u8, filter: &str) -> Vec<u8> {
    packet(0x82, &[&[0, 9][..], if level == 5 { &[0] } else { &[] }, &text(filter), &[1]].concat())
}

/// The sum of the rows' counts.
fn counted(rows: &[String]) -> u64 {
    rows.iter().filter_map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap()["count"].as_u64()).sum()
}

/// The payload of a PUBLISH that came at QoS 1 over MQTT 3.1.1.
fn payload(body: &[u8]) -> String {
    let topic = 2 + usize::from(u16::from_be_bytes([body[0], body[1]]));
    String::from_utf8(body[topic + 2..].to_vec()).unwrap()
}

#[tokio::test]
async fn a_client_of_mqtt_5_is_told_what_there_is_and_a_topic_alias_maximum_of_nothing_is_fine() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    let mut peer = bench.open(cam, "192.0.2.1", i64::MAX).unwrap();
    // Session expiry of all time, and Topic Alias Maximum 0.
    peer.send(&connect_with(5, "cam", 2, &[17, 0xff, 0xff, 0xff, 0xff, 34, 0, 0], &[])).await;
    let (_, body) = peer.packet().await.unwrap();
    let has = |property: &[u8]| body.windows(property.len()).any(|window| window == property);
    assert_eq!(&body[..2], [0, 0]);
    for property in [&[33, 0, 32][..], &[36, 1], &[39, 0, 16, 0, 0], &[34, 0, 16], &[41, 0], &[17, 0, 0, 14, 16]] {
        assert!(has(property), "{property:?} in {body:?}");
    }
    assert_eq!(peer.subscribe(5, "devices/cam/#").await, 1);
}

#[tokio::test]
async fn what_is_not_offered_ends_mqtt_5_with_its_reason_and_3_1_1_with_the_end_of_the_stream() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    let topic = "devices/cam/motion";
    let bad: [(u8, Vec<u8>, Vec<u8>); 5] = [
        (0x9b, publish(5, 0x34, topic, b"{}"), publish(4, 0x34, topic, b"{}")),
        (0x81, publish(5, 0x36, topic, b"{}"), publish(4, 0x36, topic, b"{}")),
        (0x82, connect(5, "cam"), connect(4, "cam")),
        (0x95, vec![0x30, 0xff, 0xff, 0xff, 0x7f], vec![0x30, 0xff, 0xff, 0xff, 0x7f]),
        (0x81, publish(5, 0x30, "devices/+/motion", b""), publish(4, 0x30, "devices/+/motion", b"")),
    ];
    for (reason, five, three) in bad {
        let mut peer = bench.join(&cam, &connect(5, "cam")).await;
        peer.send(&five).await;
        let rest = peer.rest().await;
        assert!(rest.len() == 1 && rest[0].0 == 0xe0 && rest[0].1[0] == reason, "{reason:x}: {rest:x?}");
        let mut peer = bench.join(&cam, &connect(4, "cam")).await;
        peer.send(&three).await;
        assert!(peer.rest().await.is_empty(), "{reason:x}");
    }
    // A later one of the two takes over: the same.
    for (level, expected) in [(5, vec![(0xe0, vec![0x8e])]), (4, vec![])] {
        let mut older = bench.join(&cam, &connect(level, "cam")).await;
        let _newer = bench.join(&cam, &connect(4, "cam")).await;
        let told: Vec<_> = older.rest().await.into_iter().map(|(first, body)| (first, body[..1].to_vec())).collect();
        assert_eq!(told, expected);
    }
    // Neither 3.1.1 nor 5.
    let mut peer = bench.open(cam, "192.0.2.1", i64::MAX).unwrap();
    peer.send(&packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03cam")).await;
    assert_eq!(peer.rest().await, [(0x20, vec![0, 1])]);
}

#[tokio::test]
async fn a_device_s_budget_survives_its_new_connections_and_what_it_costs_is_two_rows() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    let mut operator = bench.join(&bench.operator(), &connect(4, "watcher")).await;
    operator.subscribe(4, "devices/cam/stream/result").await;
    let message = publish(5, 0x30, "devices/cam/stream/result", b"{}");
    let mut reasons = Vec::new();
    for _ in 0..20 {
        let mut peer = bench.join(&cam, &connect(5, "cam")).await;
        peer.send(&message.repeat(600)).await;
        // The first has done no wrong, and stays; a good-bye ends it.
        peer.send(&[0xe0, 0]).await;
        reasons.extend(peer.rest().await.into_iter().map(|(_, body)| body[0]));
    }
    // A slow machine forgives some of it meanwhile.
    let cut = reasons.len();
    assert!(cut >= 15 && reasons.iter().all(|reason| *reason == 0x96), "{reasons:x?}");
    assert_eq!(bench.audit("mqtt.publish.refuse").await.len(), 1);
    bench.broker.clock.advance(Duration::from_secs(60));
    bench.broker.refusals.sweep().await;
    let rows = bench.audit("mqtt.publish.refuse").await;
    assert!(rows.len() == 2 && counted(&rows) == cut as u64 - 1, "{rows:?}");
    // Its owner comes in again, and pings cost too.
    let mut peer = bench.join(&cam, &connect(5, "cam")).await;
    peer.send(&[0xc0, 0].repeat(10_000)).await;
    let rest = peer.rest().await;
    assert_eq!(rest.last().map(|(first, body)| (*first, body[0])), Some((0xe0, 0x96)));
    assert!(rest.len() < 6000, "{} answers", rest.len());
}

#[tokio::test]
async fn a_revoked_device_that_goes_on_trying_gets_two_rows_a_minute() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    bench.registry.revoke(&Actor::Cli, &DeviceId::new("cam").unwrap()).await.unwrap();
    let mut let_in = 0;
    for _ in 0..514 {
        let mut peer = bench.open(cam.clone(), "192.0.2.1", i64::MAX).unwrap();
        peer.send(&connect(4, "cam")).await;
        let_in += peer.rest().await.iter().filter(|(_, body)| body[1] == 0).count();
    }
    bench.broker.clock.advance(Duration::from_secs(60));
    bench.broker.refusals.sweep().await;
    let rows = bench.audit("mqtt.connect.refuse").await;
    // Two reasons: it is revoked, and it connects too often.
    assert!(let_in == 0 && rows.len() == 4 && counted(&rows) == 512, "{rows:?}");
}

#[tokio::test]
async fn a_client_that_was_away_gets_its_messages_in_order_and_those_it_had_not_acknowledged_again() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    let hello = connect_with(4, "cam", 0, &[], &[]);
    let mut peer = bench.join(&cam, &hello).await;
    peer.subscribe(4, "devices/cam/stream/command").await;
    let mut operator = bench.join(&bench.operator(), &connect(5, "op")).await;
    let command = |name: &str| publish(5, 0x32, "devices/cam/stream/command", format!(r#"{{"cmd":"{name}"}}"#).as_bytes());
    operator.send(&command("start")).await;
    let (first, body) = peer.packet().await.unwrap();
    assert_eq!((first, payload(&body).as_str()), (0x32, r#"{"cmd":"start"}"#));
    drop(peer);
    for name in ["stop", "keyframe", "rotate"] {
        operator.send(&command(name)).await;
    }
    operator.ping().await.unwrap();
    let mut peer = bench.open(cam, "192.0.2.1", i64::MAX).unwrap();
    peer.send(&hello).await;
    assert_eq!(peer.packet().await.unwrap(), (0x20, vec![1, 0]), "the session is there");
    let mut heard = Vec::new();
    for _ in 0..4 {
        let (first, body) = peer.packet().await.unwrap();
        heard.push((first, payload(&body)));
    }
    let commands = ["start", "stop", "keyframe", "rotate"].map(|name| format!(r#"{{"cmd":"{name}"}}"#));
    assert_eq!(heard.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(), commands);
    assert_eq!(heard.iter().map(|(first, _)| *first).collect::<Vec<_>>(), [0x3a, 0x32, 0x32, 0x32], "the first one is marked");
    // Each is in the audit log, as those of the API are, in their order.
    let rows = bench.audit("device.command").await;
    let names: Vec<_> = rows.iter().map(|row| serde_json::from_str::<serde_json::Value>(row).unwrap()["cmd"].clone()).collect();
    assert_eq!(names, ["start", "stop", "keyframe", "rotate"]);
    assert!(rows.iter().all(|row| row.contains(r#""from":"mqtt""#)), "{rows:?}");
}

#[tokio::test]
async fn a_retained_command_is_passed_on_and_not_kept() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    let mut peer = bench.join(&cam, &connect(4, "cam")).await;
    peer.subscribe(4, "devices/cam/stream/command").await;
    let mut operator = bench.join(&bench.operator(), &connect(5, "op")).await;
    operator.send(&publish(5, 0x33, "devices/cam/stream/command", br#"{"cmd":"stop"}"#)).await;
    assert_eq!(peer.packet().await.unwrap().0, 0x32);
    let mut again = bench.join(&cam, &connect(4, "cam")).await;
    again.subscribe(4, "devices/cam/stream/command").await;
    again.send(&[0xc0, 0]).await;
    assert_eq!(again.packet().await.unwrap().0, 0xd0, "nothing before the answer to the ping");
}

#[tokio::test]
async fn two_clients_with_one_certificate_are_an_event_with_both_addresses() {
    let bench = Bench::new().await;
    let (cam, mover) = (bench.add("cam").await, bench.add("mover").await);
    // A camera that changed its address, whose old connection is half open.
    let _old = bench.join_from(&mover, &connect(4, "mover"), "192.0.2.1").await;
    let _new = bench.join_from(&mover, &connect(4, "mover"), "198.51.100.9").await;
    let mut peers = Vec::new();
    for number in 0..12 {
        let address = if number % 2 == 0 { "192.0.2.1" } else { "203.0.113.5" };
        peers.push(bench.join_from(&cam, &connect(4, "cam"), address).await);
        // As many as that are open at once: each of the two sees the end of its own before it comes back.
        if peers.len() > 1 {
            assert!(peers.remove(0).rest().await.is_empty());
        }
    }
    let duels = bench.events(EventKind::DeviceDuel).await;
    assert_eq!(duels.len(), 1, "{duels:?}");
    let addresses = duels[0]["addresses"].to_string();
    assert!(addresses.contains("192.0.2.1") && addresses.contains("203.0.113.5"), "{addresses}");
    let rows = bench.audit("device.duel").await;
    assert!(rows.len() == 1 && rows[0].contains("203.0.113.5"), "{rows:?}");
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let bench = Bench::new().await;
    let (cam, other) = (bench.add("cam").await, bench.add("other").await);
    bench.broker.clock.advance(Duration::from_secs(60));
    let mut old = bench.join(&cam, &connect(5, "cam")).await;
    let now = bench.broker.clock.unix_secs();
    let mut ending = bench.open(other, "192.0.2.1", now + 7200).unwrap();
    ending.send(&connect(5, "other")).await;
    ending.packet().await.unwrap();
    let id = DeviceId::new("cam").unwrap();
    bench.registry.rotate(&Actor::Cli, &id).await.unwrap();
    bench.broker.end_outdated().await;
    assert!(old.ping().await.is_some(), "it has an hour to fetch the new one");
    bench.broker.clock.advance(Duration::from_secs(3601));
    bench.broker.end_outdated().await;
    assert_eq!(old.rest().await.last().unwrap().1[0], 0x98);
    assert!(ending.ping().await.is_some());
    let fresh = bench.newest(id).await;
    let mut fresh = bench.join(&fresh, &connect(5, "cam")).await;
    bench.broker.clock.advance(Duration::from_secs(3600));
    bench.broker.end_outdated().await;
    assert_eq!(ending.rest().await.last().unwrap().1[0], 0x98, "it has expired");
    assert!(fresh.ping().await.is_some());
    let mut late = bench.open(bench.add("late").await, "192.0.2.1", bench.broker.clock.unix_secs() - 1).unwrap();
    late.send(&connect(5, "late")).await;
    assert_eq!(late.rest().await[0].1[1], 0x87, "a resumed session of TLS brings one that is over");
}

#[tokio::test]
async fn a_device_that_may_not_publish_and_goes_on_asking_is_two_rows_a_minute() {
    let bench = Bench::new().await;
    let (cam, id) = (bench.add("cam").await, DeviceId::new("cam").unwrap());
    bench.registry.deny(&Actor::Cli, &id).await.unwrap();
    let mut peer = bench.join(&cam, &connect(4, "cam")).await;
    let request = br#"{"request_id":"r","device_id":"cam","stream_type":"rtmp","quality":"low","max_bitrate":1000000}"#;
    for _ in 0..20 {
        peer.send(&publish(4, 0x30, "devices/cam/stream/request", request)).await;
    }
    peer.ping().await.unwrap();
    assert_eq!(bench.audit("allocation.refuse").await.len(), 1);
    bench.broker.clock.advance(Duration::from_secs(60));
    bench.broker.refusals.sweep().await;
    let rows = bench.audit("allocation.refuse").await;
    assert!(rows.len() == 2 && counted(&rows) == 19, "{rows:?}");
}

#[tokio::test]
async fn a_copied_key_is_of_no_use_once_the_device_is_here_with_its_new_certificate() {
    let bench = Bench::new().await;
    let (stolen, id) = (bench.add("cam").await, DeviceId::new("cam").unwrap());
    bench.broker.clock.advance(Duration::from_secs(60));
    bench.registry.rotate(&Actor::Cli, &id).await.unwrap();
    let fresh = bench.newest(id).await;
    let mut thief = bench.join_from(&stolen, &connect(5, "cam"), "203.0.113.5").await;
    let mut device = bench.join(&fresh, &connect(5, "cam")).await;
    assert_eq!(thief.rest().await.last().unwrap().1[0], 0x8e);
    for _ in 0..3 {
        let mut thief = bench.open(stolen.clone(), "203.0.113.5", i64::MAX).unwrap();
        thief.send(&connect(5, "cam")).await;
        assert_eq!(thief.rest().await[0].1[1], 0x87);
    }
    assert!(device.ping().await.is_some());
    // While the device is away, the hour still counts: it may not have fetched the new one.
    device.send(&[0xe0, 0]).await;
    device.rest().await;
    bench.join(&stolen, &connect(5, "cam")).await;
}

#[tokio::test]
async fn a_device_that_comes_with_the_certificate_that_it_has_fetched_ends_the_one_before() {
    let bench = Bench::new().await;
    let Subject::Device { id, issued_at_ms } = bench.add("cam").await else { panic!("a device") };
    let certificate = |later_ms| Subject::Device { id: id.clone(), issued_at_ms: issued_at_ms + later_ms };
    let hello = connect(4, "cam");
    // The cloud signs for a device, and audits that, only near the end; this one asks too early, and is told so on its own topic.
    let mut old = bench.join(&certificate(0), &hello).await;
    old.subscribe(4, "devices/cam/certificate/response").await;
    old.send(&publish(4, 0x32, "devices/cam/certificate/request", br#"{"request_id":"r","csr":"x"}"#)).await;
    let answers = [old.packet().await.unwrap(), old.packet().await.unwrap()];
    assert!(answers.iter().any(|(first, body)| *first == 0x32 && payload(body).contains("PERMISSION_DENIED")), "{answers:?}");
    bench.join(&certificate(5000), &hello).await;
    assert_eq!(bench.audit("device.take_certificate").await.len(), 1);
    let mut copied = bench.open(certificate(0), "192.0.2.9", i64::MAX).unwrap();
    copied.send(&hello).await;
    assert_eq!(copied.packet().await.unwrap().1[1], 5, "not authorised");
}

#[tokio::test]
async fn a_revoked_operator_is_cut_and_comes_in_no_more_and_the_others_stay() {
    let bench = Bench::new().await;
    let ann = bench.broker.operators.add(&bench.authority, "ann").unwrap();
    let ann = subject_of(&ann.pem);
    let mut first = bench.join(&bench.operator(), &connect(5, "same")).await;
    let mut second = bench.join(&ann, &connect(5, "same")).await;
    assert!(first.ping().await.is_some(), "two operators with one client id have a session each");
    second.send(&publish(5, 0x30, "devices/cam/stream/command", br#"{"cmd":"stop"}"#)).await;
    second.ping().await.unwrap();
    assert!(bench.audit("device.command").await[0].contains(r#""operator":"ann""#));
    bench.broker.operators.revoke("ann").unwrap();
    bench.broker.end_outdated().await;
    assert_eq!(second.rest().await.last().unwrap().1[0], 0x98);
    assert!(first.ping().await.is_some());
    let mut again = bench.open(ann, "192.0.2.1", i64::MAX).unwrap();
    again.send(&connect(5, "same")).await;
    assert_eq!(again.rest().await[0].1[1], 0x87);
}

#[tokio::test]
async fn a_revoked_device_leaves_offline_and_nothing_else() {
    let bench = Bench::new().await;
    let (cam, id) = (bench.add("cam").await, DeviceId::new("cam").unwrap());
    let motion = "devices/cam/motion";
    // A will that waits for a minute.
    let properties = [17, 0, 0, 14, 16];
    let late = [vec![5, 24, 0, 0, 0, 60], text(motion), text(r#"{"motion":true}"#)].concat();
    let mut peer = bench.join(&cam, &connect_with(5, "cam", 0x06, &properties, &late)).await;
    peer.send(&publish(5, 0x31, "devices/cam/online", br#"{"online":true}"#)).await;
    peer.send(&publish(5, 0x31, "devices/cam/stream/state", br#"{"state":3}"#)).await;
    peer.ping().await.unwrap();
    let mut operator = bench.join(&bench.operator(), &connect(4, "op")).await;
    operator.send(&publish(4, 0x33, "devices/cam/config/desired", br#"{"version":1,"settings":{}}"#)).await;
    operator.ping().await.unwrap();
    let bus = Bus::Builtin(Arc::clone(&bench.broker));
    bench.registry.revoke(&Actor::Cli, &id).await.unwrap();
    cut_off(&bus, &bench.broker.events, &id).await;
    assert_eq!(peer.rest().await.last().unwrap().1[0], 0x98);
    bench.broker.clock.advance(Duration::from_secs(600));
    bench.broker.sweep().await;
    operator.subscribe(4, "#").await;
    operator.send(&[0xc0, 0]).await;
    let mut heard = Vec::new();
    loop {
        let (first, body) = operator.packet().await.unwrap();
        if first == 0xd0 {
            break;
        }
        heard.push(payload(&body));
    }
    assert_eq!(heard, [r#"{"online":false}"#]);
    assert_eq!(bench.events(EventKind::DeviceRevoked).await.len(), 1);
}

#[tokio::test]
async fn a_will_is_published_for_a_silent_client_and_taken_back_by_a_good_bye() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    let mut operator = bench.join(&bench.operator(), &connect(4, "op")).await;
    operator.subscribe(4, "devices/cam/online").await;
    for level in [4, 5] {
        let hello = connect_with(level, "cam", 0x2e, &[], &will(level, "devices/cam/online", r#"{"online":false}"#));
        let mut polite = bench.join(&cam, &hello).await;
        polite.send(&[0xe0, 0]).await;
        polite.rest().await;
        drop(bench.join(&cam, &hello).await);
        let (_, body) = operator.packet().await.unwrap();
        assert_eq!(payload(&body), r#"{"online":false}"#);
        operator.send(&[0x40, 2, body[20], body[21]]).await;
        operator.send(&[0xc0, 0]).await;
        assert_eq!(operator.packet().await.unwrap().0, 0xd0, "one will of the two");
    }
    // Not on another's topic.
    let mut peer = bench.open(cam, "192.0.2.1", i64::MAX).unwrap();
    peer.send(&connect_with(5, "cam", 0x06, &[], &will(5, "devices/cam2/online", "x"))).await;
    assert_eq!(peer.rest().await[0].1[1], 0x87);
}

#[tokio::test]
async fn a_command_that_is_an_operator_s_will_is_audited_too() {
    let bench = Bench::new().await;
    let hello = connect_with(4, "op", 0x06, &[], &will(4, "devices/cam/stream/command", r#"{"cmd":"stop"}"#));
    drop(bench.join(&bench.operator(), &hello).await);
    bench.tasks.close();
    bench.tasks.wait().await;
    assert_eq!(bench.audit("device.command").await.len(), 1);
}

#[tokio::test]
async fn a_client_that_is_silent_for_one_and_a_half_keep_alives_is_cut() {
    let bench = Bench::new().await;
    let mut hello = connect(5, "op");
    let at = hello.iter().position(|byte| *byte == 60).unwrap();
    hello[at] = 1;
    let mut peer = bench.join(&bench.operator(), &hello).await;
    assert_eq!(peer.rest().await, [(0xe0, vec![0x8d])]);
}

#[tokio::test]
async fn a_client_s_own_properties_and_limits_are_kept() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    // It takes one unacknowledged message, and packets of 200 bytes.
    let hello = connect_with(5, "watcher", 2, &[33, 0, 1, 39, 0, 0, 0, 200], &[]);
    let mut watcher = bench.join(&bench.operator(), &hello).await;
    watcher.subscribe(5, "devices/cam/#").await;
    let mut peer = bench.join(&cam, &connect(5, "cam")).await;
    let properties = [&[3][..], &text("json"), &[8], &text("devices/cam/x"), &[9, 0, 2, 1, 2, 38], &text("key"), &text("value")].concat();
    let topic = "devices/cam/stream/result";
    let message = [&text(topic)[..], &[0, 7, u8::try_from(properties.len()).unwrap()], &properties, b"first"].concat();
    peer.send(&packet(0x32, &message)).await;
    peer.send(&publish(5, 0x32, topic, &[b'x'; 300])).await;
    peer.send(&publish(5, 0x32, topic, b"second")).await;
    peer.ping().await.unwrap();
    let (first, body) = watcher.packet().await.unwrap();
    let at = 2 + topic.len();
    assert_eq!((first, &body[at + 3..]), (0x32, &[&properties[..], b"first"].concat()[..]));
    watcher.send(&[0xc0, 0]).await;
    assert_eq!(watcher.packet().await.unwrap().0, 0xd0, "the second one waits for the acknowledgement");
    watcher.send(&[0x40, 2, body[at], body[at + 1]]).await;
    assert!(watcher.packet().await.unwrap().1.ends_with(b"second"), "one that is too long is passed over");
}

#[tokio::test]
async fn clients_that_send_no_connect_are_few_and_soon_gone_and_all_end_at_a_stop() {
    let bench = Bench::new().await;
    let cam = bench.add("cam").await;
    let silent: Vec<_> = (0..3000).filter_map(|_| bench.open(cam.clone(), "192.0.2.1", i64::MAX)).collect();
    assert_eq!(silent.len(), 4);
    let mut other = bench.join(&bench.add("other").await, &connect(5, "other")).await;
    bench.stop.cancel();
    assert_eq!(other.rest().await, [(0xe0, vec![0x8b])]);
    bench.tasks.close();
    bench.tasks.wait().await;
    assert!(bench.broker.connections.all().is_empty());
}

#[test]
fn no_bytes_of_a_peer_panic() {
    // A generator of its own: the same bytes at each run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let topic = "devices/cam/motion";
    let seeds = [
        connect_with(5, "cam", 0x06, &[17, 0, 0, 0, 9, 33, 0, 1, 34, 0, 0], &will(5, topic, "x")),
        connect_with(4, "cam", 0x06, &[], &will(4, topic, "x")),
        publish(5, 0x32, topic, b"{}"),
        publish(4, 0x32, topic, b"{}"),
        subscribe(5, "$share/g/a/#"),
        subscribe(4, "a/+"),
        packet(0xa2, &[&[0, 3, 0][..], &text("a/+")].concat()),
        vec![0x40, 3, 0, 1, 0x10],
        vec![0xe0, 7, 4, 5, 17, 0, 0, 0, 1],
        vec![0xf0, 0],
    ];
    for round in 0..60_000 {
        let mut decoder = Decoder::default();
        let hello = connect(if round % 2 == 0 { 5 } else { 4 }, "cam");
        if round % 5 > 0 {
            decoder.next(&hello, Instant::now()).unwrap();
        }
        let mut bytes = seeds[usize::try_from(random() % 10).unwrap()].clone();
        for _ in 0..random() % 4 {
            let at = usize::try_from(random()).unwrap_or_default() % bytes.len();
            match random() % 4 {
                0 => bytes[at] = random().to_le_bytes()[0],
                1 => bytes.truncate(at + 1),
                2 => bytes.insert(at, random().to_le_bytes()[0]),
                _ => bytes[at] ^= 1 << (random() % 8),
            }
        }
        let _ = decoder.next(&bytes, Instant::now());
    }
}

//! Strangers and floods at the MQTT port.

use crate::bench::{Bench, eventually, run};
use std::time::Duration;
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    time::{Instant, timeout},
};

/// The beginning of a TLS handshake that never goes on.
const HALF_A_HELLO: [u8; 8] = [0x16, 3, 1, 2, 0, 1, 0, 1];

#[tokio::test]
async fn half_open_handshakes_of_one_address_keep_no_camera_out_not_even_one_behind_it() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    let port = bench.cloud.mqtts_addr().unwrap().port();
    let mut strangers = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let _ = stream.write_all(&HALF_A_HELLO).await;
        strangers.push(stream);
    }
    let online = format!("devices/{cam}/online");
    // mosquitto's clients know no name for another address to come from: this one is of the same address as the strangers.
    let began = Instant::now();
    let (ok, _, err) = run(bench.mosquitto("mosquitto_pub", "devices/cam", "cam", &["-q", "1", "-t", &online, "-m", "{}"])).await;
    assert!(ok, "{err}");
    println!("behind 300 half-open handshakes: {} ms", began.elapsed().as_millis());
    // From another address.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(([127, 0, 0, 1], port).into()).await.unwrap();
    other.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    // No TLS: that is answered at once, so it is not in a queue.
    let mut buffer = [0; 64];
    assert!(timeout(Duration::from_secs(5), tokio::io::AsyncReadExt::read(&mut other, &mut buffer)).await.is_ok());
}

#[tokio::test]
async fn cameras_behind_one_address_all_return_at_once() {
    let bench = Bench::start().await;
    let mut ids = Vec::new();
    for number in 0..40 {
        let id = format!("cam-{number}");
        let added = bench.http.post(bench.url("/api/v1/devices")).json(&serde_json::json!({ "id": id })).send().await.unwrap();
        assert!(added.status().is_success());
        ids.push(id);
    }
    let tls = |id: &str| {
        use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let [ca, pem, key] = bench.certificate(&format!("devices/{id}"));
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
        let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let (chain, key) = (vec![CertificateDer::from_pem_file(pem).unwrap()], PrivateKeyDer::from_pem_file(key).unwrap());
        let config = config.with_root_certificates(roots).with_client_auth_cert(chain, key).unwrap();
        tokio_rustls::TlsConnector::from(std::sync::Arc::new(config))
    };
    let address = ("127.0.0.1", bench.cloud.mqtts_addr().unwrap().port());
    let mut tasks = tokio::task::JoinSet::new();
    for id in &ids {
        let (connector, id) = (tls(id), id.clone());
        tasks.spawn(async move {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
            let name = id.as_bytes();
            let length = u8::try_from(12 + name.len()).unwrap();
            let hello = [&[0x10, length, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60, 0, length - 12][..], name].concat();
            stream.write_all(&hello).await.unwrap();
            let mut answer = [0; 4];
            tokio::io::AsyncReadExt::read_exact(&mut stream, &mut answer).await.unwrap();
            assert_eq!(answer, [0x20, 2, 0, 0]);
            stream
        });
    }
    let streams = timeout(Duration::from_secs(30), tasks.join_all()).await.unwrap();
    assert_eq!(streams.len(), ids.len());
}

#[tokio::test]
async fn the_broker_s_metrics_say_what_they_are_and_are_there_from_the_start() {
    let bench = Bench::start().await;
    let read = async || bench.http.get(bench.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(eventually(async || read().await.contains("sightline_mqtt_connections ")).await);
    let metrics = read().await;
    for name in ["sightline_mqtt_takeovers_total", "sightline_device_duels_total", "sightline_mqtt_budget_exceeded_total{reason=\"bytes\"}"]
    {
        let bare = name.split('{').next().unwrap();
        assert!(metrics.contains(&format!("# HELP {bare} ")) && metrics.contains(&format!("\n{name} ")), "{name}");
    }
}

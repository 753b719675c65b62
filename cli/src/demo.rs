//! `sightline demo`: cloud, origin and cameras in one process, on the loopback address.

use crate::{
    Failure,
    args::{Demo, QualityArg},
    terminal::{self, WrongUse},
};
use sightline_camera::Keeper;
use sightline_capture::Source;
use sightline_cloud::{
    Cloud,
    admin::{self, AddedDevice, Prepared},
};
use sightline_origin::Origin;
use sightline_signal::{DeviceId, Quality};
use std::{
    net::SocketAddr,
    path::Path,
    thread::available_parallelism,
    time::{Duration, Instant},
};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// The share of the machine that encoding may take: a browser on the same machine decodes as well.
const ENCODING_SHARE: f32 = 0.25;

/// For the origin's first report: a camera that asks before it is told to come back in five seconds.
const ORIGIN_WAIT: Duration = Duration::from_secs(3);

/// Where everything listens.
struct Addresses {
    http: SocketAddr,
    mqtt: SocketAddr,
    rtmp: SocketAddr,
    rtmps: SocketAddr,
}

pub(crate) async fn run(demo: Demo) -> Result<(), Failure> {
    // Not by clap: it would print a wrong one, and with it a camera's password.
    demo.source.reveal().parse::<Source>().map_err(|error| WrongUse(format!("--source: {error}")))?;
    let stop = terminal::stop_signal()?;
    if !demo.json {
        terminal::say("Sightline: starting a cloud, an origin and a camera on this machine …");
    }
    let prepared = admin::prepare(&demo.dir, &[]).await?;
    let addresses = addresses(&demo).await?;
    let mut devices = Vec::new();
    for number in 1..=demo.cameras {
        devices.push(admin::ensure_device(&demo.dir, &DeviceId::new(&format!("cam-{number}"))?).await?);
    }
    let origin = Origin::start(origin_config(&demo.dir, &addresses, &prepared)).await?;
    let mut config = sightline_cloud::Config::in_dir(&demo.dir)?;
    (config.http.listen, config.mqtt.listen) = (addresses.http, addresses.mqtt);
    let cloud = Cloud::start_checking(config, origin.router(), crate::roles::check_settings).await?;
    cloud.show_metrics(origin.metrics());
    let quality = demo.quality.or_else(|| (demo.source.reveal() == "test").then(|| best_quality(demo.cameras)));
    let waited_until = Instant::now() + ORIGIN_WAIT;
    while !cloud.has_server() && Instant::now() < waited_until {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let agents = devices.iter().map(|device| Keeper::start(&camera_config(device, &demo, &addresses, quality)));
    let agents = agents.collect::<Result<Vec<_>, _>>()?;
    announce(&demo, &addresses, &devices, quality, cloud.operator_token_path().as_deref()).await?;

    let camera_stop = CancellationToken::new();
    let mut cameras = JoinSet::new();
    for agent in agents {
        cameras.spawn(agent.run(camera_stop.clone()));
    }
    tokio::select! {
        () = stop.cancelled() => {}
        Some(ended) = cameras.join_next() => {
            if let Ok(sightline_camera::Outcome::Failed(problem)) = ended {
                return Err(problem.into());
            }
        }
    }
    if !demo.json {
        terminal::say("stopping …");
    }
    // The cameras first: their last words go through the broker.
    camera_stop.cancel();
    while cameras.join_next().await.is_some() {}
    origin.shutdown().await;
    cloud.shutdown().await;
    Ok(())
}

/// The addresses that were asked for, or the well-known ones, or free ones where those are taken.
async fn addresses(demo: &Demo) -> Result<Addresses, Failure> {
    Ok(Addresses {
        http: free(demo.http, 8080).await?,
        mqtt: free(demo.mqtt, 8883).await?,
        rtmp: free(demo.rtmp, 1935).await?,
        rtmps: free(demo.rtmps, 1936).await?,
    })
}

async fn free(wanted: Option<SocketAddr>, port: u16) -> Result<SocketAddr, Failure> {
    let well_known = SocketAddr::from(([127, 0, 0, 1], port));
    let listener = match wanted {
        Some(address) => TcpListener::bind(address)
            .await
            .map_err(|error| format!("{address}: {error}; name another address, or port 0 for any free one"))?,
        None => match TcpListener::bind(well_known).await {
            Ok(listener) => listener,
            Err(error) => {
                let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
                terminal::say(&format!("note: {well_known} can't be used ({error}); taking {} instead", listener.local_addr()?));
                listener
            }
        },
    };
    Ok(listener.local_addr()?)
}

fn origin_config(dir: &Path, addresses: &Addresses, prepared: &Prepared) -> sightline_origin::Config {
    let mut config = sightline_origin::Config::default();
    "demo".clone_into(&mut config.server_id);
    "Demo origin".clone_into(&mut config.name);
    config.data_dir = dir.join("origin");
    config.rtmp.listen = addresses.rtmp;
    config.rtmps.listen = addresses.rtmps;
    config.rtmps.cert = Some(prepared.server_pem.clone());
    config.rtmps.key = Some(prepared.server_key.clone());
    config.http.enabled = false;
    // WHEP's media is where the pages are.
    config.http.listen = addresses.http;
    config.cloud.url = Some(format!("http://{}", addresses.http));
    config.cloud.cluster_key_file = Some(prepared.cluster_key.clone());
    config.cloud.rtmp_url = Some(format!("rtmp://{}/live", addresses.rtmp));
    config.cloud.rtmps_url = Some(format!("rtmps://{}/live", addresses.rtmps));
    config.cloud.http_url = Some(format!("http://{}", addresses.http));
    config
}

fn camera_config(device: &AddedDevice, demo: &Demo, addresses: &Addresses, quality: Option<QualityArg>) -> sightline_camera::Config {
    let mut config = sightline_camera::Config::new(device.id.as_str(), demo.source.reveal());
    config.stream.quality = quality.map(|quality| quality.name().to_owned()).unwrap_or_default();
    // Someone watches: at once, with short delays.
    config.stream.trigger = "always_on".to_owned();
    config.stream.reconnect_interval_sec = 1;
    config.stream.metrics_interval_sec = 2;
    config.state_dir = demo.dir.join("cameras").join(device.id.as_str());
    config.mqtt.url = format!("mqtts://{}", addresses.mqtt);
    config.mqtt.https_url = format!("https://{}", addresses.http);
    (config.mqtt.ca, config.mqtt.cert, config.mqtt.key) = (device.ca.clone(), device.pem.clone(), device.key.clone());
    config
}

/// The best preset whose pictures, times the cameras, the machine encodes with a share of its cores.
fn best_quality(cameras: u16) -> QualityArg {
    let cores = available_parallelism().map_or(1, std::num::NonZero::get) as f32;
    let pixels_per_second = sightline_encode::measure_encoder_fps() * 1280.0 * 720.0 * cores * ENCODING_SHARE / f32::from(cameras);
    let fits =
        |quality: Quality| quality.settings().is_some_and(|preset| (preset.width * preset.height * preset.fps) as f32 <= pixels_per_second);
    match (fits(Quality::High), fits(Quality::Medium)) {
        (true, _) => QualityArg::High,
        (false, true) => QualityArg::Medium,
        (false, false) => QualityArg::Low,
    }
}

async fn announce(
    demo: &Demo,
    addresses: &Addresses,
    devices: &[AddedDevice],
    quality: Option<QualityArg>,
    token: Option<&Path>,
) -> Result<(), Failure> {
    let console = format!("http://{}/", addresses.http);
    let mut playbacks = Vec::new();
    for device in devices {
        playbacks.push((device.id.to_string(), admin::show_device(&demo.dir, &device.id).await?.playback));
    }
    if demo.json {
        let cameras: Vec<_> = playbacks.iter().map(|(id, playback)| serde_json::json!({"device": id, "playback": playback})).collect();
        terminal::print(
            &serde_json::json!({
                "console": console, "http": addresses.http, "mqtts": addresses.mqtt, "rtmp": addresses.rtmp, "rtmps": addresses.rtmps,
                "dir": demo.dir, "quality": quality.map(QualityArg::name), "cameras": cameras,
            })
            .to_string(),
        );
        return Ok(());
    }
    terminal::print(&format!("\n  Console   {console}"));
    if let Some(token) = token {
        terminal::print(&format!("            other machines reach it: it asks for the token in {}", token.display()));
    }
    for (id, playback) in &playbacks {
        terminal::print(&format!("\n  {id}     http://{}/live/{playback}.flv", addresses.http));
        terminal::print(&format!("            http://{}/live/{playback}/index.m3u8", addresses.http));
        terminal::print(&format!("            rtmp://{}/live/{playback}", addresses.rtmp));
    }
    terminal::print(&format!("\n  MQTT      mqtts://{}   certificates in {}", addresses.mqtt, demo.dir.display()));
    if let Some(quality) = quality {
        let preset = quality_of(quality);
        terminal::print(&format!("  Preset    {} ({preset}); encoder: {}", quality.name(), sightline_h264::ENCODER_BUILD));
    }
    terminal::print("\n  Ctrl-C ends it.\n");
    Ok(())
}

fn quality_of(quality: QualityArg) -> String {
    let settings = quality.name().parse::<Quality>().ok().and_then(Quality::settings);
    settings.map(|s| format!("{}x{}, {} fps, {} kbit/s", s.width, s.height, s.fps, s.bitrate_bps / 1000)).unwrap_or_default()
}

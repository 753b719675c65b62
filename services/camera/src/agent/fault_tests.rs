//! Faulty encoders in an agent that streams to a real RTMP session over a real socket.

use super::*;
use sightline_capture::Picture;
use sightline_encode::{Encoded, EncoderError, Opening, VideoEncoder};
use sightline_media::MediaTime;
use sightline_rtmp::server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Fails on each picture.
struct Broken;

impl Broken {
    fn open(_: Settings, _: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        Ok(Box::new(Self))
    }
}

impl VideoEncoder for Broken {
    fn follow(&mut self, _: Settings) -> bool {
        true
    }

    fn force_keyframe(&mut self) {}

    fn encode(&mut self, _: &Picture, _: MediaTime) -> Result<Option<Encoded>, EncoderError> {
        Err(EncoderError::Device { path: "/dev/video0".into(), problem: "injected".to_owned() })
    }
}

/// Takes a publisher, says so, and takes all that it sends.
pub(super) async fn serve(mut socket: TcpStream, mut on_publish: impl FnMut()) -> std::io::Result<()> {
    let mut session = server::Session::new(server::Config::default(), clock::now(), 7);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 || session.handle_bytes(clock::now(), &buffer[..read]).is_err() {
            return Ok(());
        }
        loop {
            match session.poll_output() {
                server::Output::Transmit(bytes) => socket.write_all(&bytes).await?,
                server::Output::Event(server::Event::PublishRequested { .. }) => {
                    session.accept_publish();
                    on_publish();
                }
                server::Output::Event(_) => {}
                server::Output::Timeout(_) => break,
            }
        }
    }
}

/// Runs an agent without a cloud until it ends: its codes, its last state, and how it ended.
async fn run(open: Opening) -> (Vec<ErrorCode>, Option<StreamState>, Outcome) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::new("cam-1", "test");
    config.stream.rtmp_server_url = format!("rtmp://{}/live", listener.local_addr().unwrap());
    config.stream.trigger = "manual".to_owned();
    config.stream.quality = "low".to_owned();
    let agent = Agent::begin_with(config.checked().unwrap(), Rounds::Looped, Arc::new(open)).unwrap();
    let (sender, mut receiver) = mpsc::channel(64);
    let server = async {
        let (socket, _) = listener.accept().await.unwrap();
        serve(socket, || ()).await
    };
    let (outcome, _) = tokio::join!(agent.run(CancellationToken::new(), Some(sender)), server);
    let (mut codes, mut state) = (Vec::new(), None);
    while let Some(event) = receiver.recv().await {
        match event {
            StreamEvent::Status(status) => state = Some(status.state),
            StreamEvent::Event(event) => {
                if let StatusEvent::ConnectionError(error) = *event {
                    codes.push(error.error_code);
                }
            }
        }
    }
    (codes, state, outcome)
}

#[tokio::test]
async fn an_encoder_that_fails_three_times_is_told_and_ends_an_agent_without_a_cloud() {
    let (codes, state, outcome) = run(Broken::open).await;
    assert_eq!((codes, state), (vec![ErrorCode::EncoderFailed], Some(StreamState::Error)));
    assert!(
        matches!(&outcome, Outcome::Failed(problem) if problem.starts_with("ENCODER_FAILED: encoder /dev/video0: injected")),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_encoder_that_can_t_be_opened_is_told_so() {
    fn open(_: Settings, _: f32) -> Result<Box<dyn VideoEncoder>, EncoderError> {
        Err(sightline_h264::EncodeError::Open("no memory".to_owned()).into())
    }
    let (codes, state, outcome) = run(open).await;
    assert_eq!((codes, state), (vec![ErrorCode::EncoderOutOfResources], Some(StreamState::Error)));
    assert!(matches!(&outcome, Outcome::Failed(problem) if problem.starts_with("ENCODER_OUT_OF_RESOURCES: ")), "{outcome:?}");
}

#[tokio::test]
async fn with_a_cloud_the_next_start_tries_the_encoder_again() {
    let mut config = Config::new("cam-1", "test");
    config.mqtt.url = "mqtts://localhost".to_owned();
    let checked = config.checked().unwrap();
    let settings = checked.pusher.wanted();
    let plan = Plan {
        source: checked.local.source,
        limits: Some(settings),
        keyframe_interval_sec: 2.0,
        title: "cam-1".to_owned(),
        plays_once: false,
        rtsp_transport: checked.local.rtsp_transport,
        is_patient: true,
        open_encoder: Arc::new(Broken::open as Opening),
        motion: None,
    };
    let (mut pipeline, _) = Pipeline::start(plan, settings).unwrap();
    for _ in 0..2 {
        pipeline.order(EncoderOrder::Start(settings));
        let event = pipeline.events.recv().await;
        assert!(matches!(&event, Some(PipelineEvent::Failed(failure)) if failure.code == ErrorCode::EncoderFailed), "{event:?}");
    }
}

//! Our own publisher and player over TCP.

use crate::clip::{Clip, clip};
use bytes::Bytes;
use sightline_media::{CaptureMark, Frame, Instant, MediaTime};
use sightline_rtmp::client::{Config, Event, Session};
use sightline_rtmp::player;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

pub(crate) struct Publisher {
    socket: TcpStream,
    session: Session<Bytes, 64>,
    started: tokio::time::Instant,
    mark: Option<CaptureMark>,
    clip: &'static Clip,
}

impl Publisher {
    /// Publishes, or says with which code and words it was refused.
    pub(crate) async fn connect(addr: SocketAddr, app: &str, name: &str) -> Result<Self, (String, String)> {
        Self::connect_from("127.0.0.1", addr, app, name).await
    }

    /// Publishes another clip.
    pub(crate) async fn connect_with(addr: SocketAddr, app: &str, name: &str, clip: &'static Clip) -> Result<Self, (String, String)> {
        Self::dial("127.0.0.1", addr, app, name, clip).await
    }

    /// The same from another address of this machine.
    pub(crate) async fn connect_from(from: &str, addr: SocketAddr, app: &str, name: &str) -> Result<Self, (String, String)> {
        Self::dial(from, addr, app, name, clip()).await
    }

    async fn dial(from: &str, addr: SocketAddr, app: &str, name: &str, clip: &'static Clip) -> Result<Self, (String, String)> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        let socket = socket.connect(addr).await.unwrap();
        let session = Session::publish(Config::default(), &format!("rtmp://{addr}/{app}"), name, Instant::ZERO, 7).unwrap();
        let mut publisher = Self { socket, session, started: tokio::time::Instant::now(), mark: None, clip };
        for track in &clip.tracks {
            publisher.session.set_track(track.clone());
        }
        loop {
            match publisher.session.poll_event() {
                Some(Event::Publishing) => return Ok(publisher),
                Some(Event::Rejected { code, description }) => return Err((code.to_string(), description.to_string())),
                Some(
                    Event::Connected | Event::Acknowledged { .. } | Event::FrameSent(_) | Event::Closed | Event::ReconnectRequested { .. },
                ) => {}
                None => assert!(publisher.turn().await, "hung up before an answer"),
            }
        }
    }

    fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.started.elapsed().as_micros()).unwrap())
    }

    /// Writes what is pending, or else reads; false at the end.
    async fn turn(&mut self) -> bool {
        let pending = self.session.pending().concat();
        if !pending.is_empty() {
            let Ok(written) = self.socket.write(&pending).await else { return false };
            self.session.consumed(written);
            return true;
        }
        let mut buffer = [0; 4096];
        match self.socket.read(&mut buffer).await {
            Ok(0) | Err(_) => false,
            Ok(read) => self.session.handle_bytes(self.now(), &buffer[..read]).is_ok(),
        }
    }

    /// Sends the few bytes of an answered ping; false when the server has hung up.
    pub(crate) async fn trickle(&mut self) -> bool {
        let pong = [2, 0, 0, 0, 0, 0, 6, 4, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4];
        let mut waste = [0; 4096];
        match self.socket.try_read(&mut waste) {
            Ok(0) => return false,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return false,
            Ok(_) | Err(_) => {}
        }
        self.socket.write_all(&pong).await.is_ok()
    }

    /// What the pictures say from now on of when they were captured.
    pub(crate) fn mark(&mut self, mark: Option<CaptureMark>) {
        self.mark = mark;
    }

    /// Sends a frame; false when the server has hung up.
    pub(crate) async fn send(&mut self, frame: Frame<Bytes>) -> bool {
        self.session.send_marked(frame, self.mark).unwrap();
        while self.session.queue_len() > 0 {
            if !self.turn().await {
                return false;
            }
            while self.session.poll_event().is_some() {}
        }
        true
    }

    /// Sends the clip over and over in real time, for so long.
    pub(crate) async fn stream_for(&mut self, length: Duration) -> bool {
        let start = tokio::time::Instant::now();
        for frame in self.clip.repeated() {
            let due = Duration::from_micros(u64::try_from(frame.dts.as_micros()).unwrap());
            if due > length {
                break;
            }
            tokio::time::sleep_until(start + due).await;
            if !self.send(frame).await {
                return false;
            }
        }
        true
    }

    /// Waits for the server to hang up; true if it said that the stream ended.
    pub(crate) async fn ended(mut self) -> bool {
        let mut was_told = false;
        while self.turn().await {
            while let Some(event) = self.session.poll_event() {
                was_told |= matches!(event, Event::Closed | Event::Rejected { .. });
            }
        }
        was_told
    }

    /// Waits to be asked to connect anew, and says where; `None` when the server hangs up without asking.
    pub(crate) async fn asked_to_leave(&mut self) -> Option<String> {
        loop {
            match self.session.poll_event() {
                Some(Event::ReconnectRequested { tc_url }) => return Some(tc_url.to_string()),
                Some(_) => {}
                None => self.turn().await.then_some(())?,
            }
        }
    }

    pub(crate) async fn close(mut self) {
        self.session.close();
        while !self.session.pending().concat().is_empty() {
            self.turn().await;
        }
        let _ = self.socket.shutdown().await;
    }
}

pub(crate) struct Player {
    socket: TcpStream,
    session: player::Session,
    events: VecDeque<player::Event>,
}

impl Player {
    pub(crate) async fn connect(addr: SocketAddr, name: &str) -> Self {
        let socket = TcpStream::connect(addr).await.unwrap();
        Self { socket, session: player::Session::play(&format!("rtmp://{addr}/live"), name, 3), events: VecDeque::new() }
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<player::Event> {
        loop {
            loop {
                match self.session.poll_output() {
                    player::Output::Transmit(bytes) => self.socket.write_all(&bytes).await.ok()?,
                    player::Output::Event(event) => self.events.push_back(event),
                    player::Output::Idle => break,
                }
            }
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let mut buffer = [0; 16 * 1024];
            match self.socket.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(read) => self.session.handle_bytes(&buffer[..read]).unwrap(),
            }
        }
    }

    /// The next frame; panics when there is none within five seconds.
    pub(crate) async fn frame(&mut self) -> Frame<Bytes> {
        let wait = async {
            loop {
                match self.next().await {
                    Some(player::Event::Frame(frame)) => return frame,
                    Some(player::Event::Track(_) | player::Event::Status { .. }) => {}
                    other => panic!("no frame but {other:?}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), wait).await.expect("no frame in five seconds")
    }

    /// Reads to the end of the connection: whether the stream was said to be over, and the code of the last status.
    pub(crate) async fn last_words(&mut self) -> (bool, String) {
        let (mut was_ended, mut last) = (false, String::new());
        while let Some(event) = self.next().await {
            match event {
                player::Event::Ended => was_ended = true,
                player::Event::Status { code, .. } => last = code,
                player::Event::Track(_) | player::Event::Frame(_) | player::Event::Remark { .. } => {}
            }
        }
        (was_ended, last)
    }

    /// The first status with an error.
    pub(crate) async fn error(&mut self) -> String {
        while let Some(event) = self.next().await {
            if let player::Event::Status { code, is_error: true, .. } = event {
                return code;
            }
        }
        panic!("no error")
    }
}

/// Decoding times of each track never decrease.
#[derive(Default)]
pub(crate) struct Monotone([Option<MediaTime>; 2]);

impl Monotone {
    pub(crate) fn check<P>(&mut self, frame: &Frame<P>) {
        let last = &mut self.0[usize::from(frame.track.0)];
        assert!(last.is_none_or(|last| frame.dts >= last), "{last:?} then {:?}", frame.dts);
        *last = Some(frame.dts);
    }
}

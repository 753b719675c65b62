//! A door with real sockets.
#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use sightline_listen::{Admission, Arrival, Door, Limits};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A server: who sends `c` and a number has proved that it is the camera of that number, and has its byte back.
struct Server {
    door: Arc<Door>,
    address: SocketAddr,
    refused: Arc<AtomicU64>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

async fn server(limits: Limits) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop, tasks) = (listener.local_addr().unwrap(), CancellationToken::new(), TaskTracker::new());
    let admission = Arc::new(Admission::new(limits));
    let door = Arc::new(Door::new("test", "the test", Duration::from_secs(30), admission, tasks.clone(), stop.clone()));
    let refused = Arc::new(AtomicU64::new(0));
    let count = refused.clone();
    let on_refused = move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    };
    tasks.spawn(door.clone().run(listener, on_refused, async |mut arrival: Arrival| {
        let mut bytes = [0; 2];
        if arrival.socket.read_exact(&mut bytes).await.is_ok() && arrival.permit.prove(&format!("cam-{}", bytes[1])).is_ok() {
            let _ = arrival.socket.write_all(&bytes[1..]).await;
            while matches!(arrival.socket.read(&mut bytes).await, Ok(1..)) {}
        }
    }));
    Server { door, address, refused, stop, tasks }
}

impl Server {
    async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
    }
}

async fn connect(from: &str, to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse().unwrap(), 0))?;
    socket.connect(to).await
}

/// A camera that is in, or the error that it has.
async fn camera(from: &str, to: SocketAddr, number: u8) -> std::io::Result<TcpStream> {
    let mut socket = connect(from, to).await?;
    socket.write_all(&[b'c', number]).await?;
    assert_eq!(socket.read_u8().await?, number);
    Ok(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_silent_connections_of_one_address_leave_room_for_a_camera_of_another() {
    let server = server(Limits::of(64)).await;
    let mut silent = vec![];
    for _ in 0..200 {
        silent.push(connect("127.0.0.2", server.address).await);
    }
    while server.door.counts().accepted + server.door.counts().waiting + server.refused.load(Ordering::Relaxed) < 200 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let counts = server.door.counts();
    assert!(counts.pending <= 4 && counts.open <= 25, "{counts:?}");
    let _camera = camera("127.0.0.3", server.address, 1).await.unwrap();
    assert_eq!(server.door.counts().identified, 1);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_cameras_behind_one_address_all_come_in_two_at_a_time() {
    let limits = Limits { connections: 1000, pending_per_address: 2, waiting: 300, waiting_per_address: 300, ..Limits::NONE };
    let server = server(limits).await;
    let mut cameras = tokio::task::JoinSet::new();
    for number in 0..200 {
        let to = server.address;
        cameras.spawn(async move { camera("127.0.0.2", to, number).await.unwrap() });
    }
    let held = cameras.join_all().await;
    let counts = server.door.counts();
    assert_eq!((held.len(), counts.identified, counts.pending, counts.waiting), (200, 200, 0, 0));
    assert_eq!((counts.accepted, counts.shed, server.refused.load(Ordering::Relaxed)), (200, 0, 0));
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_connection_is_ended_for_one_of_its_own_address_that_waits() {
    let limits = Limits { pending_per_address: 1, waiting: 8, waiting_per_address: 8, ..Limits::NONE };
    let server = server(limits).await;
    let mut silent = connect("127.0.0.2", server.address).await.unwrap();
    while server.door.counts().pending == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _camera = camera("127.0.0.2", server.address, 7).await.unwrap();
    assert!(matches!(silent.read(&mut [0; 1]).await, Ok(0) | Err(_)), "it has to go");
    assert_eq!((server.door.counts().shed, server.door.counts().open), (1, 1));
    server.shutdown().await;
}

//! What comes in at the media port: datagrams, and connections with datagrams in them.

use super::port::{Port, Way};
use super::table::Table;
use bytes::{Bytes, BytesMut};
use quinn_udp::RecvMeta;
use sightline_listen::{Admission, Arrival, Door, Limits, Permit, descriptors};
use sightline_webrtc::Deframer;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Buffers that are filled at a time. Each holds as many datagrams as the system joins.
const RECEIVE_BUFFERS: usize = 4;
/// The longest datagram that is read: players' handshakes and reports are shorter than an Ethernet's.
const DATAGRAM_BYTES_MAX: usize = 1500;
/// What is written to a connection at a time, in bytes.
const TCP_WRITE_BYTES: usize = 64 * 1024;
/// What is read of one at a time: checks and reports.
const TCP_READ_BYTES: usize = 4 * 1024;
/// What a connection may leave unread before it is some viewer's, in bytes: a check is shorter.
const UNPROVED_BYTES_MAX: usize = 2 * 1024;
/// How long a connection may take to its first check.
const CHECK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may take nothing.
const STUCK_TIMEOUT: Duration = Duration::from_secs(10);
/// The part of the descriptors that is for these connections, in hundredths: few networks let no UDP out.
const TCP_SHARE: u8 = 10;
/// The setting that limits them, as the log names it.
const LIMITED_BY: &str = "the limit of open files";

/// Takes datagrams until the shutdown.
pub(super) async fn receive(port: Arc<Port>, table: Arc<Table>, shutdown: CancellationToken) {
    let bytes = DATAGRAM_BYTES_MAX * port.joined_max();
    let mut space = vec![0; bytes * RECEIVE_BUFFERS];
    let is_any = port.address.ip().is_unspecified();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            ready = port.readable() => if ready.is_err() { return },
        }
        let mut metas = [RecvMeta::default(); RECEIVE_BUFFERS];
        let mut slices: Vec<IoSliceMut<'_>> = space.chunks_mut(bytes).map(IoSliceMut::new).collect();
        let count = match port.receive(&mut slices, &mut metas) {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::debug!(%error, "WHEP's port gave no datagram");
                }
                continue;
            }
        };
        for (meta, slice) in metas.iter().zip(&slices).take(count) {
            let way = Way::Udp { peer: meta.addr, local: meta.dst_ip.filter(|_| is_any) };
            let from = SocketAddr::new(meta.addr.ip().to_canonical(), meta.addr.port());
            for datagram in slice[..meta.len.min(slice.len())].chunks(meta.stride.max(1)) {
                table.handle(&port, way, from, datagram);
            }
        }
    }
}

/// Takes connections until the shutdown.
pub(super) async fn accept(port: Arc<Port>, table: Arc<Table>, listener: TcpListener, tasks: TaskTracker, shutdown: CancellationToken) {
    let admission = Arc::new(Admission::new(Limits::of(descriptors::share(TCP_SHARE))));
    let door = Door::new("WHEP", LIMITED_BY, CHECK_TIMEOUT, admission, tasks, shutdown.clone());
    let serve = move |arrival: Arrival| {
        let (port, table, shutdown) = (port.clone(), table.clone(), shutdown.clone());
        async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = connection(&port, &table, arrival) => {}
            }
        }
    };
    Arc::new(door).run(listener, |_| {}, serve).await;
}

async fn connection(port: &Arc<Port>, table: &Table, arrival: Arrival) {
    if arrival.first_byte().await.is_err() {
        return;
    }
    let Arrival { socket, peer, permit, deadline, .. } = arrival;
    let (reader, writer) = socket.into_split();
    let (way, receiver) = port.open();
    let reading = Reading { port, table, way, peer, permit: &permit };
    tokio::select! {
        () = reading.run(reader, deadline) => {}
        () = write(receiver, writer) => {}
    }
    port.close(way);
    table.forget(way);
}

/// The half of a connection that players write.
struct Reading<'a> {
    port: &'a Port,
    table: &'a Table,
    way: Way,
    peer: SocketAddr,
    permit: &'a Permit,
}

impl Reading<'_> {
    async fn run(self, mut reader: OwnedReadHalf, deadline: tokio::time::Instant) {
        let (mut deframer, mut space, mut is_some_viewer_s) = (Deframer::default(), vec![0; TCP_READ_BYTES], false);
        let from = SocketAddr::new(self.peer.ip().to_canonical(), self.peer.port());
        loop {
            let read = reader.read(&mut space);
            let read = if is_some_viewer_s { read.await } else { tokio::time::timeout_at(deadline, read).await.unwrap_or(Ok(0)) };
            let Ok(1..) = read else { return };
            deframer.handle_bytes(&space[..read.unwrap_or_default()]);
            while let Some(datagram) = deframer.poll_datagram() {
                if self.table.handle(self.port, self.way, from, &datagram) && !is_some_viewer_s {
                    is_some_viewer_s = true;
                    self.permit.set_pending(false);
                }
            }
            if !is_some_viewer_s && deframer.waiting_bytes() > UNPROVED_BYTES_MAX {
                return;
            }
        }
    }
}

/// Writes what waits, until nobody sends to this connection any more, or it takes nothing.
async fn write(mut receiver: mpsc::Receiver<Bytes>, mut writer: OwnedWriteHalf) {
    let mut out = BytesMut::new();
    while let Some(first) = receiver.recv().await {
        out.extend_from_slice(&first);
        while out.len() < TCP_WRITE_BYTES
            && let Ok(more) = receiver.try_recv()
        {
            out.extend_from_slice(&more);
        }
        match tokio::time::timeout(STUCK_TIMEOUT, writer.write_all(&out)).await {
            Ok(Ok(())) => out.clear(),
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

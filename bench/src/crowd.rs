//! Peers that mean no good: many that say nothing or half of what is due, and a flood of those that say what is wrong.
//!
//! A program of its own at the lowest priority: what it takes of the load's processor must not show in the viewers' latencies.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;

/// Addresses that the idle ones come from: enough that none exceeds the limit for one address.
const IDLE_ADDRESSES: usize = 40;
/// The one address that asks for more than its share.
const GREEDY: Ipv4Addr = Ipv4Addr::new(127, 0, 2, 1);
/// Connections that it wants, half as many again as it may have.
const GREEDY_CONNECTIONS: usize = 1500;
/// Between two connects of the idle ones: 2,000 a second, so that the listener's queue holds them.
const CONNECT_INTERVAL: Duration = Duration::from_micros(500);
/// How long one that was refused or disconnected waits before it comes back.
const RETURN_WAIT: Duration = Duration::from_millis(500);
/// How long a malformed one waits for the answer to what it said.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// Malformed ones under way at a time.
const FLOOD_AT_ONCE: usize = 64;

/// Its options; the bench starts it with them.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Where the origin listens
    #[arg(long)]
    port: u16,
    /// Connections that stay as long as they are let
    #[arg(long)]
    idle: usize,
    /// What they do
    #[arg(long, value_enum)]
    kind: Kind,
    /// Malformed connections a second
    #[arg(long)]
    flood: u32,
}

/// What an idle connection says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Nothing.
    Silent,
    /// Half of C1.
    HalfHandshake,
    /// All of the handshake and `connect`, and then nothing.
    Connected,
    /// Each of these in turn, and one address that wants more than its share.
    Mixed,
}

/// Counts, written to standard output each second: attempts of the idle ones, those that are open, and malformed ones.
#[derive(Default)]
struct Counts {
    attempts: AtomicU64,
    open: AtomicU64,
    flooded: AtomicU64,
}

pub(crate) fn run(options: &Options) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let counts = Arc::new(Counts::default());
        let mut peers = JoinSet::new();
        peers.spawn(flood(options.port, options.flood, counts.clone()));
        let mut ticks = tokio::time::interval(CONNECT_INTERVAL);
        let mut report = tokio::time::interval(Duration::from_secs(1));
        let greedy = if options.kind == Kind::Mixed { GREEDY_CONNECTIONS } else { 0 };
        let mut number = 0;
        let mut end = [0];
        let mut input = tokio::io::stdin();
        loop {
            tokio::select! {
                _ = ticks.tick(), if number < options.idle + greedy => {
                    let from = if number < options.idle { address(1, number % IDLE_ADDRESSES) } else { GREEDY };
                    let kind = match (options.kind, number % 3) {
                        (Kind::Mixed, 0) => Kind::Silent,
                        (Kind::Mixed, 1) => Kind::HalfHandshake,
                        (Kind::Mixed, _) => Kind::Connected,
                        (kind, _) => kind,
                    };
                    peers.spawn(stay(from, options.port, kind, counts.clone()));
                    number += 1;
                }
                _ = report.tick() => {
                    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
                    let line = format!("{} {} {}\n", count(&counts.attempts), count(&counts.open), count(&counts.flooded));
                    io::Write::write_all(&mut io::stdout(), line.as_bytes())?;
                }
                // The bench closes it, or is gone.
                _ = input.read(&mut end) => return Ok(()),
            }
        }
    })
}

fn address(net: u8, number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, net, u8::try_from(number % 200).unwrap_or(0) + 2)
}

async fn connect(from: Ipv4Addr, port: u16) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from((from, 0)))?;
    socket.connect(SocketAddr::from(([127, 0, 0, 1], port))).await
}

/// Comes, says what its kind says, stays until it is disconnected, and comes back.
async fn stay(from: Ipv4Addr, port: u16, kind: Kind, counts: Arc<Counts>) {
    let said = match kind {
        Kind::Silent | Kind::Mixed => vec![],
        Kind::HalfHandshake => opening(1)[..700].to_vec(),
        Kind::Connected => [opening(2), connect_command()].concat(),
    };
    loop {
        counts.attempts.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut socket) = connect(from, port).await {
            counts.open.fetch_add(1, Ordering::Relaxed);
            let mut buffer = [0; 512];
            let mut is_open = socket.write_all(&said).await.is_ok();
            while is_open {
                is_open = matches!(socket.read(&mut buffer).await, Ok(1..));
            }
            counts.open.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(RETURN_WAIT).await;
    }
}

async fn flood(port: u16, per_second: u32, counts: Arc<Counts>) {
    if per_second == 0 {
        return std::future::pending().await;
    }
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / per_second);
    let mut under_way = JoinSet::new();
    for number in 0_usize.. {
        ticks.tick().await;
        if under_way.len() >= FLOOD_AT_ONCE {
            under_way.join_next().await;
        }
        while under_way.try_join_next().is_some() {}
        let counts = counts.clone();
        under_way.spawn(async move {
            let Ok(mut socket) = connect(address(3, number), port).await else { return };
            let _ = socket.write_all(&malformed(number)).await;
            if !number.is_multiple_of(8) {
                let mut buffer = [0; 4096];
                let drain = async { while matches!(socket.read(&mut buffer).await, Ok(1..)) {} };
                let _ = tokio::time::timeout(ANSWER_WAIT, drain).await;
            }
            counts.flooded.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// One of eight kinds of what no client sends.
fn malformed(number: usize) -> Vec<u8> {
    let noise: Vec<u8> = (0..600_usize).map(|at| (at.wrapping_mul(number | 1) >> 3) as u8).collect();
    let after_handshake = |bytes: &[u8]| [&opening(2)[..], bytes].concat();
    match number % 8 {
        // A port scan.
        0 => vec![],
        1 => [&[3][..], &noise].concat(),
        2 => noise,
        3 => b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(),
        // A chunk that continues what never began; a chunk size of zero; a message of 16 MiB.
        4 => after_handshake(&[0xc3, 0, 0]),
        5 => after_handshake(&[2, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        6 => after_handshake(&[3, 0, 0, 0, 0xff, 0xff, 0xff, 20, 0, 0, 0, 0]),
        // A message begun on each of 61 chunk streams, none of them ended; then objects in objects.
        _ => {
            let mut bytes: Vec<u8> =
                (3..64).flat_map(|csid| [&[csid, 0, 0, 0, 0x70, 0, 0, 20, 0, 0, 0, 0][..], &[0; 128]].concat()).collect();
            bytes.extend_from_slice(&[2, 0, 0, 0, 0, 0, 128, 20, 0, 0, 0, 0]);
            bytes.extend_from_slice(&[3, 0, 1, b'a'].repeat(32));
            after_handshake(&bytes)
        }
    }
}

/// C0 and as many packets.
fn opening(packets: usize) -> Vec<u8> {
    let mut bytes = vec![0; 1 + 1536 * packets];
    if let Some(version) = bytes.first_mut() {
        *version = 3;
    }
    bytes
}

/// `connect` to `live`, in one chunk.
fn connect_command() -> Vec<u8> {
    let body = b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03\x00\x03app\x02\x00\x04live\0\0\x09";
    [&[3, 0, 0, 0, 0, 0, body.len() as u8, 20, 0, 0, 0, 0][..], body].concat()
}

//! A link that carries a set number of bits a second: a relay between two TCP connections, with little room in between.

use socket2::{Domain, Socket, Type};
use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// What the far end's window takes before it says that it is full: a router's queue, not a socket's.
const BUFFER_BYTES: usize = 8 * 1024;
/// Carried at once: a packet.
const PACKET_BYTES: usize = 1400;

/// A narrow link to one server. Ends with the test.
#[derive(Debug)]
pub struct Narrow {
    /// Where to connect to.
    pub address: SocketAddr,
    bps: Arc<AtomicU32>,
}

impl Narrow {
    /// Carries `bps` bits a second to `server`; all that comes back.
    ///
    /// # Panics
    /// If it can't listen.
    #[must_use]
    pub fn to(server: SocketAddr, bps: u32) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Before it listens: those that are accepted have it from the start.
        socket.set_recv_buffer_size(BUFFER_BYTES).expect("a socket takes a size");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("loopback has a free port");
        socket.listen(4).expect("it listens");
        let listener = TcpListener::from(socket);
        let address = listener.local_addr().expect("it is bound");
        let rate = Arc::new(AtomicU32::new(bps));
        let link = Self { address, bps: Arc::clone(&rate) };
        thread("narrow link", move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(server) else { continue };
                carry(near, far, &rate);
            }
        });
        link
    }

    /// Carries this many bits a second from now on.
    pub fn set_bps(&self, bps: u32) {
        self.bps.store(bps, Ordering::Relaxed);
    }
}

fn carry(near: TcpStream, far: TcpStream, bps: &Arc<AtomicU32>) {
    let (mut near_reader, mut far_writer) =
        (near.try_clone().expect("a socket can be cloned"), far.try_clone().expect("a socket can be cloned"));
    let bps = Arc::clone(bps);
    thread("narrow up", move || {
        let mut packet = [0; PACKET_BYTES];
        let mut free_at = Instant::now();
        while let Ok(bytes @ 1..) = near_reader.read(&mut packet) {
            if far_writer.write_all(&packet[..bytes]).is_err() {
                break;
            }
            let secs = bytes as f64 * 8.0 / f64::from(bps.load(Ordering::Relaxed));
            free_at = free_at.max(Instant::now()) + Duration::from_secs_f64(secs);
            std::thread::sleep(free_at.saturating_duration_since(Instant::now()));
        }
        let _ = far_writer.shutdown(std::net::Shutdown::Both);
    });
    thread("narrow down", move || {
        let (mut far, mut near) = (far, near);
        let _ = std::io::copy(&mut far, &mut near);
        let _ = near.shutdown(std::net::Shutdown::Both);
    });
}

fn thread(name: &str, run: impl FnOnce() + Send + 'static) {
    drop(std::thread::Builder::new().name(name.to_owned()).spawn(run).expect("a thread"));
}

//! The link between two network namespaces: packets go through this process, which delays, carries and drops them as the schedule says.
//!
//! Two TUN devices, real TCP at both ends: a proxy would acknowledge what the link has not carried. The uplink is a drop-tail queue that the
//! schedule empties; the downlink only delays. Both lose everything in an outage.

use super::schedule::{OPPORTUNITY_BYTES, Outage, Schedule};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// The device's name in either namespace.
pub(crate) const DEVICE: &str = "uplink0";
/// Packets taken from a device in one turn, so that the other one has its turn too.
const PACKETS_PER_TURN: usize = 64;
/// Larger than any packet on a device of 1,500 bytes.
const PACKET_BYTES_MAX: usize = 2048;
/// Without anything to do it looks this often whether it shall end.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A link's numbers.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) schedule: Schedule,
    /// Each way.
    pub(crate) delay_ms: u64,
    /// What may wait for the uplink.
    pub(crate) queue_bytes: usize,
    /// From the first connection to the schedule's start: a good link, on which the stream begins.
    pub(crate) lead_ms: u64,
}

/// What the run and the link's thread share.
#[derive(Default, Debug)]
pub(crate) struct Signals {
    pub(crate) is_over: AtomicBool,
    /// When the schedule began or will begin, milliseconds since 1970; 0 before the first connection.
    pub(crate) began_unix_ms: AtomicU64,
}

/// One direction, in microseconds since the emulator's start. Knows no clock.
#[derive(Debug)]
struct Direction {
    /// `None`: carries at once.
    schedule: Option<Schedule>,
    outages: Vec<Outage>,
    next: u64,
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    queue_bytes: usize,
    /// Of the first packet that waits.
    uncarried_bytes: usize,
    delay_micros: u64,
    under_way: VecDeque<(u64, Vec<u8>)>,
}

impl Direction {
    fn new(link: &Link, schedule: Option<Schedule>) -> Self {
        Self {
            schedule,
            outages: link.schedule.outages.clone(),
            next: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            queue_bytes: link.queue_bytes,
            uncarried_bytes: 0,
            delay_micros: link.delay_ms * 1000,
            under_way: VecDeque::new(),
        }
    }

    fn outage_at(&self, micros: u64) -> Option<Outage> {
        self.outages.iter().copied().find(|outage| outage.covers(micros / 1000))
    }

    /// A packet comes in. `began`: when the schedule began.
    fn take(&mut self, packet: Vec<u8>, now: u64, began: Option<u64>) {
        let since = began.and_then(|began| now.checked_sub(began));
        let is_scheduled = since.is_some() && self.schedule.is_some();
        if !is_scheduled {
            if since.is_none_or(|since| self.outage_at(since).is_none()) {
                self.under_way.push_back((now + self.delay_micros, packet));
            }
            return;
        }
        if self.waiting_bytes + packet.len() > self.queue_bytes {
            return;
        }
        if self.waiting.is_empty() {
            self.uncarried_bytes = packet.len();
        }
        self.waiting_bytes += packet.len();
        self.waiting.push_back(packet);
    }

    /// Uses the opportunities up to now.
    fn carry(&mut self, now: u64, began: u64) {
        while let Some(at) = self.schedule.as_ref().and_then(|schedule| schedule.opportunity_micros(self.next)) {
            if began + at > now {
                return;
            }
            self.next += 1;
            match self.outage_at(at) {
                Some(outage) => {
                    if outage.loses_packets {
                        self.waiting.clear();
                        self.waiting_bytes = 0;
                    }
                }
                None => self.use_opportunity(began + at),
            }
        }
    }

    fn use_opportunity(&mut self, at: u64) {
        let mut left = OPPORTUNITY_BYTES;
        while left > 0 {
            let bytes = left.min(self.uncarried_bytes);
            left -= bytes;
            self.uncarried_bytes -= bytes;
            if self.uncarried_bytes > 0 {
                return;
            }
            let Some(packet) = self.waiting.pop_front() else { return };
            self.waiting_bytes -= packet.len();
            self.under_way.push_back((at + self.delay_micros, packet));
            let Some(next) = self.waiting.front() else { return };
            self.uncarried_bytes = next.len();
        }
    }

    /// The next packet that has arrived by now.
    fn arrived(&mut self, now: u64) -> Option<Vec<u8>> {
        self.under_way.front().filter(|(at, _)| *at <= now)?;
        self.under_way.pop_front().map(|(_, packet)| packet)
    }

    fn next_event(&self, began: Option<u64>) -> Option<u64> {
        let arrives = self.under_way.front().map(|(at, _)| *at);
        let carries = match (began, &self.schedule) {
            (Some(began), Some(schedule)) if !self.waiting.is_empty() => schedule.opportunity_micros(self.next).map(|at| began + at),
            _ => None,
        };
        arrives.into_iter().chain(carries).min()
    }
}

/// The two devices, made in their namespaces.
#[derive(Debug)]
pub(crate) struct Devices {
    camera: OwnedFd,
    server: OwnedFd,
}

/// Opens a device in a namespace. The thread stays in there.
fn open_device(namespace: &str) -> io::Result<OwnedFd> {
    enter(namespace)?;
    let device = rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    attach(&device)?;
    Ok(device)
}

/// Moves this thread into a network namespace.
pub(crate) fn enter(namespace: &str) -> io::Result<()> {
    let path = format!("/run/netns/{namespace}");
    let namespace = rustix::fs::open(path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

#[expect(unsafe_code, reason = "TUNSETIFF has no safe wrapper in a crate that we already build")]
fn attach(device: &OwnedFd) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: ifreq is plain integers and arrays, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(DEVICE.bytes()) {
        *place = byte.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF takes an ifreq and is given one that outlives the call.
    let code = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

impl Devices {
    /// Opens both. The calling thread stays in the server's namespace.
    pub(crate) fn open(camera: &str, server: &str) -> io::Result<Self> {
        Ok(Self { camera: open_device(camera)?, server: open_device(server)? })
    }
}

/// Carries packets until the run is over. The schedule begins `lead_ms` after the first connection that the camera opens.
pub(crate) fn carry(link: &Link, devices: &Devices, signals: &Signals) -> io::Result<()> {
    let start = Instant::now();
    let mut up = Direction::new(link, Some(link.schedule.clone()));
    let mut down = Direction::new(link, None);
    let mut began = None;
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    while !signals.is_over.load(Ordering::Relaxed) {
        let now = micros(start.elapsed());
        if let Some(began) = began {
            up.carry(now, began);
        }
        for (device, is_up) in [(&devices.camera, true), (&devices.server, false)] {
            for _ in 0..PACKETS_PER_TURN {
                // Would block: nothing more waits.
                let Ok(bytes) = rustix::io::read(device, &mut buffer[..]) else { break };
                let packet = buffer.get(..bytes).unwrap_or_default().to_vec();
                if is_up && began.is_none() && opens_connection(&packet) {
                    began = Some(now + link.lead_ms * 1000);
                    signals.began_unix_ms.store(unix_ms() + link.lead_ms, Ordering::Relaxed);
                }
                if is_up { up.take(packet, now, began) } else { down.take(packet, now, began) }
            }
        }
        let now = micros(start.elapsed());
        for (direction, device) in [(&mut up, &devices.server), (&mut down, &devices.camera)] {
            while let Some(packet) = direction.arrived(now) {
                // A full receiver loses the packet, as a real one would.
                let _ = rustix::io::write(device, &packet);
            }
        }
        let next = [&up, &down].into_iter().filter_map(|direction| direction.next_event(began)).min();
        wait(devices, next.map(|next| Duration::from_micros(next.saturating_sub(micros(start.elapsed())))))?;
    }
    Ok(())
}

fn wait(devices: &Devices, until: Option<Duration>) -> io::Result<()> {
    let wait = until.unwrap_or(LOOK_INTERVAL).min(LOOK_INTERVAL);
    if wait.is_zero() {
        return Ok(());
    }
    let mut devices = [PollFd::new(&devices.camera, PollFlags::IN), PollFd::new(&devices.server, PollFlags::IN)];
    let wait = rustix::event::Timespec::try_from(wait).map_err(io::Error::other)?;
    match poll(&mut devices, Some(&wait)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A SYN over IPv4.
fn opens_connection(packet: &[u8]) -> bool {
    const TCP: u8 = 6;
    let is_tcp = packet.first().is_some_and(|first| first >> 4 == 4) && packet.get(9) == Some(&TCP);
    let header_bytes = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    is_tcp && packet.get(header_bytes + 13).is_some_and(|flags| flags & 0x12 == 0x02)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The clock of the stamps in pictures.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(schedule: Schedule) -> Link {
        Link { schedule, delay_ms: 25, queue_bytes: 15_000, lead_ms: 0 }
    }

    fn arrivals(direction: &mut Direction, until_ms: u64) -> Vec<u64> {
        let mut at_ms = Vec::new();
        for now in (0..=until_ms * 1000).step_by(1000) {
            direction.carry(now, 0);
            while direction.arrived(now).is_some() {
                at_ms.push(now / 1000);
            }
        }
        at_ms
    }

    #[test]
    fn packets_wait_their_turn_and_what_finds_no_room_is_lost() {
        // 1,200 kbit/s: one opportunity in 10 ms.
        let link = link(Schedule::steady(1200.0, 1));
        let mut up = Direction::new(&link, Some(link.schedule.clone()));
        (0..12).for_each(|_| up.take(vec![0; 1500], 0, Some(0)));
        let arrived = arrivals(&mut up, 200);
        assert_eq!(arrived.len(), 10, "the queue holds ten");
        assert!(arrived.windows(2).all(|pair| (9..=11).contains(&(pair[1] - pair[0]))), "{arrived:?}");
    }

    #[test]
    fn small_packets_share_an_opportunity() {
        let link = link(Schedule::steady(1200.0, 1));
        let mut up = Direction::new(&link, Some(link.schedule.clone()));
        (0..6).for_each(|_| up.take(vec![0; 500], 0, Some(0)));
        let arrived = arrivals(&mut up, 100);
        assert!(arrived.len() == 6 && arrived[0] == arrived[2] && arrived[3] > arrived[2], "{arrived:?}");
    }

    #[test]
    fn an_outage_loses_what_waits_or_keeps_it() {
        for loses_packets in [true, false] {
            let outage = Outage { start_ms: 0, length_ms: 100, loses_packets };
            let link = link(Schedule::steady(1200.0, 1).with_outages(&[outage]));
            let mut up = Direction::new(&link, Some(link.schedule.clone()));
            (0..3).for_each(|_| up.take(vec![0; 1500], 0, Some(0)));
            assert_eq!(arrivals(&mut up, 300).len(), if loses_packets { 0 } else { 3 });
            let mut down = Direction::new(&link, None);
            down.take(vec![0; 40], 50_000, Some(0));
            assert_eq!(arrivals(&mut down, 300).len(), 0, "the way back is dead too");
        }
    }
}

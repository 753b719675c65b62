//! What of a device may wait for the disk, in bytes: all its recordings together, for it may have many streams, and may end and begin them as it likes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// The bytes of a device that wait for the disk, and that are being written: ten seconds at 13 Mbit/s.
const WAITING_BYTES_MAX: usize = 16 << 20;

/// Those of all devices that record.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    devices: Mutex<HashMap<String, Weak<Room>>>,
}

/// That of one device.
#[derive(Debug)]
pub(crate) struct Room {
    device: String,
    rooms: Weak<Rooms>,
    waiting_bytes: AtomicUsize,
}

/// What is taken of it, until this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    room: Arc<Room>,
    bytes: usize,
}

impl Rooms {
    pub(crate) fn of(self: &Arc<Self>, device: &str) -> Arc<Room> {
        let mut devices = self.devices.lock().unwrap_or_else(PoisonError::into_inner);
        let known = devices.get(device).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let room = Arc::new(Room { device: device.to_owned(), rooms: Arc::downgrade(self), waiting_bytes: AtomicUsize::new(0) });
            devices.insert(device.to_owned(), Arc::downgrade(&room));
            room
        })
    }
}

impl Room {
    /// `None`: too much waits already. Alone, a fragment of any size has a place: a picture of 8 MiB is recorded like any other.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Option<Place> {
        let taken =
            |waiting: usize| (waiting == 0 || waiting.saturating_add(bytes) <= WAITING_BYTES_MAX).then_some(waiting.saturating_add(bytes));
        self.waiting_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken).ok()?;
        Some(Place { room: self.clone(), bytes })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let Some(rooms) = self.rooms.upgrade() else { return };
        let mut devices = rooms.devices.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have another by now.
        if devices.get(&self.device).is_some_and(|room| room.strong_count() == 0) {
            devices.remove(&self.device);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.waiting_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_has_one_room_for_all_its_recordings_and_a_large_fragment_has_it_alone() {
        let rooms = Arc::<Rooms>::default();
        let (first, second, other) = (rooms.of("cam-1"), rooms.of("cam-1"), rooms.of("cam-2"));
        let large = first.take(WAITING_BYTES_MAX + 1).expect("nothing waits");
        assert!(second.take(1).is_none() && other.take(1).is_some(), "another device has its own");
        drop(large);
        let half = second.take(WAITING_BYTES_MAX / 2).unwrap();
        assert!(first.take(WAITING_BYTES_MAX / 2).is_some() && first.take(WAITING_BYTES_MAX / 2 + 1).is_none());
        drop((first, second, other));
        assert_eq!(rooms.devices.lock().unwrap().len(), 1, "what waits keeps it");
        drop(half);
        assert!(rooms.devices.lock().unwrap().is_empty());
    }
}

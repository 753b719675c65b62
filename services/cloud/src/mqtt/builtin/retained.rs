//! The messages that are kept for those who subscribe later: the last one of each topic.

use super::{
    packet::Publication,
    topics::{fits, literal_prefix},
};
use sightline_signal::{DeviceId, topic::Topic};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::Arc,
    time::Instant,
};

/// What one retained message may cost. State and presence are retained, pictures are not.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
/// What a device's retained messages may cost together: its settings are 8 KiB, twice, the rest is small.
const DEVICE_BYTES_MAX: usize = 40 << 10;
/// Retained messages of all devices: a few for each of the largest fleet that one process is for. An operator may name devices that do not
/// exist.
const MESSAGES_MAX: usize = 100_000;
/// What they may cost together.
const BYTES_MAX: usize = 256 << 20;
/// How many topics are looked at in one step of a scan: the router is locked meanwhile.
const STEP_TOPICS_MAX: usize = 512;
/// How many messages one step gives.
const STEP_MESSAGES_MAX: usize = 32;

/// All retained messages.
#[derive(Debug, Default)]
pub(super) struct Retained {
    messages: BTreeMap<Arc<str>, Arc<Publication>>,
    /// What those of each device cost. At most as many devices as have messages.
    bytes: HashMap<DeviceId, usize>,
    /// The sum.
    all_bytes: usize,
}

/// What became of a message that asked to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    Yes,
    /// Nothing on this topic is kept.
    NotHere,
    /// It is too long, or its device has too many.
    TooMuch,
}

/// Whether the last message of a topic is kept for who comes later.
pub(super) fn is_kept(topic: Topic) -> bool {
    match topic {
        Topic::Online | Topic::State | Topic::Status | Topic::Motion | Topic::ConfigDesired | Topic::ConfigReported => true,
        // A command that is kept is carried out again at every connection, a request answered, a picture shown as new.
        Topic::Command
        | Topic::Request
        | Topic::Response
        | Topic::Result
        | Topic::Snapshot
        | Topic::CertificateRequest
        | Topic::CertificateResponse => false,
    }
}

impl Retained {
    /// Keeps a message, or forgets the topic's where the payload is empty.
    pub(super) fn set(&mut self, device: &DeviceId, topic: Topic, publication: &Arc<Publication>) -> Kept {
        if !is_kept(topic) {
            return Kept::NotHere;
        }
        let before = self.messages.get(&publication.topic).map_or(0, |message| message.cost_bytes());
        let of_device = self.bytes.get(device).copied().unwrap_or(0) - before;
        if publication.payload.is_empty() {
            self.messages.remove(&publication.topic);
            self.count(device, of_device);
            return Kept::Yes;
        }
        let cost = publication.cost_bytes();
        let is_full = before == 0 && self.messages.len() >= MESSAGES_MAX || self.all_bytes - before + cost > BYTES_MAX;
        if is_full || cost > MESSAGE_BYTES_MAX || of_device + cost > DEVICE_BYTES_MAX {
            return Kept::TooMuch;
        }
        self.messages.insert(Arc::clone(&publication.topic), Arc::clone(publication));
        self.count(device, of_device + cost);
        Kept::Yes
    }

    /// Forgets all of a device.
    pub(super) fn forget(&mut self, device: &DeviceId) {
        for topic in Topic::ALL {
            self.messages.remove(topic.of(device).as_str());
        }
        self.count(device, 0);
    }

    fn count(&mut self, device: &DeviceId, bytes: usize) {
        self.all_bytes = self.all_bytes + bytes - self.bytes.get(device).copied().unwrap_or(0);
        if bytes == 0 {
            self.bytes.remove(device);
        } else {
            self.bytes.insert(device.clone(), bytes);
        }
    }

    /// Some messages that fit `path`, after the topic `after`, and where to go on; `None`: that is all.
    pub(super) fn step(&self, path: &str, after: Option<&Arc<str>>, now: Instant) -> (Vec<Arc<Publication>>, Option<Arc<str>>) {
        let prefix = literal_prefix(path);
        let from = after.map_or(Bound::Included(prefix), |after| Bound::Excluded(&**after));
        let mut found = Vec::new();
        let range = self.messages.range::<str, _>((from, Bound::Unbounded));
        for (looked_at, (topic, message)) in range.take_while(|(topic, _)| topic.starts_with(prefix)).enumerate() {
            if fits(path, topic) && !message.has_expired(now) {
                found.push(Arc::clone(message));
            }
            if found.len() >= STEP_MESSAGES_MAX || looked_at + 1 >= STEP_TOPICS_MAX {
                return (found, Some(Arc::clone(topic)));
            }
        }
        (found, None)
    }

    /// Drops what has expired.
    pub(super) fn sweep(&mut self, now: Instant) {
        let expired: Vec<_> =
            self.messages.iter().filter(|(_, message)| message.has_expired(now)).map(|(topic, _)| Arc::clone(topic)).collect();
        for topic in expired {
            let Some(message) = self.messages.remove(&topic) else { continue };
            if let Some((device, _)) = Topic::parse(&topic) {
                let left = self.bytes.get(&device).copied().unwrap_or(0).saturating_sub(message.cost_bytes());
                self.count(&device, left);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::builtin::packet::Qos;

    fn id(text: &str) -> DeviceId {
        DeviceId::new(text).unwrap()
    }

    fn set(retained: &mut Retained, device: &DeviceId, topic: Topic, payload: &[u8]) -> Kept {
        let publication = Publication {
            topic: topic.of(device).as_str().into(),
            payload: payload.into(),
            qos: Qos::AtLeastOnce,
            is_retained: true,
            expires_at: None,
            properties: None,
        };
        retained.set(device, topic, &Arc::new(publication))
    }

    #[test]
    fn a_device_s_retained_messages_are_bounded_and_a_command_is_never_kept() {
        let (mut retained, cam) = (Retained::default(), id("cam"));
        for topic in Topic::ALL {
            let kept = set(&mut retained, &cam, topic, &[b'x'; 12 << 10]);
            assert_eq!(kept == Kept::NotHere, !is_kept(topic), "{topic:?}");
        }
        assert_eq!(set(&mut retained, &cam, Topic::Command, b"{}"), Kept::NotHere);
        assert_eq!(set(&mut retained, &cam, Topic::Online, &[b'x'; 20 << 10]), Kept::TooMuch);
        assert!(retained.bytes[&cam] <= DEVICE_BYTES_MAX && retained.len() == 3, "{retained:?}");
        assert_eq!(set(&mut retained, &id("cam2"), Topic::State, &[b'x'; 12 << 10]), Kept::Yes, "each has its own");
        for topic in Topic::ALL {
            set(&mut retained, &cam, topic, b"");
        }
        assert!(!retained.bytes.contains_key(&cam) && retained.len() == 1);
        set(&mut retained, &cam, Topic::Online, b"{}");
        retained.forget(&cam);
        assert!(!retained.bytes.contains_key(&cam) && retained.len() == 1);
        retained.forget(&id("cam2"));
        assert_eq!(retained.all_bytes, 0);
    }

    #[test]
    fn an_operator_that_names_devices_without_end_fills_no_memory() {
        let mut retained = Retained::default();
        let kept = (0..MESSAGES_MAX + 100).filter(|number| {
            let device = id(&number.to_string());
            set(&mut retained, &device, Topic::ConfigDesired, &[b'x'; 8]) == Kept::Yes
        });
        assert_eq!(kept.count(), MESSAGES_MAX);
        assert_eq!(set(&mut retained, &id("0"), Topic::ConfigDesired, b"newer"), Kept::Yes, "in place of an older one there is room");
    }

    #[test]
    fn all_that_fit_are_found_step_by_step_whatever_the_filter() {
        let mut retained = Retained::default();
        for number in 0..700 {
            set(&mut retained, &id(&format!("cam-{number:03}")), Topic::Online, b"{}");
            set(&mut retained, &id(&format!("cam-{number:03}")), Topic::State, b"{}");
        }
        let count = |path: &str| {
            let (mut after, mut count) = (None, 0);
            loop {
                let (found, next) = retained.step(path, after.as_ref(), Instant::now());
                assert!(found.len() <= STEP_MESSAGES_MAX);
                count += found.len();
                match next {
                    Some(next) => after = Some(next),
                    None => return count,
                }
            }
        };
        for (path, expected) in
            [("#", 1400), ("devices/+/online", 700), ("devices/cam-007/#", 2), ("devices/cam-00/#", 0), ("devices/cam-008/online", 1)]
        {
            assert_eq!(count(path), expected, "{path}");
        }
    }
}

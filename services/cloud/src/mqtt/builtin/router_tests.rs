//! The router with time and messages put in by hand.

use super::*;
use crate::mqtt::builtin::packet::{Level, Qos};

struct Bench {
    router: Router,
    now: Instant,
    number: u64,
}

impl Bench {
    fn new() -> Self {
        Self { router: Router::default(), now: Instant::now(), number: 0 }
    }

    fn connect(&mut self, key: &ClientKey, connect: &Connect) -> (Connected, Link) {
        self.number += 1;
        let link = Link { number: self.number, address: "192.0.2.1:1".parse().unwrap(), handle: Arc::default() };
        (self.router.connect(key, connect, link.clone()).unwrap(), link)
    }

    fn subscribe(&mut self, session: SessionId, link: &Link, filter: &str) {
        assert!(self.router.subscribe(session, link.number, filter, Filter::parse(filter).unwrap(), Options::plain(Qos::AtLeastOnce)));
    }

    fn publish(&mut self, topic: Topic, payload: &str, is_retained: bool) -> Kept {
        let cam = cam();
        let publication = publication(topic, payload, is_retained);
        self.router.publish(None, &cam, topic, publication)
    }

    fn received(&mut self, session: SessionId, link: &Link) -> Vec<String> {
        let text = |delivery: Delivery| String::from_utf8(delivery.publication.payload.to_vec()).unwrap();
        std::iter::from_fn(|| self.router.next(session, link.number, self.now)).map(text).collect()
    }

    fn leave(&mut self, session: SessionId, link: &Link, keeps_will: bool) -> Option<Will> {
        self.router.disconnect(session, link.number, keeps_will, None, self.now)
    }
}

fn cam() -> DeviceId {
    DeviceId::new("cam").unwrap()
}

fn publication(topic: Topic, payload: &str, is_retained: bool) -> Publication {
    let (topic, payload) = (topic.of(&cam()).as_str().into(), payload.as_bytes().into());
    Publication { topic, payload, qos: Qos::AtLeastOnce, is_retained, expires_at: None, properties: None }
}

fn device_key() -> ClientKey {
    ClientKey { owner: Owner::Device(cam()), client_id: "cam".into() }
}

fn operator_key(client_id: &str) -> ClientKey {
    ClientKey { owner: Owner::Operator("operator".into()), client_id: client_id.into() }
}

fn hello(is_clean: bool, session_expiry_sec: u32) -> Connect {
    Connect {
        level: Level::Five,
        client_id: String::new(),
        is_clean,
        session_expiry_sec,
        keep_alive_sec: 0,
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        will: None,
    }
}

fn with_will(mut connect: Connect, delay_sec: u32) -> Connect {
    connect.will = Some(Will { publication: publication(Topic::Online, "gone", true), expiry_sec: None, delay_sec });
    connect
}

#[test]
fn a_session_lives_on_for_an_hour_at_most_and_has_what_came_meanwhile() {
    let mut bench = Bench::new();
    let (first, link) = bench.connect(&device_key(), &hello(true, u32::MAX));
    assert_eq!((first.has_session, first.expiry), (false, SESSION_EXPIRY_MAX));
    bench.subscribe(first.session, &link, "devices/cam/stream/command");
    bench.leave(first.session, &link, false);
    bench.publish(Topic::Command, "while away", false);
    let (again, link) = bench.connect(&device_key(), &hello(false, u32::MAX));
    assert!(again.has_session);
    assert_eq!(bench.received(again.session, &link), ["while away"]);
    bench.leave(again.session, &link, false);
    bench.now += SESSION_EXPIRY_MAX;
    bench.router.sweep(bench.now);
    assert_eq!(bench.router.figures().sessions, 0);
    assert!(!bench.connect(&device_key(), &hello(false, 0)).0.has_session);
}

#[test]
fn a_clean_start_forgets_and_a_session_without_expiry_ends_with_its_connection() {
    let mut bench = Bench::new();
    let (first, link) = bench.connect(&device_key(), &hello(true, 100));
    bench.subscribe(first.session, &link, "devices/cam/#");
    let (second, newer) = bench.connect(&device_key(), &hello(true, 0));
    assert_eq!(second.taken_from.unwrap().number, link.number);
    assert_eq!(link.handle.why(), End::TakenOver);
    bench.publish(Topic::Command, "x", false);
    assert!(bench.received(second.session, &newer).is_empty(), "the subscription is gone");
    assert!(!bench.connect(&device_key(), &hello(false, 0)).0.has_session, "it was to end with its connection");
    assert!(bench.leave(first.session, &link, true).is_none(), "the older one has nothing to say any more");
}

#[test]
fn what_is_counted_as_waiting_is_given_back_whatever_ends_it() {
    let mut bench = Bench::new();
    for (clean, expiry) in [(true, 0), (true, 100), (false, 100), (true, 0)] {
        let (connected, link) = bench.connect(&device_key(), &hello(clean, expiry));
        bench.subscribe(connected.session, &link, "devices/cam/#");
        for _ in 0..400 {
            bench.publish(Topic::Command, &"x".repeat(1000), false);
        }
        assert!(bench.router.figures().waiting_bytes > 0);
        let _ = bench.router.next(connected.session, link.number, bench.now);
        bench.leave(connected.session, &link, true);
    }
    bench.router.forget(&cam());
    assert_eq!(bench.router.figures().waiting_bytes, 0);
    assert!(bench.router.figures().dropped > 0);
}

#[test]
fn retained_messages_come_with_a_subscription_and_never_an_older_one_after_a_newer() {
    let mut bench = Bench::new();
    assert_eq!(bench.publish(Topic::State, "old", true), Kept::Yes);
    assert_eq!(bench.publish(Topic::Command, "stop", true), Kept::NotHere, "a command that is kept is carried out at each connection");
    let (connected, link) = bench.connect(&operator_key("a"), &hello(true, 0));
    bench.subscribe(connected.session, &link, "#");
    bench.publish(Topic::State, "new", true);
    assert_eq!(bench.received(connected.session, &link), ["new", "new"]);
    bench.publish(Topic::State, "", true);
    let (late, link) = bench.connect(&operator_key("b"), &hello(true, 0));
    bench.subscribe(late.session, &link, "#");
    assert!(bench.received(late.session, &link).is_empty());
}

#[test]
fn a_subscriber_of_everything_gets_a_large_fleet_s_state_without_a_large_queue() {
    let mut bench = Bench::new();
    for number in 0..1000 {
        let device = DeviceId::new(&format!("cam-{number}")).unwrap();
        let mut state = publication(Topic::State, "state", true);
        state.topic = Topic::State.of(&device).as_str().into();
        bench.router.publish(None, &device, Topic::State, state);
    }
    let (connected, link) = bench.connect(&operator_key("a"), &hello(true, 0));
    bench.subscribe(connected.session, &link, "#");
    let mut seen = 0;
    while let Some(delivery) = bench.router.next(connected.session, link.number, bench.now) {
        assert!(delivery.is_retained && bench.router.figures().waiting_bytes < 32 << 10);
        assert!(bench.router.acknowledged(connected.session, link.number, delivery.id.unwrap()));
        seen += 1;
    }
    assert_eq!(seen, 1000);
}

#[test]
fn a_will_that_waits_is_dropped_by_a_client_that_is_back_and_published_once_its_time_has_come() {
    let mut bench = Bench::new();
    let (first, link) = bench.connect(&device_key(), &with_will(hello(true, 100), 10));
    assert!(bench.leave(first.session, &link, true).is_none(), "it waits");
    let (again, link) = bench.connect(&device_key(), &with_will(hello(false, 100), 10));
    assert!(again.wills.is_empty());
    bench.now += Duration::from_secs(60);
    assert!(bench.router.sweep(bench.now).is_empty());
    bench.leave(again.session, &link, true);
    bench.now += Duration::from_secs(9);
    assert!(bench.router.sweep(bench.now).is_empty());
    bench.now += Duration::from_secs(1);
    assert_eq!((bench.router.sweep(bench.now).len(), bench.router.sweep(bench.now).len()), (1, 0));
    // A good-bye takes it back, no delay means at once, and a session's end is the latest.
    let (connected, link) = bench.connect(&device_key(), &with_will(hello(true, 0), 0));
    assert!(bench.leave(connected.session, &link, false).is_none());
    let (connected, link) = bench.connect(&device_key(), &with_will(hello(true, 0), 1_000_000));
    assert!(bench.leave(connected.session, &link, true).is_some());
    // A takeover without a delay publishes the older one's.
    bench.connect(&device_key(), &with_will(hello(true, 0), 0));
    assert_eq!(bench.connect(&device_key(), &hello(true, 0)).0.wills.len(), 1);
}

#[test]
fn a_forgotten_device_leaves_nothing_behind_and_says_nothing_any_more() {
    let mut bench = Bench::new();
    let (first, link) = bench.connect(&device_key(), &with_will(hello(true, 100), 60));
    bench.subscribe(first.session, &link, "devices/cam/#");
    bench.publish(Topic::State, "streaming", true);
    bench.publish(Topic::ConfigDesired, "{}", true);
    bench.leave(first.session, &link, true);
    bench.router.forget(&cam());
    bench.now += Duration::from_secs(3600);
    assert!(bench.router.sweep(bench.now).is_empty());
    assert_eq!(bench.router.figures(), Figures { sessions: 0, retained: 0, waiting_bytes: 0, dropped: 0 });
    let (anew, link) = bench.connect(&device_key(), &hello(false, 100));
    bench.subscribe(anew.session, &link, "devices/cam/#");
    assert!(!anew.has_session && bench.received(anew.session, &link).is_empty(), "nothing of the former owner");
}

#[test]
fn a_device_that_was_enrolled_anew_finds_nothing_of_the_former_one_however_soon_it_comes() {
    let mut bench = Bench::new();
    bench.router.enrolled(&cam(), 100);
    let (first, link) = bench.connect(&device_key(), &hello(true, 100));
    bench.subscribe(first.session, &link, "devices/cam/#");
    bench.publish(Topic::State, "streaming", true);
    bench.router.enrolled(&cam(), 100);
    assert!(bench.connect(&device_key(), &hello(false, 100)).0.has_session, "it is the same one");
    bench.router.enrolled(&cam(), 101);
    let (anew, link) = bench.connect(&device_key(), &hello(false, 100));
    bench.subscribe(anew.session, &link, "devices/cam/#");
    assert!(!anew.has_session && bench.received(anew.session, &link).is_empty());
}

#[test]
fn an_operator_has_a_bounded_number_of_sessions_and_never_another_s() {
    let mut bench = Bench::new();
    for number in 0..OPERATOR_SESSIONS_MAX {
        let (connected, link) = bench.connect(&operator_key(&number.to_string()), &hello(true, 1000));
        bench.now += Duration::from_secs(1);
        if number < 2 {
            bench.leave(connected.session, &link, false);
        }
    }
    assert!(!bench.connect(&operator_key("x"), &hello(true, 0)).0.has_session);
    assert!(!bench.connect(&operator_key("y"), &hello(true, 0)).0.has_session);
    let link = Link { number: 0, address: "192.0.2.1:1".parse().unwrap(), handle: Arc::default() };
    assert!(bench.router.connect(&operator_key("z"), &hello(true, 0), link).is_none());
    let other = ClientKey { owner: Owner::Operator("other".into()), client_id: "5".into() };
    let (connected, _) = bench.connect(&other, &hello(false, 0));
    assert!(!connected.has_session && connected.taken_from.is_none());
}

#[test]
fn whatever_clients_do_what_is_counted_is_what_waits_and_nothing_is_left_at_the_end() {
    // A generator of its own: the same clients at each run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let keys = [device_key(), operator_key("a"), operator_key("b"), operator_key("c")];
    let filters = ["#", "devices/cam/#", "devices/+/stream/command", "$share/g/devices/#", "devices/cam/stream/state", "+/cam/online"];
    let topics = [Topic::State, Topic::Online, Topic::Command, Topic::Status];
    let mut bench = Bench::new();
    let mut links: Vec<(SessionId, Link)> = Vec::new();
    for _ in 0..40_000 {
        let any = usize::try_from(random(u64::MAX >> 1)).unwrap();
        match random(12) {
            0 => {
                let hello = hello(random(2) == 0, [0, 5, 1000][any % 3]);
                let hello = if random(2) == 0 { with_will(hello, [0, 3, 1000][any % 3]) } else { hello };
                let (connected, link) = bench.connect(&keys[any % keys.len()], &hello);
                links.push((connected.session, link));
            }
            1 if !links.is_empty() => {
                let (session, link) = links.swap_remove(any % links.len());
                bench.router.disconnect(session, link.number, random(2) == 0, [None, Some(0), Some(50)][any % 3], bench.now);
            }
            2..4 if !links.is_empty() => {
                let (session, link) = links[any % links.len()].clone();
                let text = filters[usize::try_from(random(6)).unwrap()];
                if random(3) == 0 {
                    bench.router.unsubscribe(session, link.number, text);
                } else {
                    bench.router.subscribe(session, link.number, text, Filter::parse(text).unwrap(), Options::plain(Qos::AtLeastOnce));
                }
            }
            4..8 => {
                let payload = "x".repeat(any % 3000 * usize::from(any % 7 != 0));
                bench.publish(topics[any % topics.len()], &payload, random(2) == 0);
            }
            8..10 if !links.is_empty() => {
                let (session, link) = links[any % links.len()].clone();
                for _ in 0..random(40) {
                    let Some(delivery) = bench.router.next(session, link.number, bench.now) else { break };
                    if let Some(id) = delivery.id.filter(|_| any % 5 != 0) {
                        assert!(bench.router.acknowledged(session, link.number, id));
                    }
                }
            }
            10 => {
                bench.now += Duration::from_secs(random(3));
                bench.router.sweep(bench.now);
            }
            _ if any % 50 == 0 => bench.router.forget(&cam()),
            _ => {}
        }
        let waiting: usize = bench.router.sessions.values().map(|client| client.session.waiting_bytes()).sum();
        assert_eq!(bench.router.waiting_bytes, waiting);
        assert_eq!(bench.router.ids.len(), bench.router.sessions.len());
    }
    bench.router.forget(&cam());
    for (session, link) in links {
        bench.router.disconnect(session, link.number, false, None, bench.now);
    }
    bench.now += Duration::from_secs(4000);
    bench.router.sweep(bench.now);
    let Figures { sessions, retained, waiting_bytes, .. } = bench.router.figures();
    assert_eq!((sessions, retained, waiting_bytes), (0, 0, 0));
    assert!(bench.router.tree.subscribers("devices/cam/online", |_| true).is_empty());
}

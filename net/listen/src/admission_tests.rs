use super::*;
use std::time::Duration;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn admission(limits: Limits) -> Arc<Admission> {
    Arc::new(Admission::new(limits))
}

fn enter(admission: &Arc<Admission>, from: &str) -> Result<Permit, Refused> {
    match admission.enter(address(from))? {
        Entry::In(permit) => Ok(permit),
        Entry::Waits(_) => panic!("it waits"),
    }
}

fn queue(admission: &Arc<Admission>, from: &str) -> Ticket {
    match admission.enter(address(from)).unwrap() {
        Entry::Waits(ticket) => ticket,
        Entry::In(_) => panic!("it is in"),
    }
}

/// A task that ends only by being shed; the connection's place goes with it.
fn occupy(permit: Permit) -> tokio::task::JoinHandle<()> {
    let task = permit.task.clone();
    let mut set = tokio::task::JoinSet::new();
    let abort = set.spawn(async move {
        let _held = permit;
        std::future::pending::<()>().await;
    });
    task.set(abort).unwrap();
    tokio::runtime::Handle::current().spawn(async move { drop(set.join_next().await) })
}

#[test]
fn each_limit_is_met_and_places_come_back() {
    let limits = Limits { connections: 3, connections_per_address: 2, pending_per_address: 1, ..Limits::NONE };
    let door = admission(limits);
    let first = enter(&door, "10.0.0.1").unwrap();
    assert_eq!(enter(&door, "10.0.0.1").err(), Some(Refused::Pending));
    first.set_pending(false);
    let second = enter(&door, "10.0.0.1").unwrap();
    second.set_pending(false);
    assert_eq!(enter(&door, "10.0.0.1").err(), Some(Refused::Address));
    let third = enter(&door, "10.0.0.2").unwrap();
    assert_eq!(enter(&door, "10.0.0.3").err(), Some(Refused::Total));
    let counts = door.counts();
    assert_eq!((counts.open, counts.pending, counts.accepted), (3, 1, 3));
    assert_eq!((counts.refused_total, counts.refused_address, counts.refused_pending), (1, 1, 1));
    drop((first, second, third));
    assert_eq!((door.counts().open, door.counts().pending), (0, 0));
    assert!(door.tables().is_empty());
    assert!(enter(&door, "10.0.0.1").is_ok());
}

#[test]
fn a_publisher_that_ends_its_stream_is_pending_again_and_a_stranger() {
    let door = admission(Limits { pending_per_address: 1, ..Limits::NONE });
    let permit = enter(&door, "10.0.0.1").unwrap();
    permit.prove("cam").unwrap();
    permit.prove("cam").unwrap();
    assert_eq!((door.counts().pending, door.counts().identified), (0, 1));
    permit.set_pending(true);
    assert_eq!((door.counts().open, door.counts().pending, door.counts().identified), (1, 1, 0));
    assert_eq!(enter(&door, "10.0.0.1").err(), Some(Refused::Pending));
    drop(permit);
    assert!(door.tables().is_empty());
}

#[test]
fn two_hundred_cameras_behind_one_address_come_in_though_strangers_have_ten_places() {
    let limits = Limits { connections_per_address: 10, connections_per_identity: 2, ..Limits::NONE };
    let door = admission(limits);
    let cameras: Vec<Permit> = (0..200)
        .map(|number| {
            let permit = enter(&door, "10.0.0.1").unwrap();
            permit.prove(&format!("cam-{number}")).unwrap();
            permit
        })
        .collect();
    let strangers: Vec<Permit> = (0..10).map(|_| enter(&door, "10.0.0.1").unwrap()).collect();
    assert_eq!(enter(&door, "10.0.0.1").err(), Some(Refused::Address));
    assert_eq!(door.counts().identified, 200);
    drop((cameras, strangers));
    assert!(door.tables().is_empty());
}

#[test]
fn an_identity_has_its_own_limit_wherever_it_comes_from() {
    let door = admission(Limits { connections_per_identity: 2, ..Limits::NONE });
    let held: Vec<Permit> = ["10.0.0.1", "10.0.0.2"].map(|from| enter(&door, from).unwrap()).into();
    held.iter().for_each(|permit| permit.prove("cam").unwrap());
    let third = enter(&door, "10.0.0.3").unwrap();
    assert_eq!(third.prove("cam"), Err(Refused::Identity));
    assert_eq!(third.prove("other"), Ok(()));
    assert_eq!((door.counts().refused_identity, door.counts().identified), (1, 3));
    drop(held);
    assert_eq!(third.prove("cam"), Ok(()));
    drop(third);
    assert!(door.tables().is_empty());
}

#[tokio::test]
async fn who_is_over_the_share_of_its_address_waits_in_order() {
    let limits = Limits { pending_per_address: 1, waiting: 10, waiting_per_address: 2, ..Limits::NONE };
    let door = admission(limits);
    let first = enter(&door, "10.0.0.1").unwrap();
    let [second, third] = [(); 2].map(|()| queue(&door, "10.0.0.1"));
    assert_eq!(enter(&door, "10.0.0.1").err(), Some(Refused::Pending), "two wait already");
    assert!(enter(&door, "10.0.0.2").is_ok(), "others have their own share");
    assert_eq!((door.counts().open, door.counts().waiting), (3, 2));
    let deadline = Instant::now() + Duration::from_secs(10);
    first.prove("cam").unwrap();
    let second = second.wait(deadline).await.unwrap();
    assert_eq!((door.counts().pending, door.counts().waiting), (1, 1));
    drop(second);
    let third = third.wait(deadline).await.unwrap();
    drop(third);
    assert_eq!((door.counts().open, door.counts().accepted), (1, 4));
    let held = enter(&door, "10.0.0.1").unwrap();
    let late = queue(&door, "10.0.0.1");
    assert_eq!(late.wait(Instant::now()).await.err(), Some(Refused::Pending), "not for ever");
    drop((first, held));
    assert!(door.tables().is_empty());
}

#[tokio::test]
async fn one_that_waits_and_goes_leaves_its_place_to_the_next() {
    let door = admission(Limits { pending_per_address: 1, waiting: 10, waiting_per_address: 10, ..Limits::NONE });
    let first = enter(&door, "10.0.0.1").unwrap();
    let [gone, next] = [(); 2].map(|()| queue(&door, "10.0.0.1"));
    drop(gone);
    drop(first);
    let permit = next.wait(Instant::now() + Duration::from_secs(10)).await.unwrap();
    let after = queue(&door, "10.0.0.1");
    // Granted, and never looked at.
    drop(permit);
    drop(after);
    assert!(door.tables().is_empty());
}

#[tokio::test]
async fn a_newcomer_of_another_address_takes_the_place_of_the_oldest_of_the_one_that_has_most() {
    let door = admission(Limits { pending: 3, waiting: 10, waiting_per_address: 10, ..Limits::NONE });
    let oldest = occupy(enter(&door, "10.0.0.1").unwrap());
    let others: Vec<_> = (0..2).map(|_| occupy(enter(&door, "10.0.0.1").unwrap())).collect();
    let newcomer = enter(&door, "10.0.0.2").unwrap();
    oldest.await.unwrap();
    assert_eq!((door.counts().open, door.counts().pending, door.counts().shed), (3, 3, 1));
    assert!(others.iter().all(|task| !task.is_finished()));
    let another = enter(&door, "10.0.0.3").unwrap();
    // One each: nobody has more than the next would have.
    drop(queue(&door, "10.0.0.4"));
    drop(queue(&door, "10.0.0.1"));
    assert_eq!((door.counts().open, door.counts().shed), (3, 2));
    newcomer.set_pending(false);
    assert!(enter(&door, "10.0.0.4").is_ok());
    drop(another);
}

#[tokio::test]
async fn pending_ones_go_before_newcomers_are_refused_for_the_total() {
    let door = admission(Limits { connections: 3, ..Limits::NONE });
    let flood: Vec<_> = (0..3).map(|_| occupy(enter(&door, "10.0.0.1").unwrap())).collect();
    let newcomer = enter(&door, "10.0.0.2").unwrap();
    newcomer.set_pending(false);
    assert_eq!((door.counts().open, door.counts().shed), (3, 1));
    assert_eq!(enter(&door, "10.0.0.1").err(), Some(Refused::Total));
    drop(flood);
}

#[tokio::test]
async fn what_is_pending_for_long_goes_for_those_that_wait_and_what_is_not_stays() {
    let limits = Limits { pending_per_address: 2, waiting: 10, waiting_per_address: 10, ..Limits::NONE };
    let door = admission(limits);
    let slow: Vec<_> = (0..2).map(|_| occupy(enter(&door, "10.0.0.1").unwrap())).collect();
    let newcomer = queue(&door, "10.0.0.1");
    door.shed_the_slow();
    assert_eq!(door.counts().shed, 0, "they have had no time");
    door.tables().shed_the_slow(&limits, Instant::now() + Duration::from_secs(3));
    let outcome = door.tables().take_outcome();
    door.settle(outcome);
    let _permit = newcomer.wait(Instant::now() + Duration::from_secs(10)).await.unwrap();
    assert_eq!((door.counts().shed, door.counts().pending, door.counts().open), (1, 2, 2), "one waited: one went");
    door.tables().shed_the_slow(&limits, Instant::now() + Duration::from_secs(9));
    assert!(door.tables().take_outcome().shed.is_empty(), "nobody waits: nobody goes");
    drop(slow);
}

#[tokio::test]
async fn a_connection_that_waits_for_its_next_request_goes_at_once_for_another_of_its_address() {
    let limits = Limits { pending_per_address: 2, waiting: 10, waiting_per_address: 10, ..Limits::NONE };
    let door = admission(limits);
    let idle = enter(&door, "10.0.0.1").unwrap();
    idle.set_pending(false);
    idle.set_idle();
    let idle = occupy(idle);
    let slow = occupy(enter(&door, "10.0.0.1").unwrap());
    let newcomer = enter(&door, "10.0.0.1").unwrap();
    idle.await.unwrap();
    assert_eq!((door.counts().shed, door.counts().pending, door.counts().waiting), (1, 2, 0));
    // One that becomes idle while another waits makes room as well.
    let waits = queue(&door, "10.0.0.1");
    newcomer.set_pending(false);
    let second = waits.wait(Instant::now() + Duration::from_secs(10)).await.unwrap();
    let waits = queue(&door, "10.0.0.1");
    let mut tasks = tokio::task::JoinSet::new();
    newcomer.task.set(tasks.spawn(std::future::pending::<()>())).unwrap();
    newcomer.set_idle();
    assert_eq!(door.counts().shed, 2);
    second.set_pending(false);
    let third = waits.wait(Instant::now() + Duration::from_secs(10)).await.unwrap();
    drop((newcomer, second, third));
    slow.abort();
}

#[tokio::test]
async fn a_connection_that_was_shed_can_prove_nothing_and_gives_nothing_back_twice() {
    let door = admission(Limits { pending: 2, ..Limits::NONE });
    let [first, second] = [(); 2].map(|()| enter(&door, "10.0.0.1").unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    first.task.set(tasks.spawn(std::future::pending::<()>())).unwrap();
    let newcomer = enter(&door, "10.0.0.2").unwrap();
    assert_eq!(first.prove("cam"), Err(Refused::Pending));
    first.set_pending(false);
    first.set_pending(true);
    assert_eq!((door.counts().open, door.counts().pending), (2, 2));
    drop((first, second, newcomer));
    assert!(door.tables().is_empty());
    assert_eq!(door.counts().open, 0);
}

#[test]
fn requests_that_a_proxy_brings_count_for_their_clients() {
    let door = admission(Limits { connections_per_address: 2, ..Limits::NONE });
    let proxy: Vec<Permit> = (0..9).map(|_| door.enter_proxy(address("10.0.0.1")).unwrap()).collect();
    let client = address("203.0.113.1");
    let requests: Vec<Permit> = (0..2).map(|_| proxy[0].enter_request(client).unwrap().unwrap()).collect();
    assert_eq!(proxy[1].enter_request(client).unwrap().err(), Some(Refused::Address));
    assert!(proxy[1].enter_request(address("203.0.113.2")).unwrap().is_ok());
    assert!(enter(&door, "203.0.113.1").is_err() && enter(&door, "203.0.113.3").unwrap().enter_request(client).is_none());
    drop((requests, proxy));
    assert!(door.tables().is_empty());
}

#[test]
fn the_usual_proportions_leave_most_places_to_others_however_few_there_are() {
    for connections in [1, 7, 64, 204, 512, 4096, 20_000, 300_000] {
        let limits = Limits::of(connections);
        assert!(limits.connections_per_address <= connections / 2 || connections == 1, "{limits:?}");
        assert!((1..=(limits.pending / 4).max(1)).contains(&limits.pending_per_address), "{limits:?}");
        assert!(limits.pending + limits.waiting <= connections / 2 || connections < 64, "{limits:?}");
    }
}

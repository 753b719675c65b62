//! The table of rights, by hand: every route, every role, on the own group and on another one.

use crate::bench::{Bench, eventually, request};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sightline_cloud::admin::{
    self,
    people::{self, Grant, GroupPath, NewToken, Password, Role, UserName},
};
use sightline_signal::DeviceId;
use std::collections::BTreeSet;

const PASSWORD: &str = "a good password";

fn group(path: &str) -> GroupPath {
    GroupPath::new(path).unwrap()
}

fn name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

/// Someone with a token of theirs.
struct Someone {
    token: String,
}

impl Bench {
    async fn user(&self, user: &str, grants: &[(Role, &str)]) -> Someone {
        let grants: Vec<Grant> = grants.iter().map(|(role, path)| Grant { role: *role, group: group(path) }).collect();
        people::add_user(self.dir(), &name(user), None, &grants).await.unwrap();
        let new = NewToken { user: name(user), name: "test".into(), ttl_sec: None, role: Role::Admin, group: GroupPath::default() };
        Someone { token: people::add_token(self.dir(), new).await.unwrap().reveal().to_owned() }
    }

    async fn as_someone(&self, someone: &Someone, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let mut request = self.http.request(method, self.url(path)).bearer_auth(&someone.token);
        if !body.is_null() {
            request = request.json(body);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn operator(&self) -> Someone {
        Someone { token: std::fs::read_to_string(self.dir().join("operator.token")).unwrap().trim().to_owned() }
    }

    /// Two sites with a live camera each, and one that is in no group.
    async fn with_sites() -> Self {
        Self::with_sites_and(axum::Router::new()).await
    }

    async fn with_sites_and(extra: axum::Router) -> Self {
        let bench = Self::start_serving(tempfile::tempdir().unwrap(), |_| {}, extra).await;
        for path in ["a/hall", "b"] {
            people::add_group(bench.dir(), &group(path)).await.unwrap();
        }
        for (device, path) in [("cam-a", "a/hall"), ("cam-b", "b"), ("cam-0", "")] {
            let device = bench.add(device).await;
            people::put_device(bench.dir(), &device, &group(path)).await.unwrap();
        }
        let stream = |device: &str, playback: &str| {
            json!({ "stream": "s", "device": device, "epoch": 1, "playback": playback, "width": 1280, "height": 720, "fps": 20.0,
                "bitrate_kbps": 990.5, "viewers": 2, "since": 5 })
        };
        let mut streams = Vec::new();
        for device in ["cam-a", "cam-b", "cam-0"] {
            let shown = admin::show_device(bench.dir(), &DeviceId::new(device).unwrap()).await.unwrap();
            streams.push(stream(device, &shown.playback));
        }
        bench.report("o1", "boot", json!(streams)).await;
        bench
    }
}

/// What each gets: of site A, and of site B.
type Line = (&'static str, &'static str, Value, [u16; 3], [u16; 3], u16);

/// `ID` is the device. Viewer, operator and admin of A on A's camera; the same on B's camera, and on none; the operator's token on A's.
fn lines() -> Vec<Line> {
    let none = [404, 404, 404];
    let forbidden = [403, 403, 403];
    let relay = json!({ "name": "r", "url": "rtmp://192.0.2.1/live/key" });
    vec![
        ("GET", "/api/v1/devices/ID", json!(null), [200, 200, 200], none, 200),
        ("GET", "/api/v1/devices/ID/config", json!(null), [200, 200, 200], none, 200),
        ("PUT", "/api/v1/devices/ID/config", json!({ "settings": { "stream": { "quality": "low" } } }), [403, 403, 200], none, 200),
        ("POST", "/api/v1/devices/ID/command", json!({ "cmd": "start" }), [403, 409, 409], none, 409),
        ("POST", "/api/v1/devices/ID/rotate", json!(null), [403, 409, 409], none, 409),
        ("GET", "/api/v1/streams/ID/relays", json!(null), [200, 200, 200], none, 200),
        ("POST", "/api/v1/streams/ID/relays", relay, [403, 403, 201], none, 201),
        ("DELETE", "/api/v1/streams/ID/relays/r", json!(null), [403, 403, 200], none, 200),
        ("GET", "/api/v1/streams/ID/marks", json!(null), [200, 200, 200], none, 200),
        ("POST", "/api/v1/streams/ID/marks", json!({ "kind": "person" }), [403, 201, 201], none, 201),
        ("POST", "/api/v1/streams/ID/playback", json!({}), [200, 200, 200], none, 200),
        ("POST", "/api/v1/playback-keys", json!({ "device": "ID", "name": "k" }), [403, 201, 201], none, 201),
        ("DELETE", "/api/v1/playback-keys/KEY-OF-ID", json!(null), [403, 200, 200], none, 200),
        ("GET", "/api/v1/recordings?device=ID", json!(null), [200, 200, 200], none, 200),
        ("GET", "/api/v1/coverage?device=ID", json!(null), [200, 200, 200], none, 200),
        ("POST", "/api/v1/holds", json!({ "device": "ID", "from": 1, "to": 2, "reason": "r" }), [403, 201, 201], none, 201),
        ("DELETE", "/api/v1/holds/HOLD-OF-ID", json!(null), [403, 403, 200], none, 200),
        ("PATCH", "/api/v1/devices/ID", json!({ "group": "a/hall" }), [403, 403, 200], none, 200),
        ("PATCH", "/api/v1/devices/ID", json!({ "group": "b" }), [403, 403, 404], none, 200),
        ("PATCH", "/api/v1/devices/ID", json!({ "group": "" }), [403, 403, 404], none, 200),
        // What the whole installation is about.
        ("POST", "/api/v1/devices", json!({ "id": "cam-new" }), forbidden, forbidden, 201),
        ("GET", "/api/v1/servers", json!(null), forbidden, forbidden, 200),
        ("POST", "/api/v1/servers", json!({ "id": "s", "rtmp_url": "rtmp://192.0.2.1/live" }), forbidden, forbidden, 201),
        ("POST", "/api/v1/servers/s/drain", json!({ "drain": false }), forbidden, forbidden, 200),
        ("DELETE", "/api/v1/servers/s", json!(null), forbidden, forbidden, 200),
        ("GET", "/api/v1/audit", json!(null), forbidden, forbidden, 200),
        ("GET", "/api/v1/relays", json!(null), forbidden, forbidden, 200),
        ("POST", "/api/v1/relays", json!({ "name": "p", "streams": "*", "url": "rtmp://192.0.2.1/live" }), forbidden, forbidden, 201),
        ("DELETE", "/api/v1/relays/p", json!(null), forbidden, forbidden, 200),
        ("GET", "/api/v1/hooks", json!(null), forbidden, forbidden, 200),
        ("POST", "/api/v1/hooks", json!({ "url": "https://192.0.2.1/", "device": "ID" }), forbidden, forbidden, 201),
        ("POST", "/api/v1/hooks/x/replay", json!({ "after": 1 }), forbidden, forbidden, 404),
        ("DELETE", "/api/v1/hooks/x", json!(null), forbidden, forbidden, 404),
        ("GET", "/api/v1/users", json!(null), forbidden, forbidden, 200),
        ("POST", "/api/v1/users", json!({ "name": "new" }), forbidden, forbidden, 201),
        ("GET", "/api/v1/users/new", json!(null), forbidden, forbidden, 200),
        ("PATCH", "/api/v1/users/new", json!({ "grants": [] }), forbidden, forbidden, 200),
        ("DELETE", "/api/v1/users/new", json!(null), forbidden, forbidden, 200),
        // Groups: `GROUP` is the device's own one.
        ("POST", "/api/v1/groups", json!({ "path": "GROUP/new" }), [403, 403, 201], none, 201),
        ("DELETE", "/api/v1/groups/GROUP/new", json!(null), [403, 403, 200], none, 200),
        ("DELETE", "/api/v1/groups/GROUP", json!(null), [403, 403, 409], none, 200),
        // About oneself, and lists: what is in them is another test.
        ("GET", "/api/v1/session", json!(null), [200; 3], [200; 3], 200),
        ("DELETE", "/api/v1/session", json!(null), [200; 3], [200; 3], 200),
        ("PUT", "/api/v1/session/password", json!({ "password": "x", "new_password": "y" }), forbidden, forbidden, 403),
        ("GET", "/api/v1/devices", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/streams", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/playback-keys", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/events", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/recordings", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/coverage", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/holds", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/groups", json!(null), [200; 3], [200; 3], 200),
        ("GET", "/api/v1/tokens", json!(null), [200; 3], [200; 3], 200),
        ("POST", "/api/v1/tokens", json!({ "name": "t" }), forbidden, forbidden, 400),
        ("DELETE", "/api/v1/tokens/x", json!(null), none, none, 404),
        // At the end: they take the device away.
        ("DELETE", "/api/v1/devices/ID", json!(null), [403, 403, 200], none, 200),
        ("POST", "/api/v1/devices/ID/remove", json!(null), [403, 403, 200], none, 200),
    ]
}

/// Routes that the table has no line for, and why.
const ELSEWHERE: [(&str, &str); 2] = [
    ("POST /api/v1/session", "a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get"),
    ("GET /api/v1/events/stream", "who_follows_events_hears_of_their_own_site_until_their_session_ends"),
];

#[tokio::test]
async fn each_route_lets_each_role_do_what_the_table_says_and_tells_of_what_is_out_of_sight_as_of_what_is_not_there() {
    let bench = Bench::with_sites().await;
    let operator = bench.operator().await;
    let people = [
        bench.user("viewer", &[(Role::Viewer, "a")]).await,
        bench.user("operator", &[(Role::Operator, "a")]).await,
        bench.user("admin", &[(Role::Admin, "a")]).await,
    ];
    // A key or a hold that is there to be taken back.
    let made = async |path: &str, device: &str| {
        let at = match path {
            path if path.contains("KEY-OF-ID") => "/api/v1/playback-keys",
            path if path.contains("HOLD-OF-ID") => "/api/v1/holds",
            _ => return String::new(),
        };
        let mut body = json!({ "device": device, "name": "k" });
        if at == "/api/v1/holds" {
            body = json!({ "device": device, "from": 1, "to": 2, "reason": "r" });
        }
        let (_, made) = bench.as_someone(&operator, Method::POST, at, &body).await;
        made["id"].as_str().map_or_else(|| made["id"].to_string(), str::to_owned)
    };
    for (method, path, body, on_a, on_b, by_operator) in lines() {
        let asked = async |someone: &Someone, device: &str, group: &str, key: &str| {
            let fill = |text: &str| text.replace("KEY-OF-ID", key).replace("HOLD-OF-ID", key).replace("GROUP", group).replace("ID", device);
            let body: Value = serde_json::from_str(&fill(&body.to_string())).unwrap();
            bench.as_someone(someone, method.parse().unwrap(), &fill(path), &body).await
        };
        for (at, someone) in people.iter().enumerate() {
            let keys = [made(path, "cam-a").await, made(path, "cam-b").await];
            let (status, answer) = asked(someone, "cam-a", "a/hall", &keys[0]).await;
            assert_eq!(status, on_a[at], "{method} {path} on A by {at}: {answer}");
            let (status, answer) = asked(someone, "cam-b", "b", &keys[1]).await;
            assert_eq!(status, on_b[at], "{method} {path} on B by {at}: {answer}");
            if status == 404 {
                let (missing, same) = asked(someone, "cam-x", "x", "987654").await;
                let of_b = ["cam-b", "group b", keys[1].as_str()].into_iter().filter(|word| !word.is_empty());
                let plain = |text: String, word: &str| text.replace(word, "…");
                let said = of_b.fold(answer.to_string(), plain);
                let expected = ["cam-x", "group x", "987654"].into_iter().fold(same.to_string(), plain);
                assert_eq!((missing, expected), (404, said), "{method} {path}: it shows that B is there");
            }
        }
        // On a camera and a group of its own: nothing was done to them before.
        let key = made(path, "cam-0").await;
        let (status, answer) = asked(&operator, "cam-0", "c", &key).await;
        assert_eq!(status, by_operator, "{method} {path} by the operator: {answer}");
        // Nobody gets anything.
        let url = bench.url(&path.replace("ID", "cam-a").replace("GROUP", "a"));
        let mut nobody = bench.http.request(method.parse().unwrap(), url);
        if !body.is_null() {
            nobody = nobody.json(&body);
        }
        assert_eq!(nobody.send().await.unwrap().status(), 401, "{method} {path} by nobody");
    }
    // Each operation that people have is in the table, or has a test of its own.
    let api = bench.get("/api/openapi.json").await;
    let mut routes = BTreeSet::new();
    for (path, item) in api["paths"].as_object().unwrap() {
        let operations = item.as_object().unwrap().iter().filter(|(_, operation)| operation["tags"] == json!(["operators"]));
        routes.extend(operations.map(|(method, _)| format!("{} {path}", method.to_uppercase())));
    }
    let described = |path: &str, method: &str| api["paths"][path][method]["description"].as_str().unwrap_or_default().to_owned();
    assert!(described("/api/v1/groups/{path}", "delete").contains("`admin` on what it names"));
    let written = |path: &str| {
        let path = path.split('?').next().unwrap();
        let path = path.replace("groups/GROUP/new", "groups/{path}").replace("groups/GROUP", "groups/{path}").replace("KEY-OF-ID", "{id}");
        let path = path.replace("HOLD-OF-ID", "{id}");
        let path = path.replace("/ID", "/{id}").replace("relays/r", "relays/{name}").replace("v1/relays/p", "v1/relays/{name}");
        let path = path.replace("users/new", "users/{name}").replace("hooks/x", "hooks/{id}").replace("tokens/x", "tokens/{id}");
        let path = path.replace("servers/s", "servers/{id}");
        path.replace("relays/{name}elays", "relays")
    };
    let tried: BTreeSet<String> = lines().iter().map(|(method, path, ..)| format!("{method} {}", written(path))).collect();
    let elsewhere = ELSEWHERE.iter().map(|(route, _)| (*route).to_owned()).collect();
    assert_eq!(routes.difference(&tried).cloned().collect::<BTreeSet<_>>(), elsewhere, "no line in the table");
    // And all of it is in the audit log, under its person.
    let rows = admin::audit_entries(bench.dir(), None, 1000).await.unwrap();
    let has = |actor: &str, action: &str| rows.iter().any(|row| row.actor == actor && row.action == action);
    for (actor, action) in [
        ("user:viewer", "access.refuse"),
        ("user:operator", "mark.add"),
        ("user:operator", "playback_key.add"),
        ("user:admin", "device.config"),
        ("user:admin", "device.revoke"),
        ("user:admin", "group.add"),
        ("user:admin", "relay.add"),
        ("operator", "user.add"),
    ] {
        assert!(has(actor, action), "{actor} {action}");
    }
    let refused = rows.iter().filter(|row| row.actor == "user:viewer" && row.action == "access.refuse").count();
    assert!(refused > 20, "a row for each route and reason: {refused}");
}

#[tokio::test]
async fn lists_counts_and_search_hold_what_one_sees_and_nothing_of_another_site() {
    let bench = Bench::with_sites().await;
    let operator = bench.operator().await;
    let (ann, bob) = (bench.user("ann", &[(Role::Operator, "a")]).await, bench.user("bob", &[]).await);
    let all = bench.user("all", &[(Role::Viewer, "")]).await;
    for device in ["cam-a", "cam-b"] {
        bench.as_someone(&operator, Method::POST, "/api/v1/playback-keys", &json!({ "device": device, "name": "key" })).await;
        let hold = json!({ "device": device, "from": 1, "to": 2, "reason": "r" });
        bench.as_someone(&operator, Method::POST, "/api/v1/holds", &hold).await;
        let device = DeviceId::new(device).unwrap();
        assert_eq!(bench.request(&device, &request(&device, "r")).await.0, 200, "it leaves an event behind");
    }
    for path in [
        "devices",
        "streams",
        "playback-keys",
        "events",
        "recordings",
        "coverage",
        "holds",
        "groups",
        "events?device=cam-b",
        "devices?limit=1",
    ] {
        let path = format!("/api/v1/{path}");
        let (status, own) = bench.as_someone(&ann, Method::GET, &path, &json!(null)).await;
        let text = own.to_string();
        assert!(status == 200 && !text.contains("cam-b") && !text.contains("cam-0") && !text.contains("\"b\""), "{path}: {text}");
        assert!(own["next"].is_null(), "{path}: there is no more for them");
        let (status, none) = bench.as_someone(&bob, Method::GET, &path, &json!(null)).await;
        assert_eq!((status, &none["items"]), (200, &json!([])), "{path}");
        if !path.contains("cam-b") && !path.contains("recordings") {
            assert!(text.contains("\"a/hall\"") || text.contains("cam-a"), "{path}: their own are there: {text}");
        }
        if !path.contains("playback-keys") && !path.contains('?') && !path.contains("recordings") {
            let everything = bench.as_someone(&all, Method::GET, &path, &json!(null)).await.1.to_string();
            assert!(everything.contains("cam-b") || everything.contains("\"b\""), "{path}: {everything}");
        }
    }
    // The installation's own events are for those who see all of it.
    let kinds = async |someone: &Someone| bench.as_someone(someone, Method::GET, "/api/v1/events", &json!(null)).await.1.to_string();
    assert!(eventually(async || kinds(&all).await.contains("server_up")).await);
    assert!(!kinds(&ann).await.contains("server_up"));
}

#[tokio::test]
async fn where_to_watch_is_told_to_whoever_sees_the_camera() {
    let bench = Bench::with_sites().await;
    let ann = bench.user("ann", &[(Role::Viewer, "a")]).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let get = async |path: String| {
        let request = http.get(bench.url(&path)).bearer_auth(&ann.token);
        request.send().await.unwrap().status().as_u16()
    };
    for (device, live, recorded) in [("cam-a", 307, 307), ("cam-b", 404, 404), ("cam-0", 404, 404)] {
        let playback = admin::show_device(bench.dir(), &DeviceId::new(device).unwrap()).await.unwrap().playback;
        for path in [format!("{playback}.flv"), format!("{playback}/index.m3u8"), format!("{playback}/snapshot.jpg")] {
            assert_eq!(get(format!("/live/{path}")).await, live, "{device} {path}");
        }
        for path in ["1-2.mp4", "1-2.m3u8", "1.jpg"] {
            assert_eq!(get(format!("/vod/{device}/{path}")).await, recorded, "{device} {path}");
        }
        // Who is nobody here is led to the origin, which asks for a right.
        assert_eq!(http.get(bench.url(&format!("/live/{playback}.flv"))).send().await.unwrap().status(), 307, "{device}");
    }
}

/// The demo: an origin that plays to everyone, in the cloud's own process.
#[tokio::test]
async fn what_an_origin_in_this_process_plays_is_for_whoever_sees_the_camera_or_has_a_right_to_play_it() {
    use axum::routing::{any, get, post};
    let extra = axum::Router::new().route("/live/{file}", get("served")).route("/live/{playback}/{file}", any("served"));
    let extra = extra.route("/live/{playback}/whep/{session}", any("served")).route("/vod/{device}/{file}", get("served"));
    let bench = Bench::with_sites_and(extra.route("/vod/coverage", post("served"))).await;
    let playback_of = async |device: &str| admin::show_device(bench.dir(), &DeviceId::new(device).unwrap()).await.unwrap().playback;
    let (a, b) = (playback_of("cam-a").await, playback_of("cam-b").await);
    let ask = async |method: Method, path: &str, someone: Option<&Someone>| {
        let mut request = bench.http.request(method, bench.url(path)).header("origin", "http://a-page.example");
        if let Some(someone) = someone {
            request = request.bearer_auth(&someone.token);
        }
        request.send().await.unwrap().status().as_u16()
    };
    let get = async |path: &str, someone: Option<&Someone>| ask(Method::GET, path, someone).await;
    assert_eq!(get(&format!("/live/{b}.flv"), None).await, 200, "there is no user yet");

    let (ann, operator) = (bench.user("ann", &[(Role::Viewer, "a")]).await, bench.operator().await);
    let percent = b.bytes().fold(String::new(), |text, byte| format!("{text}%{byte:02x}"));
    for (path, to_ann) in [
        (format!("/live/{a}.flv"), 200),
        (format!("/live/{a}/index.m3u8"), 200),
        ("/vod/cam-a/1-2.mp4".to_owned(), 200),
        (format!("/live/{b}.flv"), 404),
        (format!("/live/{b}/snapshot.jpg"), 404),
        (format!("/live/{percent}.flv"), 404),
        (format!("/live/{percent}/index.m3u8"), 404),
        ("/vod/cam-b/1-2.mp4".to_owned(), 404),
        ("/vod/c%61m-b/1.jpg".to_owned(), 404),
        ("/vod/cam-x/1.jpg".to_owned(), 404),
    ] {
        assert_eq!((get(&path, Some(&ann)).await, get(&path, None).await, get(&path, Some(&operator)).await), (to_ann, 401, 200), "{path}");
    }
    // A right to play is a right, whoever shows it, and from a page of anywhere; it is one camera's.
    let (_, signed) = bench.as_someone(&ann, Method::POST, "/api/v1/streams/cam-a/playback", &json!({})).await;
    let (_, key) = bench.as_someone(&operator, Method::POST, "/api/v1/playback-keys", &json!({ "device": "cam-b", "name": "k" })).await;
    let (token, key) = (signed["token"].as_str().unwrap(), key["key"].as_str().unwrap());
    for (path, status) in [
        (format!("/live/{a}.flv?token={token}"), 200),
        (format!("/vod/cam-a/1.jpg?x=1&token={token}"), 200),
        (format!("/live/{b}.flv?token={token}"), 401),
        (format!("/live/{b}.flv?token={key}"), 200),
        (format!("/live/{a}.flv?token={key}"), 401),
        (format!("/live/{a}.flv?token=any"), 401),
    ] {
        assert_eq!(get(&path, None).await, status, "{path}");
    }
    assert_eq!(get(&format!("/live/{b}.flv?token={key}"), Some(&ann)).await, 200, "a link to another site's camera");
    assert_eq!(ask(Method::POST, &format!("/live/{a}/whep?token={token}"), None).await, 200);
    // Publishers, and sessions that have begun, have rights of their own.
    assert_eq!(ask(Method::POST, "/live/s/whip", None).await, 200);
    assert_eq!(ask(Method::DELETE, &format!("/live/{b}/whep/session"), None).await, 200);
    let coverage = async |devices: Value| {
        let question = json!({ "from": 1, "to": 2, "devices": devices });
        bench.http.post(bench.url("/vod/coverage")).json(&question).send().await.unwrap().status().as_u16()
    };
    assert_eq!(coverage(json!([["cam-a", token], ["cam-b", key]])).await, 200);
    assert_eq!((coverage(json!([["cam-a", token], ["cam-b", token]])).await, coverage(json!([["cam-b", ""]])).await), (401, 401));
}

#[tokio::test]
async fn a_session_is_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let bench = Bench::with_sites().await;
    let ann = name("ann");
    let password = Password::new(PASSWORD.into());
    let as_ann = json!({ "name": "Ann", "password": PASSWORD });
    let url = bench.url("/api/v1/session");
    assert_eq!(bench.http.post(&url).json(&as_ann).send().await.unwrap().status(), 401, "there is nobody yet");
    assert_eq!(bench.get("/api/v1/session").await["way"], "here");
    people::add_user(bench.dir(), &ann, Some(&password), &[Grant { role: Role::Viewer, group: group("a") }]).await.unwrap();

    let nobody = bench.http.get(&url).send().await.unwrap();
    assert_eq!(nobody.status(), 401, "from the first user on, this machine signs in, too");
    assert!(nobody.headers()["www-authenticate"].to_str().unwrap().starts_with("Session"));
    let foreign = bench.http.post(&url).header("origin", "http://evil.example").json(&as_ann).send().await.unwrap();
    assert_eq!(foreign.status(), 403);
    let wrong = bench.http.post(&url).json(&json!({ "name": "ann", "password": "another password" })).send().await.unwrap();
    let unknown = bench.http.post(&url).json(&json!({ "name": "nobody", "password": PASSWORD })).send().await.unwrap();
    assert_eq!((wrong.status(), unknown.status()), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED));
    assert_eq!(wrong.text().await.unwrap(), unknown.text().await.unwrap(), "no answer tells which names there are");

    let signed_in = bench.http.post(&url).json(&as_ann).send().await.unwrap();
    assert_eq!(signed_in.status(), 200);
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=604800"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Secure"), "over plain HTTP no browser would send it back");
    let pair = cookie.split(';').next().unwrap().to_owned();
    let body: Value = signed_in.json().await.unwrap();
    assert_eq!((&body["name"], &body["grants"]), (&json!("ann"), &json!([{ "role": "viewer", "group": "a" }])));
    assert!(!body.to_string().contains(pair.split('=').nth(1).unwrap()));

    let with = |method: Method, path: &str| bench.http.request(method, bench.url(path)).header("cookie", &pair);
    assert_eq!(with(Method::GET, "/api/v1/devices").send().await.unwrap().json::<Value>().await.unwrap()["items"][0]["id"], "cam-a");
    let foreign = with(Method::POST, "/api/v1/streams/cam-a/playback").header("origin", "http://evil.example").json(&json!({}));
    assert_eq!(foreign.send().await.unwrap().status(), 403);
    let changed = with(Method::PUT, "/api/v1/session/password").json(&json!({ "password": PASSWORD, "new_password": "another one" }));
    assert_eq!(changed.send().await.unwrap().status(), 200);
    assert_eq!(with(Method::DELETE, "/api/v1/session").send().await.unwrap().status(), 200);
    assert_eq!(with(Method::GET, "/api/v1/session").send().await.unwrap().status(), 401);
    assert!(bench.audit_has("session.add").await && bench.audit_has("session.remove").await && bench.audit_has("session.refuse").await);
    // Over TLS the cookie is sent over TLS alone.
    let mut curl = tokio::process::Command::new("curl");
    curl.args(["-sS", "-D", "-", "-o", "/dev/null", "--cacert"])
        .arg(bench.dir().join("ca.pem"))
        .args(["--json", r#"{"name":"ann","password":"another one"}"#]);
    curl.arg(format!("https://localhost:{}/api/v1/session", bench.cloud.http_addr().port()));
    let (_, head, err) = crate::bench::run(curl).await;
    assert!(head.contains("200 OK") && head.contains("; Secure"), "{head}{err}");
    let rows = serde_json::to_string(&admin::audit_entries(bench.dir(), None, 1000).await.unwrap()).unwrap();
    assert!(!rows.contains(PASSWORD) && !rows.contains("another password"));
    // Whoever guesses is told to wait, and for how long.
    let guess = async || bench.http.post(&url).json(&json!({ "name": "ann", "password": "a guess" })).send().await.unwrap();
    let mut last = guess().await;
    while last.status() == StatusCode::UNAUTHORIZED {
        last = guess().await;
    }
    assert_eq!(last.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(last.headers()["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    // Neither the password nor the cookie is in the database.
    let Bench { home, cloud, .. } = bench;
    cloud.shutdown().await;
    let database = std::fs::read(home.path().join("sightline.sqlite")).unwrap();
    for secret in [PASSWORD, "another one", pair.split('=').nth(1).unwrap()] {
        assert!(!database.windows(secret.len()).any(|window| window == secret.as_bytes()));
    }
}

#[tokio::test]
async fn a_token_may_at_most_what_its_user_may_at_that_moment_and_ends() {
    let bench = Bench::with_sites().await;
    let ann = bench.user("ann", &[(Role::Admin, "a"), (Role::Viewer, "b")]).await;
    let token = async |role, path: &str, ttl_sec| {
        let new = NewToken { user: name("ann"), name: "t".into(), ttl_sec, role, group: group(path) };
        Someone { token: people::add_token(bench.dir(), new).await.unwrap().reveal().to_owned() }
    };
    let mark = async |someone: &Someone, device: &str| {
        bench.as_someone(someone, Method::POST, &format!("/api/v1/streams/{device}/marks"), &json!({ "kind": "x" })).await.0
    };
    let (looks, of_b, short) =
        (token(Role::Viewer, "", None).await, token(Role::Admin, "b", None).await, token(Role::Admin, "", Some(1)).await);
    assert_eq!((mark(&ann, "cam-a").await, mark(&looks, "cam-a").await, mark(&of_b, "cam-a").await), (201, 403, 404));
    assert_eq!((mark(&of_b, "cam-b").await, mark(&ann, "cam-0").await), (403, 404));
    people::grant(bench.dir(), &name("ann"), &group("a"), Some(Role::Viewer)).await.unwrap();
    assert_eq!(mark(&ann, "cam-a").await, 403, "what is taken from its user is taken from it");
    assert!(eventually(async || mark(&short, "cam-a").await == 401).await, "it ends");
    people::remove_user(bench.dir(), &name("ann")).await.unwrap();
    // The last user is gone: all is as before there was one, and a token that is nobody's opens nothing to a machine elsewhere.
    assert_eq!(bench.get("/api/v1/session").await["way"], "here");
}

#[tokio::test]
async fn who_follows_events_hears_of_their_own_site_until_their_session_ends() {
    let bench = Bench::with_sites().await;
    let (ann, operator) = (bench.user("ann", &[(Role::Viewer, "a")]).await, bench.operator().await);
    let mut followed = bench.http.get(bench.url("/api/v1/events/stream")).bearer_auth(&ann.token).send().await.unwrap();
    assert_eq!(followed.status(), 200);
    let mark = async |device: &str, kind: &str| {
        let body = json!({ "kind": kind });
        assert_eq!(bench.as_someone(&operator, Method::POST, &format!("/api/v1/streams/{device}/marks"), &body).await.0, 201);
    };
    mark("cam-b", "first").await;
    mark("cam-0", "second").await;
    mark("cam-a", "third").await;
    let mut heard = String::new();
    while !heard.contains("third") {
        heard += std::str::from_utf8(&followed.chunk().await.unwrap().expect("it goes on")).unwrap();
    }
    assert!(!heard.contains("first") && !heard.contains("second"), "{heard}");
    people::remove_user(bench.dir(), &name("ann")).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    mark("cam-a", "fourth").await;
    let mut rest = String::new();
    while let Some(chunk) = followed.chunk().await.unwrap() {
        rest += std::str::from_utf8(&chunk).unwrap();
    }
    assert!(!rest.contains("fourth"), "{rest}");
}

#[tokio::test]
async fn who_followed_events_without_a_sign_in_does_so_until_there_is_a_user() {
    let bench = Bench::with_sites().await;
    let mut followed = bench.http.get(bench.url("/api/v1/events/stream")).send().await.unwrap();
    let ann = bench.user("ann", &[(Role::Operator, "")]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    bench.as_someone(&ann, Method::POST, "/api/v1/streams/cam-a/marks", &json!({ "kind": "later" })).await;
    let mut heard = String::new();
    while let Some(chunk) = followed.chunk().await.unwrap() {
        heard += std::str::from_utf8(&chunk).unwrap();
    }
    assert!(!heard.contains("later"), "{heard}");
}

#[tokio::test]
async fn with_users_this_machine_is_let_in_without_a_sign_in_only_where_the_settings_say_so() {
    let home = tempfile::tempdir().unwrap();
    let bench = Bench::start_with(home, |config| config.api.open_here = true).await;
    bench.user("ann", &[]).await;
    assert_eq!(bench.get("/api/v1/session").await["way"], "here");
}

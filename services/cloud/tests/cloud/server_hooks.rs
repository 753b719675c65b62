//! Servers of others ask whether someone may publish: nginx-rtmp (as the real module's call was seen), SRS and MediaMTX (as their documents have it).

use crate::bench::{Bench, request};
use reqwest::Method;
use serde_json::{Value, json};

/// What SRS 5 posts.
fn srs(action: &str, stream: &str, param: &str) -> String {
    format!(
        r#"{{"server_id":"vid-0xk989d","service_id":"382a6u9r","action":"{action}","client_id":"341w361a","ip":"192.0.2.7","vhost":"__defaultVhost__","app":"live","tcUrl":"rtmp://127.0.0.1:1935/live?vhost=__defaultVhost__","stream":"{stream}","param":"{param}","stream_url":"/live/{stream}","stream_id":"vid-124q9y3"}}"#
    )
}

/// What MediaMTX posts.
fn mediamtx(action: &str, path: &str, query: &str, password: &str) -> String {
    format!(
        r#"{{"user":"","password":"{password}","token":"","ip":"192.0.2.7","action":"{action}","path":"{path}","protocol":"rtmp","id":"9c7cd0c6-7d2f-4c0f-a7a8-4b9b7a4a8d0f","query":"{query}"}}"#
    )
}

/// What nginx-rtmp posts (`ngx_rtmp_notify_module.c`): its own fields, then the arguments of the name.
fn nginx(call: &str, stream: &str, arguments: &str) -> String {
    format!(
        "app=live&flashver=FMLE/3.0%20(compatible%3B%20Lavf59.27.100)&swfurl=&tcurl=rtmp://127.0.0.1:1935/live&pageurl=&addr=192.0.2.7&clientid=1&call={call}&name={stream}&type=live&{arguments}"
    )
}

/// The three answers to a publish of this name with this token.
async fn asked(bench: &Bench, stream: &str, token: &str) -> [u16; 3] {
    let post = async |path: &str, kind: &str, body: String| {
        let sent = bench.http.post(bench.url(path)).header("content-type", kind).body(body).send().await.unwrap();
        sent.status().as_u16()
    };
    let argument = if token.is_empty() { String::new() } else { format!("token={token}") };
    let of_nginx = post("/hooks/nginx", "application/x-www-form-urlencoded", nginx("publish", stream, &argument)).await;
    let of_srs = post("/hooks/srs", "application/json", srs("on_publish", stream, &format!("?{argument}"))).await;
    let of_mediamtx = post("/hooks/mediamtx", "application/json", mediamtx("publish", &format!("live/{stream}"), &argument, "")).await;
    [of_nginx, of_srs, of_mediamtx]
}

#[tokio::test]
async fn servers_of_others_let_in_who_has_a_token_of_ours_for_this_name_and_nobody_else() {
    let bench = Bench::start().await;
    bench.report("o1", "boot", json!([])).await;
    let (cam, dome) = (bench.add("cam").await, bench.add("dome").await);
    let given = async |id, number: &str| {
        let (status, answer) = bench.request(id, &request(id, number)).await;
        assert_eq!(status, 200, "{answer}");
        (answer["stream_key"].as_str().unwrap().to_owned(), answer["token"].as_str().unwrap().to_owned())
    };
    let ((name, token), (_, foreign)) = (given(&cam, "1").await, given(&dome, "1").await);
    let forged = {
        let mut bytes = token.clone().into_bytes();
        let last = bytes.len() - 9;
        bytes[last] = if bytes[last] == b'A' { b'B' } else { b'A' };
        String::from_utf8(bytes).unwrap()
    };
    let playback = bench.ask(Method::POST, "/api/v1/streams/cam/playback", json!({})).await.1;
    let of_viewer = playback["token"].as_str().unwrap().to_owned();
    assert_eq!(asked(&bench, &name, &token).await, [200, 200, 200]);
    let refused = [403, 403, 401];
    for (what, shown) in
        [("nothing", ""), ("another's", &foreign), ("a forged one", &forged), ("a viewer's", &of_viewer), ("noise", "x.y.z")]
    {
        assert_eq!(asked(&bench, &name, shown).await, refused, "{what}");
    }
    assert_eq!(asked(&bench, "other", &token).await, refused, "another name");

    // SRS reads the code in the body, and takes anything but zero for a no.
    let said =
        async |body: String| bench.http.post(bench.url("/hooks/srs")).body(body).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(said(srs("on_publish", &name, &format!("?token={token}"))).await["code"], 0);
    assert_ne!(said(srs("on_publish", &name, "?token=x")).await["code"], 0);
    assert_eq!(said(srs("on_unpublish", &name, "")).await["code"], 0, "what is over is told, not asked");
    let post = async |path: &str, body: String| bench.http.post(bench.url(path)).body(body).send().await.unwrap().status().as_u16();
    // A viewer's token plays, and a publisher's does not.
    for (shown, status) in [(&of_viewer, 200), (&token, 403)] {
        assert_eq!(post("/hooks/nginx", nginx("play", &name, &format!("token={shown}"))).await, status);
        assert_eq!(post("/hooks/srs", srs("on_play", &name, &format!("?token={shown}"))).await, status);
        let status = if status == 200 { 200 } else { 401 };
        assert_eq!(post("/hooks/mediamtx", mediamtx("read", &format!("live/{name}"), &format!("token={shown}"), "")).await, status);
    }
    assert_eq!(post("/hooks/mediamtx", mediamtx("publish", &name, "", &token)).await, 200, "by password, as RTSP and WHIP have to");
    assert_eq!(post("/hooks/mediamtx", mediamtx("api", "", "", &token)).await, 401);
    for (path, body) in [("/hooks/srs", "{"), ("/hooks/mediamtx", "[1]"), ("/hooks/nginx", "call=dance"), ("/hooks/srs", "{}")] {
        assert_eq!(post(path, body.to_owned()).await, 400, "{path} {body}");
    }

    // A revoked device is out: what runs ends at the next update, too.
    assert_eq!(post("/hooks/nginx", nginx("update_publish", &name, &format!("token={token}"))).await, 200);
    assert_eq!(bench.ask(Method::DELETE, "/api/v1/devices/cam", json!(null)).await.0, 200);
    assert_eq!(asked(&bench, &name, &token).await, refused, "revoked");
    assert_eq!(post("/hooks/nginx", nginx("update_publish", &name, &format!("token={token}"))).await, 403);
    assert!(bench.audit_has("stream.publish.refuse").await);
}

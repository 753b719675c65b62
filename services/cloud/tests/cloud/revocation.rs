//! What a revocation ends.

use crate::bench::{Bench, epoch_of, eventually, request, run, subscriber};
use serde_json::{Value, json};
use sightline_cloud::admin;

#[tokio::test]
async fn a_revoked_device_is_cut_off_everywhere() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let answer = bench.request(&cam, &request(&cam, "r1")).await.1;
    let epoch = epoch_of(answer["token"].as_str().unwrap());
    let down = format!("devices/{cam}/stream/command");
    let _device = subscriber(bench.mosquitto("mosquitto_sub", "devices/cam", "cam", &["-V", "5", "-t", &down])).await;
    assert!(eventually(async || bench.get("/api/v1/devices/cam").await["online"] == true).await);
    // From another process, as the command line does it.
    admin::revoke_device(bench.dir(), &cam).await.unwrap();
    assert!(eventually(async || bench.get("/api/v1/devices/cam").await["online"] == false).await, "cut within seconds");
    assert_eq!(bench.request(&cam, &request(&cam, "r1")).await.0, 401, "not even the kept answer");
    let revoked = bench.report("o1", "boot", json!([])).await["revoked"].clone();
    assert_eq!(revoked[0]["stream"], answer["stream_key"]);
    assert!(revoked[0]["epoch_min"].as_u64().unwrap() > epoch);
    // When it comes again it is refused.
    assert!(!run(bench.mosquitto("mosquitto_pub", "devices/cam", "cam", &["-q", "1", "-t", "devices/cam/online", "-m", "{}"])).await.0);
    assert!(bench.audit_has("mqtt.connect.refuse").await);
    assert!(bench.audit_has("device.revoke").await);
    // Enrolled anew it has another stream, and the old one stays revoked.
    admin::add_device(bench.dir(), &cam).await.unwrap();
    let anew = bench.request(&cam, &request(&cam, "r9")).await.1;
    assert_ne!(anew["stream_key"], answer["stream_key"]);
}

#[tokio::test]
async fn an_origin_that_counts_gets_each_revocation_until_it_says_that_it_has_it() {
    let bench = Bench::start().await;
    let revoked = async |after: Value| {
        let answer = bench.report_with("o1", "boot", json!([]), after).await;
        (answer["revoked"].as_array().unwrap().len(), answer["revoked_up_to"].clone())
    };
    for id in ["a", "b"] {
        let id = bench.add(id).await;
        admin::revoke_device(bench.dir(), &id).await.unwrap();
    }
    let (count, up_to) = revoked(json!(0)).await;
    assert_eq!(count, 2);
    // An answer that got lost is given again.
    assert_eq!(revoked(json!(0)).await, (2, up_to.clone()));
    assert_eq!(revoked(up_to.clone()).await, (0, up_to.clone()));
    let c = bench.add("c").await;
    admin::revoke_device(bench.dir(), &c).await.unwrap();
    assert_eq!(revoked(up_to).await.0, 1);
    // An origin of an earlier version, and one that has started again, get all.
    assert_eq!(revoked(Value::Null).await, (3, Value::Null));
    assert_eq!(revoked(json!(0)).await.0, 3);
}

#[tokio::test]
async fn a_denied_device_s_tokens_are_void_and_allowed_again_it_gets_one_above_them() {
    let bench = Bench::start().await;
    let cam = bench.add("cam").await;
    bench.report("o1", "boot", json!([])).await;
    let answer = bench.request(&cam, &request(&cam, "r1")).await.1;
    let epoch = epoch_of(answer["token"].as_str().unwrap());
    // From another process, as the command line does it.
    admin::permit_push(bench.dir(), &cam, false).await.unwrap();
    let told = bench.report_with("o1", "boot", json!([]), json!(0)).await;
    assert_eq!(told["revoked"][0]["stream"], answer["stream_key"]);
    let epoch_min = told["revoked"][0]["epoch_min"].as_u64().unwrap();
    assert!(epoch_min > epoch);
    assert_eq!(bench.request(&cam, &request(&cam, "r1")).await.0, 403, "not even the kept answer");
    assert_eq!(bench.get("/api/v1/devices/cam").await["revoked_at"], Value::Null, "it stays known");
    admin::permit_push(bench.dir(), &cam, true).await.unwrap();
    let again = bench.request(&cam, &request(&cam, "r1")).await.1;
    assert_eq!(again["stream_key"], answer["stream_key"], "viewers' addresses stay");
    assert!(epoch_of(again["token"].as_str().unwrap()) > epoch_min, "the kept answer's token is void");
    let after = bench.report_with("o1", "boot", json!([]), told["revoked_up_to"].clone()).await;
    assert_eq!(after["revoked"], json!([]), "it is not denied anew");
}

//! The broker's metrics: what each means, and zeros from the start, so that a rate has a beginning.

use super::budget::Exceeded;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use sightline_listen::Refused;

/// Describes them all. The recorder must be there.
pub(crate) fn announce() {
    for (name, help) in COUNTERS {
        describe_counter!(name, help);
    }
    for (name, unit, help) in GAUGES {
        describe_gauge!(name, unit, help);
        gauge!(name).set(0.0);
    }
    for name in [
        "sightline_mqtt_no_connect_total",
        "sightline_mqtt_takeovers_total",
        "sightline_mqtt_outdated_total",
        "sightline_mqtt_violations_total",
        "sightline_mqtt_messages_dropped_total",
        "sightline_mqtt_retained_refused_total",
        "sightline_device_duels_total",
    ] {
        counter!(name).increment(0);
    }
    for reason in Refused::ALL.map(Refused::name).into_iter().chain(["not_allowed"]) {
        counter!("sightline_mqtt_connections_refused_total", "reason" => reason).increment(0);
    }
    for exceeded in Exceeded::ALL {
        counter!("sightline_mqtt_budget_exceeded_total", "reason" => exceeded.as_str()).increment(0);
    }
    for reason in ["no_tls", "too_slow", "no_identity", "too_many"] {
        counter!("sightline_mqtt_strangers_total", "reason" => reason).increment(0);
    }
}

const COUNTERS: [(&str, &str); 10] = [
    (
        "sightline_mqtt_connections_refused_total",
        "MQTT connections that were not let in, by reason: the door's shares, or not_allowed for an identity",
    ),
    ("sightline_mqtt_strangers_total", "MQTT connections turned away before CONNECT, by reason; too_many: of one certificate"),
    ("sightline_mqtt_no_connect_total", "MQTT connections with a certificate that sent no CONNECT in time, or none that could be read"),
    ("sightline_mqtt_takeovers_total", "MQTT sessions of devices that another connection of the same device has taken over"),
    ("sightline_mqtt_outdated_total", "MQTT connections that were cut because their certificate had expired, or was replaced or revoked"),
    ("sightline_mqtt_violations_total", "Forbidden topics that MQTT clients have published on or subscribed to"),
    ("sightline_mqtt_budget_exceeded_total", "MQTT clients that were cut because they cost more than is allowed, by what was exceeded"),
    ("sightline_mqtt_messages_dropped_total", "MQTT messages that had no room in a client's queue"),
    ("sightline_mqtt_retained_refused_total", "MQTT messages that asked to be retained, and were only passed on"),
    ("sightline_device_duels_total", "Times that two clients with one device's certificate were noticed to throw each other out"),
];

const GAUGES: [(&str, Unit, &str); 4] = [
    ("sightline_mqtt_connections", Unit::Count, "MQTT clients that are connected"),
    ("sightline_mqtt_sessions", Unit::Count, "MQTT sessions, those of clients that are away included"),
    ("sightline_mqtt_retained_messages", Unit::Count, "Retained MQTT messages"),
    ("sightline_mqtt_waiting_bytes", Unit::Bytes, "What waits in the queues of all MQTT clients"),
];

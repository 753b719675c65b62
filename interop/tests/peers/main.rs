//! Tests against real peers: ffmpeg, GStreamer, nginx-rtmp, mosquitto, Chromium, QEMU. One program, because each would link all of the product again.

mod browser;
mod cameras;
mod capi;
mod chip;
mod differential;
mod doctor;
mod encoder;
mod enhanced;
mod esp32p4;
mod esp_idf;
mod faults;
mod files;
mod fleet;
mod keeping;
mod ladder;
mod library;
mod mqtt;
mod passthrough;
mod proxies;
mod publish;
mod push;
mod quirks;
mod restart;
mod storage;
mod triggers;
mod v4l2;

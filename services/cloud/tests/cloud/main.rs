//! The cloud against real clients: mosquitto over TLS in both protocol versions, curl with certificates, plain HTTP.

#![allow(clippy::unwrap_used)] // the helpers of a test panic like the test itself

mod admission;
mod bench;
mod holds;
mod hooks;
mod marks;
mod on_demand;
mod origins;
mod people;
mod playback;
mod presence;
mod relays;
mod requests;
mod revocation;
mod rights;
mod server_hooks;
mod servers;
mod settings;

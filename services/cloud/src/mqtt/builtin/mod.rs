//! The built-in MQTT broker. The packets of `mqtt-protocol-core` are read and written in `decode.rs` and `encode.rs`, and nowhere else.
//!
//! `router.rs` with `session.rs`, `tree.rs` and `retained.rs` is the broker without sockets and clocks. `connection.rs` is one client's
//! task. TLS ends first, the identity is read from the certificate that it verified, and each connection gets an `Access` of its own
//! that has this identity before the first byte of CONNECT is read. What a packet claims can only be checked against it.

mod access;
pub(crate) mod broker;
mod budget;
mod connection;
mod connections;
mod decode;
mod duel;
mod encode;
pub(crate) mod figures;
mod listener;
mod packet;
mod retained;
mod router;
mod session;
mod topics;
mod tree;

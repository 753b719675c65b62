//! The built-in MQTT broker: `mqtt5` behind our own accept loop. Its types stay in here.
//!
//! The library's own certificate authentication is never used: it lets one device take another's client id. Here TLS ends
//! first, the identity is read from the certificate that it verified, and each connection gets an `Access` of its own that
//! has this identity before the first byte of CONNECT is read. What a packet claims can only be checked against it.

mod access;
pub(crate) mod broker;
mod connections;
mod handler;
mod listener;
mod packet;

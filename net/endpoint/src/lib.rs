//! An operator's own endpoints: what decides, and what is told.
//!
//! Their addresses hold secrets and are shown without them. A request goes to no private address unless the settings allow it, whatever the
//! name servers say meanwhile: who may set an endpoint must not reach into the server's own network by it.
#![deny(missing_docs)]

mod client;
mod url;

pub use client::{Ask, Client, ClientError, Reply};
pub use url::EndpointUrl;

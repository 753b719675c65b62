//! Who peers are: certificates, the operator's rights, the keys that tokens are signed with.

pub(crate) mod authority;
pub(crate) mod certificates;
pub(crate) mod operator_certificates;
pub(crate) mod operators;
pub(crate) mod signing_keys;
pub(crate) mod tls;

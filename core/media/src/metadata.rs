//! What a publisher says about its stream, free of the protocol that it was said in.

use alloc::{string::String, vec::Vec};

/// Named values in the order in which the publisher sent them, such as `width`, `framerate` or `encoder`.
///
/// Servers pass them on to players and into FLV files. Nothing here is trusted: sizes and codecs come from the tracks.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Metadata {
    /// Names may repeat; the last one counts.
    pub properties: Vec<(String, Property)>,
}

/// One value. The kinds are those that AMF0 has and a player of metadata can use.
#[derive(Clone, PartialEq, Debug)]
pub enum Property {
    /// A number.
    Number(f64),
    /// Yes or no.
    Boolean(bool),
    /// A text.
    Text(String),
    /// A date, in milliseconds since the Unix epoch.
    Date(f64),
    /// Named values inside a value.
    Object(Vec<(String, Property)>),
    /// Values without names.
    List(Vec<Property>),
    /// Nothing: null, undefined, or what has no meaning outside its protocol.
    Null,
}

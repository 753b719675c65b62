//! Metadata between AMF0 and the model: read when it comes, written again for players and FLV files.

use crate::amf0::{self, Decoder, Object, Value};
use alloc::{string::String, vec::Vec};
use sightline_media::{Metadata, Property};

const ON_METADATA: &[u8] = b"\x02\x00\x0aonMetaData";

/// The values behind `onMetaData`, which [`super::data::Metadata::decode`] has checked. Text that is not UTF-8 gets replacement characters.
pub(crate) fn read(values: &[u8]) -> Metadata {
    let mut decoder = Decoder::new(values);
    let mut properties = Vec::new();
    while let Ok(Some(value)) = decoder.value() {
        if let Value::Object(object) = value {
            properties.extend(members(object));
        }
    }
    Metadata { properties }
}

fn members(object: Object<'_>) -> Vec<(String, Property)> {
    object.members().map(|(name, value)| (text(name), property(value))).collect()
}

fn property(value: Value<'_>) -> Property {
    match value {
        Value::Number(number) => Property::Number(number),
        Value::Boolean(is_true) => Property::Boolean(is_true),
        Value::Date(unix_millis) => Property::Date(unix_millis),
        Value::Text(bytes) => Property::Text(text(bytes)),
        Value::Object(object) => Property::Object(members(object)),
        Value::Array(array) => Property::List(array.elements().map(property).collect()),
        Value::Null | Value::Other => Property::Null,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The body of a data message, or of an FLV script tag: `onMetaData` and an ECMA array.
pub(crate) fn write(metadata: &Metadata) -> Vec<u8> {
    let mut out = ON_METADATA.to_vec();
    out.push(amf0::ECMA_ARRAY);
    out.extend(count(metadata.properties.len()));
    write_members(&mut out, &metadata.properties);
    out
}

fn write_members(out: &mut Vec<u8>, members: &[(String, Property)]) {
    for (name, value) in members {
        write_name(out, name);
        write_value(out, value);
    }
    out.extend(amf0::END);
}

fn write_value(out: &mut Vec<u8>, value: &Property) {
    match value {
        Property::Number(number) => {
            out.push(amf0::NUMBER);
            out.extend(number.to_be_bytes());
        }
        Property::Boolean(is_true) => out.extend([amf0::BOOLEAN, u8::from(*is_true)]),
        Property::Text(text) if text.len() <= usize::from(u16::MAX) => {
            out.push(amf0::STRING);
            write_name(out, text);
        }
        Property::Text(text) => {
            out.push(amf0::LONG_STRING);
            out.extend(count(text.len()));
            out.extend(text.as_bytes());
        }
        Property::Date(unix_millis) => {
            out.push(amf0::DATE);
            out.extend(unix_millis.to_be_bytes());
            // The time zone, which the specification wants to be zero (§2.13).
            out.extend([0, 0]);
        }
        Property::Object(members) => {
            out.push(amf0::OBJECT);
            write_members(out, members);
        }
        Property::List(values) => {
            out.push(amf0::STRICT_ARRAY);
            out.extend(count(values.len()));
            values.iter().for_each(|value| write_value(out, value));
        }
        Property::Null => out.push(amf0::NULL),
    }
}

/// A name has at most 65,535 bytes; what is longer came out of replacement characters and is cut.
fn write_name(out: &mut Vec<u8>, name: &str) {
    let end = name.floor_char_boundary(usize::from(u16::MAX));
    let name = name.get(..end).unwrap_or_default();
    out.extend(u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
    out.extend(name.as_bytes());
}

fn count(items: usize) -> [u8; 4] {
    u32::try_from(items).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::data;
    use proptest::prelude::*;

    fn any_property() -> impl Strategy<Value = Property> {
        let leaf = prop_oneof![
            any::<f64>().prop_filter("NaN is not equal to itself", |number| !number.is_nan()).prop_map(Property::Number),
            any::<bool>().prop_map(Property::Boolean),
            ".{0,20}".prop_map(Property::Text),
            (0.0..1e15_f64).prop_map(Property::Date),
            Just(Property::Null),
        ];
        leaf.prop_recursive(3, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(("[a-z]{1,8}", inner.clone()), 0..4).prop_map(Property::Object),
                proptest::collection::vec(inner, 0..4).prop_map(Property::List),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(properties in proptest::collection::vec(("[a-z]{1,8}", any_property()), 0..6)) {
            let metadata = Metadata { properties };
            let body = write(&metadata);
            let decoded = data::Metadata::decode(&body).unwrap().unwrap();
            prop_assert!(decoded.quirks().next().is_none());
            prop_assert_eq!(read(decoded.values), metadata);
        }
    }
}

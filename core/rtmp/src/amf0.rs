//! AMF0 (Adobe, "Action Message Format – AMF 0"): read without allocating, values borrowed from the message; written straight into a slice.

use crate::error::Cause;
use crate::wire::{Fields, Writer};

/// How deep objects and arrays may nest. Metadata of real encoders nests twice; a recursive reader without a limit falls to one message.
pub(crate) const DEPTH_MAX: u32 = 16;
/// Values in one message, all levels together. OBS sends about 20, ffmpeg about 15.
pub(crate) const ELEMENTS_MAX: u32 = 1024;

pub(crate) const NUMBER: u8 = 0x00;
pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const STRING: u8 = 0x02;
pub(crate) const OBJECT: u8 = 0x03;
pub(crate) const NULL: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const REFERENCE: u8 = 0x07;
pub(crate) const ECMA_ARRAY: u8 = 0x08;
const OBJECT_END: u8 = 0x09;
pub(crate) const STRICT_ARRAY: u8 = 0x0a;
pub(crate) const DATE: u8 = 0x0b;
pub(crate) const LONG_STRING: u8 = 0x0c;
const UNSUPPORTED: u8 = 0x0d;
const XML_DOCUMENT: u8 = 0x0f;
const TYPED_OBJECT: u8 = 0x10;
/// `avmplus-object-marker`: one AMF3 value follows.
const AVMPLUS: u8 = 0x11;

/// One value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Number(f64),
    /// A string or long string, as it was sent: encoders send other things than UTF-8.
    Text(&'a [u8]),
    /// An object, typed object or ECMA array.
    Object(Object<'a>),
    /// A strict array.
    #[cfg_attr(not(any(feature = "server", test)), expect(dead_code, reason = "the camera reads past arrays"))]
    Array(Array<'a>),
    /// A boolean. The camera reads past it.
    #[cfg(any(feature = "server", test))]
    Boolean(bool),
    /// A date, in milliseconds since the Unix epoch. The camera reads past it.
    #[cfg(any(feature = "server", test))]
    Date(f64),
    /// Null, undefined, unsupported.
    Null,
    /// Read past, because nothing here needs it: reference, XML, AMF3's objects.
    Other,
}

impl<'a> Value<'a> {
    pub(crate) fn as_str(&self) -> Option<&'a str> {
        match self {
            Self::Text(bytes) => core::str::from_utf8(bytes).ok(),
            #[cfg(any(feature = "server", test))]
            Self::Boolean(_) | Self::Date(_) => None,
            Self::Number(_) | Self::Object(_) | Self::Array(_) | Self::Null | Self::Other => None,
        }
    }

    pub(crate) const fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            #[cfg(any(feature = "server", test))]
            Self::Boolean(_) | Self::Date(_) => None,
            Self::Text(_) | Self::Object(_) | Self::Array(_) | Self::Null | Self::Other => None,
        }
    }
}

#[cfg(any(feature = "server", test))]
const fn boolean<'a>(value: u8) -> Value<'a> {
    Value::Boolean(value != 0)
}

#[cfg(not(any(feature = "server", test)))]
const fn boolean<'a>(_value: u8) -> Value<'a> {
    Value::Other
}

#[cfg(any(feature = "server", test))]
const fn date<'a>(unix_millis: f64) -> Value<'a> {
    Value::Date(unix_millis)
}

#[cfg(not(any(feature = "server", test)))]
const fn date<'a>(_unix_millis: f64) -> Value<'a> {
    Value::Other
}

/// What ends an object: an empty name, and the marker (§2.11).
pub(crate) const END: [u8; 3] = [0, 0, OBJECT_END];

/// The members of an object, already checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Object<'a>(&'a [u8]);

impl<'a> Object<'a> {
    /// The first member of that name.
    pub(crate) fn get(self, key: &str) -> Option<Value<'a>> {
        let mut decoder = Decoder::new(self.0);
        while let Some((name, value)) = decoder.member().ok().flatten() {
            if name == key.as_bytes() {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn text(self, key: &str) -> Option<&'a str> {
        self.get(key)?.as_str()
    }

    /// Its end marker is there.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn has_end(self) -> bool {
        let mut decoder = Decoder::new(self.0);
        while !decoder.is_empty() {
            match decoder.member() {
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => return false,
            }
        }
        false
    }

    /// All members, in order.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn members(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut decoder = Decoder::new(self.0);
        core::iter::from_fn(move || decoder.member().ok().flatten())
    }
}

/// The elements of a strict array, already checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array<'a>(&'a [u8]);

impl<'a> Array<'a> {
    /// The elements, in order.
    pub(crate) fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let mut decoder = Decoder::new(self.0);
        core::iter::from_fn(move || decoder.value().ok().flatten())
    }
}

/// What one message may still hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    elements_left: u32,
}

impl Budget {
    /// For one more value at this depth.
    pub(crate) fn take(&mut self, depth: u32) -> Result<(), Cause> {
        self.elements_left = self.elements_left.checked_sub(1).ok_or(Cause::Amf0)?;
        if depth > DEPTH_MAX { Err(Cause::Amf0) } else { Ok(()) }
    }
}

/// Reads values one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decoder<'a> {
    fields: Fields<'a>,
    budget: Budget,
}

impl<'a> Decoder<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { fields: Fields::new(bytes), budget: Budget { elements_left: ELEMENTS_MAX } }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    #[cfg(any(feature = "server", test))]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.fields.rest()
    }

    /// The next value; `None` at the end of the message.
    pub(crate) fn value(&mut self) -> Result<Option<Value<'a>>, Cause> {
        if self.is_empty() {
            return Ok(None);
        }
        self.value_at(0).map(Some)
    }

    /// The next value as a string; an error if it is none.
    pub(crate) fn text(&mut self) -> Result<&'a str, Cause> {
        self.value()?.and_then(|value| value.as_str()).ok_or(Cause::Amf0)
    }

    fn value_at(&mut self, depth: u32) -> Result<Value<'a>, Cause> {
        self.budget.take(depth)?;
        let marker = self.fields.u8().ok_or(Cause::Amf0)?;
        self.body(marker, depth)
    }

    fn body(&mut self, marker: u8, depth: u32) -> Result<Value<'a>, Cause> {
        match marker {
            NUMBER => self.fields.f64().map(Value::Number).ok_or(Cause::Amf0),
            BOOLEAN => self.boolean(),
            STRING => self.short_text().map(Value::Text),
            LONG_STRING | XML_DOCUMENT => {
                let length = self.fields.u32().and_then(|length| usize::try_from(length).ok()).ok_or(Cause::Amf0)?;
                let bytes = self.fields.take(length).ok_or(Cause::Amf0)?;
                Ok(if marker == LONG_STRING { Value::Text(bytes) } else { Value::Other })
            }
            OBJECT => self.object(depth),
            TYPED_OBJECT => {
                self.short_text()?;
                self.object(depth)
            }
            // The count is a hint and often wrong: members run to the end marker.
            ECMA_ARRAY => {
                self.fields.u32().ok_or(Cause::Amf0)?;
                self.object(depth)
            }
            STRICT_ARRAY => {
                let count = self.fields.u32().ok_or(Cause::Amf0)?;
                let start = self.fields.rest();
                for _ in 0..count {
                    self.value_at(depth + 1)?;
                }
                let length = start.len() - self.fields.rest().len();
                Ok(Value::Array(Array(start.get(..length).unwrap_or(&[]))))
            }
            AVMPLUS => crate::amf3::value(&mut self.fields, &mut self.budget, depth),
            DATE => self.date(),
            REFERENCE => self.fields.take(2).map(|_| Value::Other).ok_or(Cause::Amf0),
            NULL | UNDEFINED | UNSUPPORTED => Ok(Value::Null),
            _ => Err(Cause::Amf0),
        }
    }

    fn boolean(&mut self) -> Result<Value<'a>, Cause> {
        let value = self.fields.u8().ok_or(Cause::Amf0)?;
        Ok(boolean(value))
    }

    /// Milliseconds, then a time zone that the specification wants to be zero (§2.13).
    fn date(&mut self) -> Result<Value<'a>, Cause> {
        let unix_millis = self.fields.f64().ok_or(Cause::Amf0)?;
        self.fields.take(2).ok_or(Cause::Amf0)?;
        Ok(date(unix_millis))
    }

    fn short_text(&mut self) -> Result<&'a [u8], Cause> {
        let length = self.fields.u16().ok_or(Cause::Amf0)?;
        self.fields.take(usize::from(length)).ok_or(Cause::Amf0)
    }

    fn object(&mut self, depth: u32) -> Result<Value<'a>, Cause> {
        let start = self.fields.rest();
        while self.member_at(depth + 1)?.is_some() {}
        let length = start.len() - self.fields.rest().len();
        Ok(Value::Object(Object(start.get(..length).unwrap_or(&[]))))
    }

    fn member(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, Cause> {
        self.member_at(1)
    }

    /// The next member; `None` at the end marker, or where the message ends without one, as some encoders' metadata does.
    fn member_at(&mut self, depth: u32) -> Result<Option<(&'a [u8], Value<'a>)>, Cause> {
        if self.is_empty() {
            return Ok(None);
        }
        let name = self.short_text()?;
        if name.is_empty() && self.fields.rest().first() == Some(&OBJECT_END) {
            self.fields.take(1);
            return Ok(None);
        }
        Ok(Some((name, self.value_at(depth)?)))
    }
}

/// Writes values one after another into a slice.
#[derive(Debug)]
pub(crate) struct Encoder<'a>(Writer<'a>);

impl<'a> Encoder<'a> {
    pub(crate) const fn new(out: &'a mut [u8]) -> Self {
        Self(Writer::new(out))
    }

    pub(crate) fn number(&mut self, value: f64) -> &mut Self {
        self.0.put(&[NUMBER]);
        self.0.put(&value.to_be_bytes());
        self
    }

    pub(crate) fn boolean(&mut self, value: bool) -> &mut Self {
        self.0.put(&[BOOLEAN, u8::from(value)]);
        self
    }

    pub(crate) fn null(&mut self) -> &mut Self {
        self.0.put(&[NULL]);
        self
    }

    /// A string; a long string past 65,535 bytes.
    pub(crate) fn text(&mut self, value: &str) -> &mut Self {
        if let Ok(length) = u16::try_from(value.len()) {
            self.0.put(&[STRING]);
            self.0.put(&length.to_be_bytes());
        } else {
            self.0.put(&[LONG_STRING]);
            self.0.put(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        }
        self.0.put(value.as_bytes());
        self
    }

    pub(crate) fn object(&mut self) -> &mut Self {
        self.0.put(&[OBJECT]);
        self
    }

    pub(crate) fn ecma_array(&mut self, count: u32) -> &mut Self {
        self.0.put(&[ECMA_ARRAY]);
        self.0.put(&count.to_be_bytes());
        self
    }

    /// A member's name; its value follows. Names are ours, so short.
    pub(crate) fn key(&mut self, name: &'static str) -> &mut Self {
        self.0.put(&u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
        self.0.put(name.as_bytes());
        self
    }

    /// A member whose name is not ours: a FourCC.
    #[cfg(any(feature = "server", test))]
    pub(crate) fn key_bytes(&mut self, name: [u8; 4]) -> &mut Self {
        self.0.put(&[0, 4]);
        self.0.put(&name);
        self
    }

    /// Ends an object or ECMA array.
    pub(crate) fn end(&mut self) -> &mut Self {
        self.0.put(&END);
        self
    }

    /// Bytes written; `None` when they did not fit.
    pub(crate) const fn finish(self) -> Option<usize> {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// `{ app: "live", n: 1, ok: true, nothing: null }` after a string and a number.
    const TABLE: &[u8] = b"\x02\x00\x07connect\x00\x3f\xf0\0\0\0\0\0\0\x03\x00\x03app\x02\x00\x04live\x00\x01n\x00\x3f\xf0\0\0\0\0\0\0\x00\x02ok\x01\x01\x00\x07nothing\x05\0\0\x09";

    #[test]
    fn the_table_reads_and_writes() {
        let mut decoder = Decoder::new(TABLE);
        assert_eq!(decoder.text(), Ok("connect"));
        assert_eq!(decoder.value().unwrap().unwrap().as_number(), Some(1.0));
        let Some(Value::Object(object)) = decoder.value().unwrap() else { panic!("no object") };
        assert_eq!(object.text("app"), Some("live"));
        assert_eq!(object.get("n").and_then(|value| value.as_number()), Some(1.0));
        assert!(object.get("missing").is_none() && decoder.is_empty());

        let mut out = [0; 128];
        let mut encoder = Encoder::new(&mut out);
        encoder.text("connect").number(1.0).object().key("app").text("live").key("n").number(1.0);
        encoder.key("ok").boolean(true).key("nothing").null().end();
        let length = encoder.finish().unwrap();
        assert_eq!(&out[..length], TABLE);
        let mut small = [0; 3];
        let mut encoder = Encoder::new(&mut small);
        encoder.text("long");
        assert_eq!(encoder.finish(), None);
    }

    #[test]
    fn every_other_type_is_read_past() {
        // Strict array of a date and a reference, XML, typed object, undefined, long string.
        let bytes = [
            &[STRICT_ARRAY, 0, 0, 0, 2, DATE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, REFERENCE, 0, 1][..],
            &[XML_DOCUMENT, 0, 0, 0, 1, b'x', TYPED_OBJECT, 0, 1, b'T', 0, 0, OBJECT_END, UNDEFINED],
            &[LONG_STRING, 0, 0, 0, 2, b'o', b'k'],
        ]
        .concat();
        let mut decoder = Decoder::new(&bytes);
        for _ in 0..4 {
            decoder.value().unwrap().unwrap();
        }
        assert_eq!(decoder.text(), Ok("ok"));
    }

    #[test]
    fn an_ecma_array_with_a_wrong_count_and_no_end_marker_is_read() {
        let bytes = b"\x08\xff\xff\xff\xff\x00\x01w\x00\x40\x94\0\0\0\0\0\0";
        let Some(Value::Object(object)) = Decoder::new(bytes).value().unwrap() else { panic!("no object") };
        assert_eq!(object.get("w").and_then(|value| value.as_number()), Some(1280.0));
    }

    #[test]
    fn depth_and_elements_have_limits() {
        let nested = |depth: usize| [OBJECT, 0, 1, b'a'].repeat(depth);
        assert!(Decoder::new(&[nested(16), vec![NULL]].concat()).value().is_ok());
        assert!(Decoder::new(&[nested(17), vec![NULL]].concat()).value().is_err());
        let many = [vec![STRICT_ARRAY, 0xff, 0xff, 0xff, 0xff], vec![NULL; 5000]].concat();
        assert!(Decoder::new(&many).value().is_err());
        let deep: Vec<u8> = [STRICT_ARRAY, 0, 0, 0, 1].repeat(100_000);
        assert!(Decoder::new(&deep).value().is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut decoder = Decoder::new(&bytes);
            while let Ok(Some(value)) = decoder.value() {
                if let Value::Object(object) = value {
                    let _ = object.get("a");
                }
            }
        }

        #[test]
        fn markers_at_random_are_read_without_a_panic(bytes in proptest::collection::vec(0_u8..0x13, 0..200)) {
            let mut decoder = Decoder::new(&bytes);
            while let Ok(Some(_)) = decoder.value() {}
        }
    }
}

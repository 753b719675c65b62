//! AMF3 (Adobe, "Action Message Format – AMF 3"), as far as RTMP needs it: behind AMF0's marker 0x11 one value follows, which is
//! measured and read past. Numbers and strings that stand there are given; strings by reference are not kept, so they read as nothing.

use crate::amf0::{Budget, Value};
use crate::error::Cause;
use crate::wire::Fields;

/// Classes that one value may define and refer to again.
const TRAITS_MAX: usize = 16;

/// What is known of a class.
#[derive(Clone, Copy, Debug)]
struct Traits {
    sealed: u32,
    is_dynamic: bool,
}

/// Reads one value. The tables of references begin anew with each: the switch to AMF3 is not sticky.
pub(crate) fn value<'a>(fields: &mut Fields<'a>, budget: &mut Budget, depth: u32) -> Result<Value<'a>, Cause> {
    Reader { fields, budget, traits: heapless::Vec::new() }.value(depth)
}

struct Reader<'r, 'a> {
    fields: &'r mut Fields<'a>,
    budget: &'r mut Budget,
    traits: heapless::Vec<Traits, TRAITS_MAX>,
}

impl<'a> Reader<'_, 'a> {
    fn value(&mut self, depth: u32) -> Result<Value<'a>, Cause> {
        self.budget.take(depth)?;
        let marker = self.fields.u8().ok_or(Cause::Amf0)?;
        match marker {
            // Undefined, null.
            0 | 1 => return Ok(Value::Null),
            // False, true.
            2 | 3 => {}
            4 => return self.u29().map(|bits| Value::Number(f64::from((bits << 3).cast_signed() >> 3))),
            5 => return self.fields.f64().map(Value::Number).ok_or(Cause::Amf0),
            6 => return Ok(self.blob()?.map_or(Value::Null, Value::Text)),
            // XML document, XML, byte array.
            7 | 0x0b | 0x0c => {
                self.blob()?;
            }
            // Date.
            8 => {
                if self.own()?.is_some() {
                    self.fields.f64().ok_or(Cause::Amf0)?;
                }
            }
            9 => self.array(depth)?,
            0x0a => self.object(depth)?,
            // Vectors of int, uint, double.
            0x0d..=0x0f => self.numbers(if marker == 0x0f { 8 } else { 4 })?,
            0x10 => {
                if let Some(count) = self.own()? {
                    self.fields.u8().ok_or(Cause::Amf0)?;
                    self.blob()?;
                    self.values(count, depth)?;
                }
            }
            // Dictionary: keys are values too.
            0x11 => {
                if let Some(count) = self.own()? {
                    self.fields.u8().ok_or(Cause::Amf0)?;
                    self.values(count.saturating_mul(2), depth)?;
                }
            }
            _ => return Err(Cause::Amf0),
        }
        Ok(Value::Other)
    }

    /// `U29` (§1.3.1): seven bits a byte, eight in the fourth.
    fn u29(&mut self) -> Result<u32, Cause> {
        let mut value = 0;
        for at in 0..4 {
            let byte = u32::from(self.fields.u8().ok_or(Cause::Amf0)?);
            if at == 3 {
                return Ok((value << 8) | byte);
            }
            value = (value << 7) | (byte & 0x7f);
            if byte & 0x80 == 0 {
                break;
            }
        }
        Ok(value)
    }

    /// The number of a value that is not a reference.
    fn own(&mut self) -> Result<Option<u32>, Cause> {
        let bits = self.u29()?;
        Ok((bits & 1 == 1).then_some(bits >> 1))
    }

    /// A string or its like; `None` for a reference.
    fn blob(&mut self) -> Result<Option<&'a [u8]>, Cause> {
        let Some(length) = self.own()? else { return Ok(None) };
        let length = usize::try_from(length).map_err(|_| Cause::Amf0)?;
        self.fields.take(length).map(Some).ok_or(Cause::Amf0)
    }

    fn values(&mut self, count: u32, depth: u32) -> Result<(), Cause> {
        for _ in 0..count {
            self.value(depth + 1)?;
        }
        Ok(())
    }

    fn numbers(&mut self, bytes: u32) -> Result<(), Cause> {
        if let Some(count) = self.own()? {
            self.fields.u8().ok_or(Cause::Amf0)?;
            let length = count.checked_mul(bytes).and_then(|length| usize::try_from(length).ok()).ok_or(Cause::Amf0)?;
            self.fields.take(length).ok_or(Cause::Amf0)?;
        }
        Ok(())
    }

    /// Names and values up to the empty name.
    fn members(&mut self, depth: u32) -> Result<(), Cause> {
        loop {
            if self.blob()?.is_some_and(<[u8]>::is_empty) {
                return Ok(());
            }
            self.value(depth + 1)?;
        }
    }

    fn array(&mut self, depth: u32) -> Result<(), Cause> {
        if let Some(count) = self.own()? {
            self.members(depth)?;
            self.values(count, depth)?;
        }
        Ok(())
    }

    fn object(&mut self, depth: u32) -> Result<(), Cause> {
        let Some(bits) = self.own()? else { return Ok(()) };
        let traits = if bits & 1 == 0 {
            let index = usize::try_from(bits >> 1).map_err(|_| Cause::Amf0)?;
            *self.traits.get(index).ok_or(Cause::Amf0)?
        } else {
            // An object that writes itself has a form that only its class knows.
            if bits & 2 != 0 {
                return Err(Cause::Amf0);
            }
            let traits = Traits { sealed: bits >> 3, is_dynamic: bits & 4 != 0 };
            self.traits.push(traits).map_err(|_| Cause::Amf0)?;
            self.blob()?;
            for _ in 0..traits.sealed {
                self.budget.take(depth)?;
                self.blob()?;
            }
            traits
        };
        self.values(traits.sealed, depth)?;
        if traits.is_dynamic { self.members(depth) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use crate::amf0::{Decoder, Value};
    use std::vec::Vec;

    /// AMF0's marker, the value, and an AMF0 string behind it, which is read as AMF0 again.
    fn framed(amf3: &[u8]) -> Vec<u8> {
        [&[0x11], amf3, b"\x02\x00\x02ok"].concat()
    }

    fn read(bytes: &[u8]) -> Value<'_> {
        let mut decoder = Decoder::new(bytes);
        let value = decoder.value().unwrap().unwrap();
        assert_eq!(decoder.text(), Ok("ok"), "{bytes:02x?}");
        value
    }

    #[test]
    fn each_type_is_measured_and_the_switch_is_not_sticky() {
        for (bytes, number) in
            [(&[4, 5][..], 5.0), (&[4, 0x81, 0x00], 128.0), (&[4, 0xff, 0xff, 0xff, 0xff], -1.0), (&[5, 0x40, 0x14, 0, 0, 0, 0, 0, 0], 5.0)]
        {
            assert_eq!(read(&framed(bytes)).as_number(), Some(number));
        }
        assert_eq!(read(&framed(b"\x06\x09live")).as_str(), Some("live"));
        for bytes in [
            &b"\x00"[..],
            b"\x01",
            b"\x02",
            b"\x03",
            b"\x06\x02",
            b"\x07\x03a",
            b"\x08\x01\0\0\0\0\0\0\0\0",
            b"\x08\x02",
            b"\x09\x05\x03a\x04\x01\x01\x01\x03",
            // An anonymous dynamic object { a: 1 }; two objects of one class with a sealed member.
            b"\x0a\x0b\x01\x03a\x04\x01\x01",
            b"\x09\x05\x01\x0a\x13\x03T\x03m\x04\x01\x0a\x01\x04\x02",
            b"\x0b\x03a",
            b"\x0c\x05ab",
            b"\x0d\x03\0\0\0\0\x01",
            b"\x0f\x03\0\0\0\0\0\0\0\0\0",
            b"\x10\x03\0\x01\x01",
            b"\x11\x03\0\x04\x01\x03",
        ] {
            read(&framed(bytes));
        }
    }

    #[test]
    fn what_can_t_be_measured_or_has_no_end_is_refused() {
        let deep: Vec<u8> = [&[0x11_u8][..], &[9, 3, 1].repeat(1000)].concat();
        let many = [&[0x11, 9, 0xbf, 0xff, 0xff, 0xff, 1][..], &[1; 5000]].concat();
        for bytes in [&b"\x11\x0a\x07"[..], b"\x11\x0a\x05", b"\x11\x12", b"\x11\x06\x7f", b"\x11\x0f\xff\xff\xff\xff\0", &deep, &many] {
            assert!(Decoder::new(bytes).value().is_err(), "{bytes:02x?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let bytes = [&[0x11_u8][..], &bytes].concat();
            let mut decoder = Decoder::new(&bytes);
            while let Ok(Some(_)) = decoder.value() {}
        }
    }
}

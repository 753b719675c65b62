//! JSON into and out of slices, without an allocator.

use core::fmt;
use serde::{Deserialize, Serialize, de::DeserializeSeed};

/// The longest string with escapes that [`read`] takes, in bytes.
pub const ESCAPED_BYTES_MAX: usize = 512;

/// Why JSON was not read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// It is no JSON, or a field has another type, is missing, or is too long.
    Malformed,
    /// The buffer is too small.
    Full,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not the JSON that was expected",
            Self::Full => "the buffer is too small for the JSON",
        })
    }
}

impl core::error::Error for Error {}

/// Reads a message; white space may follow it.
///
/// # Errors
/// [`Error::Malformed`].
pub fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Error> {
    // Unescaped strings pass through `scratch` on their way into their fields.
    let mut scratch = [0; ESCAPED_BYTES_MAX];
    serde_json_core::from_slice_escaped(bytes, &mut scratch).map(|(value, _)| value).map_err(|_| Error::Malformed)
}

/// Reads a message to where its reader keeps it; white space may follow it.
pub(crate) fn read_to<'a, S: DeserializeSeed<'a>>(seed: S, bytes: &'a [u8]) -> Result<S::Value, Error> {
    let mut scratch = [0; ESCAPED_BYTES_MAX];
    let mut input = serde_json_core::de::Deserializer::new(bytes, Some(&mut scratch));
    let value = seed.deserialize(&mut input).map_err(|_| Error::Malformed)?;
    input.end().map(|_| value).map_err(|_| Error::Malformed)
}

/// Writes a message and returns its length in bytes.
///
/// # Errors
/// [`Error::Full`] when `out` is too small.
pub fn write<T: Serialize + ?Sized>(message: &T, out: &mut [u8]) -> Result<usize, Error> {
    serde_json_core::to_slice(message, out).map_err(|_| Error::Full)
}

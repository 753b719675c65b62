//! The name that a device publishes under on a server by hand, where its file gives none: random, and kept (specification §1.4).

use crate::config::Problem;
use rustls::crypto::aws_lc_rs;
use sightline_signal::Text;
use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// In `state_dir`.
const FILE: &str = "stream-key";
/// Characters of a new key: 80 bits, which nobody guesses.
const CHARACTERS: usize = 16;
/// Digits and letters that no one takes for another, 32 of them.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// The kept key, or a new one.
pub(crate) fn own<const MAX: usize>(state_dir: Option<&Path>) -> Result<Text<MAX>, Problem> {
    let key = match state_dir {
        Some(dir) => kept(dir).map_err(|error| Problem { key: "state_dir", problem: format!("{}: {error}", dir.join(FILE).display()) })?,
        None => {
            tracing::warn!("stream.stream_key is empty, and so is state_dir: this device publishes under another name at each start");
            random().map_err(|error| Problem { key: "stream.stream_key", problem: error.to_string() })?
        }
    };
    Text::try_from(key.as_str()).map_err(|_| Problem { key: "stream.stream_key", problem: "the kept one is too long".to_owned() })
}

fn kept(dir: &Path) -> io::Result<String> {
    let file = dir.join(FILE);
    match fs::read_to_string(&file) {
        Ok(key) if !key.trim().is_empty() => return Ok(key.trim().to_owned()),
        // A full disk has emptied it.
        Ok(_) => fs::remove_file(&file)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(dir)?;
    let key = random()?;
    let mut new = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file)?;
    new.write_all(format!("{key}\n").as_bytes())?;
    new.sync_all()?;
    tracing::info!(file = %file.display(), "this device has made itself a name to publish under; the file holds it");
    Ok(key)
}

fn random() -> io::Result<String> {
    let mut bytes = [0; CHARACTERS];
    aws_lc_rs::default_provider().secure_random.fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_makes_its_key_once_and_keeps_it_to_itself() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("state");
        let first = own::<512>(Some(&dir)).unwrap();
        assert_eq!((first.len(), own::<512>(Some(&dir)).unwrap() == first), (CHARACTERS, true));
        assert_eq!(fs::metadata(dir.join(FILE)).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(own::<512>(None).unwrap(), first);
        fs::write(dir.join(FILE), "").unwrap();
        assert_eq!(own::<512>(Some(&dir)).unwrap().len(), CHARACTERS);
    }
}

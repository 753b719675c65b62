//! The operators' certificates that are accepted: a list of names and serial numbers in the data directory. A certificate of our authority
//! that is not on it, or that was taken off it, opens nothing.
//!
//! `operator.pem` is the first one. Any process may change the list; the running cloud looks at the file once a second.

use super::authority::{Authority, OPERATOR, Subject, serial_of};
use crate::{
    clock::Clock,
    data_dir::{DataDir, DataDirError, MODE_SECRET, read, write},
};
use serde::{Deserialize, Serialize};
use sightline_signal::DeviceId;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How often the file is looked at: a revocation counts within seconds.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// One certificate of an operator. Times are seconds since 1970.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OperatorCertificate {
    /// Whose it is.
    pub name: String,
    /// Its serial number, in hexadecimal.
    pub serial: String,
    /// Since when it is on the list.
    pub added_at: i64,
    /// When it was taken off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<i64>,
}

/// Where a new operator's files are. Only their owner can read them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AddedOperator {
    /// Its name.
    pub name: String,
    /// Its certificate.
    pub pem: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that it checks the cloud with.
    pub ca: PathBuf,
}

/// Why an operator is not added or revoked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// There is such an operator already.
    #[error("operator {0} has a certificate already; `sightline operator revoke {0}` ends it")]
    Exists(String),
    /// There is no such operator.
    #[error("there is no operator {0} whose certificate is accepted; `sightline operator list` shows all of them")]
    Unknown(String),
    /// The name is no name.
    #[error("{0:?} is no name for an operator: take 1 to 64 of A-Z a-z 0-9 _ -")]
    BadName(String),
    /// A file failed.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
}

/// The list. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct OperatorCertificates {
    dir: DataDir,
    clock: Clock,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    list: Vec<OperatorCertificate>,
    /// The file's time and length when it was read.
    file: Option<(SystemTime, u64)>,
    looked_at: Option<Instant>,
}

impl OperatorCertificates {
    /// Reads the list. Where there is none, the certificate of `operator.pem` begins it.
    ///
    /// Where `operator.pem` was made anew, because it was removed or came near its end, it takes the place of the one before.
    pub(crate) fn open(dir: &DataDir, clock: Clock) -> Result<Self, DataDirError> {
        let list = Self { dir: dir.clone(), clock, state: Arc::default() };
        list.read(&mut list.state())?;
        let serial = serial_of(&dir.file("operator.pem")).unwrap_or_default();
        let is_known = list.state().list.iter().any(|certificate| certificate.serial == serial);
        if !is_known && !serial.is_empty() {
            list.replace(OPERATOR, serial)?;
        }
        Ok(list)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path(&self) -> PathBuf {
        self.dir.file("operators.json")
    }

    fn read(&self, state: &mut State) -> Result<(), DataDirError> {
        let path = self.path();
        let Ok(metadata) = path.metadata() else {
            // Removed, or not made yet: the last list that was read holds.
            return Ok(());
        };
        let file = metadata.modified().ok().map(|modified| (modified, metadata.len()));
        if file.is_some() && file == state.file {
            return Ok(());
        }
        let reason = |error: serde_json::Error| {
            let reason = format!("{error}; mend the list, or remove it: then operator.pem alone is accepted after a restart");
            DataDirError::Certificate { path: path.clone(), reason }
        };
        state.list = serde_json::from_str(&read(&path)?).map_err(reason)?;
        state.file = file;
        Ok(())
    }

    fn write(&self, state: &mut State) -> Result<(), DataDirError> {
        let text = serde_json::to_string_pretty(&state.list).unwrap_or_default();
        write(&self.path(), &text, MODE_SECRET)?;
        state.file = None;
        Ok(())
    }

    /// Puts a certificate on the list in place of all others of that name.
    fn replace(&self, name: &str, serial: String) -> Result<(), DataDirError> {
        let mut state = self.state();
        self.read(&mut state)?;
        let now = self.clock.unix_secs();
        for older in state.list.iter_mut().filter(|certificate| certificate.name == name && certificate.revoked_at.is_none()) {
            tracing::warn!(name, serial = older.serial, "an operator's certificate was replaced, and is not accepted any more");
            older.revoked_at = Some(now);
        }
        state.list.push(OperatorCertificate { name: name.to_owned(), serial, added_at: now, revoked_at: None });
        self.write(&mut state)
    }

    /// Whether a certificate of an operator is accepted now. Others are none of this list's.
    pub(crate) fn takes(&self, subject: &Subject) -> bool {
        let Subject::Operator { name, serial } = subject else { return true };
        let mut state = self.state();
        let now = self.clock.now();
        if state.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= LOOK_INTERVAL) {
            state.looked_at = Some(now);
            if let Err(error) = self.read(&mut state) {
                tracing::warn!(%error, "the list of operators can't be read; the one before holds");
            }
        }
        let is_it = |certificate: &OperatorCertificate| certificate.serial == *serial && certificate.name == *name;
        state.list.iter().any(|certificate| is_it(certificate) && certificate.revoked_at.is_none())
    }

    /// All of them, those that were taken off too.
    pub(crate) fn all(&self) -> Vec<OperatorCertificate> {
        self.state().list.clone()
    }

    /// Makes a certificate for an operator who has none.
    pub(crate) fn add(&self, authority: &Authority, name: &str) -> Result<AddedOperator, OperatorError> {
        if DeviceId::new(name).is_err() {
            return Err(OperatorError::BadName(name.to_owned()));
        }
        if self.all().iter().any(|certificate| certificate.name == name && certificate.revoked_at.is_none()) {
            return Err(OperatorError::Exists(name.to_owned()));
        }
        let (pem, key) = authority.issue_operator(name)?;
        let serial = serial_of(&pem).ok_or_else(|| DataDirError::certificate(&pem, &"it can't be read back"))?;
        self.replace(name, serial)?;
        Ok(AddedOperator { name: name.to_owned(), pem, key, ca: self.dir.file("ca.pem") })
    }

    /// Takes an operator's certificate off the list.
    pub(crate) fn revoke(&self, name: &str) -> Result<(), OperatorError> {
        let mut state = self.state();
        self.read(&mut state)?;
        let now = self.clock.unix_secs();
        let mut own = state.list.iter_mut().filter(|certificate| certificate.name == name && certificate.revoked_at.is_none()).peekable();
        if own.peek().is_none() {
            return Err(OperatorError::Unknown(name.to_owned()));
        }
        own.for_each(|certificate| certificate.revoked_at = Some(now));
        Ok(self.write(&mut state)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::authority::shown;
    use rustls_pki_types::{CertificateDer, pem::PemObject as _};

    fn subject(path: PathBuf) -> Subject {
        shown(&CertificateDer::from_pem_file(path).unwrap()).unwrap().subject
    }

    #[test]
    fn a_leaked_certificate_of_an_operator_is_refused_once_it_was_replaced_or_revoked() {
        let home = tempfile::tempdir().unwrap();
        let (dir, clock) = (DataDir::open(home.path()).unwrap(), Clock::default());
        let authority = Authority::open(&dir, clock.clone()).unwrap();
        let start = || {
            authority.ensure_operator().unwrap();
            OperatorCertificates::open(&dir, clock.clone()).unwrap()
        };
        let list = start();
        let leaked = subject(dir.file("operator.pem"));
        assert!(list.takes(&leaked));
        // Another process adds one; two at a time are fine.
        let ann = start().add(&authority, "ann").unwrap();
        clock.advance(LOOK_INTERVAL);
        assert!(list.takes(&subject(ann.pem.clone())) && list.takes(&leaked));
        assert!(matches!(start().add(&authority, "ann"), Err(OperatorError::Exists(_))));
        assert!(matches!(start().add(&authority, "../ann"), Err(OperatorError::BadName(_))));
        // The first one is replaced by removing its files, as it always was.
        std::fs::remove_file(dir.file("operator.pem")).unwrap();
        std::fs::remove_file(dir.file("operator.key")).unwrap();
        let list = start();
        assert!(!list.takes(&leaked) && list.takes(&subject(dir.file("operator.pem"))) && list.takes(&subject(ann.pem.clone())));
        // And one is revoked while the cloud runs; a start does not bring it back.
        start().revoke("operator").unwrap();
        start().revoke("ann").unwrap();
        clock.advance(LOOK_INTERVAL);
        assert!(!list.takes(&subject(dir.file("operator.pem"))) && !list.takes(&subject(ann.pem.clone())));
        assert!(!start().takes(&subject(dir.file("operator.pem"))));
        assert!(matches!(list.revoke("ann"), Err(OperatorError::Unknown(_))));
        // A name that had one may have another.
        let again = start().add(&authority, "ann").unwrap();
        assert!(start().takes(&subject(again.pem)) && list.all().len() == 3);
    }
}

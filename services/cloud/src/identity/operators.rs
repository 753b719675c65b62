//! Who may use the operator's API.

use super::{authority::Subject, operator_certificates::OperatorCertificates};
use crate::{
    config::Config,
    data_dir::{DataDir, DataDirError, read_or_make_secret},
    secrets::{is_secret, sha256},
};
use std::path::PathBuf;

/// The operator's token, and whether it is always asked for.
#[derive(Clone, Debug)]
pub(crate) struct Operators {
    token: OperatorToken,
    /// Who is plainly on this machine needs no token.
    is_open_here: bool,
    /// Also where there are users.
    stays_open_here: bool,
    certificates: OperatorCertificates,
}

#[derive(Clone, Debug)]
struct OperatorToken {
    sha256: [u8; 32],
    path: PathBuf,
}

/// What a request's token gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TokenCheck {
    Right,
    Wrong,
    Missing,
}

impl Operators {
    /// There is always a token: a proxy before the port brings others to an API that is open to this machine.
    pub(crate) fn open(config: &Config, dir: &DataDir, certificates: OperatorCertificates) -> Result<Self, DataDirError> {
        let path = config.api.operator_token_file.clone();
        let is_open_here = path.is_none() && config.http.listen.ip().is_loopback();
        let path = path.unwrap_or_else(|| dir.file("operator.token"));
        let token = read_or_make_secret(&path)?;
        Ok(Self {
            token: OperatorToken { sha256: sha256(token.reveal()), path },
            is_open_here,
            stays_open_here: config.api.open_here,
            certificates,
        })
    }

    /// Checks the token that a request shows.
    pub(crate) fn check(&self, shown: Option<&str>) -> TokenCheck {
        match shown {
            None => TokenCheck::Missing,
            Some(_) if is_secret(shown, &self.token.sha256) => TokenCheck::Right,
            Some(_) => TokenCheck::Wrong,
        }
    }

    /// Whether a certificate is an operator's that is accepted.
    pub(crate) fn takes(&self, subject: &Subject) -> bool {
        matches!(subject, Subject::Operator { .. }) && self.certificates.takes(subject)
    }

    /// Whether the API is open to who is plainly on this machine.
    pub(crate) fn is_open_here(&self) -> bool {
        self.is_open_here
    }

    /// Whether that holds with users, too.
    pub(crate) fn stays_open_here(&self) -> bool {
        self.stays_open_here
    }

    /// The token's file, where everyone is asked for it.
    pub(crate) fn token_path(&self) -> Option<PathBuf> {
        (!self.is_open_here).then(|| self.token.path.clone())
    }
}

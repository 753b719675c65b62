//! Who may use the operator's API.

use crate::{
    config::Config,
    data_dir::{DataDir, DataDirError, read_or_make_secret},
    secrets::{is_secret, sha256},
};
use std::path::PathBuf;

/// The operator's token, where one is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Operators {
    /// `None`: the API is open to this machine.
    token: Option<OperatorToken>,
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
    /// The API asks for none, and is open to this machine only.
    NotNeeded,
}

impl Operators {
    /// A token is needed where one is configured, and where other machines reach the API.
    pub(crate) fn open(config: &Config, dir: &DataDir) -> Result<Self, DataDirError> {
        let path = match &config.api.operator_token_file {
            Some(path) => Some(path.clone()),
            None => (!config.http.listen.ip().is_loopback()).then(|| dir.file("operator.token")),
        };
        let token = |path: PathBuf| read_or_make_secret(&path).map(|token| OperatorToken { sha256: sha256(token.reveal()), path });
        Ok(Self { token: path.map(token).transpose()? })
    }

    /// Checks the token that a request shows.
    pub(crate) fn check(&self, shown: Option<&str>) -> TokenCheck {
        match &self.token {
            None => TokenCheck::NotNeeded,
            Some(token) if is_secret(shown, &token.sha256) => TokenCheck::Right,
            Some(_) => TokenCheck::Wrong,
        }
    }

    /// The token's file.
    pub(crate) fn token_path(&self) -> Option<PathBuf> {
        self.token.as_ref().map(|token| token.path.clone())
    }
}

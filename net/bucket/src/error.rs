//! What goes wrong with a store, in words that say what to do.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;

/// Why a bucket did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// Nobody answers.
    #[error("{place}: the store does not answer: {cause}; see whether it runs, and whether store.endpoint and store.ca are its own")]
    Away {
        /// Which bucket.
        place: String,
        /// What was seen.
        cause: String,
    },
    /// The key's name or the key is wrong.
    #[error("{place}: the store does not know the key ({code}); set store.access_key and store.secret_key to a pair of its own")]
    Key {
        /// Which bucket.
        place: String,
        /// The store's word.
        code: String,
    },
    /// The key may not do this.
    #[error(
        "{place}: the key may not {action} ({code}); allow it s3:PutObject, s3:GetObject, s3:DeleteObject, s3:AbortMultipartUpload and s3:ListBucket"
    )]
    Denied {
        /// Which bucket.
        place: String,
        /// What was tried.
        action: &'static str,
        /// The store's word.
        code: String,
    },
    /// There is no such bucket.
    #[error("{place}: the store has no such bucket; create it, or correct store.url")]
    Bucket {
        /// Which.
        place: String,
    },
    /// The store's clock differs from this machine's.
    #[error(
        "{place}: the store finds this machine's clock wrong; set the clock, as by NTP: stores take requests of 15 minutes around their own time"
    )]
    Clock {
        /// Which bucket.
        place: String,
    },
    /// The store answers that it can't, now.
    #[error("{place}: the store refuses to {action}: {cause}; it is tried again")]
    Refused {
        /// Which bucket.
        place: String,
        /// What was tried.
        action: &'static str,
        /// What it answered.
        cause: String,
    },
    /// What is asked for is not there.
    #[error("{place}: there is no {name}")]
    Missing {
        /// Which bucket.
        place: String,
        /// What was asked for.
        name: String,
    },
    /// What the store has is not what was sent.
    #[error("{place}: {name} is not what was sent: {difference}; it is sent again")]
    Differs {
        /// Which bucket.
        place: String,
        /// Of what.
        name: String,
        /// In what.
        difference: String,
    },
    /// A local file can't be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The address is none of a bucket.
    #[error("store.url is s3://BUCKET or s3://BUCKET/PREFIX: {cause}")]
    Address {
        /// What is wrong.
        cause: String,
    },
}

/// Why, as metrics name it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Nobody answers.
    Away,
    /// Wrong key, or it may not.
    Key,
    /// There is no such bucket.
    Bucket,
    /// Clocks differ.
    Clock,
    /// The store can't, now.
    Refused,
    /// What arrived is not what was sent.
    Differs,
    /// The local file.
    File,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Self; 7] = [Self::Away, Self::Key, Self::Bucket, Self::Clock, Self::Refused, Self::Differs, Self::File];

    /// As metrics name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Key => "key",
            Self::Bucket => "bucket",
            Self::Clock => "clock",
            Self::Refused => "refused",
            Self::Differs => "differs",
            Self::File => "file",
        }
    }
}

impl BucketError {
    /// As metrics name it.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Away { .. } => Reason::Away,
            Self::Key { .. } | Self::Denied { .. } => Reason::Key,
            Self::Bucket { .. } | Self::Address { .. } => Reason::Bucket,
            Self::Clock { .. } => Reason::Clock,
            Self::Refused { .. } | Self::Missing { .. } => Reason::Refused,
            Self::Differs { .. } => Reason::Differs,
            Self::File { .. } => Reason::File,
        }
    }

    /// From what the library says, which has the store's answer in it.
    pub(crate) fn of(place: &str, action: &'static str, name: &str, error: &object_store::Error) -> Self {
        let place = place.to_owned();
        let (mut chain, mut cause) = (error.to_string(), error.to_string());
        let mut source = error.source();
        while let Some(error) = source {
            cause = error.to_string();
            chain.push_str(&cause);
            source = error.source();
        }
        // Where there is an answer, it has a code, or a status alone (HEAD has no body).
        let code = code(&chain).unwrap_or_default().to_owned();
        match code.as_str() {
            "NoSuchBucket" => return Self::Bucket { place },
            "RequestTimeTooSkewed" | "RequestExpired" => return Self::Clock { place },
            "SignatureDoesNotMatch" | "InvalidAccessKeyId" | "InvalidToken" | "ExpiredToken" | "NotSignedUp" => {
                return Self::Key { place, code };
            }
            _ => {}
        }
        let is_status = |status: &str| chain.contains(&format!("status code: {status}"));
        if matches!(error, object_store::Error::NotFound { .. }) {
            return Self::Missing { place, name: name.to_owned() };
        }
        if is_status("403") || is_status("401") {
            return Self::Denied { place, action, code: if code.is_empty() { "403".to_owned() } else { code } };
        }
        if !code.is_empty() || chain.contains("status code: ") || chain.contains("error response") {
            let cause = if code.is_empty() { cause } else { code };
            return Self::Refused { place, action, cause: shortened(&cause) };
        }
        Self::Away { place, cause: shortened(&cause) }
    }
}

/// `<Code>` of an answer of S3's.
fn code(text: &str) -> Option<&str> {
    let (code, _) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    (code.len() <= CODE_BYTES_MAX && code.bytes().all(|byte| byte.is_ascii_alphanumeric())).then_some(code)
}

/// The longest code of S3's has 40 letters; a stranger's answer is as long as it likes.
const CODE_BYTES_MAX: usize = 64;
/// What of a cause is shown: a line of a log.
const CAUSE_BYTES_MAX: usize = 200;

fn shortened(cause: &str) -> String {
    let cause = cause.lines().next().unwrap_or_default();
    cause[..cause.floor_char_boundary(CAUSE_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_answers_becomes_what_to_do() {
        let of = |answer: &str| {
            let error = object_store::Error::Generic { store: "S3", source: answer.to_owned().into() };
            BucketError::of("s3://b", "write", "a", &error)
        };
        let xml = |status: u16, code: &str| format!("Server returned non-2xx status code: {status}: <Error><Code>{code}</Code></Error>");
        for (answer, reason, words) in [
            (xml(404, "NoSuchBucket"), Reason::Bucket, "create it"),
            (xml(403, "RequestTimeTooSkewed"), Reason::Clock, "set the clock"),
            (xml(403, "SignatureDoesNotMatch"), Reason::Key, "store.secret_key"),
            (xml(403, "InvalidAccessKeyId"), Reason::Key, "store.access_key"),
            (xml(403, "AccessDenied"), Reason::Key, "may not write"),
            (xml(503, "SlowDown"), Reason::Refused, "SlowDown"),
            ("Server returned non-2xx status code: 507: ".to_owned(), Reason::Refused, "507"),
            ("connection refused".to_owned(), Reason::Away, "store.endpoint"),
        ] {
            let error = of(&answer);
            assert_eq!(error.reason(), reason, "{answer}");
            assert!(error.to_string().contains(words), "{error}");
        }
        let long = of(&format!("<Code>{}</Code>{}", "x".repeat(1_000), "y".repeat(10_000)));
        assert!(long.to_string().len() < 500);
    }
}

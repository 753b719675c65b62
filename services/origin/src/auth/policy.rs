//! Who may publish and play, as the settings say: what is changed while all runs. Whoever was let in before stays.

use crate::auth::rules::Rules;
use crate::config::{Config, Play};
use std::sync::{Arc, PoisonError, RwLock};

/// How many may watch at a time; 0: any number.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct ViewerLimits {
    pub(crate) per_stream: u32,
    pub(crate) per_address: u32,
}

/// What holds at a time.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) play: Play,
    /// The same of what was recorded.
    pub(crate) vod: Play,
    pub(crate) apps: Rules,
    pub(crate) viewers: ViewerLimits,
    /// Publishers of this machine need no token.
    pub(crate) allow_unsigned_publish: bool,
}

impl Policy {
    /// Of settings that were checked.
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            play: config.play(),
            vod: config.vod(),
            apps: Rules::parse(&config.apps).unwrap_or_default(),
            viewers: ViewerLimits { per_stream: config.limits.viewers_per_stream, per_address: config.limits.viewers_per_address },
            allow_unsigned_publish: config.auth.allow_unsigned_publish,
        }
    }
}

/// The one that holds now, for all who ask.
#[derive(Debug)]
pub(crate) struct PresentPolicy(RwLock<Arc<Policy>>);

impl PresentPolicy {
    pub(crate) fn new(policy: Policy) -> Self {
        Self(RwLock::new(Arc::new(policy)))
    }

    pub(crate) fn now(&self) -> Arc<Policy> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn replace(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }
}

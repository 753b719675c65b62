//! Who asks, as handlers have it: with what they may do, and as the audit log names them.

use super::error::{ApiError, ApiResult};
use crate::{
    people::{
        grants::Rights,
        names::{GroupPath, Role, UserName},
        sessions::{Known, Pass},
    },
    store::{
        Store,
        actor::{Actor, Channel},
        error::StoreError,
    },
};
use axum::http::StatusCode;
use sightline_signal::DeviceId;
use std::{collections::HashSet, net::IpAddr};

/// How the operator has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// With the operator's token or certificate.
    Operator,
    /// From this machine, where the API asks for nothing.
    Here,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Who {
    Operator(Way),
    User(Known),
}

/// Who asks.
#[derive(Clone, Debug)]
pub(super) struct Person {
    who: Who,
    rights: Rights,
    from: IpAddr,
}

/// The devices that someone sees.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    All,
    These(HashSet<String>),
}

impl Sight {
    pub(super) fn has(&self, device: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(devices) => devices.contains(device),
        }
    }
}

/// What is out of sight is said to be not there.
pub(super) const OUT_OF_SIGHT: &str = "out of sight";
/// What is in sight, and needs a higher role.
pub(super) const ROLE: &str = "role";

impl Person {
    pub(super) fn operator(way: Way, from: IpAddr) -> Self {
        Self { who: Who::Operator(way), rights: Rights::all(), from }
    }

    pub(super) fn user(known: Known, from: IpAddr) -> Self {
        Self { rights: known.rights.clone(), who: Who::User(known), from }
    }

    /// As the audit log names them.
    pub(super) fn actor(&self) -> Actor {
        match &self.who {
            Who::Operator(_) => Actor::Operator(Channel::Http(self.from)),
            Who::User(known) => Actor::User(known.user.clone(), self.from),
        }
    }

    pub(super) fn rights(&self) -> &Rights {
        &self.rights
    }

    pub(super) fn from(&self) -> IpAddr {
        self.from
    }

    /// Who has signed in, or whose token it is; `None`: the operator.
    pub(super) fn known(&self) -> Option<&Known> {
        match &self.who {
            Who::User(known) => Some(known),
            Who::Operator(_) => None,
        }
    }

    /// `None`: the operator.
    pub(super) fn name(&self) -> Option<&UserName> {
        self.known().map(|known| &known.user)
    }

    /// The hash of their session's cookie; `None`: they came another way.
    pub(super) fn session(&self) -> Option<&[u8; 32]> {
        match &self.known()?.pass {
            Pass::Session(sha256) => Some(sha256),
            Pass::Token(_) => None,
        }
    }

    /// Whether they needed to show nothing.
    pub(super) fn is_here(&self) -> bool {
        self.who == Who::Operator(Way::Here)
    }

    /// How they came: `session`, `token`, `operator`, or `here`.
    pub(super) fn way(&self) -> &'static str {
        match &self.who {
            Who::Operator(Way::Operator) => "operator",
            Who::Operator(Way::Here) => "here",
            Who::User(Known { pass: Pass::Session(_), .. }) => "session",
            Who::User(Known { pass: Pass::Token(_), .. }) => "token",
        }
    }

    /// Refuses whoever has no such role on a group: what they don't see is not there, in the words of `missing`.
    pub(super) fn check(&self, role: Role, group: &GroupPath, missing: impl FnOnce() -> ApiError) -> ApiResult<()> {
        match self.rights.role_on(group) {
            Some(theirs) if theirs >= role => Ok(()),
            Some(theirs) => Err(forbidden(role, Some(theirs))),
            None => Err(missing().for_want_of_a_right(OUT_OF_SIGHT)),
        }
    }

    /// The same for a device.
    pub(super) async fn check_device(&self, store: &Store, role: Role, device: &DeviceId) -> ApiResult<()> {
        let missing = || ApiError::not_found(format_args!("device {device}"));
        // Whoever may do everything may do it to what is not there, too: the handler says that.
        if self.rights.is_admin_of_all() {
            return Ok(());
        }
        match store.group_of(device.as_str()).await? {
            Some(group) => self.check(role, &group, missing),
            None => Err(missing()),
        }
    }

    /// Refuses whoever has no such role on the root.
    pub(super) fn check_root(&self, role: Role) -> ApiResult<()> {
        let root = GroupPath::default();
        if self.rights.may(role, &root) { Ok(()) } else { Err(forbidden(role, self.rights.role_on(&root))) }
    }

    /// The devices on which they have at least this role.
    pub(super) async fn sight(&self, store: &Store, role: Role) -> Result<Sight, StoreError> {
        if self.rights.may(role, &GroupPath::default()) {
            return Ok(Sight::All);
        }
        let devices = store.device_groups().await?.into_iter().filter(|(_, group)| self.rights.may(role, group));
        Ok(Sight::These(devices.map(|(device, _)| device.as_str().to_owned()).collect()))
    }
}

fn forbidden(role: Role, theirs: Option<Role>) -> ApiError {
    let theirs = theirs.map_or_else(|| "yours holds for a part alone".to_owned(), |theirs| format!("yours is {theirs}"));
    ApiError::new(StatusCode::FORBIDDEN, "FORBIDDEN", format!("this needs the role {role}; {theirs}")).for_want_of_a_right(ROLE)
}

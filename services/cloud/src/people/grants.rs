//! Rights: roles on groups. Pure: what someone may do is seen from the grants alone.

use super::names::{GroupPath, Role};
use serde::{Deserialize, Serialize};

/// A role on a group and all below it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// `viewer`, `operator` or `admin`.
    pub role: Role,
    /// The group's path; empty: the root, which is all.
    #[schema(value_type = String)]
    pub group: GroupPath,
}

/// All that someone may do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Rights(Vec<Grant>);

impl Rights {
    pub(crate) fn new(grants: Vec<Grant>) -> Self {
        Self(grants)
    }

    /// Admin on the root: the operator's token and certificates, and whoever is at the machine.
    pub(crate) fn all() -> Self {
        Self(vec![Grant { role: Role::Admin, group: GroupPath::default() }])
    }

    pub(crate) fn grants(&self) -> &[Grant] {
        &self.0
    }

    /// The highest role on a group; `None`: it is out of sight.
    pub(crate) fn role_on(&self, group: &GroupPath) -> Option<Role> {
        self.0.iter().filter(|grant| grant.group.holds(group)).map(|grant| grant.role).max()
    }

    pub(crate) fn may(&self, role: Role, group: &GroupPath) -> bool {
        self.role_on(group) >= Some(role)
    }

    pub(crate) fn sees(&self, group: &GroupPath) -> bool {
        self.role_on(group).is_some()
    }

    /// Whether nothing is out of sight.
    pub(crate) fn sees_all(&self) -> bool {
        self.sees(&GroupPath::default())
    }

    pub(crate) fn is_admin_of_all(&self) -> bool {
        self.may(Role::Admin, &GroupPath::default())
    }

    /// What both allow: never more than either.
    pub(crate) fn within(&self, limit: &Grant) -> Self {
        let both = |grant: &Grant| {
            let group = match (limit.group.holds(&grant.group), grant.group.holds(&limit.group)) {
                (true, _) => &grant.group,
                (false, true) => &limit.group,
                (false, false) => return None,
            };
            Some(Grant { role: grant.role.min(limit.role), group: group.clone() })
        };
        Self(self.0.iter().filter_map(both).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, group: &str) -> Grant {
        Grant { role, group: GroupPath::new(group).unwrap() }
    }

    #[test]
    fn a_role_holds_below_its_group_and_the_highest_counts() {
        let rights = Rights::new(vec![grant(Role::Viewer, "a"), grant(Role::Admin, "a/b"), grant(Role::Operator, "c")]);
        let on = |group: &str| rights.role_on(&GroupPath::new(group).unwrap());
        assert_eq!((on("a"), on("a/x"), on("a/b/c")), (Some(Role::Viewer), Some(Role::Viewer), Some(Role::Admin)));
        assert_eq!((on("c/d"), on("d"), on("")), (Some(Role::Operator), None, None));
        assert!(!rights.sees_all() && Rights::all().is_admin_of_all() && !Rights::new(Vec::new()).sees_all());
    }

    #[test]
    fn a_limit_never_adds_a_role_or_a_group() {
        let rights = Rights::new(vec![grant(Role::Admin, "a"), grant(Role::Viewer, "b")]);
        let within = |role, group: &str| rights.within(&grant(role, group)).0;
        assert_eq!(within(Role::Operator, ""), [grant(Role::Operator, "a"), grant(Role::Viewer, "b")]);
        assert_eq!(within(Role::Admin, "a/x"), [grant(Role::Admin, "a/x")]);
        assert_eq!(within(Role::Admin, "c"), []);
    }
}

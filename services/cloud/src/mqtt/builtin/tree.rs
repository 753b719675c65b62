//! The tree of subscriptions: who wants a topic.

use super::{packet::Options, topics::Filter};
use std::collections::{BTreeMap, HashMap};

/// A session's number.
pub(super) type SessionId = u64;

/// Subscriptions by the levels of their filters.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Node,
}

/// One level. As deep as filters are: `Filter::parse` bounds that.
#[derive(Debug, Default)]
struct Node {
    children: HashMap<Box<str>, Node>,
    /// Subscriptions whose filter ends here.
    here: HashMap<SessionId, Options>,
    /// Groups whose filter ends here.
    groups: BTreeMap<Box<str>, Group>,
}

/// A shared subscription: its members get one copy between them.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(SessionId, Options)>,
    /// Whose turn it is.
    turn: usize,
}

impl Node {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.groups.is_empty()
    }
}

impl Tree {
    /// Adds a subscription, or changes its options.
    pub(super) fn insert(&mut self, filter: Filter<'_>, session: SessionId, options: Options) {
        let mut node = &mut self.root;
        for level in filter.path.split('/') {
            node = node.children.entry(level.into()).or_default();
        }
        match filter.group {
            None => {
                node.here.insert(session, options);
            }
            Some(group) => {
                let members = &mut node.groups.entry(group.into()).or_default().members;
                match members.iter_mut().find(|(member, _)| *member == session) {
                    Some(member) => member.1 = options,
                    None => members.push((session, options)),
                }
            }
        }
    }

    /// Removes a subscription, and the levels that nobody needs any more.
    pub(super) fn remove(&mut self, filter: Filter<'_>, session: SessionId) {
        remove(&mut self.root, filter, &mut filter.path.split('/'), session);
    }

    /// Who gets a message on `topic`, each session once, with the best of its options. `is_there` says who is connected: a group's
    /// message goes to such a member first.
    pub(super) fn subscribers(&mut self, topic: &str, is_there: impl Fn(SessionId) -> bool) -> HashMap<SessionId, Options> {
        let levels: Vec<&str> = topic.split('/').collect();
        let mut found = HashMap::new();
        collect(&mut self.root, &levels, true, &is_there, &mut found);
        found
    }
}

fn remove<'a>(node: &mut Node, filter: Filter<'_>, levels: &mut impl Iterator<Item = &'a str>, session: SessionId) {
    if let Some(level) = levels.next() {
        if let Some(child) = node.children.get_mut(level) {
            remove(child, filter, levels, session);
            if child.is_empty() {
                node.children.remove(level);
            }
        }
        return;
    }
    match filter.group {
        None => {
            node.here.remove(&session);
        }
        Some(name) => {
            if let Some(group) = node.groups.get_mut(name) {
                group.members.retain(|(member, _)| *member != session);
                if group.members.is_empty() {
                    node.groups.remove(name);
                }
            }
        }
    }
}

fn collect(
    node: &mut Node,
    levels: &[&str],
    is_first: bool,
    is_there: &impl Fn(SessionId) -> bool,
    found: &mut HashMap<SessionId, Options>,
) {
    // Wildcards in the first place do not reach `$SYS` and the like.
    let may_be_wild = !(is_first && levels.first().is_some_and(|level| level.starts_with('$')));
    if may_be_wild && let Some(rest) = node.children.get_mut("#") {
        take(rest, is_there, found);
    }
    let Some((level, below)) = levels.split_first() else { return take(node, is_there, found) };
    if let Some(child) = node.children.get_mut(*level) {
        collect(child, below, false, is_there, found);
    }
    if may_be_wild && let Some(child) = node.children.get_mut("+") {
        collect(child, below, false, is_there, found);
    }
}

fn take(node: &mut Node, is_there: &impl Fn(SessionId) -> bool, found: &mut HashMap<SessionId, Options>) {
    let turns = node.groups.values_mut().filter_map(|group| group.next(is_there));
    for (session, options) in node.here.iter().map(|(session, options)| (*session, *options)).chain(turns) {
        let best = found.entry(session).or_insert(options);
        best.qos = best.qos.max(options.qos);
        best.no_local &= options.no_local;
        best.retain_as_published |= options.retain_as_published;
    }
}

impl Group {
    fn next(&mut self, is_there: &impl Fn(SessionId) -> bool) -> Option<(SessionId, Options)> {
        let count = self.members.len();
        let turn = (0..count).map(|ahead| (self.turn + ahead) % count).find(|at| is_there(self.members[*at].0));
        // All are away: it waits for one that has a session.
        let turn = turn.or_else(|| (0..count).next().map(|_| self.turn % count))?;
        self.turn = turn + 1;
        self.members.get(turn).copied()
    }
}

impl Options {
    /// Of a plain subscription.
    #[cfg(test)]
    pub(super) const fn plain(qos: super::packet::Qos) -> Self {
        Self { qos, no_local: false, retain_as_published: false, retained: super::packet::RetainedFor::Every }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mqtt::builtin::{packet::Qos, topics::fits};

    fn filter(text: &str) -> Filter<'_> {
        Filter::parse(text).unwrap()
    }

    #[test]
    fn the_tree_finds_what_fits_and_nothing_else() {
        let filters = ["#", "+", "a/b", "a/+", "a/#", "+/b", "a/+/c", "$SYS/#", "+/x", "a//b", "/", "devices/cam/#", "devices/+/online"];
        let names = ["a", "a/b", "a/b/c", "a/", "/", "a//b", "$SYS/x", "x/x", "devices/cam/online", "devices/cam2/online", "devices/cam"];
        let mut tree = Tree::default();
        for (number, text) in filters.iter().enumerate() {
            tree.insert(filter(text), number as u64, Options::plain(Qos::AtMostOnce));
        }
        for name in names {
            let found = tree.subscribers(name, |_| true);
            for (number, text) in filters.iter().enumerate() {
                assert_eq!(found.contains_key(&(number as u64)), fits(text, name), "{text} {name}");
            }
        }
        for (number, text) in filters.iter().enumerate() {
            tree.remove(filter(text), number as u64);
        }
        assert!(tree.root.is_empty(), "{tree:?}");
    }

    #[test]
    fn a_session_with_several_fitting_filters_gets_one_copy_of_the_better_kind() {
        let mut tree = Tree::default();
        tree.insert(filter("a/#"), 1, Options::plain(Qos::AtMostOnce));
        tree.insert(filter("a/b"), 1, Options::plain(Qos::AtLeastOnce));
        let found = tree.subscribers("a/b", |_| true);
        assert_eq!((found.len(), found[&1].qos), (1, Qos::AtLeastOnce));
    }

    #[test]
    fn a_group_s_members_take_turns_and_those_that_are_away_are_passed_over() {
        let mut tree = Tree::default();
        for session in 1..=3 {
            tree.insert(filter("$share/g/a/+"), session, Options::plain(Qos::AtLeastOnce));
        }
        tree.insert(filter("a/b"), 9, Options::plain(Qos::AtLeastOnce));
        let mut turns = Vec::new();
        for _ in 0..4 {
            let found = tree.subscribers("a/b", |session| session != 2);
            assert!(found.len() == 2 && found.contains_key(&9));
            turns.extend(found.keys().copied().filter(|session| *session != 9));
        }
        assert_eq!(turns, [1, 3, 1, 3]);
        assert_eq!(tree.subscribers("a/b", |_| false).len(), 2, "it waits for one of them");
        for session in 1..=3 {
            tree.remove(filter("$share/g/a/+"), session);
        }
        tree.remove(filter("a/b"), 9);
        assert!(tree.root.is_empty());
    }
}

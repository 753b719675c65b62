//! People: who they are, what they may do and where, how they sign in.

pub(crate) mod grants;
pub(crate) mod groups;
pub(crate) mod names;
pub(crate) mod passwords;
pub(crate) mod sessions;
pub(crate) mod tokens;
pub(crate) mod users;

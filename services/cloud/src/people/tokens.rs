//! API tokens: what a person's programs show. They have an end, and at most their person's rights.

use super::{
    grants::Grant,
    names::{GroupPath, Role, UserName},
    users::PeopleError,
};
use crate::{
    clock::Clock,
    secrets::{Secret, command_id, random_secret, sha256},
    store::{
        Store,
        actor::{Action, Actor},
        sessions::ApiTokenRow,
    },
};
use serde::Serialize;
use serde_json::json;

/// What each token begins with: scanners for leaked secrets find it by that.
const PREFIX: &str = "slt_";
/// Tokens of one user.
const TOKENS_PER_USER_MAX: i64 = 100;
/// The longest name of a token, in characters.
const NAME_CHARS_MAX: usize = 64;
/// How long a token lasts where nobody says: a quarter.
const TTL_SEC: u64 = 90 * 86_400;
/// The longest: two years. What lasts longer is forgotten.
const TTL_SEC_MAX: u64 = 2 * 366 * 86_400;

/// A token to be made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewToken {
    /// Whose.
    pub user: UserName,
    /// What it is for, for people.
    pub name: String,
    /// How long it lasts, in seconds; `None`: 90 days.
    pub ttl_sec: Option<u64>,
    /// At most this role.
    pub role: Role,
    /// On this group and below it alone.
    pub group: GroupPath,
}

/// A token as it is listed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, utoipa::ToSchema)]
pub struct ApiToken {
    /// Names it, to take it back.
    pub id: String,
    /// Whose it is.
    #[schema(value_type = String)]
    pub user: UserName,
    /// What it is for.
    pub name: String,
    /// It may do at most what this role may ...
    pub role: Role,
    /// ... on this group and below it, and never more than its user.
    #[schema(value_type = String)]
    pub group: GroupPath,
    /// When it was made, seconds since 1970.
    pub created_at: i64,
    /// When it ends, seconds since 1970.
    pub ends_at: i64,
}

impl From<ApiTokenRow> for ApiToken {
    fn from(row: ApiTokenRow) -> Self {
        let ApiTokenRow { id, user, name, limit, created_at, ends_at } = row;
        Self { id, user, name, role: limit.role, group: limit.group, created_at, ends_at }
    }
}

/// A token that was made. The only time that it is shown: what is kept is a hash.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct AddedToken {
    #[serde(flatten)]
    listed: ApiToken,
    /// The token: `Authorization: Bearer`.
    #[serde(serialize_with = "reveal")]
    #[schema(value_type = String)]
    token: Secret<String>,
}

impl AddedToken {
    /// The token, for the one who asked for it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.token.reveal()
    }

    /// As it will be listed.
    #[must_use]
    pub fn listed(&self) -> &ApiToken {
        &self.listed
    }
}

fn reveal<S: serde::Serializer>(secret: &Secret<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.reveal())
}

/// Makes a token.
pub(crate) async fn add(store: &Store, clock: &Clock, actor: &Actor, new: NewToken) -> Result<AddedToken, PeopleError> {
    let name = new.name.trim().to_owned();
    if name.is_empty() || name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        return Err(PeopleError::Bad(format!("name: 1 to {NAME_CHARS_MAX} characters, so that people know what the token is for")));
    }
    let ttl_sec = new.ttl_sec.unwrap_or(TTL_SEC);
    if !(1..=TTL_SEC_MAX).contains(&ttl_sec) {
        return Err(PeopleError::Bad(format!("ttl_sec: 1 to {TTL_SEC_MAX} seconds, which is two years")));
    }
    let token = Secret::new(format!("{PREFIX}{}", random_secret()?.reveal()));
    let created_at = clock.unix_secs();
    let row = ApiTokenRow {
        id: command_id().as_str().to_owned(),
        user: new.user,
        name,
        limit: Grant { role: new.role, group: new.group },
        created_at,
        ends_at: created_at.saturating_add(i64::try_from(ttl_sec).unwrap_or(i64::MAX)),
    };
    let mut write = store.write(actor).await?;
    if !write.has_user(&row.user).await? {
        return Err(PeopleError::UserUnknown(row.user));
    }
    if !write.has_group(&row.limit.group).await? {
        return Err(PeopleError::GroupUnknown(row.limit.group));
    }
    if write.api_tokens(&row.user).await? >= TOKENS_PER_USER_MAX {
        return Err(PeopleError::TooMany { what: "API tokens of this user", most: TOKENS_PER_USER_MAX });
    }
    write.add_api_token(&row, &sha256(token.reveal())).await?;
    let detail = json!({ "token": row.id, "name": row.name, "limit": row.limit, "ends_at": row.ends_at, "from": actor.from() });
    write.commit(Action::ApiTokenAdd, row.user.as_str(), detail).await?;
    Ok(AddedToken { listed: row.into(), token })
}

/// Takes a token back; `of`: only if it is this user's.
pub(crate) async fn remove(store: &Store, actor: &Actor, id: &str, of: Option<&UserName>) -> Result<(), PeopleError> {
    let unknown = || PeopleError::TokenUnknown(id.chars().take(NAME_CHARS_MAX).collect());
    let mut write = store.write(actor).await?;
    let user = write.remove_api_token(id).await?.filter(|user| of.is_none_or(|of| of == user)).ok_or_else(unknown)?;
    Ok(write.commit(Action::ApiTokenRemove, user.as_str(), json!({ "token": id, "from": actor.from() })).await?)
}

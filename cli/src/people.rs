//! `sightline user …` and `sightline group …`: who may do what, and where.

use crate::{
    Failure,
    args::{Group, GroupAction, User, UserAction, UserTokenAction},
    terminal,
};
use serde::Serialize;
use serde_json::json;
use sightline_cloud::admin::people::{self, Grant, NewToken, Password, Role};
use std::{io::IsTerminal as _, path::Path};

pub(crate) async fn user(dir: &Path, user: User) -> Result<(), Failure> {
    let is_json = user.cloud.json;
    match user.action {
        UserAction::Add { name, role, group, password_file, no_password } => {
            let password = if no_password { None } else { Some(read_password(password_file.as_deref())?) };
            let grants: Vec<Grant> = role.map(|role| Grant { role, group }).into_iter().collect();
            let added = people::add_user(dir, &name, password.as_ref(), &grants).await?;
            show(&added, is_json, || format!("{name} was added: {}", granted(&added.grants)))
        }
        UserAction::List => {
            let users = people::list_users(dir).await?;
            if users.is_empty() && !is_json {
                terminal::say("no user yet: `sightline user add NAME --role admin` adds one; until then the operator's token is all");
            }
            show_all(&users, is_json, |user| {
                format!("{:24} {:11} {}", user.name.as_str(), if user.has_password { "" } else { "no password" }, granted(&user.grants))
            })
        }
        UserAction::Remove { name } => {
            people::remove_user(dir, &name).await?;
            show(&json!({ "name": name, "removed": true }), is_json, || format!("{name} is removed: sessions and API tokens have ended"))
        }
        UserAction::Grant { name, role, group } => {
            let role = if role == "none" { None } else { Some(role.parse::<Role>()?) };
            let user = people::grant(dir, &name, &group, role).await?;
            show(&user, is_json, || format!("{name}: {}", granted(&user.grants)))
        }
        UserAction::Password { name, password_file } => {
            people::set_password(dir, &name, &read_password(password_file.as_deref())?).await?;
            show(&json!({ "name": name, "has_password": true }), is_json, || format!("{name} has another password; sessions have ended"))
        }
        UserAction::Token { action } => token(dir, action, is_json).await,
    }
}

async fn token(dir: &Path, action: UserTokenAction, is_json: bool) -> Result<(), Failure> {
    match action {
        UserTokenAction::Add { user, name, ttl_sec, role, group } => {
            let added = people::add_token(dir, NewToken { user, name, ttl_sec: Some(ttl_sec), role, group }).await?;
            if !is_json {
                let token = added.listed();
                terminal::say(&format!("token {} of {} ends {}; it is shown this once:", token.id, token.user, time(token.ends_at)));
            }
            show(&added, is_json, || added.reveal().to_owned())
        }
        UserTokenAction::List => {
            let tokens = people::list_tokens(dir).await?;
            show_all(&tokens, is_json, |token| {
                format!("{}  {}  {}  {} on {}  ends {}", token.id, token.user, token.name, token.role, token.group, time(token.ends_at))
            })
        }
        UserTokenAction::Remove { id } => {
            people::remove_token(dir, &id).await?;
            show(&json!({ "id": id, "removed": true }), is_json, || format!("token {id} is taken back"))
        }
    }
}

pub(crate) async fn group(dir: &Path, group: Group) -> Result<(), Failure> {
    let is_json = group.cloud.json;
    match group.action {
        GroupAction::Add { path } => {
            people::add_group(dir, &path).await?;
            show(&json!({ "path": path }), is_json, || format!("group {path} was made"))
        }
        GroupAction::List => {
            let groups = people::list_groups(dir).await?;
            show_all(&groups, is_json, |group| format!("{}  {} devices", group.path, group.devices))
        }
        GroupAction::Remove { path } => {
            people::remove_group(dir, &path).await?;
            show(&json!({ "path": path, "removed": true }), is_json, || format!("group {path} is removed"))
        }
    }
}

fn show(value: &impl Serialize, is_json: bool, text: impl FnOnce() -> String) -> Result<(), Failure> {
    let line = if is_json { serde_json::to_string(value)? } else { text() };
    terminal::print(&line);
    Ok(())
}

fn show_all<T: Serialize>(items: &[T], is_json: bool, text: impl Fn(&T) -> String) -> Result<(), Failure> {
    if is_json {
        terminal::print(&serde_json::to_string(items)?);
    } else {
        items.iter().for_each(|item| terminal::print(&text(item)));
    }
    Ok(())
}

fn granted(grants: &[Grant]) -> String {
    let each: Vec<String> = grants.iter().map(|Grant { role, group }| format!("{role} on {group}")).collect();
    if each.is_empty() { "may do nothing yet".to_owned() } else { each.join(", ") }
}

fn time(secs: i64) -> String {
    jiff::Timestamp::from_second(secs).map_or_else(|_| secs.to_string(), |at| at.to_string())
}

/// Never an argument: every process of the machine reads those.
fn read_password(file: Option<&Path>) -> Result<Password, Failure> {
    let text = match file {
        Some(file) => std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?,
        None => read_unseen()?,
    };
    Ok(Password::new(text.lines().next().unwrap_or_default().to_owned()))
}

/// Reads a line; a terminal does not show it.
fn read_unseen() -> std::io::Result<String> {
    use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
    let (stdin, mut line) = (std::io::stdin(), String::new());
    if !stdin.is_terminal() {
        stdin.read_line(&mut line)?;
        return Ok(line);
    }
    terminal::say("password:");
    let shown = tcgetattr(&stdin)?;
    let mut unseen = shown.clone();
    unseen.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&stdin, OptionalActions::Flush, &unseen)?;
    let read = stdin.read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
    read.map(|_| line)
}

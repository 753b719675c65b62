//! `sightline token …`: keys that play one stream.

use crate::{
    Failure,
    args::{Token, TokenAction},
    terminal,
};
use sightline_cloud::admin::{self, Limits, ListedKey, NewKey};
use std::path::Path;

pub(crate) async fn run(dir: &Path, token: Token) -> Result<(), Failure> {
    let json = token.cloud.json;
    match token.action {
        TokenAction::Add { device, name, ttl_sec, address, ways, viewers_max } => {
            let limits = Limits { address, ways, viewers_max };
            let added = admin::add_playback_key(dir, NewKey { device, name, ttl_sec, limits }).await?;
            if json {
                terminal::print(&serde_json::to_string(&added)?);
                return Ok(());
            }
            terminal::say(&format!("key {} plays {} as {}; it is shown this once:", added.id, added.device, added.playback));
            terminal::print(added.reveal());
            terminal::say(&format!("for example /live/{}.flv?token=KEY, or rtmp://HOST/live/{}?token=KEY", added.playback, added.playback));
        }
        TokenAction::List => {
            let keys = admin::list_playback_keys(dir).await?;
            if json {
                terminal::print(&serde_json::to_string(&keys)?);
                return Ok(());
            }
            if keys.is_empty() {
                terminal::say("no key yet: `sightline token add DEVICE --name NAME` makes one");
            }
            keys.iter().for_each(show);
        }
        TokenAction::Remove { id } => {
            admin::remove_playback_key(dir, &id).await?;
            if json {
                terminal::print(&serde_json::json!({"id": id, "removed": true}).to_string());
            } else {
                terminal::say(&format!("key {id} is taken back: whoever watches with it is cut off within 10 seconds"));
            }
        }
    }
    Ok(())
}

fn show(key: &ListedKey) {
    let time = |secs: i64| jiff::Timestamp::from_second(secs).map_or_else(|_| secs.to_string(), |at| at.to_string());
    let end = key.ends_at.map_or_else(|| "no end".to_owned(), |end| format!("ends {}", time(end)));
    let used = match (key.used_at, &key.used_from) {
        (Some(at), from) => format!("last used {} from {}", time(at), from.as_deref().unwrap_or("?")),
        (None, _) => "never used".to_owned(),
    };
    terminal::print(&format!("{}  {}  {}  {end}  {used}", key.id, key.device, key.name));
}

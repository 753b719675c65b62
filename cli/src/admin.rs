//! `sightline device …`, `operator …` and `audit …`: on the cloud's data directory, while it runs or not.

use crate::{
    Failure,
    args::{Audit, AuditAction, Backup, CloudDir, Device, DeviceAction, Group, Operator, Server, Token, User},
    device_config, operators, people, servers, settings,
    terminal::{self, WrongUse},
    tokens,
};
use sightline_cloud::admin::{self, AddedDevice, CheckpointVerdict, Verdict, people::GroupPath};
use sightline_cloud::backup::Copied;
use sightline_signal::DeviceId;
use std::path::{Path, PathBuf};

/// The directory of the command line, or of the configuration.
fn data_dir(cloud: &CloudDir) -> Result<PathBuf, Failure> {
    let dir = match (&cloud.dir, &cloud.config) {
        (Some(dir), _) => dir.clone(),
        (None, Some(file)) => settings::file::load::<sightline_cloud::Config>(file)?.data_dir,
        (None, None) => return Err(WrongUse("say where the cloud keeps its state: --dir DIR, or --config FILE".to_owned()).into()),
    };
    Ok(dir)
}

/// A directory that must exist: a mistyped one must not be made by looking at it.
fn existing_dir(cloud: &CloudDir) -> Result<PathBuf, Failure> {
    let dir = data_dir(cloud)?;
    if dir.join("sightline.sqlite").is_file() {
        Ok(dir)
    } else {
        Err(format!("{}: no cloud keeps its state here; check --dir, or start the cloud once", dir.display()).into())
    }
}

pub(crate) async fn operator(operator: Operator) -> Result<(), Failure> {
    operators::run(&existing_dir(&operator.cloud)?, operator).await
}

pub(crate) async fn server(server: Server) -> Result<(), Failure> {
    servers::run(&existing_dir(&server.cloud)?, server).await
}

pub(crate) async fn token(token: Token) -> Result<(), Failure> {
    tokens::run(&existing_dir(&token.cloud)?, token).await
}

pub(crate) async fn user(user: User) -> Result<(), Failure> {
    people::user(&existing_dir(&user.cloud)?, user).await
}

pub(crate) async fn group(group: Group) -> Result<(), Failure> {
    people::group(&existing_dir(&group.cloud)?, group).await
}

pub(crate) async fn device(device: Device) -> Result<(), Failure> {
    let json = device.cloud.json;
    match device.action {
        DeviceAction::Add { id, group } => add(&data_dir(&device.cloud)?, &id, group, json).await?,
        DeviceAction::Rotate { id } => {
            let added = admin::rotate_device(&existing_dir(&device.cloud)?, &id).await?;
            show_files(&added, json, "rotated");
        }
        DeviceAction::List => {
            let devices = admin::list_devices(&existing_dir(&device.cloud)?).await?;
            if json {
                terminal::print(&serde_json::to_string(&devices)?);
                return Ok(());
            }
            if devices.is_empty() {
                terminal::say("no device yet: `sightline device add ID` lets one in");
            }
            devices.iter().for_each(show_row);
        }
        DeviceAction::Show { id } => {
            let shown = admin::show_device(&existing_dir(&device.cloud)?, &id).await?;
            if json { terminal::print(&serde_json::to_string(&shown)?) } else { show_row(&shown) }
        }
        DeviceAction::Config(config) => device_config::run(&existing_dir(&device.cloud)?, &config, json).await?,
        DeviceAction::Allow { id } => permit(&existing_dir(&device.cloud)?, &id, true, json).await?,
        DeviceAction::Deny { id } => permit(&existing_dir(&device.cloud)?, &id, false, json).await?,
        DeviceAction::Group { id, group } => {
            admin::people::put_device(&existing_dir(&device.cloud)?, &id, &group).await?;
            if json {
                terminal::print(&serde_json::json!({"id": id, "group": group}).to_string())
            } else {
                terminal::print(&format!("{id} is in {group}"))
            }
        }
        DeviceAction::Remove { id } => {
            admin::remove_device(&existing_dir(&device.cloud)?, &id).await?;
            if json {
                terminal::print(&serde_json::json!({"id": id, "removed": true}).to_string())
            } else {
                terminal::print(&format!("{id} is removed: its connections end within 10 seconds; the audit log keeps what it did"))
            }
        }
        DeviceAction::Revoke { id } => {
            admin::revoke_device(&existing_dir(&device.cloud)?, &id).await?;
            if json {
                terminal::print(&serde_json::json!({"id": id, "revoked": true}).to_string())
            } else {
                terminal::print(&format!("{id} is revoked: its connections end within 10 seconds"))
            }
        }
    }
    Ok(())
}

async fn add(dir: &Path, id: &DeviceId, group: Option<GroupPath>, json: bool) -> Result<(), Failure> {
    let group = group.filter(|group| !group.is_root());
    // Before the device is there: one that stays in the root by mistake is seen by others than it was meant for.
    if let Some(group) = &group
        && admin::people::list_groups(dir).await?.iter().all(|known| known.path != *group)
    {
        return Err(format!("there is no group {group}; `sightline group add {group}` makes it").into());
    }
    let added = admin::add_device(dir, id).await?;
    if let Some(group) = group {
        admin::people::put_device(dir, id, &group).await?;
    }
    show_files(&added, json, "added");
    Ok(())
}

async fn permit(dir: &Path, id: &DeviceId, may_push: bool, json: bool) -> Result<(), Failure> {
    admin::permit_push(dir, id, may_push).await?;
    if json {
        terminal::print(&serde_json::json!({"id": id, "may_push": may_push}).to_string());
    } else {
        let text = if may_push { "may publish" } else { "may not publish: a running stream ends within 10 seconds" };
        terminal::print(&format!("{id} {text}"));
    }
    Ok(())
}

fn show_files(added: &AddedDevice, json: bool, done: &str) {
    if json {
        terminal::print(&serde_json::to_string(added).unwrap_or_default());
        return;
    }
    terminal::print(&format!("{} is {done}; copy these to the device, and keep the key and the token secret:", added.id));
    for (what, path) in [("certificate", &added.pem), ("key", &added.key), ("HTTP token", &added.token), ("authority", &added.ca)] {
        terminal::print(&format!("{what:12} {}", path.display()));
    }
}

fn show_row(device: &admin::Device) {
    let time = |secs: Option<i64>| {
        secs.map_or_else(
            || "never".to_owned(),
            |secs| jiff::Timestamp::from_second(secs).map_or_else(|_| secs.to_string(), |at| at.to_string()),
        )
    };
    let right = match (device.revoked_at, device.may_push) {
        (Some(_), _) => "revoked",
        (None, true) => "may stream",
        (None, false) => "may not stream",
    };
    terminal::print(&format!(
        "{:24} {right:15} {:16} playback {}  last seen {}  certificate until {}",
        device.id.as_str(),
        device.group.to_string(),
        device.playback,
        time(device.last_seen),
        time(Some(device.certificate_until)).split('T').next().unwrap_or_default()
    ));
}

pub(crate) async fn backup(backup: Backup) -> Result<(), Failure> {
    let copied = sightline_cloud::backup::backup(&existing_dir(&backup.cloud)?, &backup.backup).await?;
    show_copied(&copied, "the backup is in", backup.cloud.json)
}

pub(crate) async fn restore(backup: Backup) -> Result<(), Failure> {
    let copied = sightline_cloud::backup::restore(&backup.backup, &data_dir(&backup.cloud)?).await?;
    show_copied(&copied, "restored to", backup.cloud.json)
}

fn show_copied(copied: &Copied, done: &str, json: bool) -> Result<(), Failure> {
    if json {
        terminal::print(&serde_json::to_string(copied)?);
    } else {
        let Copied { path, files, audit_rows, audit_head } = copied;
        terminal::print(&format!("{done} {}: the database and {files} files", path.display()));
        terminal::print(&format!("its audit log is intact: {audit_rows} entries, the last one's hash is {audit_head}"));
    }
    Ok(())
}

pub(crate) async fn audit(audit: Audit) -> Result<(), Failure> {
    let dir = existing_dir(&audit.cloud)?;
    match audit.action {
        AuditAction::Show { limit } => {
            for entry in admin::audit_entries(&dir, None, limit).await?.iter().rev() {
                terminal::print(&serde_json::to_string(entry)?);
            }
            Ok(())
        }
        AuditAction::Checkpoint => {
            terminal::print(&serde_json::to_string(&admin::sign_audit_checkpoint(&dir).await?)?);
            Ok(())
        }
        AuditAction::Verify { checkpoint } => {
            let checkpoints = compare(&dir, &checkpoint).await?;
            let verdict = admin::verify_audit(&dir).await?;
            if audit.cloud.json {
                let mut shown = serde_json::to_value(&verdict)?;
                if let (Some(shown), false) = (shown.as_object_mut(), checkpoints.is_empty()) {
                    shown.insert("checkpoints".to_owned(), serde_json::to_value(&checkpoints)?);
                }
                terminal::print(&shown.to_string());
            }
            match verdict {
                Verdict::Intact { rows, head } => {
                    // Not in front of the JSON's reader.
                    if !audit.cloud.json {
                        terminal::print(&format!("the audit log is intact: {rows} entries, the last one's hash is {head}"));
                    }
                    checkpoints.iter().zip(&checkpoint).try_for_each(|(verdict, file)| judge(verdict, file, audit.cloud.json))
                }
                Verdict::Broken { seq, reason } => Err(format!("the audit log is broken at entry {seq}: {reason}").into()),
                Verdict::Truncated { rows, rows_expected } => {
                    Err(format!("the audit log is cut short: {rows} entries of {rows_expected}").into())
                }
            }
        }
    }
}

/// How each file's checkpoint compares with the log.
async fn compare(dir: &Path, files: &[PathBuf]) -> Result<Vec<CheckpointVerdict>, Failure> {
    let mut verdicts = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let checkpoint = serde_json::from_str(&text).map_err(|error| format!("{}: no checkpoint: {error}", file.display()))?;
        verdicts.push(admin::compare_audit_checkpoint(dir, &checkpoint).await?);
    }
    Ok(verdicts)
}

fn judge(verdict: &CheckpointVerdict, file: &Path, is_json: bool) -> Result<(), Failure> {
    let file = file.display();
    match verdict {
        CheckpointVerdict::Held { rows } => {
            if !is_json {
                terminal::print(&format!("it holds the checkpoint of {file}: {rows} entries"));
            }
            Ok(())
        }
        CheckpointVerdict::Lost { rows, rows_found } => Err(format!(
            "the audit log does not hold the checkpoint of {file} ({rows} entries; {rows_found} are there): it was rolled back or rewritten"
        )
        .into()),
        CheckpointVerdict::OtherKey => {
            Err(format!("{file} is signed by another key than audit.key: that was replaced, or it is another installation's").into())
        }
        CheckpointVerdict::Forged => Err(format!("{file}: its signature is wrong: it was changed").into()),
    }
}

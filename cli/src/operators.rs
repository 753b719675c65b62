//! `sightline operator …`: whose certificates open the API and the broker.

use crate::{
    Failure,
    args::{Operator, OperatorAction},
    terminal,
};
use sightline_cloud::admin;
use std::path::Path;

pub(crate) async fn run(dir: &Path, operator: Operator) -> Result<(), Failure> {
    let json = operator.cloud.json;
    match operator.action {
        OperatorAction::Add { name } => {
            let added = admin::add_operator(dir, &name).await?;
            if json {
                terminal::print(&serde_json::to_string(&added)?);
                return Ok(());
            }
            let (pem, key, ca) = (added.pem.display(), added.key.display(), added.ca.display());
            terminal::say(&format!("operator {name} was added:\n  certificate  {pem}\n  key          {key}\n  authority    {ca}"));
        }
        OperatorAction::List => {
            let all = admin::list_operators(dir).await?;
            if json {
                terminal::print(&serde_json::to_string(&all)?);
                return Ok(());
            }
            for certificate in all {
                let state = if certificate.revoked_at.is_some() { "revoked" } else { "accepted" };
                terminal::print(&format!("{}  {}  {state}", certificate.name, certificate.serial));
            }
        }
        OperatorAction::Revoke { name } => {
            admin::revoke_operator(dir, &name).await?;
            if json {
                terminal::print(&serde_json::json!({"name": name, "revoked": true}).to_string());
            } else {
                terminal::say(&format!("operator {name} is revoked: its connections end within 10 seconds"));
            }
        }
    }
    Ok(())
}

//! Variables of the environment that look like settings and are none.

use super::spelling::nearest;
use confique::{
    Config as _,
    meta::{FieldKind, Meta},
};
use std::sync::Once;

/// How our variables begin, of every role.
const ROLES: [&str; 3] = ["SIGHTLINE_CAMERA_", "SIGHTLINE_CLOUD_", "SIGHTLINE_ORIGIN_"];

/// Says once which variables set nothing. No error: the same environment may serve programs of several versions.
pub(crate) fn warn_of_unknown() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        for problem in unknown(names) {
            tracing::warn!("{problem}");
        }
    });
}

fn unknown(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut known = Vec::new();
    for meta in [&sightline_camera::Config::META, &sightline_cloud::Config::META, &sightline_origin::Config::META] {
        collect(meta, &mut known);
    }
    let is_role = |name: &str| ROLES.iter().any(|role| name.starts_with(role));
    let unknown = names.filter(|name| is_role(name) && !known.contains(&name.as_str()));
    let say = |name: String| match nearest(&name, known.iter().copied()) {
        Some(nearest) => format!("the environment's {name} is no setting; did you mean {nearest}?"),
        None => format!("the environment's {name} is no setting"),
    };
    unknown.map(say).collect()
}

fn collect(meta: &'static Meta, known: &mut Vec<&'static str>) {
    for field in meta.fields {
        match field.kind {
            FieldKind::Nested { meta } => collect(meta, known),
            FieldKind::Leaf { env, .. } => known.extend(env),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_variable_is_named_with_the_nearest_one() {
        let problems = |name: &str| unknown(std::iter::once(name.to_owned()));
        let said = problems("SIGHTLINE_ORIGIN_RTPM_LISTEN");
        assert!(said[0].contains("RTPM_LISTEN is no setting; did you mean SIGHTLINE_ORIGIN_RTMP_LISTEN?"), "{said:?}");
        assert!(
            problems("SIGHTLINE_ORIGIN_RTMP_LISTEN").is_empty() && problems("SIGHTLINE_OTHER").is_empty() && problems("PATH").is_empty()
        );
    }
}

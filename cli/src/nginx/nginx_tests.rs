use super::*;
use sightline_origin::{Config, Origin};
use std::collections::BTreeMap;

fn samples() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/nginx/samples");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn sample(number: usize) -> Imported {
    import(&samples()[number]).unwrap()
}

/// What a start would read.
fn config(imported: &Imported) -> Config {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("origin.toml");
    std::fs::write(&file, &imported.toml).unwrap();
    let config: Config = crate::settings::file::load(&file).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    Origin::check(&config).unwrap_or_else(|error| panic!("{error}\n{}", imported.toml));
    config
}

fn note<'a>(imported: &'a Imported, directive: &str) -> (Outcome, &'a str) {
    let found = imported.findings.iter().find(|finding| finding.directive.starts_with(directive));
    found.map(|finding| (finding.outcome, finding.note.as_str())).unwrap_or_else(|| panic!("{directive}: {:#?}", imported.findings))
}

#[test]
fn every_sample_becomes_settings_that_an_origin_starts_with_and_no_directive_is_passed_over() {
    let samples = samples();
    assert_eq!(samples.len(), 11);
    for file in samples {
        let imported = import(&file).unwrap();
        config(&imported);
        let mut named: BTreeMap<(String, usize), usize> = BTreeMap::new();
        for finding in &imported.findings {
            *named.entry((finding.file.clone(), finding.line)).or_default() += 1;
            assert!(!finding.note.is_empty(), "{finding:?}");
        }
        // Each simple directive within rtmp { }, but for include.
        let text = std::fs::read_to_string(&file).unwrap();
        let parsed = nginx_lint_parser::parse_string(&text).unwrap();
        for rtmp in parsed.directives().filter(|directive| directive.is("rtmp")) {
            let mut blocks = vec![rtmp];
            while let Some(directive) = blocks.pop() {
                for inner in directive.block.iter().flat_map(nginx_lint_parser::ast::Block::directives) {
                    let is_block = inner.block.is_some();
                    let key = (file.display().to_string(), inner.span.start.line);
                    assert!(is_block || inner.is("include") || named.contains_key(&key), "{}: {} has no line", file.display(), inner.name);
                    if !inner.is("recorder") {
                        blocks.push(inner);
                    }
                }
            }
        }
        let shown = serde_json::to_string(&imported.findings).unwrap();
        assert!(!shown.contains("SECRET") && !shown.contains("HIDDEN") && !shown.contains("STREAM_KEY"), "{shown}");
    }
}

#[test]
fn the_specification_s_own_configuration_is_mapped_but_for_playing_files() {
    let imported = sample(0);
    let config = config(&imported);
    assert_eq!((config.rtmp.listen.port(), config.rtmp.chunk_size, &config.rtmp.apps[..]), (1935, 4096, &["live".to_owned()][..]));
    assert_eq!((config.record.enabled, config.record.flv), (true, true));
    assert_eq!((config.http.hls_segment_sec, config.http.hls_segments), (3, 20));
    let relays: Vec<String> = config.relays.iter().map(|relay| format!("{} {}", relay.name, relay.url)).collect();
    assert_eq!(relays, ["youtube.com rtmp://youtube.com:1935/live2/***", "twitch.tv rtmp://twitch.tv:1935/live/***"]);
    assert_eq!(config.apps[0].rules, ["allow publish all", "allow play all"]);
    let not: Vec<&str> = imported
        .findings
        .iter()
        .filter(|finding| finding.outcome == Outcome::NotMapped)
        .map(|finding| finding.directive.as_str())
        .collect();
    assert_eq!(not, ["play /var/recordings/"]);
}

#[test]
fn rules_around_an_application_hold_where_it_has_none_of_its_own() {
    let config = config(&sample(5));
    let rules = |name: &str| config.apps.iter().find(|app| app.name == name).unwrap().rules.clone();
    assert_eq!(rules("live"), ["allow play all"]);
    assert_eq!(rules("studio").len(), 5);
}

#[test]
fn what_does_not_map_is_named_with_the_nearest_thing() {
    for (number, directive, outcome, words) in [
        (2, "exec ffmpeg", Outcome::NotMapped, "[[relays]]"),
        (2, "hls_variant", Outcome::NotMapped, "one rendition"),
        (2, "rtmp_stat all", Outcome::NotMapped, "/metrics"),
        (3, "on_publish http", Outcome::Mapped, "callbacks.on_publish"),
        (3, "record_suffix", Outcome::NotMapped, "named by their time"),
        (4, "pull", Outcome::NotMapped, "camera agent"),
        (6, "recorder audio", Outcome::NotMapped, "records each stream once"),
        (7, "dash on", Outcome::NotMapped, "LL-HLS"),
        (8, "push edge1.example", Outcome::Mapped, "[[relays]]"),
        (9, "listen 1936", Outcome::NotMapped, "another origin"),
        (9, "chunk_size 4000", Outcome::NotMapped, "already"),
        (10, "unheard_of", Outcome::NotMapped, "not known"),
    ] {
        let imported = sample(number);
        let (found, note) = note(&imported, directive);
        assert!(found == outcome && note.contains(words), "{directive}: {found:?} {note}");
    }
}

#[test]
fn a_file_without_rtmp_or_that_is_no_nginx_conf_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("nginx.conf");
    for (text, words) in [("events { }\n", "no rtmp"), ("rtmp {\n server {\n", "line"), ("rtmp { server { listen 1935 } }", "line")] {
        std::fs::write(&file, text).unwrap();
        let said = import(&file).err().unwrap().to_string();
        assert!(said.contains(words) && said.contains("nginx.conf"), "{said}");
    }
    assert!(import(&dir.path().join("none.conf")).is_err());
}

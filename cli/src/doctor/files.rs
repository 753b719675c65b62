//! What a server keeps on the disk: whether it can be written, who else can read it, when certificates end, and how much room there is.

use super::item::{Found, Problem, all};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

/// Less than this and a database, a log or a recording fails soon.
const FREE_BYTES_MIN: u64 = 256 << 20;
/// A certificate that ends sooner is named.
const ENDS_SOON_SEC: i64 = 30 * 86_400;

/// Whether a directory can be written; one that is not there yet: whether it could be made.
pub(super) fn writable(key: &str, dir: &Path) -> Found {
    let existing = existing(dir);
    let mark = existing.join(format!(".sightline-doctor-{}", std::process::id()));
    match std::fs::write(&mark, b"doctor").and_then(|()| std::fs::remove_file(&mark)) {
        Ok(()) if existing == dir => Ok(format!("{}: can be written", dir.display())),
        Ok(()) => Ok(format!("{}: is made at the start", dir.display())),
        Err(error) => {
            let mend = format!("let this user write {}, or set {key} to a directory that it may write", existing.display());
            Err(Problem::new(format!("{key}: {}: {error}", existing.display()), mend))
        }
    }
}

/// Room on the disk of each directory.
pub(super) fn disk(dirs: &[(&str, &Path)]) -> Found {
    let room = |&(key, dir): &(&str, &Path)| {
        let space = rustix::fs::statvfs(existing(dir));
        let free = space.map(|space| space.f_bavail * space.f_frsize);
        match free {
            Ok(free) if free >= FREE_BYTES_MIN => Ok(format!("{}: {} MB free", dir.display(), free / 1_000_000)),
            Ok(free) => {
                let detail = format!("{key}: {}: {} MB free", dir.display(), free / 1_000_000);
                Err(Problem::new(detail, format!("make room: {} MB at least", FREE_BYTES_MIN / 1_000_000)))
            }
            Err(error) => {
                Err(Problem::new(format!("{key}: {}: {error}", dir.display()), format!("set {key} to a directory of this machine")))
            }
        }
    };
    all(dirs.iter().map(room).collect())
}

/// Whether nobody but their owner can read the secrets that are there.
pub(super) fn secrets(files: &[PathBuf]) -> Found {
    let (mut kept, mut open) = (0, Vec::new());
    for file in files {
        match std::fs::metadata(file) {
            Ok(found) if found.permissions().mode() & 0o077 != 0 => open.push((file, found.permissions().mode() & 0o777)),
            Ok(_) => kept += 1,
            // What is not there yet is made with the right mode.
            Err(_) => {}
        }
    }
    if open.is_empty() {
        return Ok(format!("{kept} secret files, for their owner alone"));
    }
    let shown = |&(file, mode): &(&PathBuf, u32)| format!("{} has mode {mode:03o}", file.display());
    let names: Vec<_> = open.iter().map(|(file, _)| file.display().to_string()).collect();
    Err(Problem::new(open.iter().map(shown).collect::<Vec<_>>().join(", "), format!("chmod 600 {}", names.join(" "))))
}

/// When certificates end. One that is not there is passed over: who needs it says so.
pub(super) fn certificates(files: &[(&str, PathBuf)], now_sec: i64, mend: &str) -> Found {
    let judge = |(name, file): &(&str, PathBuf)| match ends_at(file) {
        Ok(until) => judge(name, until, now_sec, mend),
        Err(problem) => Err(Problem::new(format!("{name}: {}: {problem}", file.display()), mend)),
    };
    all(files.iter().filter(|(_, file)| file.exists()).map(judge).collect())
}

/// One certificate's end.
pub(super) fn judge(name: &str, until: i64, now_sec: i64, mend: &str) -> Found {
    let shown = jiff::Timestamp::from_second(until).map_or_else(|_| until.to_string(), |at| at.to_string());
    let day = shown.split('T').next().unwrap_or_default();
    if until <= now_sec {
        return Err(Problem::new(format!("{name} has ended on {day}"), mend));
    }
    let soon = if until - now_sec < ENDS_SOON_SEC { ", soon" } else { "" };
    Ok(format!("{name} is good until {day}{soon}"))
}

fn ends_at(file: &Path) -> Result<i64, String> {
    let der = CertificateDer::from_pem_file(file).map_err(|error| error.to_string())?;
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
    Ok(parsed.validity().not_after.timestamp())
}

/// The directory, or the nearest one above it that is there.
fn existing(dir: &Path) -> &Path {
    dir.ancestors().find(|path| path.is_dir()).filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_that_others_can_read_is_named_with_the_command_that_mends_it() {
        let home = tempfile::tempdir().unwrap();
        let file = |name: &str, mode| {
            let path = home.path().join(name);
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            path
        };
        let (kept, open) = (file("ca.key", 0o600), file("cluster.key", 0o640));
        assert!(secrets(&[kept.clone(), home.path().join("none")]).unwrap().starts_with("1 secret"));
        let problem = secrets(&[kept, open.clone()]).unwrap_err();
        assert!(problem.detail.contains("640") && problem.mend == format!("chmod 600 {}", open.display()), "{problem:?}");
    }

    #[test]
    fn a_certificate_that_has_ended_fails_and_one_that_ends_soon_is_said() {
        let day = |end: i64| judge("server.pem", end * 86_400, 100 * 86_400, "renew it");
        assert!(day(99).is_err() && day(120).unwrap().ends_with(", soon") && !day(140).unwrap().contains("soon"));
    }
}

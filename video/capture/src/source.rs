//! Where pictures come from: `SRC` of the command line.

use std::path::{Path, PathBuf};

use crate::{address::CameraUrl, error::SourceError, v4l2::V4l2Camera};

/// A source, as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// `test`: the moving scene; `test:grain`: the same with a sensor's noise, on which an encoder can spend a preset's bit rate.
    Test {
        /// With noise.
        has_grain: bool,
    },
    /// A media file, looped in real time.
    File(PathBuf),
    /// `-`: standard input, H.264 in Annex B form or what ffmpeg reads.
    Stdin,
    /// `rtsp(s)://[USER:PASSWORD@]HOST[:PORT]/PATH`: a camera's H.264, and AAC if it has sound, passed through; G.711 as AAC.
    Rtsp(CameraUrl),
    /// `http(s)://[USER:PASSWORD@]HOST[:PORT]/PATH`: a camera's MJPEG (`multipart/x-mixed-replace`), encoded here.
    Mjpeg(CameraUrl),
    /// `/dev/videoN`, or a link to it: a camera of this machine.
    V4l2(V4l2Camera),
}

impl std::str::FromStr for Source {
    type Err = SourceError;

    fn from_str(name: &str) -> Result<Self, SourceError> {
        let camera = |scheme| CameraUrl::parse(name, &[scheme]).map_err(|problem| SourceError::Url { scheme, problem });
        match name {
            "test" => Ok(Self::Test { has_grain: false }),
            "test:grain" => Ok(Self::Test { has_grain: true }),
            "-" => Ok(Self::Stdin),
            // Among devices only shared memory holds files.
            _ if name.starts_with("/dev/") && !name.starts_with("/dev/shm/") => {
                Ok(Self::V4l2(V4l2Camera { path: PathBuf::from(name), format: None }))
            }
            _ if name.starts_with("rtsp://") => camera("rtsp").map(Self::Rtsp),
            _ if name.starts_with("http://") => camera("http").map(Self::Mjpeg),
            _ if name.starts_with("rtsps://") => camera("rtsps").map(Self::Rtsp),
            _ if name.starts_with("https://") => camera("https").map(Self::Mjpeg),
            _ if name.contains("://") => Err(SourceError::Unsupported { kind: "a URL of this scheme" }),
            path => Ok(Self::File(PathBuf::from(path))),
        }
    }
}

impl Source {
    /// Names where a smaller stream of the same RTSP camera is: of the two, the one that comes nearest to the preset is read. Before [`Self::trust`] and
    /// [`Self::pin_in`], which hold for both.
    ///
    /// # Errors
    /// Neither is anything else than a camera by RTSP.
    pub fn second(&mut self, name: &str) -> Result<(), SourceError> {
        match (self, name.parse()?) {
            (Self::Rtsp(url), Self::Rtsp(sub)) => {
                url.second(sub);
                Ok(())
            }
            _ => Err(SourceError::NoSecond),
        }
    }

    /// The two streams of a camera that has another address for each, each alone.
    #[must_use]
    pub fn each(&self) -> Vec<Self> {
        match self {
            Self::Rtsp(url) => std::iter::once(url.alone()).chain(url.sub().cloned()).map(Self::Rtsp).collect(),
            Self::Test { .. } | Self::File(_) | Self::Stdin | Self::Mjpeg(_) | Self::V4l2(_) => vec![self.clone()],
        }
    }

    /// Names the authority (a PEM file) that a camera's certificate must come from. Without it, it must come from one that the machine trusts, or be
    /// one that the camera has signed itself, the first that it shows.
    pub fn trust(&mut self, ca: &Path) {
        match self {
            Self::Rtsp(url) | Self::Mjpeg(url) => url.trust(ca),
            Self::Test { .. } | Self::File(_) | Self::Stdin | Self::V4l2(_) => {}
        }
    }

    /// Names the file in which the certificates that cameras have signed themselves are kept, so that another one is refused over restarts, too. Where an authority
    /// is named, none is taken.
    pub fn pin_in(&mut self, file: &Path) {
        match self {
            Self::Rtsp(url) | Self::Mjpeg(url) => url.pin_in(file),
            Self::Test { .. } | Self::File(_) | Self::Stdin | Self::V4l2(_) => {}
        }
    }

    /// The source as it was named, with a camera's user and password: for settings that are handed on, never for people.
    #[must_use]
    pub fn reveal(&self) -> String {
        match self {
            Self::Rtsp(url) | Self::Mjpeg(url) => url.reveal().to_owned(),
            Self::Test { .. } | Self::File(_) | Self::Stdin | Self::V4l2(_) => self.to_string(),
        }
    }
}

/// For people: of a camera's URL scheme, host, port and path only.
impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Test { has_grain: false } => f.write_str("test"),
            Self::Test { has_grain: true } => f.write_str("test:grain"),
            Self::Stdin => f.write_str("-"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Rtsp(url) | Self::Mjpeg(url) => url.fmt(f),
            Self::V4l2(camera) => write!(f, "{}", camera.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart_by_their_names() {
        assert_eq!("test".parse::<Source>().unwrap(), Source::Test { has_grain: false });
        assert_eq!("test:grain".parse::<Source>().unwrap().to_string(), "test:grain");
        assert_eq!("-".parse::<Source>().unwrap(), Source::Stdin);
        assert_eq!("a/b.mp4".parse::<Source>().unwrap(), Source::File("a/b.mp4".into()));
        assert!(matches!("rtsp://camera/1".parse::<Source>().unwrap(), Source::Rtsp(url) if url.to_string() == "rtsp://camera/1"));
        assert!(matches!("http://camera:81/stream".parse::<Source>().unwrap(), Source::Mjpeg(_)));
        for path in ["/dev/video0", "/dev/v4l/by-id/usb-046d_HD_Pro-video-index0"] {
            assert_eq!(path.parse::<Source>().unwrap(), Source::V4l2(V4l2Camera { path: path.into(), format: None }));
        }
        assert_eq!("/dev/shm/clip.mp4".parse::<Source>().unwrap(), Source::File("/dev/shm/clip.mp4".into()));
        assert!(matches!("rtsps://camera/1".parse::<Source>().unwrap(), Source::Rtsp(url) if url.is_secure()));
        assert!(matches!("https://camera/stream".parse::<Source>().unwrap(), Source::Mjpeg(url) if url.is_secure()));
        let error = "srt://camera/1".parse::<Source>().unwrap_err().to_string();
        assert!(error.contains("a URL of this scheme") && error.contains("`test`") && error.contains("/dev/videoN"), "{error}");
    }

    #[test]
    fn a_password_is_shown_by_no_source_and_no_error() {
        let named = "rtsp://user:se%63ret@camera/1?token=hidden";
        let source: Source = named.parse().unwrap();
        assert_eq!(source.reveal(), named);
        for name in
            ["rtsp://user:secret@camera:port/", "rtsps://user:secret@", "https://user:secret@camera:port/", "srt://user:secret@camera/"]
        {
            let error = name.parse::<Source>().unwrap_err().to_string();
            assert!(!error.contains("secret") && !error.contains("user:secret"), "{error}");
        }
        for shown in [source.to_string(), format!("{source:?}")] {
            assert!(!shown.contains("cret") && !shown.contains("hidden") && !shown.contains("user"), "{shown}");
        }
    }
}

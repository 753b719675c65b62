//! Any container and codec that Sightline does not read itself, through the `ffmpeg` on the PATH, as YUV4MPEG2 on a pipe.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use sightline_signal::Settings;

use crate::{error::SourceError, picture::Picture};

/// The longest YUV4MPEG2 header line, in bytes.
const HEADER_BYTES_MAX: u64 = 1024;

/// Whether `ffmpeg` can be run.
pub fn is_there() -> bool {
    Command::new("ffmpeg")
        .arg("-version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// A running ffmpeg, looping the file, and the pictures that come out. Ends with its owner.
#[derive(Debug)]
pub struct Decoder {
    child: Child,
    pipe: BufReader<ChildStdout>,
    /// Width and height of the pictures: those of the file, scaled down into the preset where they exceed it.
    pub size: (usize, usize),
    /// Pictures a second: those of the file, at most the preset's.
    pub fps: f64,
}

impl Decoder {
    /// Starts ffmpeg; pictures are never scaled up.
    pub fn start(path: &Path, limits: Settings) -> Result<Self, SourceError> {
        let broken = |problem: String| SourceError::Ffmpeg { path: path.to_owned(), problem };
        let scale = format!(
            "scale='min({width},iw)':'min({height},ih)':force_original_aspect_ratio=decrease:force_divisible_by=2,setsar=1",
            width = limits.width,
            height = limits.height
        );
        let mut child = Command::new("ffmpeg")
            .args(["-nostdin", "-loglevel", "error", "-stream_loop", "-1", "-i"])
            .arg(path)
            .args([
                "-map",
                "0:v:0",
                "-an",
                "-vf",
                &scale,
                "-fpsmax",
                &limits.fps.to_string(),
                "-pix_fmt",
                "yuv420p",
                "-f",
                "yuv4mpegpipe",
                "-",
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| broken(error.to_string()))?;
        let Some(stdout) = child.stdout.take() else { return Err(broken("it has no standard output".into())) };
        let mut decoder = Self { child, pipe: BufReader::with_capacity(1 << 20, stdout), size: (0, 0), fps: 0.0 };
        match decoder.read_header() {
            Some((size, fps)) => {
                (decoder.size, decoder.fps) = (size, fps);
                Ok(decoder)
            }
            None => Err(broken(decoder.last_words())),
        }
    }

    fn read_line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.pipe).take(HEADER_BYTES_MAX).read_until(b'\n', &mut line).ok()?;
        (line.pop() == Some(b'\n')).then_some(line)
    }

    /// `YUV4MPEG2 W768 H576 F10:1 …`
    fn read_header(&mut self) -> Option<((usize, usize), f64)> {
        let line = String::from_utf8(self.read_line()?).ok()?;
        let field = |letter: char| line.split(' ').find_map(|word| word.strip_prefix(letter));
        let (count, per) = field('F')?.split_once(':')?;
        let fps = count.parse::<f64>().ok()? / per.parse::<f64>().ok()?;
        let size = (field('W')?.parse().ok()?, field('H')?.parse().ok()?);
        (line.starts_with("YUV4MPEG2") && fps.is_finite() && fps > 0.0).then_some((size, fps))
    }

    /// Reads the next picture into `picture`; false at the end.
    pub fn read(&mut self, picture: &mut Picture) -> bool {
        if (picture.width(), picture.height()) != self.size {
            *picture = Picture::new(self.size.0, self.size.1);
        }
        self.read_line().is_some_and(|line| line.starts_with(b"FRAME")) && self.pipe.read_exact(picture.bytes_mut()).is_ok()
    }

    /// The last line on standard error, after the end.
    pub fn last_words(&mut self) -> String {
        let _ = self.child.kill();
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.by_ref().take(64 * 1024).read_to_string(&mut text);
        }
        text.lines().last().unwrap_or("it wrote no picture").to_owned()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

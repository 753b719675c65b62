//! Where a JPEG picture ends, by its own markers (ITU-T T.81 §B.1.1): for streams that say it wrongly, or not at all.

/// The bytes are no JPEG picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NoJpeg;

/// A search for the end that goes on as bytes come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct JpegEnd {
    /// Where the next marker is, or the samples that were not searched yet.
    at: usize,
    in_samples: bool,
}

impl JpegEnd {
    /// The length of the picture that `bytes` begin with; `None`: more bytes are needed. They are the bytes of the last call and more.
    pub(crate) fn find(&mut self, bytes: &[u8]) -> Option<Result<usize, NoJpeg>> {
        loop {
            if self.in_samples {
                self.at += bytes.get(self.at..)?.iter().position(|&byte| byte == 0xff).unwrap_or(bytes.len() - self.at);
            }
            let &[first, kind] = bytes.get(self.at..self.at + 2)? else { return None };
            if first != 0xff {
                return Some(Err(NoJpeg));
            }
            match (kind, self.in_samples) {
                (0xd9, _) => return Some(Ok(self.at + 2)),
                // A sample that looks like a marker, and a restart.
                (0x00 | 0xd0..=0xd7, true) => self.at += 2,
                // The beginning; filling.
                (0xd8, false) => self.at += 2,
                (0xff, _) => self.at += 1,
                (0x00..=0xbf | 0xd0..=0xd8, _) => return Some(Err(NoJpeg)),
                _ => {
                    let &[high, low] = bytes.get(self.at + 2..self.at + 4)? else { return None };
                    self.at += 2 + usize::from(u16::from_be_bytes([high, low]));
                    self.in_samples = kind == 0xda;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_ends_at_its_own_end_however_it_comes() {
        let mut jpeg = Vec::new();
        jpeg_encoder::Encoder::new(&mut jpeg, 90).encode(&[200, 30, 60].repeat(64 * 48), 64, 48, jpeg_encoder::ColorType::Rgb).unwrap();
        // A preview inside, which ends before the picture does.
        let preview = [&[0xff, 0xe1, 0, 6][..], &[0xff, 0xd8, 0xff, 0xd9]].concat();
        let jpeg = [&jpeg[..2], &preview, &jpeg[2..]].concat();
        let stream = [jpeg.clone(), b"--frame".to_vec()].concat();
        assert_eq!(JpegEnd::default().find(&stream), Some(Ok(jpeg.len())));
        let mut end = JpegEnd::default();
        for known in 0..jpeg.len() {
            assert_eq!(end.find(&stream[..known]), None, "{known}");
        }
        assert_eq!(end.find(&stream), Some(Ok(jpeg.len())));
    }

    #[test]
    fn what_is_no_picture_is_told() {
        assert_eq!(JpegEnd::default().find(b"\xff\xd8hello"), Some(Err(NoJpeg)));
        assert_eq!(JpegEnd::default().find(b"\xff\x01"), Some(Err(NoJpeg)));
        assert_eq!(JpegEnd::default().find(b"\xff\xd8\xff"), None);
    }
}

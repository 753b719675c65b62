//! Initialisation segments: `ftyp` and `moov`.

use crate::{Error, TIMESCALE, mp4_track_id};
use alloc::{vec, vec::Vec};
use bytes::Bytes;
use core::num::NonZeroU16;
use shiguredo_mp4::{
    Decode, Either, Encode as _, FixedPointNumber, LanguageCode, Mp4FileTime, SampleFlags, Uint,
    boxes::{
        AudioSampleEntryFields, Av01Box, Avc1Box, AvccBox, Brand, DflaBox, DinfBox, DopsBox, EsdsBox, FlacBox, FlacMetadataBlock, FtypBox,
        HdlrBox, Hvc1Box, MdhdBox, MdiaBox, MediaHeader, MinfBox, MoovBox, Mp4aBox, MvexBox, MvhdBox, OpusBox, SampleEntry, SmhdBox,
        StblBox, StcoBox, StscBox, StsdBox, StszBox, SttsBox, TkhdBox, TrakBox, TrexBox, VisualSampleEntryFields, VmhdBox, Vp09Box,
    },
    descriptors::{DecoderConfigDescriptor, DecoderSpecificInfo, EsDescriptor, SlConfigDescriptor},
};
use sightline_media::{Codec, Track, TrackConfig, aac, avc, coded};

/// True for the codecs that have a sample entry here. AC-3, E-AC-3 and MP3 have none: no browser plays them from MP4 reliably.
#[must_use]
pub const fn holds(codec: Codec) -> bool {
    !matches!(codec, Codec::Ac3 | Codec::Eac3 | Codec::Mp3)
}

/// `ftyp` and `moov`: what a player needs before the first fragment.
///
/// # Errors
/// [`Error::Empty`] without tracks, [`Error::Config`] for parameter sets that do not fit.
pub fn init_segment(tracks: &[Track]) -> Result<Bytes, Error> {
    if tracks.is_empty() {
        return Err(Error::Empty);
    }
    let ftyp = FtypBox {
        major_brand: Brand::ISO5,
        minor_version: 512,
        compatible_brands: vec![Brand::ISOM, Brand::ISO5, Brand::ISO6, Brand::MP41, Brand::AVC1],
    };
    let trak_boxes = tracks.iter().map(trak).collect::<Result<Vec<_>, _>>()?;
    let trex_boxes = tracks
        .iter()
        .map(|track| TrexBox {
            track_id: mp4_track_id(track.id),
            default_sample_description_index: 1,
            default_sample_duration: 0,
            default_sample_size: 0,
            default_sample_flags: SampleFlags::new(0),
        })
        .collect();
    let moov = MoovBox {
        mvhd_box: MvhdBox {
            creation_time: Mp4FileTime::default(),
            modification_time: Mp4FileTime::default(),
            timescale: TIMESCALE,
            duration: 0,
            rate: MvhdBox::DEFAULT_RATE,
            volume: MvhdBox::DEFAULT_VOLUME,
            matrix: MvhdBox::DEFAULT_MATRIX,
            next_track_id: tracks.iter().map(|track| mp4_track_id(track.id)).max().unwrap_or(0) + 1,
        },
        trak_boxes,
        mvex_box: Some(MvexBox { mehd_box: None, trex_boxes, unknown_boxes: Vec::new() }),
        unknown_boxes: Vec::new(),
    };
    let mut bytes = ftyp.encode_to_vec().map_err(|_| Error::Config)?;
    bytes.extend(moov.encode_to_vec().map_err(|_| Error::Config)?);
    Ok(bytes.into())
}

fn trak(track: &Track) -> Result<TrakBox, Error> {
    let is_video = track.config.codec().is_video();
    let (width, height) = match track.config.size().filter(|_| is_video) {
        Some((width, height)) => (side(width)?, side(height)?),
        None if is_video => return Err(Error::Config),
        None => (0, 0),
    };
    let entry = match &track.config {
        TrackConfig::H264(config) => avc1(config, (width, height))?,
        TrackConfig::Aac(config) => mp4a(config),
        TrackConfig::Coded(config) => coded_entry(config, (width, height))?,
    };
    let (handler_type, media_header, volume) = if is_video {
        (HdlrBox::HANDLER_TYPE_VIDE, MediaHeader::Vmhd(VmhdBox::default()), TkhdBox::DEFAULT_VIDEO_VOLUME)
    } else {
        (HdlrBox::HANDLER_TYPE_SOUN, MediaHeader::Smhd(SmhdBox::default()), TkhdBox::DEFAULT_AUDIO_VOLUME)
    };
    Ok(TrakBox {
        tkhd_box: TkhdBox {
            flag_track_enabled: true,
            flag_track_in_movie: true,
            flag_track_in_preview: false,
            flag_track_size_is_aspect_ratio: false,
            creation_time: Mp4FileTime::default(),
            modification_time: Mp4FileTime::default(),
            track_id: mp4_track_id(track.id),
            duration: 0,
            layer: TkhdBox::DEFAULT_LAYER,
            alternate_group: TkhdBox::DEFAULT_ALTERNATE_GROUP,
            volume,
            matrix: TkhdBox::DEFAULT_MATRIX,
            width: FixedPointNumber::new(width.cast_signed(), 0),
            height: FixedPointNumber::new(height.cast_signed(), 0),
        },
        edts_box: None,
        mdia_box: MdiaBox {
            mdhd_box: MdhdBox {
                creation_time: Mp4FileTime::default(),
                modification_time: Mp4FileTime::default(),
                timescale: TIMESCALE,
                duration: 0,
                language: LanguageCode::UNDEFINED,
            },
            hdlr_box: HdlrBox { handler_type, name: b"sightline\0".to_vec() },
            minf_box: MinfBox {
                media_header: Some(media_header),
                dinf_box: DinfBox::LOCAL_FILE,
                stbl_box: empty_sample_table(entry),
                unknown_boxes: Vec::new(),
            },
            unknown_boxes: Vec::new(),
        },
        unknown_boxes: Vec::new(),
    })
}

fn side(pixels: u32) -> Result<u16, Error> {
    u16::try_from(pixels).ok().filter(|&pixels| pixels <= i16::MAX.cast_unsigned()).ok_or(Error::Config)
}

/// In a fragmented file the table only says how samples are coded.
fn empty_sample_table(entry: SampleEntry) -> StblBox {
    StblBox {
        stsd_box: StsdBox { entries: vec![entry] },
        stts_box: SttsBox { entries: Vec::new() },
        ctts_box: None,
        cslg_box: None,
        stsc_box: StscBox { entries: Vec::new() },
        stsz_box: StszBox::Variable { entry_sizes: Vec::new() },
        stco_or_co64_box: Either::A(StcoBox { chunk_offsets: Vec::new() }),
        stss_box: None,
        sdtp_box: None,
        unknown_boxes: Vec::new(),
    }
}

fn avc1(config: &avc::DecoderConfig, (width, height): (u16, u16)) -> Result<SampleEntry, Error> {
    let &[_, profile, compatibility, level, ..] = config.as_bytes() else { return Err(Error::Config) };
    let picture = config.picture();
    let is_sps = |set: &&[u8]| set.first().is_some_and(|&header| avc::NalKind::of(header) == avc::NalKind::Sps);
    let (sps_list, pps_list): (Vec<&[u8]>, Vec<&[u8]>) = config.parameter_sets().partition(is_sps);
    let owned = |sets: Vec<&[u8]>| sets.into_iter().map(<[u8]>::to_vec).collect();
    let has_chroma = picture.has_chroma_in_record();
    let avcc_box = AvccBox {
        avc_profile_indication: profile,
        profile_compatibility: compatibility,
        avc_level_indication: level,
        length_size_minus_one: Uint::new(u8::try_from(config.length_bytes() - 1).map_err(|_| Error::Config)?),
        sps_list: owned(sps_list),
        pps_list: owned(pps_list),
        // Old muxers leave these out of a High profile record: the SPS says them too.
        chroma_format: has_chroma.then(|| Uint::new(picture.chroma_format)),
        bit_depth_luma_minus8: has_chroma.then(|| Uint::new(picture.bit_depth_luma - 8)),
        bit_depth_chroma_minus8: has_chroma.then(|| Uint::new(picture.bit_depth_chroma - 8)),
        sps_ext_list: Vec::new(),
    };
    Ok(SampleEntry::Avc1(Avc1Box { visual: visual((width, height)), avcc_box, unknown_boxes: Vec::new() }))
}

fn visual((width, height): (u16, u16)) -> VisualSampleEntryFields {
    VisualSampleEntryFields {
        data_reference_index: VisualSampleEntryFields::DEFAULT_DATA_REFERENCE_INDEX,
        width,
        height,
        horizresolution: VisualSampleEntryFields::DEFAULT_HORIZRESOLUTION,
        vertresolution: VisualSampleEntryFields::DEFAULT_VERTRESOLUTION,
        frame_count: VisualSampleEntryFields::DEFAULT_FRAME_COUNT,
        compressorname: VisualSampleEntryFields::NULL_COMPRESSORNAME,
        depth: VisualSampleEntryFields::DEFAULT_DEPTH,
    }
}

/// The sample entries of the codecs whose record is kept as it came.
fn coded_entry(config: &coded::Config, size: (u16, u16)) -> Result<SampleEntry, Error> {
    let (visual, unknown_boxes) = (visual(size), Vec::new());
    match config.codec() {
        Codec::Hevc => {
            // Drafts of the standard wrote version 0; the fields are the same.
            let mut record = config.as_bytes().to_vec();
            record.splice(..1, [1]);
            Ok(SampleEntry::Hvc1(Hvc1Box { visual, hvcc_box: boxed(*b"hvcC", &record)?, unknown_boxes }))
        }
        Codec::Av1 => Ok(SampleEntry::Av01(Av01Box { visual, av1c_box: boxed(*b"av1C", config.as_bytes())?, unknown_boxes })),
        Codec::Vp9 => {
            let record = [&[1, 0, 0, 0], config.vp9_fields().ok_or(Error::Config)?].concat();
            Ok(SampleEntry::Vp09(Vp09Box { visual, vpcc_box: boxed(*b"vpcC", &record)?, unknown_boxes }))
        }
        Codec::Opus => opus(config.as_bytes()),
        Codec::Flac => flac(config.flac_stream_info().ok_or(Error::Config)?),
        Codec::H264 | Codec::Aac | Codec::Ac3 | Codec::Eac3 | Codec::Mp3 => Err(Error::Config),
    }
}

/// A configuration box around a record that a stream carries without one.
fn boxed<B: Decode>(kind: [u8; 4], record: &[u8]) -> Result<B, Error> {
    let length = u32::try_from(record.len() + 8).map_err(|_| Error::TooLarge)?;
    let bytes = [&length.to_be_bytes(), &kind[..], record].concat();
    B::decode(&bytes).map(|(read, _)| read).map_err(|_| Error::Config)
}

fn sound(channels: u8, sample_rate_hz: u32) -> AudioSampleEntryFields {
    AudioSampleEntryFields {
        data_reference_index: NonZeroU16::MIN,
        channelcount: u16::from(channels.max(1)),
        samplesize: 16,
        // Rates above 65,535 Hz do not fit; players then take the configuration's.
        samplerate: FixedPointNumber::new(u16::try_from(sample_rate_hz).unwrap_or(0), 0),
    }
}

/// From the ID header (RFC 7845 §5.1), or for stereo without one. Only the families of one and two channels: mapping family 0.
fn opus(header: &[u8]) -> Result<SampleEntry, Error> {
    let (channels, pre_skip, input_sample_rate, output_gain) = match header {
        [] => (2, 0, 48_000, 0),
        &[_, _, _, _, _, _, _, _, _, channels, skip_low, skip_high, r0, r1, r2, r3, gain_low, gain_high, 0, ..] => (
            channels,
            u16::from_le_bytes([skip_low, skip_high]),
            u32::from_le_bytes([r0, r1, r2, r3]),
            i16::from_le_bytes([gain_low, gain_high]),
        ),
        _ => return Err(Error::Config),
    };
    let dops_box = DopsBox { output_channel_count: channels, pre_skip, input_sample_rate, output_gain };
    Ok(SampleEntry::Opus(OpusBox { audio: sound(channels, 48_000), dops_box, unknown_boxes: Vec::new() }))
}

/// From STREAMINFO (FLAC §8.2): 20 bits of rate and 3 of channels behind ten bytes.
fn flac(stream_info: &[u8]) -> Result<SampleEntry, Error> {
    let &[_, _, _, _, _, _, _, _, _, _, r0, r1, r2, ..] = stream_info else { return Err(Error::Config) };
    let rate = u32::from_be_bytes([0, r0, r1, r2]) >> 4;
    let block = FlacMetadataBlock { last_metadata_block_flag: Uint::new(1), block_type: Uint::new(0), block_data: stream_info.to_vec() };
    let dfla_box = DflaBox { metadata_blocks: vec![block] };
    Ok(SampleEntry::Flac(FlacBox { audio: sound(((r2 >> 1) & 7) + 1, rate), dfla_box, unknown_boxes: Vec::new() }))
}

fn mp4a(config: &aac::AudioConfig) -> SampleEntry {
    SampleEntry::Mp4a(Mp4aBox {
        audio: sound(config.channels(), config.sample_rate_hz()),
        esds_box: EsdsBox {
            es: EsDescriptor {
                es_id: EsDescriptor::MIN_ES_ID,
                stream_priority: EsDescriptor::LOWEST_STREAM_PRIORITY,
                depends_on_es_id: None,
                url_string: None,
                ocr_es_id: None,
                dec_config_descr: DecoderConfigDescriptor {
                    object_type_indication: DecoderConfigDescriptor::OBJECT_TYPE_INDICATION_AUDIO_ISO_IEC_14496_3,
                    stream_type: DecoderConfigDescriptor::STREAM_TYPE_AUDIO,
                    up_stream: DecoderConfigDescriptor::UP_STREAM_FALSE,
                    buffer_size_db: Uint::new(0),
                    max_bitrate: 0,
                    avg_bitrate: 0,
                    dec_specific_info: Some(DecoderSpecificInfo { payload: config.as_bytes().to_vec() }),
                },
                sl_config_descr: SlConfigDescriptor,
            },
        },
        unknown_boxes: Vec::new(),
    })
}

//! RTMP without I/O: bytes in, bytes out, time and seeds as arguments.
//!
//! Section numbers are those of Adobe's "Real Time Messaging Protocol Specification" 1.0.
//!
//! - [`client::Session`] publishes. It never allocates: payloads are lent from the caller's frames, headers made in a small scratch.
//! - [`server::Session`] (feature `server`) takes publishers and players. [`server::shared`] serialises a frame once for all players.
//! - [`player::Session`] (feature `server`) plays; for tests and load.
//! - [`flv`] frames the same bodies for files and HTTP.
//!
//! # Conformance
//!
//! Point by point; `cargo xtask lint` sees that each test that is named here exists. What is not done says why.
//!
//! | # | point | done | shown by |
//! |---|---|---|---|
//! | 1 | C0 is version 3; anything else is told apart and closed | yes | `a_peer_that_speaks_something_else_is_told_apart` `p01_nothing_is_sent_before_the_peer_speaks` |
//! | 2 | the handshake byte by byte | yes | `split_at_every_byte_a_stream_arrives_as_it_was_sent` |
//! | 3 | C1, C2 and connect in one piece | yes | `p03_p07_the_handshake_and_connect_in_one_piece_with_a_wrong_echo` |
//! | 4 | the simple handshake (§5.2) | yes | `an_opening_is_version_3_with_eight_zero_bytes_and_differs_by_seed` |
//! | 5 | the digest handshake, both schemas, and the fall back; as a server only: none asks it of a publisher | yes | `p05_the_digest_handshake_in_both_schemas_and_the_fall_back` `both_schemas_are_found_and_answered_in_the_same` `ffmpeg_is_the_same_through_both_servers` |
//! | 6 | RTMPE is refused | yes | `a_peer_that_speaks_something_else_is_told_apart` |
//! | 7 | a wrong echo in C2 is tolerated | yes | `p03_p07_the_handshake_and_connect_in_one_piece_with_a_wrong_echo` |
//! | 8 | TLS records end anywhere | yes | `split_at_every_byte_a_stream_arrives_as_it_was_sent` `publish_and_play_over_tls` |
//! | 9 | chunk stream ids of one, two and three bytes (§5.3.1.1) | yes | `chunk_stream_ids_of_one_two_and_three_bytes` |
//! | 10 | header types 0 to 3; a chunk stream may begin with type 1, not with 2 or 3 (§5.3.1.2) | yes | `librtmp_begins_with_type_1_and_types_2_and_3_are_refused_there` |
//! | 11 | type 3 as a new message repeats the difference | yes | `row_2_a_type_3_chunk_begins_a_message_and_repeats_the_difference` `fmle_begins_audio_with_type_3_after_type_0_and_the_difference_is_the_timestamp` |
//! | 12 | a header inside a message is an error | yes | `row_4_a_header_inside_an_unfinished_message_is_an_error` |
//! | 13 | the extended timestamp on type 3, present or absent; always sent (§5.3.1.3) | yes | `row_5_continuations_with_and_without_the_extended_timestamp` `a_payload_that_begins_like_the_missing_extended_timestamp_is_not_swallowed` |
//! | 14 | 0xFFFFFE, 0xFFFFFF, 0x1000000 | yes | `timestamps_around_the_extended_field` |
//! | 15 | extended differences in types 1 and 2 | yes | `extended_differences_in_types_1_and_2` |
//! | 16 | timestamps wrap at 2^32, and at 2^31 where SRS relays | yes | `row_3_the_timestamp_wraps_after_49_days` `timestamps_go_on_past_32_bits_and_a_little_back` `timestamps_of_31_bits_go_on_past_their_end` |
//! | 17 | Set Chunk Size 1..=1 MiB at the next chunk, both ways; the top bit is an error (§5.4.1) | yes | `p17_chunk_sizes_of_products_between_and_inside_messages` `chunk_size_changes_at_the_next_chunk` `limits_are_kept` |
//! | 18 | Abort (§5.4.2) | yes | `an_aborted_message_is_forgotten` |
//! | 19 | audio between the chunks of a large picture | yes | `row_1_audio_between_the_chunks_of_a_video_message` |
//! | 20 | messages of no bytes | yes | `a_message_of_no_bytes_is_a_message` |
//! | 21 | aggregates, their times moved (§7.1.6) | yes | `p21_an_aggregate_is_its_parts` `the_parts_times_are_moved_to_the_aggregates` |
//! | 22 | a new connection remembers nothing of the last | yes | `p22_a_new_connection_begins_with_the_standards_chunk_size` |
//! | 23 | acknowledgements each window, past 2^32 (§5.4.3) | yes | `acknowledgements_come_at_each_window_and_pings_are_answered_in_between` `acknowledgements_count_past_32_bits` |
//! | 24 | a publisher goes on without acknowledgements | yes | `p24_a_publisher_goes_on_without_acknowledgements` |
//! | 25 | Set Peer Bandwidth, all limits; read and sent, not obeyed: no server in use counts on it (§5.4.5) | yes | `set_peer_bandwidth::tests::the_table_reads_and_writes` |
//! | 26 | pings are answered between the chunks of a frame (§7.1.7) | yes | `acknowledgements_come_at_each_window_and_pings_are_answered_in_between` |
//! | 27 | stream begin, end, dry; others ignored | yes | `user_control::tests::the_table_reads_and_writes` |
//! | 28 | SetBufferLength | yes | `user_control::tests::the_table_reads_and_writes` |
//! | 29 | window, bandwidth and chunk size before the result | yes | `p29_window_bandwidth_and_chunk_size_come_before_the_result` |
//! | 30 | `releaseStream`, `FCPublish`, `FCUnpublish` anywhere | yes | `p30_release_and_fc_commands_before_and_after_create_stream` `the_historical_commands_are_answered` |
//! | 31 | `_checkbw`, `onBWDone` | yes | `p31_bandwidth_checks_hold_no_one_up` |
//! | 32 | `createStream` ids; eight a connection, one in use at a time | yes | `p32_streams_of_a_connection_are_counted_and_limited` `a_connection_carries_one_stream_and_may_begin_another_after_it` |
//! | 33 | `publish` live, record, append; the stream id in the header. What is recorded is the server's setting: all three are told and taken alike | yes | `p33_live_record_and_append_and_the_stream_in_the_header` |
//! | 34 | an unknown command with a transaction gets `_error` | yes | `the_historical_commands_are_answered` |
//! | 35 | `tcUrl` with and without port, IPv6, trailing slash, query in application or name | yes | `urls_of_servers_in_use` `the_application_is_the_whole_path_of_the_tc_url` `a_connection_carries_one_stream_and_may_begin_another_after_it` |
//! | 36 | the codes of §7.2.2. A redirect in `Connect.Rejected` (`ex.code` 302) is not followed: a host that the cloud did not name is not trusted | yes | `p36_the_codes_of_publish_and_play` `a_refused_application_says_why` |
//! | 37 | metadata with and without `@setDataFrame`, a wrong count, no end marker | yes | `metadata_with_and_without_set_data_frame` `an_ecma_array_with_a_wrong_count_and_no_end_marker_is_read` |
//! | 38 | all of AMF0; types 15 and 17; AMF3 behind 0x11 for one value only. Shared objects (16, 19) are ignored: no camera or player has them | yes | `every_other_type_is_read_past` `each_type_is_measured_and_the_switch_is_not_sticky` |
//! | 39 | `deleteStream`, and an abrupt end | yes | `p36_the_codes_of_publish_and_play` `viewers_wait_for_a_publisher_that_comes_back_and_leave_when_it_does_not` |
//! | 40 | a player gets metadata, sequence headers and the group of pictures | yes | `a_viewer_begins_at_the_last_key_frame_with_its_headers` |
//! | 41 | the AVC sequence header: first, repeated, changed | yes | `p41_a_sequence_header_is_told_when_it_is_new` |
//! | 42 | negative composition times | yes | `video::tests::the_table_reads_and_writes` |
//! | 43 | Annex B becomes AVCC | yes | `an_access_unit_becomes_avcc_without_its_parameter_sets` |
//! | 44 | AAC's configuration first; HE-AAC; G.711 is named and not taken: neither MP4 players nor browsers decode it | yes | `p44_aac_needs_its_configuration_and_others_are_named` |
//! | 45 | video alone, audio alone | yes | `p45_video_alone_and_audio_alone_begin_at_once` |
//! | 46 | audio and video out of step | yes | `p46_tracks_may_be_out_of_step` |
//! | 47 | SEI stays | yes | `p47_sei_stays_in_the_access_unit` |
//! | 48 | 1088 coded lines are 1080 | yes | `an_sps_of_1088_coded_lines_is_1080_high` |
//! | 49 | E-RTMP: `fourCcList`, the info maps with `*`, `capsEx`; the server's own | yes | `p49_p57_capabilities_are_answered_to_those_who_have_them` `a_star_overrides_the_named_ones` `a_four_cc_list_names_what_can_be_decoded` |
//! | 50 | packet types 0 to 7, composition times where they belong | yes | `packet_types_0_to_5_and_their_composition_times` `p50_p54_other_codecs_become_tracks_and_frames` `hevc_from_ffmpeg_reaches_every_kind_of_viewer` `av1_from_ffmpeg_reaches_every_kind_of_viewer` `vp9_from_ffmpeg_reaches_every_kind_of_viewer` |
//! | 51 | ModEx and nanoseconds | yes | `mod_ex_is_read_past_and_its_nanoseconds_count` |
//! | 52 | multitrack, each layout | yes | `multitrack_messages_are_read_to_their_end` `p52_tracks_of_a_multitrack_message` |
//! | 53 | a command frame has no body; metadata ignores the frame type | yes | `a_command_frame_has_no_body_and_metadata_ignores_the_frame_type` |
//! | 54 | what is not known fails alone | yes | `an_unknown_codec_or_type_fails_in_a_controlled_way` `p50_p54_other_codecs_become_tracks_and_frames` |
//! | 55 | FLV's tag 15 | yes | `a_tag_of_amf3_script_data_is_read_past` |
//! | 56 | reconnect requests, both sides. Our publisher leaves first and then connects: two sessions at once do not fit a chip; a server that fails is followed by the next of the set, the old one among them | yes | `p56_a_client_is_asked_to_reconnect` `a_reconnect_reference_is_resolved_against_the_present_url` `a_reconnect_request_is_followed_at_an_idr_and_only_within_the_set` |
//! | 57 | a legacy client sees none of it | yes | `p49_p57_capabilities_are_answered_to_those_who_have_them` |
//! | 58 | YouTube: backup ingest | not seen | no account, no network: `the_next_server_is_tried_at_once` |
//! | 59 | Twitch: queries in the key | not seen | no account, no network: `urls_of_servers_in_use` |
//! | 60 | Facebook: RTMPS on 443, long keys with queries | not seen | no account, no network: `urls_of_servers_in_use` |
//! | 61 | Cloudflare: closed groups of pictures | not seen | no account, no network |
//! | 62 | IVS: cut above its limits | not seen | no account, no network |
//! | 63 | ours, ffmpeg and GStreamer to ours and nginx-rtmp, killed and back. OBS, SRS and MediaMTX are in no package here | yes | `our_publisher_is_the_same_through_both_servers` `ffmpeg_is_the_same_through_both_servers` `gstreamer_is_the_same_through_both_servers` |
#![no_std]
#![deny(missing_docs, clippy::indexing_slicing, clippy::std_instead_of_core)]

#[cfg(feature = "server")]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod amf0;
mod amf3;
#[cfg(feature = "server")]
mod capabilities;
mod chunk;
pub mod client;
#[cfg(test)]
#[cfg(feature = "server")]
mod conformance;
mod error;
pub mod flv;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "a message is read and written in one file; the camera does not need both"))]
mod message;
#[cfg(feature = "server")]
pub mod player;
#[cfg(feature = "server")]
pub mod server;
#[cfg(test)]
#[cfg(feature = "server")]
mod session_tests;
pub mod url;
mod wire;

#[cfg(feature = "server")]
pub use capabilities::Capabilities;
pub use chunk::{CHUNK_SIZE_MAX, MESSAGE_BYTES_MAX};
pub use error::{Cause, Error};

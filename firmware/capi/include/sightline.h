/* The camera's side of Sightline, in C. Made by `cargo xtask header` from firmware/capi/src: change it there.
 *
 * One pusher is for one thread at a time: a call while another is inside gives SIGHTLINE_ERROR_BUSY.
 * Every handle must be null, or one that sightline_pusher_init gave and whose memory is still readable. */

#ifndef SIGHTLINE_H
#define SIGHTLINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The longest decoder configuration: what the pusher keeps of one, too.
 */
#define SIGHTLINE_RECORD_BYTES_MAX 512

/**
 * `sightline_pusher_poll` need not be called before something else was.
 */
#define SIGHTLINE_NEVER UINT64_MAX

/**
 * Bytes of a file's header.
 */
#define SIGHTLINE_FLV_FILE_HEADER_BYTES 13

/**
 * Bytes before an access unit.
 */
#define SIGHTLINE_FLV_FRAME_HEADER_BYTES 16

/**
 * Bytes behind an access unit.
 */
#define SIGHTLINE_FLV_FRAME_TRAILER_BYTES 4

/**
 * The most bytes of a sequence header with all around it.
 */
#define SIGHTLINE_FLV_SEQUENCE_HEADER_BYTES_MAX (20 + SIGHTLINE_RECORD_BYTES_MAX)

/**
 * What a call has to say.
 */
typedef enum SightlineError {
  /**
   * Done.
   */
  SIGHTLINE_ERROR_OK = 0,
  /**
   * A pointer is null that must not be.
   */
  SIGHTLINE_ERROR_NULL_POINTER = 1,
  /**
   * The memory is smaller than `sightline_pusher_size`, or a structure's `struct_size` is not that of this version.
   */
  SIGHTLINE_ERROR_WRONG_SIZE = 2,
  /**
   * The memory does not begin at a multiple of `sightline_pusher_align`.
   */
  SIGHTLINE_ERROR_WRONG_ALIGNMENT = 3,
  /**
   * The handle was never given to `sightline_pusher_init`, or was given to `sightline_pusher_deinit`.
   */
  SIGHTLINE_ERROR_NOT_INITIALISED = 4,
  /**
   * The pusher is at work: another thread is in it, or a function of the table calls back that must not. Try again later.
   */
  SIGHTLINE_ERROR_BUSY = 5,
  /**
   * `sightline_pusher_start` was not called, or `sightline_pusher_stop` was.
   */
  SIGHTLINE_ERROR_NOT_RUNNING = 6,
  /**
   * A string has no end within its limit, or is not UTF-8.
   */
  SIGHTLINE_ERROR_BAD_TEXT = 7,
  /**
   * The device's id is not 1 to 64 of A-Z a-z 0-9 _ -.
   */
  SIGHTLINE_ERROR_BAD_DEVICE_ID = 8,
  /**
   * The server's address is not rtmp(s)://host[:port]/app.
   */
  SIGHTLINE_ERROR_BAD_SERVER_URL = 9,
  /**
   * A number is out of its range: a quality, a trigger, a format, a time, a yes-or-no that is neither 0 nor 1.
   */
  SIGHTLINE_ERROR_OUT_OF_RANGE = 10,
  /**
   * INVALID_QUALITY: odd or zero sides, no frame rate or more than the source gives, under 50 kbit/s or over 100 Mbit/s.
   */
  SIGHTLINE_ERROR_INVALID_QUALITY = 11,
  /**
   * FRAME_FORMAT_UNSUPPORTED: no H.264 access unit of the form that the settings name; or no parameter sets came yet; or start codes of three bytes without
   * room for their lengths (see `sightline_pusher_push_frame`).
   */
  SIGHTLINE_ERROR_FRAME_FORMAT_UNSUPPORTED = 12,
  /**
   * The message's topic is none that this device listens to.
   */
  SIGHTLINE_ERROR_UNKNOWN_TOPIC = 13,
  /**
   * The message is not what its topic carries.
   */
  SIGHTLINE_ERROR_BAD_MESSAGE = 14,
  /**
   * Motion is reported to a pusher whose trigger is not motion, or a window to one that is not scheduled.
   */
  SIGHTLINE_ERROR_WRONG_TRIGGER = 15,
} SightlineError;

/**
 * Where a stream is: frozen numbers, the same as in MQTT messages.
 */
typedef enum SightlineState {
  /**
   * At rest.
   */
  SIGHTLINE_STATE_IDLE = 0,
  /**
   * Asks the cloud where to stream.
   */
  SIGHTLINE_STATE_REQUESTING = 1,
  /**
   * Makes the connection.
   */
  SIGHTLINE_STATE_CONNECTING = 2,
  /**
   * Frames are taken.
   */
  SIGHTLINE_STATE_STREAMING = 3,
  /**
   * Waits before the next try.
   */
  SIGHTLINE_STATE_RECONNECTING = 4,
  /**
   * Says goodbye.
   */
  SIGHTLINE_STATE_STOPPING = 5,
  /**
   * Gave up; a start tries again.
   */
  SIGHTLINE_STATE_ERROR = 6,
  /**
   * Waits for its trigger.
   */
  SIGHTLINE_STATE_STANDBY = 7,
} SightlineState;

/**
 * The presets.
 */
typedef enum SightlineQuality {
  /**
   * 640x480, 15 frames a second, 500 kbit/s.
   */
  SIGHTLINE_QUALITY_LOW = 0,
  /**
   * 1280x720, 20 frames a second, 1 Mbit/s.
   */
  SIGHTLINE_QUALITY_MEDIUM = 1,
  /**
   * 1920x1080, 25 frames a second, 2 Mbit/s.
   */
  SIGHTLINE_QUALITY_HIGH = 2,
  /**
   * 1920x1080, 30 frames a second, 4 Mbit/s.
   */
  SIGHTLINE_QUALITY_ULTRA = 3,
  /**
   * The numbers of `custom`.
   */
  SIGHTLINE_QUALITY_CUSTOM = 4,
} SightlineQuality;

/**
 * What starts a stream.
 */
typedef enum SightlineTrigger {
  /**
   * By `sightline_pusher_start_stream`, or by command.
   */
  SIGHTLINE_TRIGGER_MANUAL = 0,
  /**
   * By `sightline_pusher_on_motion`: until 15 s after the last motion, ten minutes at most.
   */
  SIGHTLINE_TRIGGER_MOTION_BASED = 1,
  /**
   * By `sightline_pusher_on_schedule`, of an application that has a calendar.
   */
  SIGHTLINE_TRIGGER_SCHEDULED = 2,
  /**
   * Always, without end.
   */
  SIGHTLINE_TRIGGER_ALWAYS_ON = 3,
  /**
   * By command, on a lease that viewers renew.
   */
  SIGHTLINE_TRIGGER_ON_DEMAND = 4,
} SightlineTrigger;

/**
 * What an access unit looks like.
 */
typedef enum SightlineFormat {
  /**
   * NAL units behind start codes, with the parameter sets before each IDR: what hardware encoders write.
   */
  SIGHTLINE_FORMAT_ANNEX_B = 0,
  /**
   * NAL units behind their lengths in four bytes, big-endian. Parameter sets as in Annex B, or by `sightline_pusher_set_parameter_sets`.
   */
  SIGHTLINE_FORMAT_AVCC = 1,
} SightlineFormat;

/**
 * What the platform's connection is doing.
 */
typedef enum SightlineSocketState {
  /**
   * There is none, or it ended.
   */
  SIGHTLINE_SOCKET_STATE_CLOSED = 0,
  /**
   * It is being made: name, TCP, TLS.
   */
  SIGHTLINE_SOCKET_STATE_OPENING = 1,
  /**
   * Bytes can be sent.
   */
  SIGHTLINE_SOCKET_STATE_OPEN = 2,
  /**
   * The server's name has no address.
   */
  SIGHTLINE_SOCKET_STATE_DNS_FAILED = 3,
  /**
   * The server can't be reached.
   */
  SIGHTLINE_SOCKET_STATE_CONNECT_FAILED = 4,
  /**
   * TLS failed: unknown authority, wrong host, expired, or the platform has none.
   */
  SIGHTLINE_SOCKET_STATE_TLS_FAILED = 5,
} SightlineSocketState;

/**
 * What the encoder shall do. It takes effect within one key-frame interval.
 */
typedef enum SightlineOrder {
  /**
   * Begin with a key frame, with these settings.
   */
  SIGHTLINE_ORDER_START = 0,
  /**
   * Other settings while it runs.
   */
  SIGHTLINE_ORDER_CHANGE = 1,
  /**
   * A key frame as soon as possible.
   */
  SIGHTLINE_ORDER_KEYFRAME = 2,
  /**
   * Encode nothing for the stream until `RESUME`: it would only wait. No key frame is needed afterwards.
   */
  SIGHTLINE_ORDER_PAUSE = 3,
  /**
   * Go on.
   */
  SIGHTLINE_ORDER_RESUME = 4,
  /**
   * Nothing is sent: it may stop.
   */
  SIGHTLINE_ORDER_STOP = 5,
} SightlineOrder;

/**
 * How important a line of the log is.
 */
typedef enum SightlineLogLevel {
  /**
   * Something to fix.
   */
  SIGHTLINE_LOG_LEVEL_WARNING = 0,
  /**
   * What happens.
   */
  SIGHTLINE_LOG_LEVEL_INFO = 1,
} SightlineLogLevel;

/**
 * A pusher in the caller's memory. It may not be moved or copied while it is one.
 */
typedef struct SightlinePusher SightlinePusher;

/**
 * Size, frame rate and bit rate.
 */
typedef struct SightlineSettings {
  /**
   * Width in pixels; even, 2 to 8192.
   */
  uint32_t width;
  /**
   * Height in pixels; even, 2 to 8192.
   */
  uint32_t height;
  /**
   * Frames a second; 1 to `source_fps_max`.
   */
  uint32_t fps;
  /**
   * Bits a second; 50,000 to 100,000,000.
   */
  uint32_t bitrate_bps;
} SightlineSettings;

/**
 * Settings of a pusher. Fill it with `sightline_config_default`, then change the fields you need. Strings end with a NUL, and are copied by
 * `sightline_pusher_init`; null is the empty string.
 */
typedef struct SightlineConfig {
  /**
   * Bytes of this structure, as `sightline_config_default` sets it: another number is another version's.
   */
  uint32_t struct_size;
  /**
   * Who this is: 1 to 64 of A-Z a-z 0-9 _ -. No default.
   */
  const char *device_id;
  /**
   * A `SightlineQuality`. Default high.
   */
  uint32_t quality;
  /**
   * The numbers of the quality `custom`.
   */
  struct SightlineSettings custom;
  /**
   * A `SightlineTrigger`. Default motion, as in the specification.
   */
  uint32_t trigger;
  /**
   * A `SightlineFormat`: what `sightline_pusher_push_frame` is given. Default Annex B.
   */
  uint32_t format;
  /**
   * 1: it streams at all; 0: commands to start are refused. Default 1.
   */
  uint8_t enable_live_streaming;
  /**
   * 1: lower and raise the bit rate with the link. Default 1.
   */
  uint8_t enable_adaptive_bitrate;
  /**
   * 1: try again after a failure. Default 1.
   */
  uint8_t enable_auto_reconnect;
  /**
   * 1: leave frames out when the link is too slow; 0: the stream ends with SEND_TIMEOUT. Default 1.
   */
  uint8_t enable_frame_dropping;
  /**
   * 1: see what the uplink carries before a stream begins, and begin with the preset that fits. Default 1.
   */
  uint8_t enable_bandwidth_check;
  /**
   * 1: ask the cloud for RTMP over TLS; 0: for plain RTMP, where the platform has no TLS. Default 1.
   */
  uint8_t secure;
  /**
   * Failed rounds on one set of servers before the next discovery; 1 or more. Default 5.
   */
  uint32_t max_reconnect_attempts;
  /**
   * The first delay in seconds; doubles with each failure, up to 60 s. 1 or more, default 10.
   */
  uint32_t reconnect_interval_sec;
  /**
   * The queue is never older than this, in milliseconds; 100 or more. Default 3000.
   */
  uint32_t target_latency_ms;
  /**
   * The bit rate never goes below this, in bits a second; 50,000 or more. Default 150,000.
   */
  uint32_t min_bitrate_bps;
  /**
   * For DNS, TCP and TLS together, in seconds; 1 or more. Default 10.
   */
  uint32_t connect_timeout_sec;
  /**
   * Without acknowledged progress for this many seconds a connection counts as dead; 1 or more. Default 5.
   */
  uint32_t send_timeout_sec;
  /**
   * Between two `stream_metrics`, in seconds; 1 or more. Default 5.
   */
  uint32_t metrics_interval_sec;
  /**
   * Bytes of frames that may wait for the link; 1 or more. Default 4 MiB. Sixteen frames may wait at most.
   */
  uint32_t frame_queue_bytes_max;
  /**
   * The most frames a second that the camera gives; 1 or more. Default 60.
   */
  uint32_t source_fps_max;
  /**
   * A region to prefer, 32 bytes at most; empty: the cloud's choice.
   */
  const char *preferred_region;
  /**
   * rtmp(s)://host[:port]/app, 192 bytes at most; empty: ask the cloud by MQTT.
   */
  const char *rtmp_server_url;
  /**
   * Tried at once when the server dies; empty: none.
   */
  const char *backup_server_urls[2];
  /**
   * The name to publish under at `rtmp_server_url`, with its query, 512 bytes at most; empty: the device's id. A secret: never logged.
   */
  const char *stream_key;
} SightlineConfig;

/**
 * A change of state.
 */
typedef struct SightlineStateChange {
  /**
   * Where the stream is.
   */
  enum SightlineState state;
  /**
   * Its name: idle, requesting, … Lives for ever.
   */
  const char *state_name;
  /**
   * Why, where it is an error: a code as in `connection_error`; empty where it is none. Lives for the call.
   */
  const char *error_code;
  /**
   * The delay before the next try in milliseconds; 0: none is scheduled.
   */
  uint32_t next_retry_ms;
} SightlineStateChange;

/**
 * How a stream fares; rates are over the time since the last figures.
 */
typedef struct SightlineMetrics {
  /**
   * Frames sent a second.
   */
  float fps;
  /**
   * Bits sent a second, in thousands.
   */
  float bitrate_kbps;
  /**
   * 0 to 1: how fresh the queue is, times the share of the frames that were delivered.
   */
  float network_quality;
  /**
   * In milliseconds: from capture to acknowledgement, or how old the oldest unsent frame is where nothing is acknowledged.
   */
  uint32_t latency_ms;
  /**
   * Frames sent in this session.
   */
  uint64_t total_frames;
  /**
   * Frames left out in this session.
   */
  uint64_t dropped_frames;
  /**
   * Milliseconds since the session's start.
   */
  uint64_t stream_duration_ms;
} SightlineMetrics;

/**
 * A server. All strings live for the call.
 */
typedef struct SightlineServer {
  /**
   * rtmp(s)://host/app without the stream's name; empty where none was found.
   */
  const char *rtmp_url;
  /**
   * Its name, for people; empty where the cloud gave none.
   */
  const char *server_name;
  /**
   * Its region; empty where the cloud gave none.
   */
  const char *server_region;
  /**
   * Why it failed; empty where it did not.
   */
  const char *error_code;
} SightlineServer;

/**
 * What the platform gives. Each function gets `context` first, and returns at once: nothing here may wait. Fill what is not wanted with null where
 * that is allowed.
 *
 * Functions marked **inner** run while the pusher is at work: a call of the pusher's from within them gives `BUSY`. All others may call everything but
 * `sightline_pusher_poll` and `sightline_pusher_deinit`.
 */
typedef struct SightlinePlatform {
  /**
   * Bytes of this structure: `sizeof(SightlinePlatform)`.
   */
  uint32_t struct_size;
  /**
   * Given to each function; may be null.
   */
  void *context;
  /**
   * **inner.** A clock in microseconds that never runs backwards, from any start.
   */
  uint64_t (*clock_us)(void *context);
  /**
   * **inner.** Microseconds since 1970 by the device's clock; may be wrong, 0 where there is none.
   */
  int64_t (*wall_clock_us)(void *context);
  /**
   * **inner.** 64 random bits, other for each start of the device: for jitter and ids, no secrets.
   */
  uint64_t (*random)(void *context);
  /**
   * **inner.** Begins a connection; one that is there is dropped. `host`: a name or an address, ends with a NUL, lives for the call. How it goes,
   * `socket_state` says.
   */
  void (*socket_open)(void *context,
                      const char *host,
                      uint16_t port,
                      bool with_tls);
  /**
   * **inner.** A `SightlineSocketState`.
   */
  uint32_t (*socket_state)(void *context);
  /**
   * **inner.** Takes some of the bytes and says how many: 0 when there is no room now, -1 when the connection has ended.
   */
  ptrdiff_t (*socket_send)(void *context,
                           const uint8_t *bytes,
                           size_t length);
  /**
   * **inner.** Writes at most `size` received bytes and says how many: 0 when there are none now, -1 when the connection has ended.
   */
  ptrdiff_t (*socket_recv)(void *context,
                           uint8_t *bytes,
                           size_t size);
  /**
   * **inner.** Drops the connection, whatever it is doing. Bytes that it took may still go out.
   */
  void (*socket_close)(void *context);
  /**
   * **inner.** Null where the platform can't say. Bytes of this connection that were sent and are not acknowledged by the far end (`TCP_INFO`, or the fill
   * of the send buffer); -1 when it can't say now.
   */
  int64_t (*socket_unacknowledged)(void *context);
  /**
   * **inner.** A lent frame is given back: exactly once for each that was taken.
   */
  void (*release)(void *context,
                  void *token);
  /**
   * Null where there is no encoder to tell. `order`: a `SightlineOrder`; `settings` live for the call, and count for `START` and `CHANGE`.
   */
  void (*encoder)(void *context,
                  uint32_t order,
                  const struct SightlineSettings *settings);
  /**
   * Null where there is no MQTT. Publishes with QoS 1; both strings live for the call, the topic ends with a NUL. False: there is no connection, the message
   * is lost, which is allowed.
   */
  bool (*publish)(void *context,
                  const char *topic,
                  const uint8_t *payload,
                  size_t length,
                  bool retain);
  /**
   * Null where nobody looks. The state changed.
   */
  void (*on_state)(void *context,
                   const struct SightlineStateChange *change);
  /**
   * Null where nobody looks. New figures.
   */
  void (*on_metrics)(void *context,
                     const struct SightlineMetrics *metrics);
  /**
   * Null where nobody looks. A stream runs at this server, or failed.
   */
  void (*on_server)(void *context,
                    const struct SightlineServer *server,
                    bool success);
  /**
   * Null where nobody looks. **inner.** A line for the log; `level`: a `SightlineLogLevel`. No secret is in it.
   */
  void (*log)(void *context,
              uint32_t level,
              const char *line);
} SightlinePlatform;

/**
 * How the pusher fares.
 */
typedef struct SightlineStatus {
  /**
   * Where the stream is.
   */
  enum SightlineState state;
  /**
   * What the encoder was last asked for.
   */
  struct SightlineSettings settings;
  /**
   * The last figures; all zero before a session's first.
   */
  struct SightlineMetrics metrics;
  /**
   * Lent frames that were not given back yet.
   */
  uint32_t lent_frames;
} SightlineStatus;

/**
 * One access unit as `sightline_unit_read` found it.
 */
typedef struct SightlineUnit {
  /**
   * Where its bytes begin, from the start of what was read.
   */
  uint32_t offset;
  /**
   * Its bytes: NAL units behind their lengths in four bytes, big-endian.
   */
  uint32_t length;
  /**
   * 1: decoding can begin here.
   */
  uint8_t is_keyframe;
  /**
   * 1: no other picture refers to it.
   */
  uint8_t is_disposable;
  /**
   * Bytes of `record`; 0: no parameter sets came with it.
   */
  uint32_t record_bytes;
  /**
   * Where the SPS is in `record`, without start code or length: for `sightline_pusher_set_parameter_sets`.
   */
  uint32_t sps_offset;
  /**
   * Bytes of the SPS.
   */
  uint32_t sps_length;
  /**
   * Where the PPS is in `record`.
   */
  uint32_t pps_offset;
  /**
   * Bytes of the PPS.
   */
  uint32_t pps_length;
  /**
   * The decoder configuration (`avcC`, ISO/IEC 14496-15, 5.3.3.1).
   */
  uint8_t record[SIGHTLINE_RECORD_BYTES_MAX];
} SightlineUnit;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Bytes that a pusher takes of the caller's memory.
 */
size_t sightline_pusher_size(void);

/**
 * What the address of that memory must be a multiple of.
 */
size_t sightline_pusher_align(void);

/**
 * The name of an error, for logs; lives for ever. `UNKNOWN` for a number that is none.
 */
const char *sightline_error_name(uint32_t error);

/**
 * Fills settings with their defaults. `config` may be null: then nothing happens.
 */
void sightline_config_default(struct SightlineConfig *config);

/**
 * Makes a pusher in `memory`: `size` bytes of the caller's, at least `sightline_pusher_size`, aligned by `sightline_pusher_align`, not used by anyone else
 * until `sightline_pusher_deinit`. `config` and `platform` are copied; the platform's functions must be callable until then. The handle for all
 * other calls goes to `pusher`: the same address as `memory`. On an error nothing was made.
 *
 * NULL_POINTER (also for a function that must be in the table), WRONG_SIZE, WRONG_ALIGNMENT, BAD_TEXT, BAD_DEVICE_ID, BAD_SERVER_URL, OUT_OF_RANGE,
 * INVALID_QUALITY.
 */
enum SightlineError sightline_pusher_init(void *memory,
                                          size_t size,
                                          const struct SightlineConfig *config,
                                          const struct SightlinePlatform *platform,
                                          struct SightlinePusher **pusher);

/**
 * Ends the pusher at once: the connection is dropped, every lent frame is given back before this returns, the memory is the caller's again. To say goodbye
 * to server and cloud first: `sightline_pusher_stop`, then `sightline_pusher_poll` until it answers SIGHTLINE_NEVER. BUSY from within any
 * function of the table, and while another thread is in the pusher: nothing was ended.
 */
enum SightlineError sightline_pusher_deinit(struct SightlinePusher *pusher);

/**
 * Begins to work: from now on `sightline_pusher_poll` is to be called. An always-on pusher begins its stream. A second call does nothing.
 */
enum SightlineError sightline_pusher_start(struct SightlinePusher *pusher);

/**
 * Starts the stream; one that runs stays as it is. `key`: the name to publish under at `rtmp_server_url`, 512 bytes at most; null or empty: as before; with a
 * cloud, which gives the name, it is not used. NOT_RUNNING, BAD_TEXT.
 */
enum SightlineError sightline_pusher_start_stream(struct SightlinePusher *pusher,
                                                  const char *key);

/**
 * Lends one access unit, in decoding order. It is not copied: on OK the `length` bytes at `data` belong to the pusher, which may change them, until the
 * platform's `release` is called with `token`: exactly once, perhaps before this call returns. On an error nothing was taken, `release` is not called, and the
 * bytes are as they were.
 *
 * `pts_us` and `dts_us`: when to show and to decode it, in microseconds on the stream's own timeline. Whether it is a key frame is read from its slices.
 *
 * In Annex B start codes of four bytes become lengths in place. Those of three bytes need a byte more each, which the leading delimiter and parameter
 * sets have room for, or zeros before the first start code, which are allowed there.
 *
 * NULL_POINTER, NOT_RUNNING, FRAME_FORMAT_UNSUPPORTED. Outside of a stream frames are taken and given back at once.
 */
enum SightlineError sightline_pusher_push_frame(struct SightlinePusher *pusher,
                                                uint8_t *data,
                                                size_t length,
                                                int64_t pts_us,
                                                int64_t dts_us,
                                                void *token);

/**
 * Tells the parameter sets of an encoder that gives them apart, without start codes; they are copied. NULL_POINTER, FRAME_FORMAT_UNSUPPORTED.
 */
enum SightlineError sightline_pusher_set_parameter_sets(struct SightlinePusher *pusher,
                                                        const uint8_t *sps,
                                                        size_t sps_length,
                                                        const uint8_t *pps,
                                                        size_t pps_length);

/**
 * Ends the stream; one that does not run stays as it is. NOT_RUNNING.
 */
enum SightlineError sightline_pusher_stop_stream(struct SightlinePusher *pusher);

/**
 * Ends the stream and the work: no frame is taken from now on. The goodbyes are sent by the next calls of `sightline_pusher_poll`, two seconds long at
 * most, until it answers SIGHTLINE_NEVER. A second call does nothing; `sightline_pusher_start` begins again.
 */
enum SightlineError sightline_pusher_stop(struct SightlinePusher *pusher);

/**
 * Another size, frame rate and bit rate, from the next key frame on. INVALID_QUALITY: the running stream stays as it was.
 */
enum SightlineError sightline_pusher_set_custom_quality(struct SightlinePusher *pusher,
                                                        uint32_t width,
                                                        uint32_t height,
                                                        uint32_t fps,
                                                        uint32_t bitrate_bps);

/**
 * Another bit rate to aim at, in bits a second. INVALID_QUALITY: under 50 kbit/s, or above 100 Mbit/s.
 */
enum SightlineError sightline_pusher_adjust_bitrate(struct SightlinePusher *pusher,
                                                    uint32_t bitrate_bps);

/**
 * Whether the bit rate follows the link.
 */
enum SightlineError sightline_pusher_set_adaptive_bitrate(struct SightlinePusher *pusher,
                                                          bool is_adaptive);

/**
 * True while frames are taken by a server. False for a handle that is none. May be called from every function of the table.
 */
bool sightline_pusher_is_streaming(const struct SightlinePusher *pusher);

/**
 * Writes how the pusher fares to `status`. NULL_POINTER, WRONG_ALIGNMENT.
 */
enum SightlineError sightline_pusher_status(const struct SightlinePusher *pusher,
                                            struct SightlineStatus *status);

/**
 * A message came by MQTT on devices/{id}/stream/response or …/command: subscribe to both with QoS 1. `topic` ends with a NUL. NOT_RUNNING, NULL_POINTER,
 * UNKNOWN_TOPIC, BAD_MESSAGE (also above 4,096 bytes).
 */
enum SightlineError sightline_pusher_on_message(struct SightlinePusher *pusher,
                                                const char *topic,
                                                const uint8_t *payload,
                                                size_t length);

/**
 * The way to the cloud is open, with its subscriptions (`is_up`), or gone: what waits for an answer is asked at once, or reported as DISCOVERY_TIMEOUT. NOT_RUNNING.
 */
enum SightlineError sightline_pusher_on_mqtt(struct SightlinePusher *pusher,
                                             bool is_up);

/**
 * The network is back: what waits is tried at once. NOT_RUNNING.
 */
enum SightlineError sightline_pusher_on_network_up(struct SightlinePusher *pusher);

/**
 * Something moves, now: call it again while it does. When the event ends is decided here. NOT_RUNNING, WRONG_TRIGGER.
 */
enum SightlineError sightline_pusher_on_motion(struct SightlinePusher *pusher);

/**
 * A window of the schedule begins or ends. NOT_RUNNING, WRONG_TRIGGER.
 */
enum SightlineError sightline_pusher_on_schedule(struct SightlinePusher *pusher,
                                                 bool is_open);

/**
 * The encoder failed for good: the stream ends in error, and is started again by `sightline_pusher_start_stream`. NOT_RUNNING.
 */
enum SightlineError sightline_pusher_on_encoder_failed(struct SightlinePusher *pusher);

/**
 * One turn: reads and writes the connection, does what is due, and calls the platform's functions. Never waits. To be called again after at most
 * `wait_us` microseconds, which it writes (SIGHTLINE_NEVER: not before something was called), and after each other call; sooner does no
 * harm. `wait_us` may be null. BUSY from within a function of the table.
 */
enum SightlineError sightline_pusher_poll(struct SightlinePusher *pusher,
                                          uint64_t *wait_us);

/**
 * Looks at one access unit in Annex B, `length` bytes at `data`, and turns it where it lies into one whose NAL units stand behind their lengths: what
 * `sightline_pusher_push_frame` takes as AVCC, and FLV holds. What is found is written to `unit`. Its bytes begin at `data` + `unit->offset`: without parameter
 * sets, which are in the record, and without delimiters.
 *
 * Start codes of three bytes need the room that `sightline_pusher_push_frame` describes. On an error the bytes are as they were. NULL_POINTER,
 * FRAME_FORMAT_UNSUPPORTED: no picture in it, parameter sets that can't be read, or no room.
 */
enum SightlineError sightline_unit_read(uint8_t *data,
                                        size_t length,
                                        struct SightlineUnit *unit);

/**
 * Writes what an FLV file begins with, for video alone, to `out`: SIGHTLINE_FLV_FILE_HEADER_BYTES. How many bytes were written; 0 where `out` is null or
 * `size` too small.
 */
size_t sightline_flv_file_header(uint8_t *out,
                                 size_t size);

/**
 * Writes the whole tag of the decoder configuration that `unit` holds to `out`: before a file's first picture, and where it changes. How many bytes were
 * written, SIGHTLINE_FLV_SEQUENCE_HEADER_BYTES_MAX at most; 0 where the unit has no record, a pointer is null, or `size` is too small.
 */
size_t sightline_flv_sequence_header(const struct SightlineUnit *unit,
                                     uint32_t timestamp_ms,
                                     uint8_t *out,
                                     size_t size);

/**
 * Writes what comes before the bytes of an access unit: SIGHTLINE_FLV_FRAME_HEADER_BYTES. `dts_ms` wraps at 2^32; `composition_ms`: how much later it is shown
 * than decoded, 0 for an encoder without B-frames. How many bytes were written; 0 where a pointer is null or `size` too small.
 */
size_t sightline_flv_frame_header(const struct SightlineUnit *unit,
                                  uint32_t dts_ms,
                                  uint32_t composition_ms,
                                  uint8_t *out,
                                  size_t size);

/**
 * Writes what comes after the bytes of an access unit: SIGHTLINE_FLV_FRAME_TRAILER_BYTES. How many bytes were written; 0 where a pointer is null or `size` too
 * small.
 */
size_t sightline_flv_frame_trailer(const struct SightlineUnit *unit,
                                   uint8_t *out,
                                   size_t size);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SIGHTLINE_H */

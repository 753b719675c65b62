// The specification's snippet 1, its statements unchanged: a VideoRecorder whose stream begins with motion. Around them: the application.
#include "seed_application.hpp"

int main() {
  VideoRecorder::RecorderConfig config;

  // 启用流媒体
  config.enable_live_streaming = true;
  config.auto_start_stream_on_motion = true;     // 运动检测时自动开始流媒体
  config.stream_quality = StreamPusher::StreamQuality::HIGH;
  config.stream_trigger = StreamPusher::StreamTrigger::MOTION_BASED;
  config.rtmp_server_url = "";                   // 留空使用MQTT发现
  config.stream_key = "";                        // 留空自动生成
  // Of the test: POSIX here has no TLS.
  config.secure = false;

  // 初始化录像器
  VideoRecorder recorder;
  recorder.initialize(config);
  uint32_t recorded = 0;
  recorder.setRecordingCallback([&](const uint8_t *, size_t) { recorded++; });

  // 设置MQTT客户端(流媒体需要)
  MQTTClient* mqtt_client = getMqttClient();
  recorder.enableLiveStreaming(true, mqtt_client);

  // Its detector sees something.
  recorder.onMotion();
  while (!recorder.isStreaming()) {
    pause_ms(10);
  }
  uint32_t taken = 0;
  while (camera_has_frames()) {
    camera_fb_t *frame = esp_camera_fb_get();
    taken += recorder.pushFrame(frame);
    esp_camera_fb_return(frame);
  }
  while (recorder.pusher().getStatus().waiting_frames > 0) {
    pause_ms(10);
  }
  recorder.enableLiveStreaming(false, nullptr);
  printf("report: {\"pushed\":%u,\"recorded\":%u}\n", taken, recorded);
  return 0;
}

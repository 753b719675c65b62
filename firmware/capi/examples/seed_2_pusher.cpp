// The specification's snippets 2 (a StreamPusher by itself), 3 (custom quality) and 4 (status and callbacks), their statements unchanged and in
// this order: 2 up to start, 4's callbacks, 2's stream, 3, 4's status, 2's end. Around them: the application, and what the test looks at.
#include "seed_application.hpp"

int main() {
  uint32_t pushed = 0;
  MQTTClient *mqtt_client = getMqttClient();

  // 创建和配置流推送器
  StreamPusher pusher;
  StreamPusher::StreamConfig stream_config;
  stream_config.quality = StreamPusher::StreamQuality::HIGH;
  stream_config.enable_adaptive_bitrate = true;
  stream_config.enable_auto_reconnect = true;
  // Of the test: POSIX here has no TLS.
  stream_config.secure = false;
  stream_config.metrics_interval_sec = 1;

  // 设置状态回调
  pusher.setStateCallback([](StreamPusher::StreamState state, const std::string& message) {
    printf("Stream state: %d - %s\n", (int)state, message.c_str());
  });

  // 设置指标回调
  pusher.setMetricsCallback([](const StreamPusher::StreamMetrics& metrics) {
    printf("Stream: %.1f FPS, %.1f kbps, %d frames sent\n",
           metrics.current_fps, metrics.current_bitrate_kbps, 
           metrics.total_frames_sent);
  });

  // 设置服务器回调
  pusher.setServerCallback([](const StreamPusher::StreamServerInfo& server_info, bool success) {
    if (success) {
      printf("Connected to %s (%s)\n",
             server_info.server_name.c_str(), server_info.rtmp_url.c_str());
    }
  });

  // 初始化
  pusher.initialize(stream_config, mqtt_client);
  pusher.start();

  // 开始流媒体
  pusher.startStream("my_stream_key");

  while (!pusher.isStreaming()) {
    pause_ms(10);
  }
  while (camera_has_frames()) {
    // 推送摄像头帧
    camera_fb_t* frame = esp_camera_fb_get();
    pusher.pushFrame(frame);
    esp_camera_fb_return(frame);
    pushed++;
  }
  while (pusher.getStatus().waiting_frames > 0) {
    pause_ms(10);
  }

  // 设置自定义质量
  pusher.setCustomQuality(1280, 720, 24, 1500000); // 720p@24fps, 1.5Mbps

  // 动态调整码率
  pusher.adjustBitrate(1000000); // 调整到1Mbps

  // 启用自适应码率
  pusher.setAdaptiveBitrate(true);

  // 获取实时状态
  StreamPusher::StreamStatus status = pusher.getStatus();
  printf("Network quality: %.2f\n", status.network_quality);
  printf("Is streaming: %s\n", pusher.isStreaming() ? "Yes" : "No");

  // 停止流媒体
  pusher.stopStream();

  pusher.stop();
  printf("report: {\"pushed\":%u,\"bitrate_bps\":%u,\"waiting\":%u}\n", pushed, status.bitrate_bps, pusher.getStatus().waiting_frames);
  return 0;
}

// Every word of the console, in one table. A missing translation falls back to English.

const WORDS = {
  en: {
    cameras: 'Cameras', servers: 'Servers', events: 'Events', language: '中文', language_label: '切换到中文', skip: 'Skip to content',
    live: 'Live', online: 'Online', offline: 'Offline', revoked: 'Revoked', all: 'All',
    sum_live: 'live', sum_viewers: 'viewers', sum_ingest: 'ingest', ingest: 'Ingest', sum_servers: 'servers up',
    search: 'Find a camera', quality: 'Quality', low: 'Low · 480p', medium: 'Medium · 720p', high: 'High · 1080p', ultra: 'Ultra · 1080p30', custom: 'Custom',
    state_idle: 'Idle', state_requesting: 'Finding a server', state_connecting: 'Connecting', state_streaming: 'Live', state_reconnecting: 'Reconnecting',
    state_stopping: 'Stopping', state_error: 'Error', state_standby: 'Waiting for its trigger', state_offline: 'Offline', state_revoked: 'Revoked', state_online: 'Online',
    fps: 'Frame rate', bitrate: 'Bitrate', latency: 'Latency', latency_queue: 'Queue age at the camera', latency_ack: 'Capture to server', latency_end_to_end: 'Capture to screen',
    viewers: 'Viewers', network: 'Network', size: 'Picture', server: 'Server', since: 'Live since', uptime: 'On air', last_seen: 'Last seen {when}', never_seen: 'Never seen yet',
    back: 'All cameras', start: 'Start', stop: 'Stop', keyframe: 'Key frame', controls: 'Controls', figures: 'Measurements', play_urls: 'Play it elsewhere',
    copy: 'Copy', copied: 'Copied', copy_failed: 'The browser did not let me copy; select the text instead', timeline: 'Timeline',
    done: '{cmd}: done', sent: '{cmd}: sent; the camera has not answered yet', failed: '{cmd} failed: {why}', device_offline: 'The camera is offline: commands can’t reach it.',
    player_connecting: 'Connecting…', player_retry: 'The picture stopped. Trying again…', player_none: 'This browser can’t play live video', player_codec: 'This browser does not decode {codec} on this machine. Take another browser, or set the camera to H.264.', player_offline: 'This camera is not live now.',
    player_start_hint: 'Start it, and the picture appears here.', mute: 'Sound off', unmute: 'Sound on', fullscreen: 'Full screen', picture_in_picture: 'Picture in picture', take_snapshot: 'Save this picture', zoom_reset: 'Whole picture', player_label: 'Live picture. Keys: M sound, F full screen, P picture in picture, S save, + and − enlarge, arrows move, 0 whole picture', behind: '{seconds} s buffered', recordings: 'Recordings', day_before: 'Day before', day_after: 'Day after', time_of_day: 'Time of the day', play_from_here: 'Play from here', keep_a_minute: 'Save a minute', nothing_recorded: 'Nothing was recorded on this day.', not_asked: 'Servers that could not be asked: {servers}.', still_of: 'The picture at {time}', not_played: 'It can’t be played: {why}', age_camera: '{age} old', age_arrival: '{age} since the server', age_frozen: 'frozen for {seconds} s', age_by_camera: 'Time since capture, by the camera’s clock', age_by_camera_within: 'Time since capture, by the camera’s clock (± {ms} ms)', age_by_arrival: 'Time since the picture came to the server: this camera does not say when it was captured', via_whep: 'WebRTC', via_flv: 'Low latency', via_hls: 'HLS',
    empty_title: 'No camera yet', empty_text: 'Enrol one, then start it. It shows up here by itself.', empty_demo: 'Or see it all at once on this machine:',
    nothing_found: 'No camera matches.', no_servers: 'No server yet', no_servers_text: 'An origin registers by itself once it has the cluster key. Start one with:', no_events: 'Nothing has happened yet.', marks: 'Marks', no_marks: 'None yet. Programs that look at the pictures make them.', mark_lasts: '{n} s',
    unreachable: 'The cloud does not answer. Trying again…', sign_in: 'Operator token', sign_in_text: 'This cloud listens on a network address, so its API asks for the operator’s token. It lies in the data directory, in operator.token.', sign_in_button: 'Sign in', sign_in_wrong: 'That is not the token.',
    not_found: 'There is no camera {name}.',
    region: 'Region', load: 'Committed', status: 'Status', streams: 'Streams', up: 'Up', down: 'Down', external: 'external', edge: 'edge', pulled: 'From other servers', no_limit: 'no limit',
    just_now: 'just now', ago_s: '{n} s ago', ago_m: '{n} min ago', ago_h: '{n} h ago', ago_d: '{n} d ago',
    ev_stream_started: 'Stream started', ev_stream_stopped: 'Stream stopped', ev_connection_error: 'Connection error', ev_mark_added: 'Mark', ev_start_failed: 'Did not start for a viewer', ev_motion_true: 'Motion', ev_motion_false: 'Motion ended', ev_device_online: 'Camera online',
    ev_device_offline: 'Camera offline', ev_device_added: 'Camera enrolled', ev_device_revoked: 'Camera revoked', ev_device_duel: 'Two clients with one camera’s certificate', ev_hook_failed: 'A hook’s endpoint takes no events', ev_hook_recovered: 'A hook’s endpoint takes events again', ev_allocated: 'Server chosen', ev_server_up: 'Server up', ev_server_down: 'Server down', ev_server_restarted: 'Server restarted', ev_server_store_failed: 'Server can’t copy recordings', ev_server_store_resumed: 'Server copies recordings again', ev_server_recordings_short: 'Recordings won’t reach back as far as promised', ev_server_recordings_enough: 'Recordings reach back far enough again', ev_stream_duel: 'Two send with one token: one has stolen it', ev_stream_limited: 'Ended: it sent too much', ev_recording_failed: 'Server can’t record', ev_recording_resumed: 'Server records again', ev_relay_failed: 'A relay’s target takes nothing', ev_relay_resumed: 'A relay feeds its target again', ev_pull_failed: 'An edge gets it from no server', ev_pull_resumed: 'An edge gets it again',
    ev_audit_rolled_back: 'The audit log is not the one that origin {server} knows: rolled back or rewritten',
    ev_certificate_ends: 'Certificate ends in {days} days: {mend}', ev_certificate_renewed: 'Certificate renewed',
    ev_storage_failed: 'The database takes no writes: cameras get no server', ev_storage_recovered: 'The database takes writes again',
    state_blind: 'No picture', why_nothing: 'The stream runs, and no picture comes.',
    why_DNS_FAILED: 'The server’s name does not resolve. Check the camera’s DNS and the origin’s rtmps_url.',
    why_RTMP_CONNECT_TIMEOUT: 'The server does not answer. Check its address and the firewall.',
    why_TLS_FAILED: 'The server’s certificate is not trusted. Check its names, its end, and the camera’s CA.',
    why_RTMP_HANDSHAKE_FAILED: 'What answers there is no RTMP server. Check the port.',
    why_SEND_TIMEOUT: 'The uplink carries nothing. Check the camera’s network.',
    why_BANDWIDTH_INSUFFICIENT: 'The uplink is too slow for the lowest bit rate.',
    why_CONNECTION_LOST: 'The connection broke; the camera tries again by itself.',
    why_SOURCE_LOST: 'The agent gets no pictures. Check the camera behind it: power, cable, address, password.',
    why_ENCODER_FAILED: 'The encoder failed. Try another encoder or a lower quality.',
    why_FRAME_FORMAT_UNSUPPORTED: 'Nothing here can encode what the source gives. Set the camera to H.264, or install ffmpeg.',
    why_ENCODER_OUT_OF_RESOURCES: 'The encoder gets no memory or no device. Stop what else uses it.',
    why_RTMP_CONNECT_REJECTED: 'The server refused the application. Check the path of its URL.',
    why_STREAM_KEY_INVALID: 'The server refused the stream’s name or token; the camera asks for another. If it goes on, another client may use them.',
    why_SERVER_OVERLOADED: 'The server or the cloud has no room. Add an origin, or raise its limits.',
    why_INVALID_QUALITY: 'The size, frame rate or bit rate is out of range.',
    why_MQTT_CONFIG_INVALID: 'The broker’s address or the certificates can’t be used.',
    why_PERMISSION_DENIED: 'This camera may not publish: `sightline device allow` lets it.',
    why_UNAUTHORIZED: 'The camera is not known here, or its certificate is not the newest.',
    why_NO_SERVER_AVAILABLE: 'No server fits. Is an origin up, and has it room?',
    why_DISCOVERY_TIMEOUT: 'The cloud did not answer the camera in time.',
    why_CLOCK_SKEW: 'The camera’s clock is wrong: set it, for instance by NTP.',
    why_DEVICE_RESERVED: 'This id belongs to the system.',
    why_BAD_REQUEST: 'The cloud could not read what the camera asked.',
    relays: 'Relays', relay_text: 'Other servers that this stream goes on to, whenever it is live: YouTube, Twitch, another of yours.', relay_name: 'Name', relay_url: 'Where to: rtmp(s)://host/application/key', relay_add: 'Add a relay', relay_remove: 'Remove', relay_idle: 'waits for the stream', relay_connecting: 'connecting', relay_publishing: 'fed', relay_waiting: 'failed, tried again',
    share: 'Links and keys', share_text: 'Whoever has one may watch this camera, and nothing else. Taken back, it ends within ten seconds.', share_name: 'What it is for', share_lasts: 'How long it lasts',
    share_hour: 'an hour', share_day: 'a day', share_week: 'a week', share_always: 'until it is taken back', share_make: 'Make a link', share_once: 'Copy it now: it is shown this once.', share_link: 'Link',
    share_used: 'last used {when} from {from}', share_unused: 'not used yet', share_ends: 'ends {when}', share_remove: 'Take back',
    people: 'People', users: 'Users', groups: 'Groups', group: 'Group', all_groups: 'All groups', no_group: 'No group', user_name: 'Name', password: 'Password', new_password: 'New password', role: 'Role', role_viewer: 'Viewer', role_operator: 'Operator', role_admin: 'Admin', role_none: 'No role',
    users_text: 'A role holds for a group and all below it. Viewers look; operators also command cameras, make marks and links; admins change all else. On everything, an admin also sees users, servers and hooks.', groups_text: 'A camera is in one group at most; its page says in which.', no_users: 'Nobody signs in yet: this machine, or the operator’s token, may do everything. From the first user on, this browser has to sign in, too.', no_groups: 'No group yet.', everything: 'everything', add_user: 'Add a user', add_group: 'Make a group', group_path: 'Path, such as site-a/hall-2', grant: 'Give this role', remove: 'Remove', in_group: '{n} cameras', no_role: 'may do nothing yet', no_password: 'no password',
    sign_in_title: 'Sign in', sign_in_name_wrong: 'The name or the password is wrong.', sign_in_too_often: 'Too many wrong passwords. Wait a minute.', sign_in_with_token: 'With the operator’s token', sign_out: 'Sign out', own_password: 'Your password', change: 'Change', set_password: 'Set a password',
    ev_retry: 'next try in {n} s', ev_average: '{fps} fps, {kbps} on average',
  },
  zh: {
    cameras: '摄像头', servers: '服务器', events: '事件', language: 'English', language_label: 'Switch to English', skip: '跳到内容',
    live: '直播中', online: '在线', offline: '离线', revoked: '已吊销', all: '全部',
    sum_live: '直播', sum_viewers: '观看', sum_ingest: '接入码率', ingest: '接入码率', sum_servers: '服务器在线',
    search: '查找摄像头', quality: '画质', low: '低 · 480p', medium: '中 · 720p', high: '高 · 1080p', ultra: '超高 · 1080p30', custom: '自定义',
    state_idle: '空闲', state_requesting: '正在寻找服务器', state_connecting: '正在连接', state_streaming: '直播中', state_reconnecting: '正在重连',
    state_stopping: '正在停止', state_error: '错误', state_standby: '等待触发', state_offline: '离线', state_revoked: '已吊销', state_online: '在线',
    fps: '帧率', bitrate: '码率', latency: '延迟', latency_queue: '摄像头端队列时长', latency_ack: '采集到服务器', latency_end_to_end: '采集到屏幕',
    viewers: '观看人数', network: '网络', size: '画面', server: '服务器', since: '开播时间', uptime: '已直播', last_seen: '最后在线：{when}', never_seen: '尚未上线',
    back: '全部摄像头', start: '开始', stop: '停止', keyframe: '关键帧', controls: '控制', figures: '指标', play_urls: '在别处播放',
    copy: '复制', copied: '已复制', copy_failed: '浏览器不允许复制，请手动选择文本', timeline: '时间线',
    done: '{cmd}：完成', sent: '{cmd}：已发送，摄像头尚未应答', failed: '{cmd} 失败：{why}', device_offline: '摄像头未连接 MQTT，无法下发命令。',
    player_connecting: '正在连接…', player_retry: '画面中断，正在重试…', player_none: '此浏览器无法播放直播', player_codec: '此浏览器在这台设备上不能解码 {codec}。请换一个浏览器，或把摄像头设为 H.264。', player_offline: '此摄像头当前未直播。',
    player_start_hint: '点击开始后，画面会出现在这里。', mute: '静音', unmute: '打开声音', fullscreen: '全屏', picture_in_picture: '画中画', take_snapshot: '保存当前画面', zoom_reset: '还原画面', player_label: '实时画面。按键：M 声音，F 全屏，P 画中画，S 保存，+ 与 − 缩放，方向键移动，0 还原', behind: '缓冲 {seconds} 秒', recordings: '录像', day_before: '前一天', day_after: '后一天', time_of_day: '时刻', play_from_here: '从此处播放', keep_a_minute: '保存一分钟', nothing_recorded: '这一天没有录像。', not_asked: '无法询问的服务器：{servers}。', still_of: '{time} 的画面', not_played: '无法播放：{why}', age_camera: '{age} 前的画面', age_arrival: '到达服务器后 {age}', age_frozen: '画面已静止 {seconds} 秒', age_by_camera: '自采集起的时间，以摄像头时钟为准', age_by_camera_within: '自采集起的时间，以摄像头时钟为准（± {ms} 毫秒）', age_by_arrival: '自画面到达服务器起的时间：此摄像头未说明采集时间', via_whep: 'WebRTC', via_flv: '低延迟', via_hls: 'HLS',
    empty_title: '还没有摄像头', empty_text: '先登记一台，再启动它；它会自动出现在这里。', empty_demo: '或者在本机上一次看全部：',
    nothing_found: '没有匹配的摄像头。', no_servers: '还没有服务器', no_servers_text: '源站拿到集群密钥后会自动注册。启动命令：', no_events: '还没有事件。', marks: '标记', no_marks: '还没有。由分析画面的程序添加。', mark_lasts: '{n} 秒',
    unreachable: '云端无响应，正在重试…', sign_in: '操作员令牌', sign_in_text: '云端监听在网络地址上，因此 API 需要操作员令牌。它在数据目录的 operator.token 文件里。', sign_in_button: '登录', sign_in_wrong: '令牌不正确。',
    not_found: '没有名为 {name} 的摄像头。',
    region: '区域', load: '已分配', status: '状态', streams: '流', up: '在线', down: '离线', external: '外部', edge: '边缘', pulled: '来自其他服务器', no_limit: '不限',
    just_now: '刚刚', ago_s: '{n} 秒前', ago_m: '{n} 分钟前', ago_h: '{n} 小时前', ago_d: '{n} 天前',
    ev_stream_started: '开始直播', ev_stream_stopped: '停止直播', ev_connection_error: '连接错误', ev_mark_added: '标记', ev_start_failed: '有人观看，但未能启动', ev_motion_true: '检测到移动', ev_motion_false: '移动结束', ev_device_online: '摄像头上线',
    ev_device_offline: '摄像头离线', ev_device_added: '摄像头已登记', ev_device_revoked: '摄像头已吊销', ev_device_duel: '两个客户端使用同一摄像头证书', ev_hook_failed: '事件回调端点不可用', ev_hook_recovered: '事件回调端点已恢复', ev_allocated: '已分配服务器', ev_server_up: '服务器上线', ev_server_down: '服务器离线', ev_server_restarted: '服务器重启', ev_server_store_failed: '服务器无法复制录像', ev_server_store_resumed: '服务器恢复复制录像', ev_server_recordings_short: '录像保留时长将达不到设定', ev_server_recordings_enough: '录像保留时长恢复正常', ev_stream_duel: '同一令牌被两方使用：可能被盗', ev_stream_limited: '发送过多，已被结束', ev_recording_failed: '服务器无法录像', ev_recording_resumed: '服务器恢复录像', ev_relay_failed: '转推目标不可用', ev_relay_resumed: '转推已恢复', ev_pull_failed: '边缘节点无法从任何服务器拉流', ev_pull_resumed: '边缘节点拉流已恢复',
    ev_audit_rolled_back: '审计日志与源站 {server} 保存的检查点不符：已被回滚或改写',
    ev_certificate_ends: '证书将在 {days} 天后到期：{mend}', ev_certificate_renewed: '证书已更新',
    ev_storage_failed: '数据库无法写入：摄像头无法获得服务器', ev_storage_recovered: '数据库恢复写入',
    state_blind: '无画面', why_nothing: '流已建立，但没有画面。',
    why_DNS_FAILED: '服务器域名无法解析。请检查摄像头的 DNS 和源站的 rtmps_url。',
    why_RTMP_CONNECT_TIMEOUT: '服务器没有响应。请检查地址和防火墙。',
    why_TLS_FAILED: '服务器证书不受信任。请检查证书的名称、有效期和摄像头的 CA。',
    why_RTMP_HANDSHAKE_FAILED: '对端不是 RTMP 服务器。请检查端口。',
    why_SEND_TIMEOUT: '上行链路没有数据。请检查摄像头的网络。',
    why_BANDWIDTH_INSUFFICIENT: '上行带宽低于最低码率。',
    why_CONNECTION_LOST: '连接中断，摄像头会自动重连。',
    why_SOURCE_LOST: '代理收不到画面。请检查后端摄像头的电源、线缆、地址和密码。',
    why_ENCODER_FAILED: '编码器出错。请换用其他编码器或降低画质。',
    why_FRAME_FORMAT_UNSUPPORTED: '无法编码该画面格式。请把摄像头设为 H.264，或安装 ffmpeg。',
    why_ENCODER_OUT_OF_RESOURCES: '编码器缺少内存或设备。请停止占用它的程序。',
    why_RTMP_CONNECT_REJECTED: '服务器拒绝了该应用。请检查 URL 路径。',
    why_STREAM_KEY_INVALID: '服务器拒绝了流名或令牌，摄像头会重新申请。若持续出现，可能有其他客户端在使用。',
    why_SERVER_OVERLOADED: '服务器或云端已满。请增加源站或提高限额。',
    why_INVALID_QUALITY: '分辨率、帧率或码率超出范围。',
    why_MQTT_CONFIG_INVALID: 'MQTT 地址或证书不可用。',
    why_PERMISSION_DENIED: '此摄像头无权推流：用 `sightline device allow` 授权。',
    why_UNAUTHORIZED: '此摄像头未登记，或证书不是最新的。',
    why_NO_SERVER_AVAILABLE: '没有合适的服务器。源站是否在线、是否有余量？',
    why_DISCOVERY_TIMEOUT: '云端没有及时应答摄像头。',
    why_CLOCK_SKEW: '摄像头时钟不准：请校时，例如使用 NTP。',
    why_DEVICE_RESERVED: '此 ID 由系统保留。',
    why_BAD_REQUEST: '云端无法解析摄像头的请求。',
    relays: '转推', relay_text: '直播时把该视频流同时转推到其他服务器：YouTube、Twitch 或您自己的服务器。', relay_name: '名称', relay_url: '目标地址：rtmp(s)://主机/应用/密钥', relay_add: '添加转推', relay_remove: '移除', relay_idle: '等待视频流', relay_connecting: '正在连接', relay_publishing: '正在推送', relay_waiting: '失败，重试中',
    share: '链接与密钥', share_text: '持有者只能观看此摄像头。收回后十秒内失效。', share_name: '用途', share_lasts: '有效期',
    share_hour: '一小时', share_day: '一天', share_week: '一周', share_always: '直到收回', share_make: '生成链接', share_once: '请立即复制：只显示这一次。', share_link: '链接',
    share_used: '最后使用：{when}，来自 {from}', share_unused: '尚未使用', share_ends: '{when} 到期', share_remove: '收回',
    people: '用户', users: '用户', groups: '分组', group: '分组', all_groups: '全部分组', no_group: '无分组', user_name: '用户名', password: '密码', new_password: '新密码', role: '角色', role_viewer: '查看者', role_operator: '操作员', role_admin: '管理员', role_none: '无角色',
    users_text: '角色对一个分组及其下级全部生效。查看者只能观看；操作员还能控制摄像头、添加标记和链接；管理员可更改其余一切。在全部范围内，管理员还能管理用户、服务器和回调。', groups_text: '一台摄像头最多属于一个分组，可在其页面上设置。', no_users: '还没有用户：本机或操作员令牌拥有全部权限。添加第一个用户后，此浏览器也需要登录。', no_groups: '还没有分组。', everything: '全部', add_user: '添加用户', add_group: '新建分组', group_path: '路径，例如 site-a/hall-2', grant: '授予此角色', remove: '移除', in_group: '{n} 台摄像头', no_role: '尚无权限', no_password: '无密码',
    sign_in_title: '登录', sign_in_name_wrong: '用户名或密码不正确。', sign_in_too_often: '密码错误次数过多，请稍候一分钟。', sign_in_with_token: '使用操作员令牌', sign_out: '退出登录', own_password: '您的密码', change: '更改', set_password: '设置密码',
    ev_retry: '{n} 秒后重试', ev_average: '平均 {fps} 帧/秒，{kbps}',
  },
};

const KEY = 'sightline.language';
let language = stored() ?? (navigator.language.toLowerCase().startsWith('zh') ? 'zh' : 'en');

function stored() {
  try {
    const value = localStorage.getItem(KEY);
    return value in WORDS ? value : null;
  } catch {
    return null; // Storage may be switched off; the choice then lasts as long as the page.
  }
}

/** The language, `en` or `zh`. */
export function currentLanguage() {
  return language;
}

/** The other one. */
export function toggleLanguage() {
  language = language === 'en' ? 'zh' : 'en';
  try {
    localStorage.setItem(KEY, language);
  } catch { /* see stored() */ }
}

/** A text; `{name}` in it is replaced. */
export function t(key, values = {}) {
  const text = WORDS[language][key] ?? WORDS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

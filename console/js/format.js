// Figures for people.

import { currentLanguage, t } from './i18n.js';

const locale = () => (currentLanguage() === 'zh' ? 'zh-CN' : 'en-GB');

/** A number with so many digits behind the point. */
export function number(value, digits = 0) {
  return Number(value).toLocaleString(locale(), { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** `1.98 Mbit/s`. */
export function bitrate(kbps) {
  if (kbps >= 1000) return `${number(kbps / 1000, kbps >= 100000 ? 0 : 2)} Mbit/s`;
  return `${number(kbps)} kbit/s`;
}

/** `182 ms`, `1.5 s`. */
export function latency(ms) {
  return ms >= 1000 ? `${number(ms / 1000, 1)} s` : `${number(ms)} ms`;
}

/** `1:10:42`. */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (value) => String(value).padStart(2, '0');
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** `5 min ago`, from seconds since 1970. */
export function ago(unixSeconds) {
  const seconds = Math.max(0, Date.now() / 1000 - unixSeconds);
  if (seconds < 5) return t('just_now');
  if (seconds < 60) return t('ago_s', { n: Math.floor(seconds) });
  if (seconds < 3600) return t('ago_m', { n: Math.floor(seconds / 60) });
  if (seconds < 86400) return t('ago_h', { n: Math.floor(seconds / 3600) });
  return t('ago_d', { n: Math.floor(seconds / 86400) });
}

/** `14:03:27`, with the date where it is not today. */
export function clock(unixSeconds) {
  const date = new Date(unixSeconds * 1000);
  const time = date.toLocaleTimeString(locale(), { hour12: false });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString(locale())} ${time}`;
}

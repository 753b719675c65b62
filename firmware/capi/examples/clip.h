/* The application's camera: a clip of H.264 access units, from a file of Annex B (`ffmpeg -i clip.mp4 -c:v libx264 -bf 0 -an
 * clip.h264`: without B-frames, because it has no times), whose pictures come 25 times a second unless `fps` is set; or from one that our tests make: at its start `SLCLIP01`, the number of units and the frames a second; then
 * offset and length of each; little-endian, as the host is. */
#ifndef CLIP_H
#define CLIP_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Clip {
  uint8_t *bytes;
  uint32_t units;
  uint32_t fps;
} Clip;

static inline uint32_t clip_number(const Clip *clip, size_t at) {
  uint32_t number;
  memcpy(&number, clip->bytes + at, sizeof number);
  return number;
}

static inline uint8_t *clip_unit(const Clip *clip, uint32_t unit, size_t *length) {
  const size_t entry = 16 + 8 * (size_t)unit;
  *length = clip_number(clip, entry + 4);
  return clip->bytes + 16 + 8 * (size_t)clip->units + clip_number(clip, entry);
}

/* Where the next start code begins, from `at` on; `size` where there is none. */
static inline size_t clip_start_code(const uint8_t *bytes, size_t size, size_t at) {
  for (; at + 3 <= size; at++) {
    if (bytes[at] == 0 && bytes[at + 1] == 0 && bytes[at + 2] == 1) {
      return at;
    }
  }
  return size;
}

/* Whether a NAL unit begins another access unit, when the one before it has a picture (ITU-T H.264 7.4.1.2.3). */
static inline int clip_begins_unit(const uint8_t *nal, size_t length) {
  const int type = nal[0] & 0x1f;
  if (type == 1 || type == 5) {
    /* first_mb_in_slice is 0: its code is a single 1. */
    return length > 1 && (nal[1] & 0x80) != 0;
  }
  return type >= 6 && type <= 9;
}

/* Finds the access units and gives how many there are; with `out` (room for `4 / 3` of `size`) writes them there, each NAL unit behind four bytes of start
 * code, which the library makes lengths of, in place; and the places of the units into `entries`. */
static inline uint32_t clip_read_units(const uint8_t *bytes, size_t size, uint8_t *entries, uint8_t *out) {
  static const uint8_t start_code[4] = {0, 0, 0, 1};
  uint32_t units = 0, place[2] = {0, 0};
  size_t written = 0;
  int has_picture = 0;
  size_t at = clip_start_code(bytes, size, 0);
  while (at + 3 < size) {
    const size_t next = clip_start_code(bytes, size, at + 3);
    const uint8_t *nal = bytes + at + 3;
    size_t length = next - at - 3;
    /* Zeros before the next start code belong to it. */
    while (length > 1 && nal[length - 1] == 0) {
      length--;
    }
    if (units == 0 || (has_picture && clip_begins_unit(nal, length))) {
      place[0] = (uint32_t)written;
      has_picture = 0;
      units++;
    }
    has_picture |= (nal[0] & 0x1f) == 1 || (nal[0] & 0x1f) == 5;
    if (out != NULL) {
      memcpy(out + written, start_code, sizeof start_code);
      memcpy(out + written + sizeof start_code, nal, length);
    }
    written += sizeof start_code + length;
    place[1] = (uint32_t)written - place[0];
    if (entries != NULL) {
      memcpy(entries + 8 * (size_t)(units - 1), place, sizeof place);
    }
    at = next;
  }
  return units;
}

/* Annex B in the form of the tests' clips. */
static inline Clip clip_of_annex_b(const uint8_t *bytes, size_t size) {
  Clip clip = {NULL, clip_read_units(bytes, size, NULL, NULL), 25};
  const size_t head = 16 + 8 * (size_t)clip.units;
  /* The shortest NAL unit has one byte behind three of start code. */
  clip.bytes = (uint8_t *)malloc(head + size + size / 3);
  if (clip.bytes != NULL) {
    clip_read_units(bytes, size, clip.bytes + 16, clip.bytes + head);
  }
  return clip;
}

static inline Clip clip_open(const char *path) {
  Clip clip = {NULL, 0, 0};
  FILE *file = fopen(path, "rb");
  long size = -1;
  if (file != NULL && fseek(file, 0, SEEK_END) == 0) {
    size = ftell(file);
    rewind(file);
  }
  if (size > 16) {
    clip.bytes = (uint8_t *)malloc((size_t)size);
  }
  if (clip.bytes == NULL || fread(clip.bytes, 1, (size_t)size, file) != (size_t)size) {
    fprintf(stderr, "%s can't be read\n", path);
    exit(2);
  }
  fclose(file);
  if (memcmp(clip.bytes, "SLCLIP01", 8) != 0) {
    const int has_start_code = memcmp(clip.bytes, "\0\0\1", 3) == 0 || memcmp(clip.bytes, "\0\0\0\1", 4) == 0;
    const Clip read = clip_of_annex_b(clip.bytes, has_start_code ? (size_t)size : 0);
    if (read.bytes == NULL || read.units == 0) {
      fprintf(stderr, "%s is no H.264 in Annex B; make it so: ffmpeg -i %s -c:v libx264 -bf 0 -an clip.h264\n", path, path);
      exit(2);
    }
    free(clip.bytes);
    return read;
  }
  clip.units = clip_number(&clip, 8);
  clip.fps = clip_number(&clip, 12);
  return clip;
}

#endif

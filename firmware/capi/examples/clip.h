/* The application's camera: a clip of H.264 access units. At its start `SLCLIP01`, the number of units and the frames a second; then offset and length
 * of each; little-endian, as the host is. */
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
  if (clip.bytes == NULL || fread(clip.bytes, 1, (size_t)size, file) != (size_t)size || memcmp(clip.bytes, "SLCLIP01", 8) != 0) {
    fprintf(stderr, "%s is no clip\n", path);
    exit(2);
  }
  fclose(file);
  clip.units = clip_number(&clip, 8);
  clip.fps = clip_number(&clip, 12);
  return clip;
}

#endif

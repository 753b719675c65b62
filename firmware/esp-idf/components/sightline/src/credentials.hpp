// What the device trusts, and how it shows who it is. All PEM, ends with a NUL, lives for ever.
#ifndef SIGHTLINE_CREDENTIALS_HPP
#define SIGHTLINE_CREDENTIALS_HPP

namespace sightline {

struct Credentials {
  const char *authority;   // null: the authorities of ESP-IDF's certificate bundle
  const char *certificate; // the device's own
  const char *key;         // a secret: never logged
};

// Set once, before anything connects.
Credentials &credentials();

} // namespace sightline

#endif

#!/bin/sh
# Makes the vendored files again with `npm pack` and fails if they are not those of vendor.lock.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
sri() { printf 'sha512-%s' "$(openssl dgst -sha512 -binary "$1" | openssl base64 -A)"; }
grep -v '^#' "$here/vendor.lock" | while read -r name version package file digest; do
    npm pack --silent "$name@$version" >/dev/null
    test "$(sri "$name-$version.tgz")" = "$package" || { echo "$name-$version.tgz is not the package of vendor.lock" >&2; exit 1; }
    mkdir "$name" && tar xzf "$name-$version.tgz" -C "$name"
    case $name in
    mpegts.js) source=dist/mpegts.js licence=mpegts-$version.LICENSE.txt ;;
    hls.js) source=dist/hls.light.min.js licence=hls-$version.LICENSE.txt ;;
    esac
    cp "$name/package/$source" "$here/$file"
    cp "$name/package/LICENSE" "$here/$licence"
    test "$(sri "$here/$file")" = "$digest" || { echo "$file is not the file of vendor.lock" >&2; exit 1; }
done
echo "the vendored files are those of vendor.lock"

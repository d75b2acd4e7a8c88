#!/bin/sh
# A worker in shell: payload on stdin, progress as JSON lines on descriptor 3, result on stdout. The exit status decides.
set -eu

file=$(sed 's/^"\(.*\)"$/\1/') # the payload is a JSON text: a path
if [ ! -f "$file" ]; then
  echo "there is no document $file" >&2
  exit 1
fi

echo '{"percent":10,"message":"hashing"}' >&3
hash=$(sha256sum <"$file" | cut -d' ' -f1)
echo '{"percent":50,"message":"counting words"}' >&3
words=$(wc -w <"$file")
echo '{"percent":90}' >&3
printf '{"file":"%s","sha256":"%s","words":%d}\n' "$file" "$hash" "$words"

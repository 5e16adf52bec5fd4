#!/bin/sh
# Write the stack's passwords into .env where they are missing: made here at random, readable by you alone. `make up`
# begins with it. What stands there stays, as the servers keep the passwords that they were first started with.
set -eu
cd "$(dirname "$0")/../.."
umask 077
touch .env
chmod 600 .env
for name in POSTGRES_PASSWORD S3_SECRET_KEY; do
  grep -q "^$name=." .env && continue
  [ -z "$(tail -c 1 .env)" ] || echo >>.env # a last line without its end
  echo "$name=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" >>.env
  echo "$name was written into .env"
done

#!/bin/sh
# SeaweedFS on one machine: master, volume, filer and the S3 gateway, which knows who writes and who only reads; makes the bucket.
set -eu
: "${S3_ACCESS_KEY:?write it with make env}" "${S3_SECRET_KEY:?write it with make env}"
: "${S3_READER_ACCESS_KEY:?write it with make env}" "${S3_READER_SECRET_KEY:?write it with make env}"
umask 077
printf '{"identities": [{"name": "bidwright", "credentials": [{"accessKey": "%s", "secretKey": "%s"}],
  "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
  {"name": "bidwright_reader", "credentials": [{"accessKey": "%s", "secretKey": "%s"}],
  "actions": ["Read:bidwright", "List:bidwright"]}]}' \
  "$S3_ACCESS_KEY" "$S3_SECRET_KEY" "$S3_READER_ACCESS_KEY" "$S3_READER_SECRET_KEY" > /tmp/s3.json
(
  until wget -q -O /dev/null http://127.0.0.1:8333/healthz 2> /dev/null; do sleep 1; done
  # It refuses a bucket that is there already.
  echo "s3.bucket.create -name bidwright" | weed shell -master=127.0.0.1:9333 || true
) &
exec weed server -dir=/data -ip=127.0.0.1 -master.volumeSizeLimitMB=1024 -volume.max=0 -filer -s3 -s3.port=8333 \
  -s3.config=/tmp/s3.json -s3.ip.bind=0.0.0.0

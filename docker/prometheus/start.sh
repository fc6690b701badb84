#!/bin/sh
# Prometheus with the token of the bid service in a file of its own.
set -eu
umask 077
printf '%s' "${BIDWRIGHT_SERVE_TOKEN:?write it with make env}" > /tmp/serve-token
exec prometheus --config.file=/etc/bidwright/prometheus/prometheus.yaml --storage.tsdb.path=/prometheus \
  --storage.tsdb.retention.time=30d --web.enable-otlp-receiver --enable-feature=native-histograms

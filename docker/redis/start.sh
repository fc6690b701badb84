#!/bin/sh
# Redis with the users of users.acl.template; their passwords come from the environment and stand on no command line.
set -eu
: "${REDIS_PASSWORD:?write it with make env}" "${REDIS_READER_PASSWORD:?write it with make env}"
umask 077
awk '{
  while (match($0, /\$\{[A-Z_]+\}/)) {
    name = substr($0, RSTART + 2, RLENGTH - 3)
    $0 = substr($0, 1, RSTART - 1) ENVIRON[name] substr($0, RSTART + RLENGTH)
  }
  print
}' /etc/bidwright/redis/users.acl.template > /tmp/users.acl
# What was queued and is not yet run outlives a restart; a full memory refuses, it forgets nothing.
exec redis-server --bind '*' --protected-mode no --dir /data --aclfile /tmp/users.acl --appendonly yes --save '' \
  --maxmemory "${REDIS_MAXMEMORY:-1gb}" --maxmemory-policy noeviction

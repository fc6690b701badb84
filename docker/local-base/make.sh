#!/usr/bin/env bash
# Base images without a registry: Debian 12 by debootstrap, one root file system per image, handed over by `docker import`.
#
#   docker/local-base/make.sh [python|java|postgres|redis|haproxy]...   all but java without arguments; needs root
#
# They stand in for the official images of the same names (docs/stack.md says what differs), with the same paths and
# user ids. An image that is there already is left alone; take it away to have it made anew: docker rmi NAME.
set -euo pipefail

mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
work=${LOCAL_BASE_WORK:-$(mktemp -d)}
here=$(cd "$(dirname "$0")" && pwd)
docker=${DOCKER:-docker}

declare -A tag=([python]=3.11 [java]=17 [postgres]=15 [redis]=7 [haproxy]=2.6)
declare -A packages=(
  [python]="python3 python3-venv libgomp1 git ca-certificates"
  [java]="python3 python3-venv libgomp1 git ca-certificates openjdk-17-jre-headless procps"
  [postgres]="postgresql-15"
  [redis]="redis-server"
  [haproxy]="haproxy"
)

fail() { echo "local-base: $*" >&2; exit 1; }

minimal() {  # one plain Debian that all of them begin as
  [ -e "$work/minimal/done" ] && return
  rm -rf "$work/minimal"
  debootstrap --variant=minbase --cache-dir="$cache" bookworm "$work/minimal" "$mirror" > "$work/debootstrap.log" 2>&1 \
    || fail "debootstrap failed: $(tail -1 "$work/debootstrap.log")"
  printf 'exit 101\n' > "$work/minimal/usr/sbin/policy-rc.d"  # no package starts a service in a folder
  chmod 755 "$work/minimal/usr/sbin/policy-rc.d"
  mkdir -p "$work/minimal/etc/postgresql-common"
  printf 'create_main_cluster = false\n' > "$work/minimal/etc/postgresql-common/createcluster.conf"
  touch "$work/minimal/done"
}

make_image() {
  local name=$1 root="$work/$1" changes=()
  minimal
  rm -rf "$root"
  cp -a "$work/minimal" "$root"
  rm "$root/done"
  case $name in  # the user ids of the official images: a volume then has the same owner with either one
    postgres) chroot "$root" groupadd -r -g 999 postgres
              chroot "$root" useradd -r -g 999 -u 999 -d /var/lib/postgresql -s /bin/bash postgres ;;
    redis)    chroot "$root" groupadd -r -g 999 redis
              chroot "$root" useradd -r -g 999 -u 999 -d /var/lib/redis redis ;;
  esac
  cp -n /etc/resolv.conf "$root/etc/resolv.conf" 2> /dev/null || true
  # Java's certificates are made by Java, which wants to see processes; the mount ends with the command.
  # shellcheck disable=SC2016,SC2086  (the shell inside fills them; a list of packages)
  unshare --mount sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" \
    env DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends \
    ${packages[$name]} > "$work/$name.log" 2>&1 || fail "apt failed for $name: $(tail -1 "$work/$name.log")"
  case $name in
    postgres)
      install -m 755 "$here/postgres-entry.sh" "$root/usr/local/bin/docker-entrypoint.sh"
      mkdir -p "$root/docker-entrypoint-initdb.d"
      install -d -o 999 -g 999 -m 700 "$root/var/lib/postgresql/data"
      install -d -o 999 -g 999 -m 755 "$root/var/run/postgresql"
      changes=(--change 'ENV PATH=/usr/lib/postgresql/15/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
               --change 'ENV PGDATA=/var/lib/postgresql/data' --change 'USER 999:999'
               --change 'ENTRYPOINT ["docker-entrypoint.sh"]' --change 'CMD ["postgres"]' --change 'STOPSIGNAL SIGINT') ;;
    redis)
      install -d -o 999 -g 999 -m 700 "$root/data"
      changes=(--change 'USER 999:999' --change 'WORKDIR /data' --change 'CMD ["redis-server"]') ;;
    haproxy)
      changes=(--change 'USER 99:99' --change 'CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]' --change 'STOPSIGNAL SIGUSR1') ;;
    python | java)
      changes=(--change 'CMD ["python3"]') ;;
  esac
  rm -rf "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root/usr/share/doc" "$root/usr/share/man" "$root/usr/share/locale" \
    "$root/etc/resolv.conf"
  # `docker import` knows no STOPSIGNAL; compose says it (stop_signal).
  local allowed=() i
  for ((i = 0; i < ${#changes[@]}; i += 2)); do
    [[ ${changes[i + 1]} == STOPSIGNAL* ]] || allowed+=("${changes[i]}" "${changes[i + 1]}")
  done
  tar --numeric-owner -C "$root" -c . | $docker import "${allowed[@]}" - "bidwright-local/$name:${tag[$name]}" > /dev/null
  rm -rf "$root"
}

main() {
  local name wanted=("$@")
  [ ${#wanted[@]} -gt 0 ] || wanted=(python postgres redis haproxy)
  for name in "${wanted[@]}"; do
    [ -n "${tag[$name]:-}" ] || fail "there is no image $name; there are: ${!tag[*]}"
  done
  for name in "${wanted[@]}"; do
    if $docker image inspect "bidwright-local/$name:${tag[$name]}" > /dev/null 2>&1; then
      echo "bidwright-local/$name:${tag[$name]} is there"
      continue
    fi
    [ "$(id -u)" = 0 ] || fail "debootstrap needs root"
    command -v debootstrap > /dev/null || fail "debootstrap is missing: apt-get install debootstrap"
    cache=$work/debs
    mkdir -p "$cache"
    make_image "$name"
    echo "bidwright-local/$name:${tag[$name]} made in ${SECONDS} s"
  done
}

main "$@"

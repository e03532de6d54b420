# shellcheck shell=bash
# Sourced by the scripts beside it. Puts a Debian machine that has node and npm into the state that
# a script needs: the pinned Deno, and named Debian packages, each fetched only where it is missing.
#
# Sets: root (the checkout), cache (where downloads are kept), DENO (the pinned executable; also
# first on PATH once ensure_deno has run).

set -euo pipefail

deno_version=2.7.11
# sha512 of the platform package's archive, as npm lists it (dist.integrity)
deno_npm_x64="sha512-TCRXqy4rHI+pKmWfjIz/qfDyfTz61qhxj+03kEJ3r0YzRGsXNoHyE7WiUawwUK2hbrBAu7hn3m5833VUYqRzOg=="

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
[ -n "${HOME:-}" ] || export HOME=~
cache="${XDG_CACHE_HOME:-$HOME/.cache}/understudy/deno-$deno_version"

# The machine's own certificate authorities count, and Deno's where the machine has none.
export DENO_TLS_CA_STORE="${DENO_TLS_CA_STORE:-system,mozilla}"
export DENO_NO_UPDATE_CHECK=1

say() { printf '%s\n' "$*" >&2; }

die() {
  say "error: $*"
  exit 1
}

# What a script must not leave behind, whichever way it ends.
work=
no_services_made=
clean_up() {
  [ -z "$work" ] || rm -rf "$work"
  [ -z "$no_services_made" ] || rm -f "$no_services_file"
  work= no_services_made=
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# --- Debian packages -------------------------------------------------------------------------

package_installed() {
  # a name with "|" holds alternatives: any of them will do
  local one
  for one in ${1//|/ }; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$one" 2>/dev/null)" = installed ] && return 0
  done
  return 1
}

apt_quietly() {
  DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}

# Keeps packages from starting their services while we install them (a database server's own
# cluster is of no use here, and would be left running). Leaves an administrator's policy alone.
no_services_file=/usr/sbin/policy-rc.d
forbid_services() {
  [ ! -e "$no_services_file" ] || return 0
  printf '#!/bin/sh\n# understudy scripts: no services are started during this installation\nexit 101\n' \
    >"$no_services_file" && chmod 755 "$no_services_file" && no_services_made=yes
}

# ensure_packages NAME...: installs those that are missing. "a|b" means a, or else b. A package that
# cannot be had is named and left out; what needs it then says so itself.
ensure_packages() {
  local name one missing=() chosen=() absent=()
  command -v dpkg-query >/dev/null || {
    say "note: not a Debian machine; these are expected to be there: $*"
    return 0
  }
  for name in "$@"; do package_installed "$name" || missing+=("$name"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    say "note: these Debian packages are missing, and installing them needs root: ${missing[*]}"
    say "      (as root: apt-get install --no-install-recommends ${missing[*]//|*/})"
    return 0
  fi
  say "installing Debian packages: ${missing[*]}"
  apt_quietly update >&2 || say "note: apt-get update failed; going on with the lists that are there"
  for name in "${missing[@]}"; do
    for one in ${name//|/ } ''; do
      [ -n "$one" ] || { absent+=("$name"); break; }
      if [[ "$(apt-cache policy "$one" 2>/dev/null)" == *"Candidate: "[0-9]* ]]; then
        chosen+=("$one")
        break
      fi
    done
  done
  if [ ${#chosen[@]} -gt 0 ]; then
    forbid_services
    if ! apt_quietly install -y --no-install-recommends "${chosen[@]}" >/dev/null </dev/null; then
      # one that cannot be installed must not keep the others out
      for one in "${chosen[@]}"; do
        apt_quietly install -y --no-install-recommends "$one" >/dev/null </dev/null ||
          say "note: apt-get could not install $one; what needs it will say so"
      done
    fi
    [ -z "$no_services_made" ] || rm -f "$no_services_file"
    no_services_made=
  fi
  [ ${#absent[@]} -eq 0 ] || say "note: no such Debian package here: ${absent[*]}"
}

# --- Deno ------------------------------------------------------------------------------------

is_pinned_deno() {
  [ -x "$1" ] && [ "$("$1" --version 2>/dev/null | awk 'NR == 1 { print $2 }')" = "$deno_version" ]
}

# npm_archive NAME@VERSION INTEGRITY FOLDER: the package's archive, in FOLDER, as $npm_archive.
# npm itself checks what it downloads against its registry; INTEGRITY, where given, is checked too.
npm_archive() {
  local file sum
  file=$(cd "$3" && npm pack --silent --pack-destination "$3" "$1" 2>"$3/npm.log" | tail -n 1) || return 1
  npm_archive="$3/$file"
  [ -f "$npm_archive" ] || return 1
  [ -n "$2" ] || return 0
  sum=$(node -e '
    const hash = require("crypto").createHash("sha512");
    require("fs").createReadStream(process.argv[1]).on("data", (d) => hash.update(d))
      .on("end", () => console.log("sha512-" + hash.digest("base64")));' "$npm_archive")
  [ "$sum" = "$2" ] || die "$1 from npm is not the archive that was pinned: $sum. Nothing was installed."
}

fetch_deno() {
  local package integrity= triple
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) package=@deno/linux-x64-glibc integrity=$deno_npm_x64 triple=x86_64-unknown-linux-gnu ;;
    Linux-aarch64 | Linux-arm64) package=@deno/linux-arm64-glibc triple=aarch64-unknown-linux-gnu ;;
    *) die "no Deno is fetched for $(uname -s) on $(uname -m): put Deno $deno_version on PATH yourself." ;;
  esac
  work=$(mktemp -d "$cache/.fetch.XXXXXX")
  if command -v npm >/dev/null && npm_archive "$package@$deno_version" "$integrity" "$work"; then
    say "fetched Deno $deno_version from npm ($package)"
    tar -xzf "$npm_archive" -C "$work" package/deno
    mv "$work/package/deno" "$work/deno"
  else
    # Not every version has every platform's package on npm (2.7.11 has none for arm64).
    say "npm has no $package@$deno_version for us; trying Deno's own download site"
    ensure_packages curl unzip ca-certificates
    curl -fsSL --connect-timeout 10 --max-time 300 -o "$work/deno.zip" \
      "https://dl.deno.land/release/v$deno_version/deno-$triple.zip" &&
      unzip -q "$work/deno.zip" deno -d "$work" ||
      die "Deno $deno_version can be had neither from npm nor from Deno's own site: put it on PATH and try again."
  fi
  chmod 755 "$work/deno"
  is_pinned_deno "$work/deno" || die "what was fetched as Deno $deno_version does not run on this machine."
  mv -f "$work/deno" "$cache/deno"
  clean_up
}

# ensure_deno: DENO is an executable of exactly the pinned version, fetched where PATH has none.
ensure_deno() {
  local found
  found=$(command -v deno || true)
  if [ -n "$found" ] && is_pinned_deno "$found"; then
    DENO=$found
  else
    mkdir -p "$cache"
    DENO="$cache/deno"
    # two scripts started at once fetch it once
    exec 9>"$cache/.lock"
    flock 9
    is_pinned_deno "$DENO" || fetch_deno
    exec 9>&-
    PATH="$cache:$PATH"
  fi
  export DENO PATH
}
